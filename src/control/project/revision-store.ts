import type { Kysely, Selectable, Transaction } from 'kysely'
import { completeProject } from '../../config/older-project.ts'
import type { ModelConfig, Project } from '../../config/project.ts'
import type { Clock } from '../../kernel/clock.ts'
import { MillraceError } from '../../kernel/errors.ts'
import type { Store } from '../../kernel/store/store.ts'
import { appendEvent } from '../../kernel/store/state-machine.ts'
import type { Database, RevisionTable } from '../../kernel/store/schema.ts'
import { projectChanges, projectDigest, type Revision } from './revision.ts'

type Db = Kysely<Database> | Transaction<Database>

export class NothingAppliedError extends MillraceError {
  constructor() {
    super({
      code: 'MR_NOTHING_APPLIED',
      kind: 'conflict',
      message: 'No configuration has been applied yet.',
      fix: `Run 'millrace apply' in the folder of your configuration.`,
    })
  }
}

export async function latestRevision(db: Db): Promise<Revision | null> {
  const row = await latestRow(db)
  return row === undefined ? null : toRevision(row)
}

function latestRow(db: Db): Promise<Row | undefined> {
  return db.selectFrom('revision').selectAll().orderBy('id', 'desc').limit(1).executeTakeFirst()
}

export async function listRevisions(db: Db, limit: number): Promise<Revision[]> {
  return (await db.selectFrom('revision').selectAll().orderBy('id', 'desc').limit(limit).execute()).map(toRevision)
}

/** Applies a configuration whole. The same one again makes no new revision. */
export async function applyProject(
  store: Store,
  clock: Clock,
  request: { project: Project; source: string; sourcePath: string; by: string },
): Promise<{ revision: Revision; changes: string[] }> {
  const digest = projectDigest(request.project)
  const nowMs = clock.epochMs()
  return store.transaction(async (tx) => {
    const latest = await latestRow(tx)
    // Read and checked just now: it need not be completed again.
    if (latest?.digest === digest) noteProject(latest, request.project)
    const before = latest === undefined ? null : toRevision(latest)
    if (before?.digest === digest) return { revision: before, changes: [] }
    const changes = projectChanges(before?.project ?? null, request.project)
    const row = await tx
      .insertInto('revision')
      .values({
        digest,
        source: request.source,
        source_path: request.sourcePath,
        project: JSON.stringify(request.project),
        applied_by: request.by,
        applied_at_ms: nowMs,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    await setModels(tx, request.project, nowMs)
    await appendEvent(tx, {
      entity: 'revision',
      entityId: String(row.id),
      from: null,
      to: 'applied',
      cause: `${request.by}: ${changes.join('; ') || 'first'}`,
      atMs: nowMs,
      calendarMs: Math.round(clock.calendarMs()),
    })
    return { revision: toRevision(row), changes }
  })
}

/** Models that left the configuration, with what was last declared for them: they go on serving. */
export async function pausedModels(db: Db): Promise<ModelConfig[]> {
  const paused = await db.selectFrom('model').select('name').where('status', '=', 'paused').execute()
  if (paused.length === 0) return []
  const wanted = new Set(paused.map((m) => m.name))
  const found: ModelConfig[] = []
  for (const revision of await listRevisions(db, 1_000)) {
    for (const model of revision.project.models) if (wanted.delete(model.name)) found.push(model)
    if (wanted.size === 0) break
  }
  return found
}

async function setModels(tx: Transaction<Database>, project: Project, nowMs: number): Promise<void> {
  const names = project.models.map((m) => m.name)
  for (const name of names) {
    await tx
      .insertInto('model')
      .values({ name, status: 'active', updated_at_ms: nowMs })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ status: 'active', updated_at_ms: nowMs }))
      .execute()
  }
  const paused = tx.updateTable('model').set({ status: 'paused', updated_at_ms: nowMs }).where('status', '=', 'active')
  await (names.length === 0 ? paused : paused.where('name', 'not in', names)).execute()
}

type Row = Selectable<RevisionTable>

/** A revision never changes, and to complete what is stored takes its time: those that were read last are kept. */
const projects = new Map<string, Project>()
const PROJECTS_KEPT = 8

function noteProject({ id, digest }: Pick<Row, 'id' | 'digest'>, project: Project): Project {
  if (projects.size >= PROJECTS_KEPT) projects.clear()
  projects.set(`${id} ${digest}`, project)
  return project
}

function projectOf(row: Row): Project {
  return projects.get(`${row.id} ${row.digest}`) ?? noteProject(row, completeProject(row.project as Project))
}

function toRevision(row: Row): Revision {
  return {
    revision: row.id,
    project: projectOf(row),
    digest: row.digest,
    source: row.source,
    sourcePath: row.source_path,
    by: row.applied_by,
    appliedAtMs: row.applied_at_ms,
  }
}
