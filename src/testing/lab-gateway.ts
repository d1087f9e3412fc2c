import { systemClock } from '../kernel/clock.ts'
import { openGateway } from '../serving/gateway/gateway.ts'
import type { Gateway, GatewayOptions, GatewayParts } from '../serving/gateway/gateway.ts'
import { tellNobody } from '../serving/front/tell.ts'
import { fakeLog } from './gateway-fakes.ts'
import type { Lab } from './gateway-lab.ts'

/**
 * A gateway in the test's own process, on a free port, that follows the lab's control plane. It logs into memory, and
 * says nothing unless told otherwise. The test drains it.
 */
export function openLabGateway(
  lab: Lab,
  options: Partial<GatewayOptions> = {},
  parts: Partial<GatewayParts> = {},
): Promise<Gateway> {
  return openGateway(
    {
      gatewayId: 'gateway-1',
      token: `token-${Math.random()}`,
      host: '127.0.0.1',
      port: 0,
      dataDir: lab.dir,
      controlSocket: lab.socket('control'),
      socketPath: lab.socket('gateway'),
      server: { name: 'millrace', version: '1.2.3' },
      ...options,
    },
    { clock: systemClock, random: Math.random, log: fakeLog(), tell: tellNobody, ...parts },
  )
}
