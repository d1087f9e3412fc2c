import type { LossName } from '../../config/project.ts'
import type { ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import type { ColumnProfile, NumericProfile } from '../evaluation/baseline-profile.ts'

export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000

/** What the job `observe` is asked: plain JSON, as it runs in a process of its own. */
export interface ObserveInput {
  lakeDir: string
  /** Rows that came with this manifest or before are counted already. */
  afterManifest: number
  /** Versions whose columns are counted; of all others only the rows are. */
  versions: ObservedVersion[]
  quality: QualityQuestion[]
  memoryLimitMb?: number
  threads?: number
}

export interface ObservedVersion {
  model: string
  /** As the lake has it: the number, `3`. */
  version: string
  signature: Signature
  scoreOutput: ScoreOutput | null
  /** Path of the baseline profile; null where the version has none. */
  profilePath: string | null
  bucketMs: number
}

/** Rows of predictions in [fromMs, toMs) with the labels that are in the lake now. */
export interface QualityQuestion {
  model: string
  versions: { version: string; signature: Signature; scoreOutput: ScoreOutput; loss: LossName }[]
  task: Task
  /** The label's value that counts as positive; null: 1, true, yes. */
  positive: string | null
  fromMs: number
  toMs: number
  bucketMs: number
}

export interface Observation {
  /** The rows up to this manifest are in `buckets`. */
  manifest: number
  rows: number
  buckets: CountedBucket[]
  quality: QualityBucket[]
}

/** Rows of one version and origin in one stretch of calendar time. */
export interface CountedBucket {
  versionId: string
  origin: string
  bucketMs: number
  rows: number
  counts: BucketCounts
}

export interface BucketCounts {
  /** Requests: a batch is one. */
  requests: number
  /** Calendar time of the last of them. */
  lastAtMs: number
  /** By name of the input column; empty where the version has no baseline profile. */
  columns: Record<string, ColumnCounts>
  prediction: ColumnCounts | null
}

/**
 * `[missing, odd, bin 0, bin 1, …]` over the bins of the baseline profile. Odd: infinite numbers; of a column with
 * categories, the values that are not among the profile's most frequent.
 */
export type ColumnCounts = number[]

export interface QualityBucket extends QualitySums {
  versionId: string
  bucketMs: number
}

export interface QualitySums {
  predictions: number
  labelled: number
  lossSum: number
  lossSquares: number
  labelSum: number
  scoreSum: number
}

/**
 * Upper bounds of the bins, the last without one. The profile of a constant column has a single bin, in which any value
 * would fall: it gets one around its value, one below and one above.
 */
export function binEdges(profile: NumericProfile): number[] {
  const { edges, min, max } = profile
  if (edges.length > 0 || min === null || min !== max) return edges
  const slack = Math.max(Math.abs(min), 1) * CONSTANT_SLACK
  return [min - slack, min + slack]
}

/** Wider than float32 rounds. */
const CONSTANT_SLACK = 1e-6

/** The baseline profile of a column in the same layout as what is counted. */
export function baselineCounts(profile: ColumnProfile): ColumnCounts {
  if (profile.kind === 'categorical') {
    return [profile.missing, profile.other, ...profile.top.map((entry) => entry.count)]
  }
  const isConstant = binEdges(profile).length > profile.edges.length
  return [profile.missing, profile.infinite, ...(isConstant ? [0, ...profile.counts, 0] : profile.counts)]
}

export function addCounts(a: BucketCounts, b: BucketCounts): BucketCounts {
  const columns: Record<string, ColumnCounts> = { ...a.columns }
  for (const [name, counts] of Object.entries(b.columns)) columns[name] = addColumn(columns[name], counts)
  return {
    requests: a.requests + b.requests,
    lastAtMs: Math.max(a.lastAtMs, b.lastAtMs),
    columns,
    prediction: b.prediction === null ? a.prediction : addColumn(a.prediction, b.prediction),
  }
}

function addColumn(a: ColumnCounts | null | undefined, b: ColumnCounts): ColumnCounts {
  if (a === null || a === undefined) return b
  return b.map((count, bin) => count + (a[bin] ?? 0))
}

/** Buckets must tile both the windows and the hours or days that people look at. */
export function bucketOf(unitMs: number, windowMs: number): number {
  let [a, b] = [unitMs, Math.max(1, Math.round(windowMs))]
  while (b > 0) [a, b] = [b, a % b]
  return a
}
