import { StatisticsInputError } from '../errors.ts'

/** Of losses or differences, one for each request: the mean over its rows, as rows of one request are not independent. */
export interface Sums {
  n: number
  sum: number
  /** Σ of squares. */
  squares: number
  /** Where the truth is yes or no: Σ of truths, a request counting by the share of its rows. Null or absent: a number. */
  positives?: number | null
}

export interface LossOptions {
  /** Each bound fails, ever, with this chance; below 0.5. */
  alpha: number
  /** No bounds below so many (in each arm): the theory is one of large numbers. Default 100. */
  minimum?: number
  /** Nor below so many of the rarer truth, in both arms together: they carry the losses that count. Default 30. */
  rarerMinimum?: number
  /** The interval is tightest at about so many (pairs, or pairs' worth). Default 1,000. */
  tightestAt?: number
}

export interface LossDifference {
  /** Challenger's mean loss − champion's: positive is worse. Null where an arm has none. */
  estimate: number | null
  /** The true mean difference is at least this, at all looks together; null: too few, nothing is known. */
  lower: number | null
  upper: number | null
  /** 0 where every value was the same: then the bounds are the estimate, and rest on nothing but their number. */
  standardError: number | null
  challenger: number
  champion: number
}

/**
 * The mean of differences challenger − champion on the same requests, of a shadow, with a confidence sequence:
 * look as often as you like, each bound is ever wrong with a chance of about alpha.
 *
 * Where one label in a hundred is positive, a hundred pairs may well hold none. Then all differences are small, much alike, and
 * in favour of whoever predicts less: an interval would be narrow and wrong, in a quarter of all shadows. So nothing is
 * said before the rarer truth has come some thirty times. Of numbers whose largest errors are as rare nobody can know.
 *
 * @param differences - one for each pair; sums that exceed all numbers give no bounds
 * @throws StatisticsInputError for sums of no values, or options outside their ranges
 * @see Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
 *   sequences", Annals of Statistics 52, 2024 (arXiv 2103.06476), the one-sided form
 */
export function pairedLossDifference(differences: Sums, options: LossOptions): LossDifference {
  check([differences], options)
  const { n } = differences
  if (n === 0) return nothing(0, 0)
  if (!isKnown(differences)) return nothing(n, n)
  const standardError = n < 2 ? null : Math.sqrt(variance(differences) / n)
  const pairs = { challenger: n, champion: n }
  const enough = isEnough(n, rarerTruths([differences]), options)
  return { ...interval(differences.sum / n, enough ? standardError : null, n, options), standardError, ...pairs }
}

/**
 * The difference of the arms' mean losses on requests that were shared out at random, of a canary. Steps are compared each by
 * itself and then averaged with weights n₁n₀ / (n₁ + n₀): pooled, arms of changing shares would differ by the hour.
 *
 * @param steps - sums of both arms in each step; one in which an arm has none is left out
 * @throws StatisticsInputError as `pairedLossDifference`
 * @see the same source: a difference of means is asymptotically linear, with variance s₁²/n₁ + s₀²/n₀
 */
export function lossDifference(
  steps: readonly { challenger: Sums; champion: Sums }[],
  options: LossOptions,
): LossDifference {
  check(
    steps.flatMap(({ challenger, champion }) => [challenger, champion]),
    options,
  )
  const compared = steps.filter(({ challenger, champion }) => challenger.n > 0 && champion.n > 0)
  const rows = { challenger: totalOf(steps, 'challenger'), champion: totalOf(steps, 'champion') }
  const arms = compared.flatMap(({ challenger, champion }) => [challenger, champion])
  if (compared.length === 0 || !arms.every(isKnown)) return nothing(rows.challenger, rows.champion)
  let [pairs, difference, squaredError, known] = [0, 0, 0, 0]
  for (const { challenger, champion } of compared) {
    const weight = (challenger.n * champion.n) / (challenger.n + champion.n)
    pairs += weight
    difference += weight * (challenger.sum / challenger.n - champion.sum / champion.n)
    if (challenger.n < 2 || champion.n < 2) continue
    known += weight
    squaredError += weight ** 2 * squaredErrorOf(challenger, champion)
  }
  // A step with a single request in an arm shows no variance: it is given that of the others.
  const standardError = known === 0 ? null : Math.sqrt(squaredError * (pairs / known)) / pairs
  const smaller = Math.min(totalOf(compared, 'challenger'), totalOf(compared, 'champion'))
  const enough = isEnough(smaller, rarerTruths(arms), options)
  return { ...interval(difference / pairs, enough ? standardError : null, pairs, options), standardError, ...rows }
}

/** Labels may be any number, so that squares of losses exceed what numbers hold; out of JSON such a sum comes as null. */
const isKnown = ({ sum, squares }: Sums): boolean => Number.isFinite(sum) && Number.isFinite(squares)

/** How often the rarer of two truths has come; null where the truth is a number. */
function rarerTruths(all: readonly Sums[]): number | null {
  let [n, positives] = [0, 0]
  for (const sums of all) {
    if (sums.positives === undefined || sums.positives === null) return null
    n += sums.n
    positives += sums.positives
  }
  return Math.min(positives, n - positives)
}

function isEnough(smaller: number, rarer: number | null, { minimum, rarerMinimum }: LossOptions): boolean {
  return smaller >= (minimum ?? LOSSES_MIN) && (rarer ?? Infinity) >= (rarerMinimum ?? RARER_MIN)
}

/** In each arm. */
export const LOSSES_MIN = 100
const RARER_MIN = 30
const TIGHTEST_AT = 1_000
const ROUNDING = 1e-9

/**
 * Of a difference of means. Losses are skewed: an arm that happens to lack the great ones has too small a mean and too
 * small a variance at once, and would seem certain to be better. So no arm gets less than the variance of both.
 */
function squaredErrorOf(challenger: Sums, champion: Sums): number {
  const [ours, theirs] = [variance(challenger), variance(champion)]
  const pooled = ((challenger.n - 1) * ours + (champion.n - 1) * theirs) / (challenger.n + champion.n - 2)
  return Math.max(ours, pooled) / challenger.n + Math.max(theirs, pooled) / champion.n
}

/**
 * @param standardError - null: no bounds
 * @param time - number of pairs, or what the arms are worth in pairs: the clock of the confidence sequence
 */
function interval(
  estimate: number,
  standardError: number | null,
  time: number,
  { alpha, tightestAt = TIGHTEST_AT }: LossOptions,
): Pick<LossDifference, 'estimate' | 'lower' | 'upper'> {
  if (standardError === null || !Number.isFinite(standardError)) return { estimate, lower: null, upper: null }
  const radius = standardError * radiusInErrors(time, alpha, tightestAt)
  return { estimate, lower: estimate - radius, upper: estimate + radius }
}

/** How many standard errors wide, one side: √(2 (tρ² + 1) / (tρ²) · ln(1 + √(tρ² + 1) / (2 alpha))). */
function radiusInErrors(time: number, alpha: number, tightestAt: number): number {
  const level = -2 * Math.log(2 * alpha)
  const clock = (time * (level + Math.log(level + 1) + 1)) / tightestAt
  return Math.sqrt(2 * (1 + 1 / clock) * Math.log1p(Math.sqrt(clock + 1) / (2 * alpha)))
}

/** Unbiased; a constant's is 0 although its squares don't cancel to the last digit. */
function variance({ n, sum, squares }: Sums): number {
  const rest = squares - (sum * sum) / n
  return rest <= squares * 1e-13 ? 0 : rest / (n - 1)
}

const nothing = (challenger: number, champion: number): LossDifference => ({
  estimate: null,
  lower: null,
  upper: null,
  standardError: null,
  challenger,
  champion,
})

function totalOf(steps: readonly { challenger: Sums; champion: Sums }[], arm: 'challenger' | 'champion'): number {
  return steps.reduce((total, step) => total + step[arm].n, 0)
}

function check(
  sums: readonly Sums[],
  { alpha, minimum = LOSSES_MIN, rarerMinimum = RARER_MIN, tightestAt = TIGHTEST_AT }: LossOptions,
): void {
  if (!(alpha > 0 && alpha < 0.5))
    throw new StatisticsInputError(`A one-sided alpha is between 0 and 0.5, not ${alpha}.`)
  if (!(minimum >= 2 && rarerMinimum >= 0 && tightestAt > 0)) {
    throw new StatisticsInputError(`An interval from ${minimum} on, tightest at ${tightestAt}, makes no sense.`)
  }
  const wrong = sums.find(
    ({ n, sum, squares, positives }) =>
      !(n >= 0 && n < Infinity && squares >= 0) ||
      Number.isNaN(sum) ||
      !((positives ?? 0) >= 0 && (positives ?? 0) <= n * (1 + ROUNDING)),
  )
  if (wrong) throw new StatisticsInputError(`These are no sums of losses: ${JSON.stringify(wrong)}.`)
}
