import type { LossName } from '../../config/project.ts'

/**
 * Scores are held this far from 0 and 1 in the log loss: one wrong row that was predicted with certainty costs 16.1,
 * not infinity. It is the finest step that a float32 probability near 1 can take.
 */
export const LOG_LOSS_CLIP = 1e-7

/** What each prediction cost, in the gate's unit; lower is better. */
export const LOSSES: Record<LossName, (score: number, label: number) => number> = {
  logLoss,
  brier: (score, label) => (score - label) ** 2,
  squaredError: (score, label) => (score - label) ** 2,
  absoluteError: (score, label) => Math.abs(score - label),
}

/** @param label - 1 positive, 0 negative */
export function logLoss(score: number, label: number): number {
  const clipped = Math.min(Math.max(score, LOG_LOSS_CLIP), 1 - LOG_LOSS_CLIP)
  return -Math.log(label === 1 ? clipped : 1 - clipped)
}

/** @param labels - for a binary task 1 and 0; same length as `scores` */
export function rowLosses(loss: LossName, scores: Float64Array, labels: Float64Array): Float64Array {
  const of = LOSSES[loss]
  return scores.map((score, row) => of(score, labels[row]!))
}

/** A model that knows the labels' distribution and nothing of the row. */
export interface Constant {
  kind: 'mean' | 'median'
  value: number
}

/**
 * The best constant that the holdout's own labels allow: the median for the absolute error, else the mean (for a
 * binary label, the base rate). No constant chosen beforehand can do better on these rows, so it is the hardest to beat.
 */
export function bestConstant(loss: LossName, labels: Float64Array): Constant {
  if (loss !== 'absoluteError') {
    return { kind: 'mean', value: labels.reduce((total, label) => total + label, 0) / labels.length }
  }
  const sorted = labels.toSorted()
  const middle = sorted.length >>> 1
  const value = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { kind: 'median', value }
}
