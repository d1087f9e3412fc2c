import type { Kysely, Transaction } from 'kysely'
import { sql } from 'kysely'
import type { Clock } from '../clock.ts'
import type { Database } from './schema.ts'

/** Tables whose `status` is a state machine, with the columns that name a row. */
const keys = {
  model: ['name'],
  run: ['id'],
  step: ['run_id', 'name'],
  attempt: ['token'],
  version: ['id'],
  evaluation: ['id'],
  release: ['id'],
  deployment: ['id'],
  replica: ['id'],
  trial: ['id'],
  freeze: ['id'],
  alert: ['id'],
  retirement: ['version_id'],
  gather_member: ['endpoint', 'version_id'],
} as const satisfies Partial<Record<keyof Database, readonly string[]>>

export type StatefulTable = keyof typeof keys

export interface StatusChange {
  table: StatefulTable
  /** Values of the key columns, in their order: `['run-12']`, `['run-12', 'train']`. */
  key: readonly string[]
  from: string
  to: string
  cause: string
  atMs: number
  calendarMs: number
  /** What people read in the event, where the key is not for them. */
  entityId?: string
  /** Other columns to write with the status. */
  set?: Record<string, unknown>
  detail?: unknown
}

type Db = Kysely<Database> | Transaction<Database>

/**
 * Moves one row from a status to the next, and appends the event, or does neither: both are one statement.
 * @returns false when the row was not in `from`: somebody else moved it first, look again
 */
export async function compareAndSet(tx: Transaction<Database>, change: StatusChange): Promise<boolean> {
  const columns = keys[change.table]
  const assignments = Object.entries({ ...change.set, status: change.to }).map(
    ([column, value]) => sql`${sql.ref(column)} = ${value}`,
  )
  const conditions = columns.map((column, i) => sql`${sql.ref(column)} = ${change.key[i]}`)
  const detail = change.detail === undefined ? null : JSON.stringify(change.detail)
  const appended = await sql`
    with moved as (
      update ${sql.table(change.table)} set ${sql.join(assignments)}
      where ${sql.join(conditions, sql` and `)} and status = ${change.from} returning 1)
    insert into event (entity, entity_id, from_status, to_status, cause, at_ms, calendar_ms, detail)
    select ${change.table}::text, ${change.entityId ?? change.key.join('/')}::text, ${change.from}::text,
      ${change.to}::text, ${change.cause}::text, ${change.atMs}::bigint, ${change.calendarMs}::bigint, ${detail}::jsonb
    from moved`.execute(tx)
  return (appended.numAffectedRows ?? 0n) > 0n
}

export interface EventFacts {
  entity: string
  entityId: string
  from: string | null
  to: string
  cause: string
  atMs: number
  calendarMs: number
  detail?: unknown
}

/** When an event happens that happens now, in whole ms. */
export function timesOf(clock: Clock): Pick<EventFacts, 'atMs' | 'calendarMs'> {
  return { atMs: clock.epochMs(), calendarMs: Math.round(clock.calendarMs()) }
}

/** Also for what begins (`from` null) and for facts without a state machine (aliases, routes). */
export async function appendEvent(db: Db, event: EventFacts): Promise<void> {
  await db
    .insertInto('event')
    .values({
      entity: event.entity,
      entity_id: event.entityId,
      from_status: event.from,
      to_status: event.to,
      cause: event.cause,
      at_ms: event.atMs,
      calendar_ms: event.calendarMs,
      detail: event.detail === undefined ? null : JSON.stringify(event.detail),
    })
    .execute()
}
