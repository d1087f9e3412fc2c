import type { Kysely, Transaction } from 'kysely'
import { sql } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'

type Db = Kysely<Database> | Transaction<Database>

/** What is remembered of a trigger (or a backfill) from one look to the next. */
export interface TriggerState {
  model: string
  name: string
  kind: string
  /** As the kind's noun file says; null where nothing is remembered yet. `newData` reads its own. */
  seen: unknown
  paused: { atMs: number; why: string } | null
  resumed: { calendarMs: number; catchUp: boolean } | null
  /** Calendar. */
  lastFiredMs: number | null
  dueMs: number | null
}

export const stateKey = (model: string, name: string): string => `${model}/${name}`

/** Of every trigger, by `stateKey`. What `newData` remembers may be large, and is left out. */
export async function triggerStates(db: Db): Promise<Map<string, TriggerState>> {
  const rows = await db
    .selectFrom('trigger_state')
    .select(['model', 'trigger_name', 'paused_at_ms', 'paused_why', 'resumed', 'last_fired_at_ms', 'due_calendar_ms'])
    .select(sql<string>`coalesce(kind, 'newData')`.as('kind'))
    .select(sql<unknown>`case when coalesce(kind, 'newData') <> 'newData' then seen end`.as('seen'))
    .orderBy('trigger_name')
    .execute()
  const states = rows.map((row): TriggerState => ({
    model: row.model,
    name: row.trigger_name,
    kind: row.kind,
    seen: row.seen,
    paused: row.paused_at_ms === null ? null : { atMs: row.paused_at_ms, why: row.paused_why ?? '' },
    resumed: row.resumed,
    lastFiredMs: row.last_fired_at_ms,
    dueMs: row.due_calendar_ms,
  }))
  return new Map(states.map((state) => [stateKey(state.model, state.name), state]))
}

export interface FiringRecord {
  runId: string
  atMs: number
  calendarMs: number
  why: string
}

/** One for each run, newest first. */
export async function firingsOf(db: Db, model: string, name: string, limit: number): Promise<FiringRecord[]> {
  const rows = await db
    .selectFrom('trigger_firing')
    .select(({ fn }) => [
      'run_id',
      fn.max('at_ms').as('at_ms'),
      fn.max('calendar_ms').as('calendar_ms'),
      fn.max('why').as('why'),
    ])
    .where('model', '=', model)
    .where('trigger_name', '=', name)
    .groupBy('run_id')
    .orderBy('at_ms', 'desc')
    .limit(limit)
    .execute()
  return rows.map((r) => ({
    runId: r.run_id,
    atMs: Number(r.at_ms),
    calendarMs: Number(r.calendar_ms),
    why: r.why,
  }))
}

/** The newest run of each trigger, by `stateKey`. */
export async function lastRuns(db: Db): Promise<Map<string, string>> {
  const rows = await db
    .selectFrom('trigger_firing')
    .distinctOn(['model', 'trigger_name'])
    .select(['model', 'trigger_name', 'run_id'])
    .orderBy('model')
    .orderBy('trigger_name')
    .orderBy('at_ms', 'desc')
    .execute()
  return new Map(rows.map((row) => [stateKey(row.model, row.trigger_name), row.run_id]))
}

/** A run of the model that is under way or queued; backfills give way, and count for no one but themselves. */
export async function openRunOf(db: Db, model: string): Promise<string | null> {
  const row = await db
    .selectFrom('run')
    .select('id')
    .where('model', '=', model)
    .where('status', 'in', ['queued', 'running'])
    .where('trigger_kind', '<>', 'backfill')
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst()
  return row?.id ?? null
}

export interface TriggerEvent {
  model: string
  trigger: string
  what: 'fired' | 'skipped' | 'paused' | 'resumed' | 'asked' | 'cancelled'
  why: string
  run: string | null
  atMs: number
  calendarMs: number
}

/** What triggers did and did not, newest first. */
export async function triggerHistory(
  db: Db,
  filter: { model?: string | undefined; trigger?: string | undefined; limit: number },
): Promise<TriggerEvent[]> {
  let query = db.selectFrom('event').selectAll().where('entity', '=', 'trigger')
  if (filter.model !== undefined) query = query.where(sql`detail ->> 'model'`, '=', filter.model)
  if (filter.trigger !== undefined)
    query = query.where(sql`substr(entity_id, strpos(entity_id, '/') + 1)`, '=', filter.trigger)
  const rows = await query.orderBy('id', 'desc').limit(filter.limit).execute()
  return rows.map((row) => {
    const cut = row.entity_id.indexOf('/')
    return {
      model: row.entity_id.slice(0, cut),
      trigger: row.entity_id.slice(cut + 1),
      what: row.to_status as TriggerEvent['what'],
      why: row.cause,
      run: (row.detail as { run?: string } | null)?.run ?? null,
      atMs: row.at_ms,
      calendarMs: row.calendar_ms,
    }
  })
}

/** How the runs of a backfill ended. */
export async function backfillRuns(
  db: Db,
  model: string,
  name: string,
): Promise<{ succeeded: number; failed: number }> {
  const rows = await db
    .selectFrom('trigger_firing')
    .innerJoin('run', 'run.id', 'trigger_firing.run_id')
    .select(['run.status', ({ fn }) => fn.countAll().as('count')])
    .where('trigger_firing.model', '=', model)
    .where('trigger_name', '=', name)
    .groupBy('run.status')
    .execute()
  const of = (...statuses: string[]) =>
    rows.filter((r) => statuses.includes(r.status)).reduce((total, r) => total + Number(r.count), 0)
  return { succeeded: of('succeeded'), failed: of('failed', 'cancelled') }
}
