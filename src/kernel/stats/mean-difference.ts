import { StatisticsInputError } from './errors.ts'
import { normalQuantile } from './normal.ts'

export interface MeanDifference {
  verdict: 'steady' | 'worse' | 'insufficient'
  /** current − baseline. Null where a side has no rows. */
  difference: number | null
  /** Each bound is wrong with chance alpha. Null where a side has fewer than two rows. */
  lower: number | null
  upper: number | null
  baselineMean: number | null
  currentMean: number | null
  baselineRows: number
  currentRows: number
}

/**
 * Has a mean loss grown? `worse` needs both: a difference of more than the limit, and one that chance does not make
 * (the lower bound is above 0). For windows that are judged once; a canary that is watched takes `lossDifference`.
 *
 * @param baseline - number, sum and sum of squares of the losses; so is `current`
 * @param options.minRows - fewer on either side are not judged
 * @throws StatisticsInputError for sums that are not finite, or an alpha that is not between 0 and 0.5
 * @see Welch, "The generalization of 'Student's' problem when several different population variances are involved",
 *   Biometrika 34, 1947; with normal quantiles, as nothing is judged on a handful of rows
 */
export function meanDifference(
  baseline: { n: number; sum: number; squares: number },
  current: { n: number; sum: number; squares: number },
  options: { limit: number; alpha: number; minRows: number },
): MeanDifference {
  const { limit, alpha, minRows } = options
  if (!(alpha > 0 && alpha < 0.5)) throw new StatisticsInputError(`The alpha of one bound is below 0.5, not ${alpha}.`)
  const [before, now] = [moments(baseline), moments(current)]
  const rows = { baselineRows: baseline.n, currentRows: current.n, baselineMean: before.mean, currentMean: now.mean }
  if (before.mean === null || now.mean === null) return { ...UNKNOWN, ...rows }
  const difference = now.mean - before.mean
  if (before.squaredError === null || now.squaredError === null) return { ...UNKNOWN, difference, ...rows }
  const radius = -normalQuantile(alpha) * Math.sqrt(before.squaredError + now.squaredError)
  const [lower, upper] = [difference - radius, difference + radius]
  const judged = Math.min(baseline.n, current.n) >= minRows
  const verdict = !judged ? 'insufficient' : difference > limit && lower > 0 ? 'worse' : 'steady'
  return { verdict, difference, lower, upper, ...rows }
}

function moments({ n, sum, squares }: { n: number; sum: number; squares: number }): {
  mean: number | null
  squaredError: number | null
} {
  if (!(n >= 0 && squares >= 0 && Number.isFinite(n + sum + squares))) {
    throw new StatisticsInputError(`${n} rows with sum ${sum} and squares ${squares} have no mean.`)
  }
  if (n === 0) return { mean: null, squaredError: null }
  const squaredError = n < 2 ? null : Math.max(0, squares - (sum * sum) / n) / (n - 1) / n
  return { mean: sum / n, squaredError }
}

const UNKNOWN = { verdict: 'insufficient', difference: null, lower: null, upper: null } as const
