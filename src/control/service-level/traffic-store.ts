import { sql, type Kysely, type Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { TrafficReport } from '../../kernel/contract/routing.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { recordSli } from './sli-requests.ts'

const MINUTE_MS = 60_000

/**
 * Adds what clients got to the minute it was reported in, notes first answers of new versions, and counts trials. Copies
 * and answers of a fallback are no word about how available an endpoint was.
 */
export async function recordTraffic(tx: Transaction<Database>, clock: Clock, reports: TrafficReport[]): Promise<void> {
  const minuteMs = Math.floor(clock.epochMs() / MINUTE_MS) * MINUTE_MS
  await recordTrials(tx, reports)
  for (const report of reports.filter(({ origin }) => origin === 'live')) {
    const versionId = `${report.model}@${report.version}`
    const before = await tx
      .selectFrom('traffic')
      .select('latency_counts')
      .where('endpoint', '=', report.endpoint)
      .where('version_id', '=', versionId)
      .where('minute_ms', '=', minuteMs)
      .executeTakeFirst()
    const counts = JSON.stringify(report.latencyCounts.map((n, i) => n + (before?.latency_counts[i] ?? 0)))
    await tx
      .insertInto('traffic')
      .values({
        minute_ms: minuteMs,
        endpoint: report.endpoint,
        version_id: versionId,
        requests: report.requests,
        // Where another version or the fallback answered instead, the client did not see a failure.
        failed: Math.max(0, report.failed - (report.rescued ?? 0)),
        interrupted: report.interrupted,
        latency_counts: counts,
      })
      .onConflict((conflict) =>
        conflict.columns(['endpoint', 'version_id', 'minute_ms']).doUpdateSet({
          requests: sql`traffic.requests + excluded.requests`,
          failed: sql`traffic.failed + excluded.failed`,
          interrupted: sql`traffic.interrupted + excluded.interrupted`,
          latency_counts: counts,
        }),
      )
      .execute()
    if (report.firstAnswerAtMs !== null) await recordFirstAnswer(tx, clock, versionId, report.firstAnswerAtMs)
  }
}

/** A trial that nobody knows, as after a restore of an older database, is not counted. */
async function recordTrials(tx: Transaction<Database>, reports: TrafficReport[]): Promise<void> {
  const named = new Set(reports.flatMap(({ trial }) => (trial === null ? [] : [trial])))
  if (named.size === 0) return
  const known = new Set(
    (
      await tx
        .selectFrom('trial')
        .select('id')
        .where('id', 'in', [...named])
        .execute()
    ).map((t) => t.id),
  )
  for (const report of reports) {
    const { trial, requests, failed, interrupted, fineLatency, origin } = report
    if (trial === null || !known.has(trial) || origin === 'fallback' || requests === 0) continue
    const key = { trial_id: trial, version_id: `${report.model}@${report.version}` }
    const before = await tx
      .selectFrom('trial_count')
      .select('latency')
      .where('trial_id', '=', key.trial_id)
      .where('version_id', '=', key.version_id)
      .executeTakeFirst()
    const latency: Record<string, number> = { ...before?.latency }
    for (const [bucket, n] of Object.entries(fineLatency)) latency[bucket] = (latency[bucket] ?? 0) + n
    await tx
      .insertInto('trial_count')
      .values({ ...key, requests, failed, interrupted, latency: JSON.stringify(latency) })
      .onConflict((conflict) =>
        conflict.columns(['trial_id', 'version_id']).doUpdateSet({
          requests: sql`trial_count.requests + excluded.requests`,
          failed: sql`trial_count.failed + excluded.failed`,
          interrupted: sql`trial_count.interrupted + excluded.interrupted`,
          latency: sql`excluded.latency`,
        }),
      )
      .execute()
  }
}

/** Lead time: from the end of training to the first answer that the new version gave to a client. */
async function recordFirstAnswer(
  tx: Transaction<Database>,
  clock: Clock,
  versionId: string,
  atMs: number,
): Promise<void> {
  const release = await tx
    .selectFrom('release')
    .select(['id', 'model'])
    .where('version_id', '=', versionId)
    .where('kind', '=', 'release')
    .where('status', 'in', ['switching', 'canary', 'held', 'released'])
    .where('first_answer_at_ms', 'is', null)
    .orderBy('seq', 'desc')
    .executeTakeFirst()
  if (release === undefined) return
  await tx
    .updateTable('release')
    .set({ first_answer_at_ms: Math.round(atMs) })
    .where('id', '=', release.id)
    .execute()
  const version = await tx
    .selectFrom('version')
    .select(['trained_at_ms', 'run_id'])
    .where('id', '=', versionId)
    .executeTakeFirstOrThrow()
  if (version.run_id === null) return
  await recordSli(tx, {
    phase: 'release',
    indicator: 'leadTimeMs',
    model: release.model,
    value: atMs - version.trained_at_ms,
    good: true,
    subject: release.id,
    atMs: Math.round(atMs),
    calendarMs: clock.calendarMs(),
  })
}

export interface EndpointTotals {
  endpoint: string
  requests: number
  failed: number
  interrupted: number
}

/** Of all that was ever counted, also of what has been forgotten since. */
export async function trafficTotals(db: Kysely<Database>): Promise<EndpointTotals[]> {
  const rows = await db
    .selectFrom('traffic')
    .select((eb) => [
      'endpoint',
      eb.fn.sum('requests').as('requests'),
      eb.fn.sum('failed').as('failed'),
      eb.fn.sum('interrupted').as('interrupted'),
    ])
    .groupBy('endpoint')
    .execute()
  const kept = rows.map((r) => ({
    endpoint: r.endpoint,
    requests: Number(r.requests),
    failed: Number(r.failed),
    interrupted: Number(r.interrupted),
  }))
  return sumTotals([...kept, ...(await forgottenTotals(db))])
}

const FORGOTTEN = 'traffic-forgotten'

/** What was deleted from the counts, summed. */
async function forgottenTotals(db: Kysely<Database> | Transaction<Database>): Promise<EndpointTotals[]> {
  const row = await db.selectFrom('setting').select('value').where('key', '=', FORGOTTEN).executeTakeFirst()
  return (row?.value ?? []) as EndpointTotals[]
}

function sumTotals(all: EndpointTotals[]): EndpointTotals[] {
  return [...Map.groupBy(all, (t) => t.endpoint)].map(([endpoint, totals]) => {
    const sum = (of: 'requests' | 'failed' | 'interrupted') => totals.reduce((total, t) => total + t[of], 0)
    return { endpoint, requests: sum('requests'), failed: sum('failed'), interrupted: sum('interrupted') }
  })
}

/** Deletes what was counted before, and keeps its sums. */
export async function forgetTraffic(tx: Transaction<Database>, beforeMs: number): Promise<void> {
  const gone = await tx
    .deleteFrom('traffic')
    .where('minute_ms', '<', Math.floor(beforeMs))
    .returning(['endpoint', 'requests', 'failed', 'interrupted'])
    .execute()
  if (gone.length === 0) return
  const value = JSON.stringify(sumTotals([...(await forgottenTotals(tx)), ...gone]))
  await tx
    .insertInto('setting')
    .values({ key: FORGOTTEN, value })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
    .execute()
}

/** Makes one row of an hour's minutes, for each endpoint and version. Doing it again changes nothing. */
export async function rollUpHour(tx: Transaction<Database>, hourMs: number): Promise<void> {
  const rows = await tx
    .deleteFrom('traffic')
    .where('minute_ms', '>=', hourMs)
    .where('minute_ms', '<', hourMs + 60 * MINUTE_MS)
    .returningAll()
    .execute()
  for (const [, alike] of Map.groupBy(rows, (r) => `${r.endpoint} ${r.version_id}`)) {
    const { endpoint, version_id } = alike[0]!
    const sum = (of: 'requests' | 'failed' | 'interrupted') => alike.reduce((total, r) => total + r[of], 0)
    const longest = Math.max(...alike.map((r) => r.latency_counts.length))
    const counts = Array.from({ length: longest }, (_, i) =>
      alike.reduce((total, r) => total + (r.latency_counts[i] ?? 0), 0),
    )
    await tx
      .insertInto('traffic')
      .values({
        minute_ms: hourMs,
        endpoint,
        version_id,
        requests: sum('requests'),
        failed: sum('failed'),
        interrupted: sum('interrupted'),
        latency_counts: JSON.stringify(counts),
      })
      .execute()
  }
}
