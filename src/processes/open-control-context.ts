import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Project } from '../config/project.ts'
import type { AppliedProject, ControlContext } from '../control/control-context.ts'
import { applyProject, latestRevision, pausedModels } from '../control/project/revision-store.ts'
import { openFsArtifacts } from '../kernel/artifacts/fs/fs-artifacts.ts'
import { watchFreeSpace, type FreeSpace } from '../kernel/disk-space.ts'
import type { Log } from '../kernel/log.ts'
import { openClock } from '../kernel/rehearsal-clock.ts'
import { sweepJobs } from '../kernel/runtime/job.ts'
import { openStore } from '../kernel/store/open-store.ts'
import type { Store } from '../kernel/store/store.ts'
import type { ControlLoops } from './control-loops.ts'

export interface ControlContextOptions {
  dataDir: string
  databaseUrl: string | null
  /** Applied before anything looks at it. */
  apply: { project: Project; source: string; sourcePath: string; by: string } | null
}

/** What all stages work with, and how it follows the applied configuration. */
export interface OpenControlContext {
  context: ControlContext
  /** Takes the newest revision into use. */
  reload(): Promise<void>
  disk(): Pick<FreeSpace, 'freeBytes'> & { minFreeBytes: number }
  close(): Promise<void>
}

/** @throws where the store can't be opened, or the configuration can't be applied */
export async function openControlContext(
  options: ControlContextOptions,
  log: Log,
  loops: ControlLoops,
): Promise<OpenControlContext> {
  const { dataDir } = options
  const clock = await openClock(dataDir, {
    keep: true,
    onError: (error) => log.warn({ err: error }, 'the rehearsal clock could not be kept'),
  })
  const store = await openOwnStore(options, log)
  if (options.apply !== null) await applyProject(store, clock, options.apply)
  await removeRemains(dataDir)

  let applied: AppliedProject | null = null
  let disk: FreeSpace | null = null
  const minFreeBytes = () => applied?.project.storage.minFreeBytes ?? 0
  const load = async (): Promise<void> => {
    applied = await newestRevision(store)
    disk?.close()
    disk = watchDisk(dataDir, minFreeBytes(), log, loops)
    loops.wakeAll()
  }
  // One after the other, so that the newest revision is the last to be taken into use.
  let loading: Promise<void> = load()
  await loading
  return {
    context: {
      store,
      clock,
      artifacts: openFsArtifacts(join(dataDir, 'artifacts')),
      dataDir,
      log,
      wake: (topic) => loops.wakeFor(topic),
      diskLow: () => disk?.low ?? false,
      project: () => applied,
    },
    reload: () => (loading = loading.then(load, load)),
    disk: () => ({ freeBytes: disk?.freeBytes ?? 0, minFreeBytes: minFreeBytes() }),
    async close() {
      disk?.close()
      clock.close()
      await store.close()
    },
  }
}

function openOwnStore({ dataDir, databaseUrl }: ControlContextOptions, log: Log): Promise<Store> {
  return openStore({
    dataDir,
    databaseUrl: databaseUrl ?? undefined,
    onProgress: (text) => log.info(text),
    onWarning: (text) => log.warn(text),
    onLockLost(why) {
      log.error({ why }, 'another control plane may be writing: this one ends')
      process.exit(1)
    },
  })
}

/** What a killed predecessor has left half done. */
async function removeRemains(dataDir: string): Promise<void> {
  await sweepJobs(dataDir)
  rmSync(join(dataDir, 'tmp'), { recursive: true, force: true })
  mkdirSync(join(dataDir, 'tmp'), { mode: 0o700 })
}

async function newestRevision({ db }: Store): Promise<AppliedProject | null> {
  const latest = await latestRevision(db)
  if (latest === null) return null
  return { revisionId: latest.revision, project: latest.project, paused: await pausedModels(db) }
}

function watchDisk(dataDir: string, minFreeBytes: number, log: Log, loops: ControlLoops): FreeSpace {
  return watchFreeSpace({
    path: dataDir,
    minFreeBytes,
    onChange(low, freeBytes) {
      log.warn(
        { low, freeBytes, minFreeBytes },
        low ? 'free disk space is below the watermark: nothing new is started' : 'there is enough disk space again',
      )
      loops.wakeAll()
    },
    onError: (error) => log.warn({ err: error }, 'free disk space could not be read'),
  })
}
