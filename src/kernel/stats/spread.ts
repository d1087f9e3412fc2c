import { StatisticsInputError } from './errors.ts'
import { chiSquaredQuantile } from './special-functions.ts'

export interface Spread {
  n: number
  mean: number | null
  /** Standard deviation, unbiased in its square; null for fewer than two values. */
  deviation: number | null
  /** Each bound is wrong with chance alpha. */
  lower: number | null
  upper: number | null
}

/**
 * The standard deviation of a few values, e.g. the figures of the last versions, with its interval: (n − 1) s² / σ² is χ² with
 * n − 1 degrees of freedom for normal values. With five values the true one may well be three times as much, which
 * is what the interval is for.
 *
 * @throws StatisticsInputError for a value that is not finite, or an alpha that is not between 0 and 0.5
 * @see Cochran, "The distribution of quadratic forms in a normal system", Proc. Cambridge Philosophical Society 30, 1934
 */
export function spread(values: readonly number[], alpha: number): Spread {
  if (!(alpha > 0 && alpha < 0.5)) throw new StatisticsInputError(`The alpha of one bound is below 0.5, not ${alpha}.`)
  const wrong = values.find((value) => !Number.isFinite(value))
  if (wrong !== undefined) throw new StatisticsInputError(`The spread of values with ${wrong} is not defined.`)
  const n = values.length
  if (n === 0) return { n, mean: null, deviation: null, lower: null, upper: null }
  const mean = values.reduce((total, value) => total + value / n, 0)
  if (n === 1) return { n, mean, deviation: null, lower: null, upper: null }
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, 0)
  return {
    n,
    mean,
    deviation: Math.sqrt(squares / (n - 1)),
    lower: Math.sqrt(squares / chiSquaredQuantile(1 - alpha, n - 1)),
    upper: Math.sqrt(squares / chiSquaredQuantile(alpha, n - 1)),
  }
}
