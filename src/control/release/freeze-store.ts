import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Database, FreezeTable } from '../../kernel/store/schema.ts'
import { freezeMachine, type Freeze, type FreezeKind } from './freeze.ts'

type Db = Kysely<Database> | Transaction<Database>

/** What keeps a model from being released by itself, oldest first. @param model - of every model unless given */
export async function activeFreezes(db: Db, model?: string): Promise<Freeze[]> {
  let query = db.selectFrom('freeze').selectAll().where('status', '=', 'active').orderBy('seq')
  if (model !== undefined) query = query.where('model', '=', model)
  return (await query.execute()).map(toFreeze)
}

/** Newest first. */
export async function listFreezes(db: Db, filter: { model?: string; limit: number }): Promise<Freeze[]> {
  let query = db.selectFrom('freeze').selectAll().orderBy('seq', 'desc').limit(filter.limit)
  if (filter.model !== undefined) query = query.where('model', '=', filter.model)
  return (await query.execute()).map(toFreeze)
}

/** The newest of a model that came with a rollback, active or over; empty where there was none. */
export async function lastRollbackFreeze(db: Db, model: string): Promise<Freeze[]> {
  const query = db.selectFrom('freeze').selectAll().where('model', '=', model).where('kind', '=', 'rollback')
  return (await query.orderBy('seq', 'desc').limit(1).execute()).map(toFreeze)
}

/**
 * Which of these versions were made since a freeze began, or ended: by the order in which both were written down, as the
 * clock may have been set between.
 */
export async function versionsSince(
  db: Db,
  freezeId: string,
  what: 'active' | 'ended',
  versionIds: string[],
): Promise<Set<string>> {
  if (versionIds.length === 0) return new Set()
  const rows = await db
    .selectFrom('event')
    .select('entity_id')
    .where('entity', '=', 'version')
    .where('entity_id', 'in', versionIds)
    .where('from_status', 'is', null)
    .where('id', '>', (eb) =>
      eb
        .selectFrom('event as freeze')
        .select(({ fn }) => fn.max('freeze.id').as('id'))
        .where('freeze.entity', '=', 'freeze')
        .where('freeze.entity_id', '=', freezeId)
        .where('freeze.to_status', '=', what),
    )
    .execute()
  return new Set(rows.map((row) => row.entity_id))
}

export async function findFreeze(db: Db, id: string): Promise<Freeze | null> {
  const row = await db.selectFrom('freeze').selectAll().where('id', '=', id).executeTakeFirst()
  return row === undefined ? null : toFreeze(row)
}

function toFreeze(row: Selectable<FreezeTable>): Freeze {
  return {
    id: row.id,
    model: row.model,
    endpoint: row.endpoint,
    kind: row.kind as FreezeKind,
    status: freezeMachine.parse(row.status),
    why: row.why,
    unfreezes: row.unfreezes,
    codeDigests: row.code_digest === null ? [] : row.code_digest.split(' '),
    configDigest: row.config_digest,
    createdBy: row.created_by,
    createdAtMs: row.created_at_ms,
    createdCalendarMs: row.created_calendar_ms,
    endedAtMs: row.ended_at_ms,
    endedBy: row.ended_by,
    endedWhy: row.ended_why,
  }
}
