import { join } from 'node:path'
import { NO_COUNTS, readCounters } from '../../kernel/lake/log-counters.ts'
import type { ProcessLock } from '../../kernel/lake/process-lock.ts'
import { tryLock } from '../../kernel/lake/process-lock.ts'
import { recoverInstance, recoverSpool } from '../../kernel/lake/recover-spool.ts'
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
 * @throws SpoolInUseError if another process writes as this instance
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  if (!isInstanceName(options.instance)) throw new RangeError(`'${options.instance}' can't be the name of a folder.`)
  const fs = options.fs ?? diskFs
  const dir = join(options.dir, options.instance)
  await fs.makeDir(dir)
  const lock = await waitForLock(options.dir, options.instance, options.lockWaitMs ?? SPOOL_DEFAULTS.lockWaitMs)
  try {
    const own = await recoverInstance(options.dir, options.instance)
    const others = await recoverSpool(options.dir)
    const counters = (await readCounters(dir)) ?? NO_COUNTS
    const last = (await listSegments(options.dir, options.instance)).at(-1)
    const freeBytes = await fs.freeBytes(dir)
    const spool = new DiskSpool({ ...SPOOL_DEFAULTS, ...options, fs }, dir, lock, counters, (last?.sequence ?? 0) + 1)
    spool.start(freeBytes, own.sealed + others.sealed, own.tornBytes + others.tornBytes)
    return spool
  } catch (error) {
    lock.release()
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
