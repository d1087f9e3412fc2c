import type { Kysely } from 'kysely'
import { LATENCY_BOUNDS_MS } from '../../kernel/contract/routing.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { Indicator, Phase } from './sli-requests.ts'

/** One indicator over a window: what `status` shows. */
export interface IndicatorValue {
  phase: Phase
  indicator: string
  model: string | null
  /** null: nothing was measured in the window */
  value: number | null
  unit: 'ratio' | 'ms' | 'count' | 'bytes'
  count: number
  windowMs: number
}

const shown: { phase: Phase; from: Indicator; indicator: string; unit: 'ratio' | 'ms'; of: 'mean' | 'p50' | 'p95' }[] =
  [
    { phase: 'trigger', from: 'triggerDelayMs', indicator: 'trigger delay p95', unit: 'ms', of: 'p95' },
    { phase: 'pipeline', from: 'runSuccess', indicator: 'run success', unit: 'ratio', of: 'mean' },
    { phase: 'pipeline', from: 'runDurationMs', indicator: 'run duration p50', unit: 'ms', of: 'p50' },
    { phase: 'evaluation', from: 'evaluationValid', indicator: 'evaluation validity', unit: 'ratio', of: 'mean' },
    { phase: 'evaluation', from: 'evaluationDurationMs', indicator: 'evaluation duration p50', unit: 'ms', of: 'p50' },
    { phase: 'release', from: 'releaseSuccess', indicator: 'release success', unit: 'ratio', of: 'mean' },
    { phase: 'release', from: 'leadTimeMs', indicator: 'lead time p50', unit: 'ms', of: 'p50' },
    { phase: 'release', from: 'leadTimeMs', indicator: 'lead time p95', unit: 'ms', of: 'p95' },
    { phase: 'monitoring', from: 'monitorLagMs', indicator: 'monitor lag p95', unit: 'ms', of: 'p95' },
    { phase: 'registry', from: 'modelAgeMs', indicator: 'model age p95', unit: 'ms', of: 'p95' },
    { phase: 'retirement', from: 'retirementSafety', indicator: 'retirement safety', unit: 'ratio', of: 'mean' },
  ]

/** Every phase's indicators over the window that ends now. */
export async function readIndicators(db: Kysely<Database>, nowMs: number, windowMs: number): Promise<IndicatorValue[]> {
  const rows = await db
    .selectFrom('sli')
    .select(['indicator', 'value'])
    .where('at_ms', '>=', nowMs - windowMs)
    .execute()
  const values = Map.groupBy(rows, (r) => r.indicator)
  const measured = shown.map(({ phase, from, indicator, unit, of }): IndicatorValue => {
    const found = (values.get(from) ?? []).map((r) => r.value)
    return { phase, indicator, model: null, value: summarise(found, of), unit, count: found.length, windowMs }
  })
  return [...measured, ...(await servingIndicators(db, nowMs, windowMs))]
}

/** Availability = answered without failure ÷ answered or failed; clients that left count neither way. */
async function servingIndicators(db: Kysely<Database>, nowMs: number, windowMs: number): Promise<IndicatorValue[]> {
  const rows = await db
    .selectFrom('traffic')
    .selectAll()
    .where('minute_ms', '>=', nowMs - windowMs)
    .execute()
  const requests = rows.reduce((sum, r) => sum + r.requests, 0)
  const failed = rows.reduce((sum, r) => sum + r.failed, 0)
  const counts = sumCounts(rows.map((r) => r.latency_counts))
  const about = { phase: 'serving', model: null, count: requests, windowMs } as const
  return [
    { ...about, indicator: 'availability', value: requests === 0 ? null : 1 - failed / requests, unit: 'ratio' },
    { ...about, indicator: 'latency p50', value: quantileOfCounts(counts, 0.5), unit: 'ms' },
    { ...about, indicator: 'latency p99', value: quantileOfCounts(counts, 0.99), unit: 'ms' },
  ]
}

function summarise(values: number[], of: 'mean' | 'p50' | 'p95'): number | null {
  if (values.length === 0) return null
  if (of === 'mean') return values.reduce((a, b) => a + b, 0) / values.length
  const sorted = values.toSorted((a, b) => a - b)
  const share = of === 'p50' ? 0.5 : 0.95
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!
}

function sumCounts(all: number[][]): number[] {
  const sum = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0)
  for (const counts of all) counts.forEach((n, i) => (sum[i] = (sum[i] ?? 0) + n))
  return sum
}

/**
 * The upper bound of the bucket that holds the quantile: never too low, at most one bucket too high.
 * @param counts - per bound of LATENCY_BOUNDS_MS, the last for everything above
 */
export function quantileOfCounts(counts: number[], share: number): number | null {
  const total = counts.reduce((a, b) => a + b, 0)
  if (total === 0) return null
  let seen = 0
  for (const [i, n] of counts.entries()) {
    seen += n
    if (seen >= share * total) return LATENCY_BOUNDS_MS[i] ?? LATENCY_BOUNDS_MS.at(-1)!
  }
  return LATENCY_BOUNDS_MS.at(-1)!
}
