import { sql } from 'kysely'
import type { ControlContext } from '../control-context.ts'
import { recordSli } from './sli-requests.ts'

/** Events older than this (real time) were recorded by a look before. */
const LOOK_BACK_MS = 7 * 86_400_000
const AT_ONCE = 100

/**
 * A version that was out of service and had to come back was retired too early: a bad event of retirement safety, beside
 * the good one of its retirement. Read from the events of retirement, each recorded once.
 */
export async function recordRevivals({ store, clock }: ControlContext): Promise<void> {
  const recorded = sql<string>`event.entity_id || ' revived ' || event.id`
  const rows = await store.db
    .selectFrom('event')
    .innerJoin('version', 'version.id', 'event.entity_id')
    .leftJoin('sli', (join) =>
      join
        .on('sli.phase', '=', 'retirement')
        .on('sli.indicator', '=', 'retirementSafety')
        .on('sli.subject', '=', recorded),
    )
    .select(['event.at_ms', 'event.calendar_ms', 'version.model', recorded.as('subject')])
    .where('event.entity', '=', 'retirement')
    .where('event.from_status', 'in', ['stopped', 'cold'])
    .where('event.to_status', '=', 'kept')
    .where('event.at_ms', '>', Math.floor(clock.epochMs() - LOOK_BACK_MS))
    .where('sli.seq', 'is', null)
    .orderBy('event.id')
    .limit(AT_ONCE)
    .execute()
  const bad = { phase: 'retirement', indicator: 'retirementSafety', value: 0, good: false } as const
  for (const { subject, model, at_ms, calendar_ms } of rows)
    await recordSli(store.db, { ...bad, model, subject, atMs: at_ms, calendarMs: calendar_ms })
}
