import type { Kysely, Selectable, Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Database, RetirementTable } from '../../kernel/store/schema.ts'
import { versionsOfPins } from '../caller/caller-store.ts'
import { retirementMachine, type Retirement } from './retirement.ts'

type Db = Kysely<Database> | Transaction<Database>

/** Null: kept, and never was anything else. */
export async function retirementOf(db: Db, versionId: string): Promise<Retirement | null> {
  const row = await db.selectFrom('retirement').selectAll().where('version_id', '=', versionId).executeTakeFirst()
  return row === undefined ? null : toRetirement(row)
}

/** @param filter.model - of every model unless given */
export async function listRetirements(db: Db, filter: { model?: string } = {}): Promise<Retirement[]> {
  let query = db.selectFrom('retirement').selectAll().orderBy('proposed_at_ms').orderBy('version_id')
  if (filter.model !== undefined) query = query.where('model', '=', filter.model)
  return (await query.execute()).map(toRetirement)
}

/** Of versions that are not deleted. @param filter.model - of every model unless given */
export async function openRetirements(db: Db, filter: { model?: string } = {}): Promise<Retirement[]> {
  let query = db
    .selectFrom('retirement')
    .selectAll()
    .where('status', '<>', 'deleted')
    .orderBy('proposed_at_ms')
    .orderBy('version_id')
  if (filter.model !== undefined) query = query.where('model', '=', filter.model)
  return (await query.execute()).map(toRetirement)
}

/** Versions of a model whose files are gone, or going: nothing may read them. */
export async function versionsBeyondUse(db: Db, model: string): Promise<Set<string>> {
  const rows = await db
    .selectFrom('retirement')
    .select('version_id')
    .where('model', '=', model)
    .where('status', 'in', ['deleting', 'deleted'])
    .execute()
  return new Set(rows.map((r) => r.version_id))
}

const PIN_MS = 30 * 24 * 3_600_000

/** A call of a model's version by its number counts as use for so long (calendar). */
export function pinMsOf(models: ModelConfig[], model: string): number {
  return models.find((m) => m.name === model)?.retirement.pinMs ?? PIN_MS
}

/** Versions that somebody calls by their number or is pinned to. A calendar that was set backwards makes it more. */
export async function pinnedVersions(db: Db, models: ModelConfig[], calendarMs: number): Promise<Set<string>> {
  const rows = await db
    .selectFrom('pin')
    .select((eb) => ['version_id', eb.fn.max('last_calendar_ms').as('last')])
    .groupBy('version_id')
    .execute()
  const isFresh = (id: string, lastMs: number) =>
    calendarMs - lastMs < pinMsOf(models, id.slice(0, id.lastIndexOf('@')))
  const called = rows.filter((r) => isFresh(r.version_id, Number(r.last))).map((r) => r.version_id)
  return new Set([...called, ...(await versionsOfPins(db))])
}

function toRetirement(row: Selectable<RetirementTable>): Retirement {
  return {
    versionId: row.version_id,
    model: row.model,
    status: retirementMachine.parse(row.status),
    policy: row.policy as Retirement['policy'],
    why: row.why,
    heldBy: row.held_by,
    proposedAtMs: row.proposed_at_ms,
    statusAtMs: row.status_at_ms,
    statusCalendarMs: row.status_calendar_ms,
    by: row.by,
    keptUntilCalendarMs: row.kept_until_calendar_ms,
  }
}
