import { sql, type Kysely, type Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { TrafficReport } from '../../kernel/contract/routing.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { recordSli } from './sli-requests.ts'

const MINUTE_MS = 60_000

/** Adds what gateways counted to the minute it was reported in, and notes first answers of new versions. */
export async function recordTraffic(tx: Transaction<Database>, clock: Clock, reports: TrafficReport[]): Promise<void> {
  const minuteMs = Math.floor(clock.epochMs() / MINUTE_MS) * MINUTE_MS
  for (const report of reports) {
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
        failed: report.failed,
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
    if (report.firstAnswerAtMs !== null) await recordFirstAnswer(tx, versionId, report.firstAnswerAtMs)
  }
}

/** Lead time: from the end of training to the first answer that the new version gave to a client. */
async function recordFirstAnswer(tx: Transaction<Database>, versionId: string, atMs: number): Promise<void> {
  const release = await tx
    .selectFrom('release')
    .select(['id', 'model'])
    .where('version_id', '=', versionId)
    .where('kind', '=', 'release')
    .where('status', 'in', ['switching', 'released'])
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
  })
}

export interface EndpointTotals {
  endpoint: string
  requests: number
  failed: number
  interrupted: number
}

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
  return rows.map((r) => ({
    endpoint: r.endpoint,
    requests: Number(r.requests),
    failed: Number(r.failed),
    interrupted: Number(r.interrupted),
  }))
}
