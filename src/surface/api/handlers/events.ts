import { setTimeout as sleep } from 'node:timers/promises'
import type { Selectable } from 'kysely'
import type { EventTable } from '../../../kernel/store/schema.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { EventView } from '../event-schemas.ts'
import type { Services } from './services.ts'

const WATCH_EVERY_MS = 200
/** Where nothing has happened for a while. */
const WATCH_QUIET_MS = 500
const QUIET_LOOKS = 25
const WATCH_BATCH = 1_000

export const eventHandlers = (services: Services): HandlerGroup<'events'> => ({
  list: ({ afterSeq, entity, limit }) =>
    afterSeq === undefined ? newestEvents(services, entity, limit) : eventsAfter(services, afterSeq, entity, limit),
  async *watch({ afterSeq, entity }, { signal }) {
    let last = afterSeq ?? (await newestSeq(services))
    let quietLooks = 0
    while (!signal.aborted) {
      const events = await eventsAfter(services, last, entity, WATCH_BATCH)
      quietLooks = events.length === 0 ? quietLooks + 1 : 0
      for (const event of events) {
        yield event
        last = event.seq
      }
      if (events.length < WATCH_BATCH) await sleep(quietLooks > QUIET_LOOKS ? WATCH_QUIET_MS : WATCH_EVERY_MS)
    }
  },
})

async function eventsAfter(
  { context }: Services,
  afterSeq: number,
  entity: string | undefined,
  limit: number,
): Promise<EventView[]> {
  let query = context.store.db.selectFrom('event').selectAll().where('id', '>', afterSeq).orderBy('id').limit(limit)
  if (entity !== undefined) query = query.where('entity', '=', entity)
  return (await query.execute()).map(eventView)
}

async function newestEvents({ context }: Services, entity: string | undefined, limit: number): Promise<EventView[]> {
  let query = context.store.db.selectFrom('event').selectAll().orderBy('id', 'desc').limit(limit)
  if (entity !== undefined) query = query.where('entity', '=', entity)
  return (await query.execute()).map(eventView).toReversed()
}

async function newestSeq({ context }: Services): Promise<number> {
  const row = await context.store.db
    .selectFrom('event')
    .select((eb) => eb.fn.max('id').as('last'))
    .executeTakeFirstOrThrow()
  return Number(row.last ?? 0)
}

function eventView(row: Selectable<EventTable>): EventView {
  return {
    seq: row.id,
    entity: row.entity,
    entityId: row.entity_id,
    from: row.from_status,
    to: row.to_status,
    cause: row.cause,
    atMs: row.at_ms,
    calendarMs: row.calendar_ms,
    detail: row.detail as EventView['detail'],
  }
}
