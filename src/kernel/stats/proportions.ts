import { StatisticsInputError } from './errors.ts'
import { normalCdf, normalQuantile } from './normal.ts'

export interface Interval {
  lower: number
  upper: number
}

/**
 * Wilson's interval of a share: sound at 0 and at all, and with few rows.
 * @param count - of `rows`, from 0 to all
 * @param alpha - each bound is wrong with this chance
 * @returns 0 … 1 without rows
 * @see Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927
 */
export function shareInterval(count: number, rows: number, alpha: number): Interval {
  check(count, rows, alpha)
  if (rows === 0) return { lower: 0, upper: 1 }
  const z = -normalQuantile(alpha)
  const share = count / rows
  const centre = (share + (z * z) / (2 * rows)) / (1 + (z * z) / rows)
  const radius = (z * Math.sqrt((share * (1 - share)) / rows + (z * z) / (4 * rows * rows))) / (1 + (z * z) / rows)
  return {
    lower: count === 0 ? 0 : Math.max(0, centre - radius),
    upper: count === rows ? 1 : Math.min(1, centre + radius),
  }
}

export interface ShareDifference {
  verdict: 'steady' | 'raised' | 'insufficient'
  /** Null without rows. */
  baselineShare: number | null
  currentShare: number | null
  /** current − baseline; each bound is wrong with chance alpha. Null without rows. */
  difference: number | null
  lower: number | null
  upper: number | null
  /** Of no rise, one-sided; 1 where there is nothing to compare. */
  pValue: number
  baselineRows: number
  currentRows: number
}

/**
 * Has a share risen, e.g. that of missing values? `raised` needs both: a rise of more than the limit, and one that chance
 * does not make (the lower bound is above 0).
 *
 * @param baseline - count of rows; so is `current`
 * @param options.limit - of the rise, as a share: 0.05 is five points
 * @param options.minRows - fewer on either side are not judged
 * @throws StatisticsInputError for counts beyond their rows, or an alpha that is not between 0 and 0.5
 * @see Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
 *   methods", Statistics in Medicine 17, 1998, method 10
 */
export function shareDifference(
  baseline: { count: number; rows: number },
  current: { count: number; rows: number },
  options: { limit: number; alpha: number; minRows: number },
): ShareDifference {
  const { limit, alpha, minRows } = options
  const before = shareInterval(baseline.count, baseline.rows, alpha)
  const now = shareInterval(current.count, current.rows, alpha)
  const rows = { baselineRows: baseline.rows, currentRows: current.rows }
  if (baseline.rows === 0 || current.rows === 0) return { ...UNKNOWN, ...rows }
  const [baselineShare, currentShare] = [baseline.count / baseline.rows, current.count / current.rows]
  const difference = currentShare - baselineShare
  const lower = difference - Math.hypot(currentShare - now.lower, before.upper - baselineShare)
  const upper = difference + Math.hypot(now.upper - currentShare, baselineShare - before.lower)
  const judged = Math.min(baseline.rows, current.rows) >= minRows
  const verdict = !judged ? 'insufficient' : difference > limit && lower > 0 ? 'raised' : 'steady'
  const pValue = scoreTest(baseline, current)
  return { verdict, baselineShare, currentShare, difference, lower, upper, pValue, ...rows }
}

function scoreTest(baseline: { count: number; rows: number }, current: { count: number; rows: number }): number {
  const pooled = (baseline.count + current.count) / (baseline.rows + current.rows)
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / baseline.rows + 1 / current.rows))
  const difference = current.count / current.rows - baseline.count / baseline.rows
  return error > 0 ? normalCdf(-difference / error) : 1
}

function check(count: number, rows: number, alpha: number): void {
  if (!(alpha > 0 && alpha < 0.5)) {
    throw new StatisticsInputError(`The alpha of one bound is between 0 and 0.5, not ${alpha}.`)
  }
  if (!(count >= 0 && count <= rows && rows < Infinity)) {
    throw new StatisticsInputError(`${count} of ${rows} rows is no share.`)
  }
}

const UNKNOWN = {
  verdict: 'insufficient',
  baselineShare: null,
  currentShare: null,
  difference: null,
  lower: null,
  upper: null,
  pValue: 1,
} as const
