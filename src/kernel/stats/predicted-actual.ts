import { StatisticsInputError } from './errors.ts'
import { normalQuantile } from './normal.ts'
import { shareInterval } from './proportions.ts'

/** Sums over rows whose truth is known. */
export interface PredictedActualSums {
  rows: number
  /** Σ of predictions (probabilities, or values), and Σ of what came true (0 or 1, or values). */
  predicted: number
  actual: number
  /**
   * Σ (actual − predicted)², for values. Leave it out for probabilities: then the spread is that of 0 and 1, at
   * most what the mean probability allows.
   */
  squaredErrors?: number
}

export interface PredictedActual {
  verdict: 'steady' | 'off' | 'insufficient'
  /** Predicted ÷ actual: above 1 it predicts too much. Null where nothing came true, or signs differ. */
  ratio: number | null
  /** Each bound is wrong with chance alpha. `upper` null: without bound. */
  lower: number | null
  upper: number | null
  predictedMean: number | null
  actualMean: number | null
  rows: number
}

/**
 * Calibration in the large: do predictions add up to what comes true? `off` needs both: a ratio beyond `limit` or 1 / limit, and
 * an interval without 1. Predictions are taken as given, chance is in the outcomes: Wilson's interval of their share
 * for 0 and 1, a normal one with the errors' own spread for values.
 *
 * @param options.limit - above 1, e.g. 1.25: up to a quarter too much, or too little by the same factor
 * @param options.minRows - fewer are not judged
 * @param options.rowsPerCluster - rows that stand or fall together (a flight's passengers); the interval widens by its root. Default 1
 * @throws StatisticsInputError for sums that are not finite, or options outside their ranges
 * @see Riley et al., "Minimum sample size for external validation of a clinical prediction model", Statistics in
 *   Medicine 40, 2021, on observed / expected; Kish, "Survey Sampling", 1965, on the design effect
 */
export function predictedActual(
  sums: PredictedActualSums,
  options: { limit: number; alpha: number; minRows: number; rowsPerCluster?: number },
): PredictedActual {
  const { limit, minRows } = options
  check(sums, options)
  const { rows } = sums
  if (rows === 0) return { ...UNKNOWN, rows }
  const [predictedMean, actualMean] = [sums.predicted / rows, sums.actual / rows]
  const actual = actualInterval(sums, options)
  const ratio = ratioOf(predictedMean, actualMean)
  const bounds = ratioBounds(predictedMean, actual)
  const excludesOne = (bounds.lower ?? 1) > 1 || (bounds.upper ?? 1) < 1
  // Where nothing came true, the ratio is beyond every limit.
  const beyond = ratio === null ? predictedMean !== actualMean : ratio > limit || ratio < 1 / limit
  const verdict = rows < minRows ? 'insufficient' : beyond && excludesOne ? 'off' : 'steady'
  return { verdict, ratio, ...bounds, predictedMean, actualMean, rows }
}

/** Interval of the mean outcome that the rows could have had. */
function actualInterval(
  { rows, predicted, actual, squaredErrors }: PredictedActualSums,
  { alpha, rowsPerCluster = 1 }: { alpha: number; rowsPerCluster?: number },
): { lower: number; upper: number } {
  const clusters = rows / rowsPerCluster
  if (squaredErrors === undefined) return shareInterval((actual / rows) * clusters, clusters, alpha)
  const meanError = (actual - predicted) / rows
  const variance = Math.max(0, squaredErrors / rows - meanError ** 2)
  const radius = -normalQuantile(alpha) * Math.sqrt(variance / clusters)
  return { lower: actual / rows - radius, upper: actual / rows + radius }
}

/** Null where it is beyond all numbers, or has no meaning. */
function ratioOf(predicted: number, actual: number): number | null {
  const ratio = predicted / actual
  return Number.isFinite(ratio) && predicted * actual >= 0 ? ratio : null
}

/** Predicted ÷ actual for the actual means that are possible; only a mean of the prediction's sign gives a ratio. */
function ratioBounds(
  predicted: number,
  actual: { lower: number; upper: number },
): { lower: number | null; upper: number | null } {
  const [nearest, farthest] = predicted < 0 ? [-actual.upper, -actual.lower] : [actual.lower, actual.upper]
  const size = Math.abs(predicted)
  return {
    lower: farthest > 0 ? ratioOf(size, farthest) : null,
    upper: nearest > 0 ? ratioOf(size, nearest) : null,
  }
}

function check(
  { rows, predicted, actual, squaredErrors = 0 }: PredictedActualSums,
  { limit, alpha, rowsPerCluster = 1 }: { limit: number; alpha: number; rowsPerCluster?: number },
): void {
  if (!(limit > 1 && alpha > 0 && alpha < 0.5 && rowsPerCluster >= 1)) {
    throw new StatisticsInputError(`No ratio for limit ${limit}, alpha ${alpha}, ${rowsPerCluster} rows in a cluster.`)
  }
  if (!(rows >= 0 && squaredErrors >= 0 && Number.isFinite(rows + predicted + actual + squaredErrors))) {
    throw new StatisticsInputError(`${rows} rows with sums ${predicted} and ${actual} have no ratio.`)
  }
}

const UNKNOWN = {
  verdict: 'insufficient',
  ratio: null,
  lower: null,
  upper: null,
  predictedMean: null,
  actualMean: null,
} as const
