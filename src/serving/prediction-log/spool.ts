import { join } from 'node:path'
import { isNoSpace } from '../../kernel/lake/durable-files.ts'
import { NO_COUNTS } from '../../kernel/lake/log-counters.ts'
import type { ProcessLock } from '../../kernel/lake/process-lock.ts'
import { tryLock } from '../../kernel/lake/process-lock.ts'
import { readLeftOpen, recoverInstance, recoverSpool } from '../../kernel/lake/recover-spool.ts'
import type { RecoveryReport } from '../../kernel/lake/recover-spool.ts'
import { isInstanceName, listSegments, lockPath } from '../../kernel/lake/spool-files.ts'
import { DiskSpool } from './disk-spool.ts'
import { SpoolInUseError } from './errors.ts'
import { diskFs } from './spool-fs.ts'
import type { Spool, SpoolOptions } from './spool-options.ts'
import { SPOOL_DEFAULTS } from './spool-options.ts'

export type { Spool, SpoolOptions, SpoolState } from './spool-options.ts'
export { SPOOL_DEFAULTS } from './spool-options.ts'

const LOCK_RETRY_MS = 50

/**
 * Takes the instance's lock, seals what dead gateways left (its own earlier life included), and starts a new stream.
 * Where there is no space for that it begins all the same: what was acknowledged is on disk and counted, and is sealed
 * once there is.
 * @throws SpoolInUseError if another process writes as this instance
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  if (!isInstanceName(options.instance)) throw new RangeError(`'${options.instance}' can't be the name of a folder.`)
  const fs = options.fs ?? diskFs
  const dir = join(options.dir, options.instance)
  await fs.makeDir(dir)
  const lock = await waitForLock(options.dir, options.instance, options.lockWaitMs ?? SPOOL_DEFAULTS.lockWaitMs)
  try {
    const own = await whereThereIsSpace(() => recoverInstance(options.dir, options.instance))
    const others = await whereThereIsSpace(() => recoverSpool(options.dir))
    const { counters } = await readLeftOpen(options.dir, options.instance)
    const sequence = ((await listSegments(options.dir, options.instance)).at(-1)?.sequence ?? 0) + 1
    const start = { dir, lock, counters: counters ?? NO_COUNTS, sequence, isUnsealed: own === null }
    const spool = new DiskSpool({ ...SPOOL_DEFAULTS, ...options, fs }, start)
    const done = [own, others].filter((report) => report !== null)
    const sealed = done.reduce((sum, report) => sum + report.sealed, 0)
    const tornBytes = done.reduce((sum, report) => sum + report.tornBytes, 0)
    spool.start(await fs.freeBytes(dir), sealed, tornBytes)
    return spool
  } catch (error) {
    lock.release()
    throw error
  }
}

/** @returns null where there is none: what is not sealed now is sealed later, as by the ingest where no gateway lives */
async function whereThereIsSpace(recover: () => Promise<RecoveryReport>): Promise<RecoveryReport | null> {
  try {
    return await recover()
  } catch (error) {
    if (isNoSpace(error)) return null
    throw error
  }
}

async function waitForLock(spoolDir: string, instance: string, waitMs: number): Promise<ProcessLock> {
  const deadlineMs = performance.now() + waitMs
  for (;;) {
    const lock = tryLock(lockPath(spoolDir, instance))
    if (lock !== null) return lock
    if (performance.now() >= deadlineMs) throw new SpoolInUseError(spoolDir, instance)
    await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS))
  }
}
