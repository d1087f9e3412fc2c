import { rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readDirOrNothing, syncDir, unlinkIfThere } from './durable-files.ts'
import { addCounters, NO_COUNTS, readCounters } from './log-counters.ts'
import type { Manifest } from './manifest.ts'
import { tryLock } from './process-lock.ts'
import { listInstances, listSegments, lockPath } from './spool-files.ts'

const RETIRED = '.retired-'

/**
 * Spools of gateways that are gone for good: nobody holds the lock, nothing waits in them, and nothing in the folder
 * has changed for `afterMs`. The folder is renamed first, so that a gateway that comes back under that name starts
 * afresh; then its counters move into the manifest (its name in `retired.instances` says that they have); then it is deleted.
 * @returns what the next manifest must say; equal to `before` where nothing is to be done
 */
export async function retireInstances(
  spoolDir: string,
  before: Manifest['retired'],
  nowMs: number,
  afterMs: number,
): Promise<Manifest['retired']> {
  for (const instance of await listInstances(spoolDir)) {
    if (nowMs - (await stat(join(spoolDir, instance))).mtimeMs >= afterMs) await setAside(spoolDir, instance, nowMs)
  }
  const instances = (await readDirOrNothing(spoolDir)).filter((name) => name.startsWith(RETIRED)).toSorted()
  let { counters } = before
  for (const name of instances) {
    if (before.instances.includes(name)) continue
    counters = addCounters(counters, (await readCounters(join(spoolDir, name))) ?? NO_COUNTS)
  }
  return { counters, instances }
}

/** Deletes what the committed manifest has counted. */
export async function deleteRetired(spoolDir: string, retired: Manifest['retired']): Promise<void> {
  for (const name of retired.instances) await rm(join(spoolDir, name), { recursive: true, force: true })
  if (retired.instances.length > 0) await syncDir(spoolDir)
}

async function setAside(spoolDir: string, instance: string, nowMs: number): Promise<void> {
  const lock = tryLock(lockPath(spoolDir, instance))
  if (lock === null) return
  try {
    if ((await listSegments(spoolDir, instance)).length > 0) return
    await rename(join(spoolDir, instance), join(spoolDir, `${RETIRED}${instance}-${nowMs}`))
    await unlinkIfThere(lockPath(spoolDir, instance))
  } finally {
    lock.release()
  }
}
