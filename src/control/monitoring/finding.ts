import type { LossName } from '../../config/project.ts'
import type { BaselineProfile } from '../evaluation/baseline-profile.ts'
import type { AlertFigures } from './alert.ts'
import type { BucketCounts, QualitySums } from './observation.ts'
import type { Window } from './windows.ts'

/** What is known of a champion in one window. */
export interface WindowFacts {
  window: Window
  versionId: string
  /** Null: the version has none. */
  profile: BaselineProfile | null
  /** Live rows of the champion over the bins of its profile; null where there were none. */
  counts: BucketCounts | null
  /** Live requests of the model, of whatever version, as logged. */
  requests: number
  /** Share of the requests that is logged, 0 … 1. */
  logShare: number
  /** The champion's matured labels; null where nothing was measured. */
  quality: QualitySums | null
  labelDelayMs: number
  /** The evaluation that let the champion through; null where it has none. */
  reference: { meanLoss: number; rows: number } | null
  /** The loss that both are measured by. */
  loss: LossName
  /** Calendar times, for monitors that look at now and not at a window. */
  nowMs: number
  championSinceMs: number
  lastRequestMs: number | null
  trainedMs: number
}

export type Verdict =
  | 'ok'
  | 'bad'
  /** Too little to say anything: neither raises an alarm nor clears one. */
  | 'insufficient'

export interface Finding {
  /** A column; empty where the monitor has one value. */
  subject: string
  verdict: Verdict
  /** One sentence with the numbers. */
  why: string
  value: number | null
  limit: number | null
  /** Rows, labels or requests behind it. */
  n: number
  figures: AlertFigures
}

export function insufficient(subject: string, limit: number | null, why: string): Finding {
  return { subject, verdict: 'insufficient', why, value: null, limit, n: 0, figures: {} }
}
