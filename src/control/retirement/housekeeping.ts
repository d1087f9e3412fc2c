import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { errnoOf } from '../../kernel/runtime/system-error.ts'
import type { ControlContext } from '../control-context.ts'

/** What is kept of everything else that grows. Ages are calendar time. */
export interface SweepLimits {
  /** Folders of ended runs (their logs and outputs) are removed once older than this, or beyond the newest … */
  runMaxAgeMs: number
  runsKept: number
  /** … but the newest runs that failed keep theirs. */
  failedRunsKept: number
  eventMaxAgeMs: number
  /** Of one look. */
  runsPerSweep: number
  eventsPerSweep: number
}

const DAY_MS = 24 * 3_600_000

export const SWEEP_LIMITS: SweepLimits = {
  runMaxAgeMs: 30 * DAY_MS,
  runsKept: 50,
  failedRunsKept: 5,
  eventMaxAgeMs: 365 * DAY_MS,
  runsPerSweep: 5,
  eventsPerSweep: 1_000,
}

/** Removes what is no longer wanted, a bounded part each time. Safe to repeat and to be killed in. */
export async function sweep(context: ControlContext, limits: SweepLimits = SWEEP_LIMITS): Promise<void> {
  await sweepRuns(context, limits)
  await sweepEvents(context, limits)
  await refreshStatistics(context)
}

/** The least number of events after which the tables may have become others, and their share of all. */
const NEWS = { events: 500, share: 0.2 }
const STATISTICS = 'statistics'

/** Once so much has happened since the last time that plans made then may be bad ones. */
async function refreshStatistics({ store }: ControlContext): Promise<void> {
  const { last } = await store.db
    .selectFrom('event')
    .select((eb) => eb.fn.max('id').as('last'))
    .executeTakeFirstOrThrow()
  const events = Number(last ?? 0)
  const row = await store.db.selectFrom('setting').select('value').where('key', '=', STATISTICS).executeTakeFirst()
  const seen = (row?.value as { events: number } | undefined)?.events ?? 0
  if (events - seen < Math.max(NEWS.events, seen * NEWS.share)) return
  await store.refreshStatistics()
  const value = JSON.stringify({ events })
  await store.db
    .insertInto('setting')
    .values({ key: STATISTICS, value })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
    .execute()
}

/** The rows of a run stay: only its folder goes. What it made is kept as artifacts. */
async function sweepRuns({ store, clock, dataDir, log }: ControlContext, limits: SweepLimits): Promise<void> {
  const folders = (await readdir(join(dataDir, 'runs')).catch(nothingIfMissing)).filter((name) =>
    /^run-\d+$/.test(name),
  )
  if (folders.length === 0) return
  const before = Math.round(clock.calendarMs()) - limits.runMaxAgeMs
  const { rows } = await sql<{ id: string }>`
    select id from (
      select run.id, run.seq, run.status,
        row_number() over (partition by run.model order by run.seq desc) as place,
        row_number() over (partition by run.model, run.status order by run.seq desc) as place_of_status
      from run) ranked
    where id in (${sql.join(folders)}) and status in ('succeeded', 'failed', 'cancelled')
      and (place > ${limits.runsKept} or ${before} > (
        select max(calendar_ms) from event where entity = 'run' and entity_id = ranked.id))
      and not (status = 'failed' and place_of_status <= ${limits.failedRunsKept})
    order by seq limit ${limits.runsPerSweep}`.execute(store.db)
  for (const { id } of rows) {
    await rm(join(dataDir, 'runs', id), { recursive: true, force: true })
    log.info({ run: id }, 'the folder of an old run was removed')
  }
}

/** Only the oldest are looked at: ids grow with time. */
async function sweepEvents({ store, clock }: ControlContext, limits: SweepLimits): Promise<void> {
  const before = Math.round(clock.calendarMs()) - limits.eventMaxAgeMs
  await sql`
    delete from event where id in (
      select id from (select id, calendar_ms from event order by id limit ${limits.eventsPerSweep}) oldest
      where calendar_ms < ${before})`.execute(store.db)
}

function nothingIfMissing(thrown: unknown): string[] {
  if (errnoOf(thrown) === 'ENOENT') return []
  throw thrown
}
