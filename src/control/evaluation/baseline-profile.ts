import { countIntoBins, quantileEdges } from '../../kernel/stats/histogram.ts'

/**
 * What the columns looked like where the model was made: the yardstick of drift. Stored as JSON beside the version.
 */
export interface BaselineProfile {
  format: 1
  /** What the input columns are taken from; the prediction always comes from the holdout, as it was not learnt from. */
  source: 'training' | 'holdout'
  /** Rows that the source holds, and rows that were profiled: a seeded sample where there are very many. */
  rows: number
  profiledRows: number
  columns: ColumnProfile[]
  prediction: NumericProfile
}

export type ColumnProfile = NumericProfile | CategoricalProfile

export interface NumericProfile {
  kind: 'numeric'
  name: string
  /** Rows with a value / without one (null or NaN). */
  count: number
  missing: number
  /** ±∞, in no bin. */
  infinite: number
  /** Of the finite values; null where there are none. The standard deviation is null for fewer than two. */
  mean: number | null
  standardDeviation: number | null
  min: number | null
  max: number | null
  /** Inner edges, ascending; bin i holds values up to and including edge i, the last all above. Cut at quantiles. */
  edges: number[]
  /** One more than edges. */
  counts: number[]
}

export interface CategoricalProfile {
  kind: 'categorical'
  name: string
  count: number
  missing: number
  /** Different values, all of them. */
  distinct: number
  /** The most frequent, by count and then by name. */
  top: { value: string; count: number }[]
  /** Rows whose value is not among `top`. */
  other: number
}

export const PROFILE_BINS = 10
export const PROFILE_TOP = 50

/** @param values - one per row; NaN is missing */
export function numericProfile(name: string, values: Float64Array): NumericProfile {
  const finite = values.filter(Number.isFinite).sort()
  const missing = values.reduce((count, value) => count + (Number.isNaN(value) ? 1 : 0), 0)
  const { mean, standardDeviation } = moments(finite)
  const edges = quantileEdges(finite, PROFILE_BINS)
  return {
    kind: 'numeric',
    name,
    count: values.length - missing,
    missing,
    infinite: values.length - missing - finite.length,
    mean,
    standardDeviation,
    min: finite[0] ?? null,
    max: finite.at(-1) ?? null,
    edges,
    counts: countIntoBins(edges, finite),
  }
}

/** @param values - one per row; null is missing */
export function categoricalProfile(name: string, values: Iterable<string | null>): CategoricalProfile {
  const counts = new Map<string, number>()
  let missing = 0
  let count = 0
  for (const value of values) {
    if (value === null) missing += 1
    else counts.set(value, (counts.get(value) ?? 0) + 1)
    if (value !== null) count += 1
  }
  const byCount = [...counts].sort(([a, aCount], [b, bCount]) => bCount - aCount || (a < b ? -1 : 1))
  const top = byCount.slice(0, PROFILE_TOP).map(([value, valueCount]) => ({ value, count: valueCount }))
  const covered = top.reduce((total, entry) => total + entry.count, 0)
  return { kind: 'categorical', name, count, missing, distinct: counts.size, top, other: count - covered }
}

/** Two passes: subtracting the mean first keeps the digits of a column like 1e9 ± 1. */
function moments(values: Float64Array): { mean: number | null; standardDeviation: number | null } {
  if (values.length === 0) return { mean: null, standardDeviation: null }
  const mean = values.reduce((total, value) => total + value / values.length, 0)
  if (values.length === 1) return { mean, standardDeviation: null }
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, 0)
  const standardDeviation = Math.sqrt(squares / (values.length - 1))
  return { mean, standardDeviation: Number.isFinite(standardDeviation) ? standardDeviation : null }
}
