import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MillraceError, messageOf } from '../kernel/errors.ts'
import { openLog } from '../kernel/log.ts'
import type { Log } from '../kernel/log.ts'
import { openClock } from '../kernel/rehearsal-clock.ts'
import { ownIdentity } from '../kernel/runtime/process-identity.ts'
import { readProcessRecord, removeProcessRecord, writeProcessRecord } from '../kernel/runtime/process-record.ts'
import { openGateway } from '../serving/gateway/gateway.ts'
import type { Gateway } from '../serving/gateway/gateway.ts'
import { parseOptions } from '../serving/gateway/gateway-options.ts'
import type { GatewayProcessOptions } from '../serving/gateway/gateway-options.ts'
import { openSpool } from '../serving/prediction-log/spool.ts'
import { version } from '../version.ts'

/** `node gateway.ts <options.json>`: 0 when drained, 12 when it can't start until somebody changes something, else 1. */
const EXIT_NEEDS_A_CHANGE = 12

async function main(): Promise<void> {
  const path = process.argv[2] ?? ''
  const options = parseOptions(readOptions(path), path)
  const log = openLog({ process: options.gatewayId })
  keepRecord(options)
  try {
    await serve(options, log)
  } finally {
    removeProcessRecord(options.dataDir, options.gatewayId, options.token)
  }
}

async function serve(options: GatewayProcessOptions, log: Log): Promise<void> {
  // Before anything is opened: a stop that comes while the gateway starts must not kill it half-way.
  const stopping = stopSignal()
  const clock = await openClock(options.dataDir, {
    onError: (error) => log.error({ why: messageOf(error) }, 'the clock cannot be followed'),
  })
  const spool = await openSpool({
    dir: join(options.dataDir, 'spool'),
    instance: options.gatewayId,
    clock,
    ...options.spool,
    onState: (state) => log[state.diskFull ? 'error' : 'info']({ ...state }, 'prediction log'),
  })
  let gateway: Gateway
  try {
    gateway = await openGateway(
      { ...options, server: { name: options.serverName, version } },
      {
        clock,
        random: Math.random,
        log: spool,
        tell: (level, what, facts) => log[level](facts ?? {}, what),
        limits: { port: options.limits },
      },
    )
  } catch (error) {
    await spool.close()
    throw error
  }
  log.info({ host: options.host, port: gateway.port, grpcPort: gateway.grpcPort }, 'the gateway serves')
  log.info({ signal: await stopping }, 'the gateway drains')
  await gateway.drain(options.drain)
  clock.close()
  log.info({}, 'the gateway has stopped')
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal))
  })
}

function readOptions(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null // parseOptions says so
  }
}

/** Whoever starts a gateway writes its record; should that one have died in between, the gateway does it itself. */
function keepRecord({ dataDir, gatewayId: id, token, socketPath }: GatewayProcessOptions): void {
  if (readProcessRecord(dataDir, id)?.token === token) return
  writeProcessRecord(dataDir, { ...ownIdentity(), id, role: 'gateway', token, socketPath, startedAtMs: Date.now() })
}

try {
  await main()
  process.exit(0)
} catch (error) {
  // One line: the supervisor shows it.
  const facts =
    error instanceof MillraceError ? error.toJSON() : { message: messageOf(error), stack: (error as Error).stack }
  process.stderr.write(`${JSON.stringify(facts)}\n`)
  process.exit(error instanceof MillraceError && !error.retryable ? EXIT_NEEDS_A_CHANGE : 1)
}
