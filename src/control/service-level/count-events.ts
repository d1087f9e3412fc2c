import { sql, type Kysely, type RawBuilder } from 'kysely'
import { LATENCY_BOUNDS_MS } from '../../kernel/contract/routing.ts'
import { burnWindows } from '../../kernel/stats/burn-rate.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { levelFacts, NO_EVENTS, type DeclaredLevel, type EventCount, type LevelEvents } from './level.ts'

/** Gateways' counts are kept by the minute in which they were reported. */
const MINUTE_MS = 60_000

/**
 * The events of each level, over all of its windows, in one query for all models whose level has the same windows.
 * Windows end now; what was recorded later than now, before somebody set the clock back, is in all of them.
 * @returns in the order of `levels`
 */
export async function countEvents(
  db: Kysely<Database>,
  levels: DeclaredLevel[],
  now: { epochMs: number; calendarMs: number },
): Promise<LevelEvents[]> {
  const counted = new Map<DeclaredLevel, LevelEvents>()
  for (const alike of Map.groupBy(levels, groupOf).values())
    for (const [level, events] of await countAlike(db, alike, now)) counted.set(level, events)
  return levels.map((level) => counted.get(level) ?? withoutEvents(level.level.windowMs))
}

const groupOf = ({ level }: DeclaredLevel) =>
  `${level.name} ${level.windowMs} ${levelFacts[level.name].source.kind === 'latencies' ? level.thresholdMs : ''}`

function withoutEvents(windowMs: number): LevelEvents {
  const pairs = burnWindows(windowMs).map(() => ({ long: NO_EVENTS, short: NO_EVENTS }))
  return { whole: NO_EVENTS, pairs, last: [] }
}

async function countAlike(
  db: Kysely<Database>,
  alike: DeclaredLevel[],
  now: { epochMs: number; calendarMs: number },
): Promise<[DeclaredLevel, LevelEvents][]> {
  const { level } = alike[0]!
  const { source } = levelFacts[level.name]
  const models = alike.map(({ model }) => model)
  const windows = [level.windowMs, ...burnWindows(level.windowMs).flatMap(({ longMs, shortMs }) => [longMs, shortMs])]
  const nowMs = source.kind === 'sli' && source.time === 'calendar' ? now.calendarMs : now.epochMs
  const from = windows.map((windowMs) => Math.floor(nowMs - windowMs))
  const counts =
    source.kind === 'sli'
      ? await countMeasured(db, models, source, from)
      : await countRequests(db, models, goodRequests(source.kind, level.thresholdMs), from)
  const rare = source.kind === 'sli' && levelFacts[level.name].evidence.kind === 'rare'
  const last = rare ? await lastMeasured(db, models, source, from[0]!) : new Map<string, boolean[]>()
  return alike.map((declared) => {
    const [whole, ...pairs] = counts.get(declared.model) ?? windows.map(() => NO_EVENTS)
    const events = {
      whole: whole!,
      pairs: burnWindows(level.windowMs).map((_, i) => ({ long: pairs[2 * i]!, short: pairs[2 * i + 1]! })),
      last: last.get(declared.model) ?? [],
    }
    return [declared, events]
  })
}

type Measured = { phase: string; indicator: string; time: 'calendar' | 'epoch' }

const timeOf = (source: Measured) => sql.ref<number>(source.time === 'calendar' ? 'calendar_ms' : 'at_ms')

function countMeasured(
  db: Kysely<Database>,
  models: string[],
  source: Measured,
  from: number[],
): Promise<Map<string, EventCount[]>> {
  const at = timeOf(source)
  const columns = from.flatMap((ms, i) => [
    sql`count(*) filter (where good and ${at} > ${ms}) as ${sql.id(`good_${i}`)}`,
    sql`count(*) filter (where not good and ${at} > ${ms}) as ${sql.id(`bad_${i}`)}`,
  ])
  const query = sql<Record<string, number | string>>`
    select model, ${sql.join(columns)} from sli
    where phase = ${source.phase} and indicator = ${source.indicator} and model in (${sql.join(models)})
      and ${at} > ${Math.min(...from)}
    group by model`
  return byModel(db, query, from.length)
}

/** The last three within the window, newest first as they were recorded. */
async function lastMeasured(
  db: Kysely<Database>,
  models: string[],
  source: Measured,
  fromMs: number,
): Promise<Map<string, boolean[]>> {
  const { rows } = await sql<{ model: string; good: boolean }>`
    select model, good from (
      select model, good, seq, row_number() over (partition by model order by seq desc) as place from sli
      where phase = ${source.phase} and indicator = ${source.indicator} and model in (${sql.join(models)})
        and ${timeOf(source)} > ${fromMs}) as recent
    where place <= 3 order by seq desc`.execute(db)
  const grouped = Map.groupBy(rows, ({ model }) => model)
  return new Map([...grouped].map(([model, events]) => [model, events.map(({ good }) => good)]))
}

/** Of a row of `traffic`, beside all: requests less those whose client left, who count neither way. */
function goodRequests(kind: 'failures' | 'latencies', thresholdMs: number | null): RawBuilder<number> {
  if (kind === 'failures') return sql`requests - interrupted - failed`
  const within = LATENCY_BOUNDS_MS.flatMap((bound, i) => (bound <= (thresholdMs ?? Infinity) ? [i] : []))
  const buckets = within.map((i) => sql`coalesce((latency_counts ->> ${sql.lit(i)})::bigint, 0)`)
  return buckets.length === 0 ? sql`0` : sql`${sql.join(buckets, sql` + `)}`
}

function countRequests(
  db: Kysely<Database>,
  models: string[],
  good: RawBuilder<number>,
  from: number[],
): Promise<Map<string, EventCount[]>> {
  const columns = from.flatMap((ms, i) => {
    const within = sql`minute_ms > ${ms - MINUTE_MS}`
    return [
      sql`coalesce(sum(good) filter (where ${within}), 0) as ${sql.id(`good_${i}`)}`,
      sql`coalesce(sum(counted - good) filter (where ${within}), 0) as ${sql.id(`bad_${i}`)}`,
    ]
  })
  // Materialized, or the buckets of each row would be summed again for each window.
  const query = sql<Record<string, number | string>>`
    with minutes as materialized (
      select split_part(version_id, '@', 1) as model, minute_ms, requests - interrupted as counted, ${good} as good
      from traffic where minute_ms > ${Math.min(...from) - MINUTE_MS})
    select model, ${sql.join(columns)} from minutes where model in (${sql.join(models)}) group by model`
  return byModel(db, query, from.length)
}

async function byModel(
  db: Kysely<Database>,
  query: RawBuilder<Record<string, number | string>>,
  windows: number,
): Promise<Map<string, EventCount[]>> {
  const { rows } = await query.execute(db)
  const countsOf = (row: Record<string, number | string>) =>
    Array.from({ length: windows }, (_, i) => ({ good: Number(row[`good_${i}`]), bad: Number(row[`bad_${i}`]) }))
  return new Map(rows.map((row) => [String(row['model']), countsOf(row)]))
}
