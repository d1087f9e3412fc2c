import { isLoopback } from '../../../config/loopback.ts'
import type { GatewayConfig } from '../../../config/project.ts'

export const EXPOSED_FIX = `See 'TLS' and 'Callers and keys' in docs/guides/serving.md.`

/** What is given away where others than this machine can reach the gateway, for people. Pure. */
export function exposures({ host, tls, anonymous }: Pick<GatewayConfig, 'host' | 'tls' | 'anonymous'>): string[] {
  if (isLoopback(host)) return []
  const plain = `The gateway listens on ${host} without TLS: keys, requests and answers can be read on their way.`
  const open = `Whoever reaches the gateway on ${host} may predict without a key (gateway.anonymous).`
  return [...(tls === null ? [plain] : []), ...(anonymous ? [open] : [])]
}
