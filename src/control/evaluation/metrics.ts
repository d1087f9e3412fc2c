import { areaUnderCurve } from '../../kernel/stats/ranks.ts'
import type { Task } from '../../kernel/model/signature.ts'
import { logLoss } from './losses.ts'

/**
 * Measured figures by name. A figure that is not defined on these rows is null, and `undefinedBecause` says why;
 * none is ever NaN or infinite.
 */
export interface Metrics {
  values: Record<string, number | null>
  undefinedBecause: Record<string, string>
}

/** Every name that `gate.thresholds` may use. */
export const METRIC_NAMES: Record<Task, readonly string[]> = {
  binary: [
    'auc',
    'logLoss',
    'brier',
    'accuracy',
    'precision',
    'recall',
    'f1',
    'calibration',
    'ece',
    'positiveRate',
    'meanScore',
    'n',
  ],
  regression: ['rmse', 'mae', 'mape', 'r2', 'meanError', 'n'],
}

/** A row counts as predicted positive from this score on (accuracy, precision, recall, F1). */
export const DECISION_THRESHOLD = 0.5

/** Equal-width bins of the score over which the calibration error is averaged. */
const CALIBRATION_BINS = 10

/**
 * @param scores - probability of the positive class, each in [0, 1]
 * @param positive - 1 for a positive row, 0 for a negative one; same length, at least one row
 */
export function binaryMetrics(scores: Float64Array, positive: Uint8Array): Metrics {
  const rows = scores.length
  const decisions = countDecisions(scores, positive)
  const { truePositives, falsePositives, falseNegatives, trueNegatives } = decisions
  const positives = truePositives + falseNegatives
  const meanScore = meanOf(scores)
  return collect({
    auc: areaUnderCurve(scores, positive) ?? notDefined('the rows hold one class only'),
    logLoss: meanBy(rows, (row) => logLoss(scores[row]!, positive[row]!)),
    brier: meanBy(rows, (row) => (scores[row]! - positive[row]!) ** 2),
    accuracy: (truePositives + trueNegatives) / rows,
    precision: ratio(truePositives, truePositives + falsePositives, `no row scores ${DECISION_THRESHOLD} or more`),
    recall: ratio(truePositives, positives, 'no row is positive'),
    f1: ratio(2 * truePositives, 2 * truePositives + falsePositives + falseNegatives, 'nothing is positive'),
    calibration: ratio(meanScore, positives / rows, 'no row is positive'),
    ece: calibrationError(scores, positive),
    positiveRate: positives / rows,
    meanScore,
    n: rows,
  })
}

/** @param predicted - same length as `actual`, at least one row, all finite */
export function regressionMetrics(predicted: Float64Array, actual: Float64Array): Metrics {
  const rows = predicted.length
  const error = (row: number) => predicted[row]! - actual[row]!
  const mean = meanOf(actual)
  const unexplained = meanBy(rows, (row) => error(row) ** 2)
  const spread = meanBy(rows, (row) => (actual[row]! - mean) ** 2)
  return collect({
    rmse: Math.sqrt(unexplained),
    mae: meanBy(rows, (row) => Math.abs(error(row))),
    mape: actual.includes(0)
      ? notDefined('a label is 0, and a share of 0 says nothing')
      : meanBy(rows, (row) => Math.abs(error(row) / actual[row]!)),
    r2: spread === 0 ? notDefined('every label is the same') : 1 - unexplained / spread,
    meanError: meanBy(rows, error),
    n: rows,
  })
}

interface NotDefined {
  because: string
}

function notDefined(because: string): NotDefined {
  return { because }
}

function ratio(part: number, whole: number, because: string): number | NotDefined {
  return whole === 0 ? notDefined(because) : part / whole
}

function collect(figures: Record<string, number | NotDefined>): Metrics {
  const metrics: Metrics = { values: {}, undefinedBecause: {} }
  for (const [name, figure] of Object.entries(figures)) {
    const defined = typeof figure === 'number'
    metrics.values[name] = defined && Number.isFinite(figure) ? figure : null
    if (!defined) metrics.undefinedBecause[name] = figure.because
    else if (!Number.isFinite(figure)) metrics.undefinedBecause[name] = 'it is too large for a number'
  }
  return metrics
}

function countDecisions(scores: Float64Array, positive: Uint8Array) {
  const counts = { truePositives: 0, falsePositives: 0, falseNegatives: 0, trueNegatives: 0 }
  for (let row = 0; row < scores.length; row++) {
    const predicted = scores[row]! >= DECISION_THRESHOLD
    if (positive[row] === 1) counts[predicted ? 'truePositives' : 'falseNegatives'] += 1
    else counts[predicted ? 'falsePositives' : 'trueNegatives'] += 1
  }
  return counts
}

/**
 * Expected calibration error: mean distance between score and positive rate within bins of equal width, weighted by
 * rows. 0.02 says that scores are off by two points on average.
 * @see Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015
 */
function calibrationError(scores: Float64Array, positive: Uint8Array): number {
  const gaps = new Float64Array(CALIBRATION_BINS)
  for (let row = 0; row < scores.length; row++) {
    const bin = Math.min(Math.floor(scores[row]! * CALIBRATION_BINS), CALIBRATION_BINS - 1)
    gaps[bin]! += scores[row]! - positive[row]!
  }
  return gaps.reduce((total, gap) => total + Math.abs(gap), 0) / scores.length
}

function meanBy(rows: number, of: (row: number) => number): number {
  let total = 0
  for (let row = 0; row < rows; row++) total += of(row)
  return total / rows
}

function meanOf(values: Float64Array): number {
  return meanBy(values.length, (row) => values[row]!)
}
