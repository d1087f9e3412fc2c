import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { ModelInput, ProjectInput } from '../config/input.ts'
import type { AppliedProject, ControlContext, Topic } from '../control/control-context.ts'
import { snapshotCode } from '../control/pipeline/code-snapshot.ts'
import { requestRun, type RunRequest } from '../control/pipeline/run-requests.ts'
import { applyProject, pausedModels } from '../control/project/revision-store.ts'
import { createImportedVersion, setSignature } from '../control/registry/version-requests.ts'
import { openFsArtifacts } from '../kernel/artifacts/fs/fs-artifacts.ts'
import type { Clock } from '../kernel/clock.ts'
import { silentLog } from '../kernel/log.ts'
import type { Store } from '../kernel/store/store.ts'
import { plainSignature, projectOf } from './control-builders.ts'

/** A control plane's surroundings for one test: a real store and real artifacts, a project's folder, no loops. */
export interface ControlLab {
  context: ControlContext
  /** The project's folder. */
  root: string
  dataDir: string
  /** Topics that were woken, in order. */
  woken: Topic[]
  disk: { low: boolean }
  /** Writes a file of the project. */
  write(path: string, content: string | Uint8Array): string
  apply(models: Record<string, ModelInput>, rest?: Partial<ProjectInput>): Promise<void>
  /** Asks for a run of a model on the code that is there now. */
  train(model: string, request?: Partial<RunRequest>): Promise<string>
  /** A version that was opened and waits. @returns its id, e.g. `m@1` */
  version(model: string): Promise<string>
  /** Removes its files; the store is whoever's opened it. */
  close(): void
}

/** @param store - is emptied first, as opening one for each test takes longer than most tests */
export async function controlLab(store: Store, clock: Clock): Promise<ControlLab> {
  await emptyStore(store)
  const home = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-lab-')))
  const [root, dataDir] = [join(home, 'project'), join(home, 'data')]
  for (const dir of [root, dataDir]) mkdirSync(dir)
  let applied: AppliedProject | null = null
  const disk = { low: false }
  const woken: Topic[] = []
  const artifacts = openFsArtifacts(join(dataDir, 'artifacts'))
  const context: ControlContext = {
    store,
    clock,
    artifacts,
    dataDir,
    log: silentLog,
    wake: (topic) => void woken.push(topic),
    diskLow: () => disk.low,
    project: () => applied,
  }
  return {
    context,
    root,
    dataDir,
    woken,
    disk,
    write(path, content) {
      const file = join(root, path)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, content)
      return file
    },
    async apply(models, rest) {
      const project = projectOf(root, models, rest)
      const { revision } = await applyProject(store, clock, { project, source: '', sourcePath: '', by: 'test' })
      applied = { revisionId: revision.revision, project, paused: await pausedModels(store.db) }
    },
    async train(name, request) {
      const { project, revisionId } = applied!
      const model = project.models.find((m) => m.name === name)!
      const source = { root, ignore: project.snapshotIgnore, dataDir }
      const codeDigest = (await snapshotCode(source, artifacts)).digest
      const asOfMs = clock.calendarMs()
      const wish = { model, revisionId, triggerKind: 'manual', triggerWhy: 'test', asOfMs, codeDigest } as const
      return store.transaction((tx) => requestRun(tx, clock, { ...wish, ...request }))
    },
    async version(model) {
      const { digest: modelDigest, sizeBytes } = await artifacts.putBytes(Buffer.from('a model'))
      const { revisionId } = applied!
      const facts = { model, revisionId, modelDigest, sizeBytes, importedFrom: '/m.onnx', cause: 'test' }
      return store.transaction(async (tx) => {
        const id = await createImportedVersion(tx, clock, facts)
        await setSignature(tx, id, { signature: plainSignature, scoreOutput: null })
        return id
      })
    },
    close: () => rmSync(home, { recursive: true, force: true }),
  }
}

/**
 * As it was after its migrations. Deletes, and only where there is something: truncating makes every table's files anew,
 * which takes some ten times as long. Foreign keys are not looked at meanwhile; for that the user must be a superuser.
 */
export async function emptyStore({ db }: Store): Promise<void> {
  await sql`do $$
    declare
      found record;
      filled boolean;
    begin
      set local session_replication_role = replica;
      for found in select tablename from pg_tables where schemaname = 'public' and tablename not like 'kysely%' loop
        execute format('select exists (select from %I)', found.tablename) into filled;
        if filled then execute format('delete from %I', found.tablename); end if;
      end loop;
      for found in select sequencename from pg_sequences where schemaname = 'public' and last_value is not null loop
        execute format('alter sequence %I restart', found.sequencename);
      end loop;
    end $$`.execute(db)
}

/** Looks again and again until it holds. @throws after `limitMs` of real time */
export async function until(what: string, holds: () => Promise<boolean> | boolean, limitMs = 60_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`After ${limitMs} ms still not: ${what}`)
    await sleep(20)
  }
}
