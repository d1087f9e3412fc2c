import { basename, dirname } from 'node:path'
import { systemClock } from '../kernel/clock.ts'
import type { Clock } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { openLog } from '../kernel/log.ts'
import { openClock } from '../kernel/rehearsal-clock.ts'
import { ownIdentity } from '../kernel/runtime/process-identity.ts'
import { readProcessRecord, removeProcessRecord, writeProcessRecord } from '../kernel/runtime/process-record.ts'
import { startCustomReplica } from '../serving/model-server/custom-replica.ts'
import type { Tell } from '../serving/front/tell.ts'
import { readReplicaOptions } from '../serving/model-server/replica-options.ts'
import type { ReplicaOptions } from '../serving/model-server/replica-options.ts'
import { startReplica } from '../serving/model-server/replica.ts'
import { version } from '../version.ts'

/** One replica: `node model-server.ts <options.json>`. Exits 0 when drained, 1 when it could not serve or cut requests off. */
async function main(): Promise<number> {
  const options = readReplicaOptions(process.argv[2])
  const log = openLog({ process: options.replicaId })
  const record = keepRecord(options)
  try {
    const tell: Tell = (level, message, facts) => log[level](facts ?? {}, message)
    const { server } = options
    const replica =
      server === undefined
        ? await startReplica(options, { tell, serverVersion: version, clock: await calendarFor(options) })
        : await startCustomReplica({ ...options, server }, { tell })
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => replica.drain(signal))
    const { abandoned, failed } = await replica.over
    if (abandoned > 0) log.error({ abandoned }, 'requests were cut off after the time to drain')
    return abandoned > 0 || failed ? 1 : 0
  } catch (error) {
    log.error({ why: messageOf(error) }, 'cannot start')
    return 1
  } finally {
    record.remove()
  }
}

/** Only the age of tables is counted by the calendar, which a rehearsal moves. */
async function calendarFor({ tables = [], recordPath }: ReplicaOptions): Promise<Clock> {
  return tables.length === 0 ? systemClock : await openClock(dirname(dirname(recordPath)))
}

/** Whoever starts a replica writes its record; should that one have died in between, the replica does it itself. */
function keepRecord({ recordPath, replicaId: id, token, socketPath }: ReplicaOptions): { remove(): void } {
  const dataDir = dirname(dirname(recordPath))
  if (basename(recordPath) !== `${id}.json`) throw new Error(`the record ${recordPath} is not named after ${id}`)
  if (readProcessRecord(dataDir, id)?.token !== token) {
    writeProcessRecord(dataDir, { ...ownIdentity(), id, role: 'replica', token, socketPath, startedAtMs: Date.now() })
  }
  return { remove: () => removeProcessRecord(dataDir, id, token) }
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`)
  return 1
})
process.exit()
