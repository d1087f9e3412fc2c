import { StatisticsInputError } from './errors.ts'
import { chiSquaredQuantile } from './special-functions.ts'

export interface ImprovementSpread {
  n: number
  /** Around what falls steadily; null for fewer than two values. */
  deviation: number | null
  /**
   * The lower bound is above the true one with chance alpha, about. The upper one is too low more often where values are
   * few: a sequence that falls by chance alone shows no spread.
   */
  lower: number | null
  upper: number | null
  /** The plain standard deviation of the values, for the reader. */
  plain: number | null
}

/**
 * The spread of losses in the order in which they came about, around the closest sequence that never rises: newer models
 * know newer data, and getting better is no lack of stability. Where nothing improves it estimates the plain standard
 * deviation: of n equal normal values the fit has Σ 1/i levels on average, and the squares around it the expectation
 * (n − Σ 1/i) σ². The interval takes that number as the degrees of freedom of a χ²: the lower bound, which decides, bears it out by
 * simulation.
 *
 * @param values - oldest first
 * @see Robertson, Wright and Dykstra, "Order Restricted Statistical Inference", 1988, sections 1.2 and 2.3
 */
export function spreadAroundImprovement(values: readonly number[], alpha: number): ImprovementSpread {
  if (!(alpha > 0 && alpha < 0.5)) throw new StatisticsInputError(`The alpha of one bound is below 0.5, not ${alpha}.`)
  const wrong = values.find((value) => !Number.isFinite(value))
  if (wrong !== undefined) throw new StatisticsInputError(`The spread of values with ${wrong} is not defined.`)
  const n = values.length
  if (n < 2) return { n, deviation: null, lower: null, upper: null, plain: null }
  const squares = squaresAround(values, neverRising(values))
  const levels = values.reduce((total, _, i) => total + 1 / (i + 1), 0)
  const mean = values.reduce((total, value) => total + value / n, 0)
  return {
    n,
    deviation: Math.sqrt(squares / (n - levels)),
    lower: Math.sqrt(squares / chiSquaredQuantile(1 - alpha, n - levels)),
    upper: Math.sqrt(squares / chiSquaredQuantile(alpha, n - levels)),
    plain: Math.sqrt(
      squaresAround(
        values,
        Array.from(values, () => mean),
      ) /
        (n - 1),
    ),
  }
}

/** The closest sequence in squares that never rises, by pooling adjacent violators. */
export function neverRising(values: readonly number[]): number[] {
  const blocks: { total: number; count: number }[] = []
  for (const value of values) {
    let block = { total: value, count: 1 }
    for (let last = blocks.at(-1); last && last.total / last.count < block.total / block.count; last = blocks.at(-1)) {
      block = { total: last.total + block.total, count: last.count + block.count }
      blocks.pop()
    }
    blocks.push(block)
  }
  return blocks.flatMap(({ total, count }) => Array.from({ length: count }, () => total / count))
}

const squaresAround = (values: readonly number[], fit: readonly number[]) =>
  values.reduce((total, value, i) => total + (value - fit[i]!) ** 2, 0)
