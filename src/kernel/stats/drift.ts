import { StatisticsInputError } from './errors.ts'
import { stabilityIndex } from './histogram.ts'
import { jensenShannon } from './jensen-shannon.ts'
import { chiSquaredTail } from './special-functions.ts'

export interface DriftOptions {
  /** Of the distance beyond chance: the population stability index from which on a change matters, e.g. 0.25. */
  limit: number
  /** Chance of a shift being called proven in one window that has none. */
  alpha: number
  /** Fewer rows on either side are not judged. */
  minRows: number
}

export interface DriftVerdict {
  verdict: 'steady' | 'drifted' | 'insufficient'
  /** Population stability index, and less what sampling alone would give, at least 0. Null where a side has no rows. */
  psi: number | null
  psiBeyondChance: number | null
  /** In bits, 0–1, less what sampling alone would give. */
  jensenShannonBeyondChance: number | null
  /** Chance of so great a difference without any drift. */
  pValue: number | null
  chanceExcluded: boolean
  baselineRows: number
  currentRows: number
}

/**
 * Has a column moved? `drifted` needs both: a distance beyond chance that exceeds the limit, so that a million rows
 * don't alarm on trifles, and a difference that chance does not make, so that eight rows alarm on nothing.
 *
 * @param baseline - counts per bin, e.g. of the baseline profile with its missing values last
 * @param current - counts of a window over the same bins
 * @throws StatisticsInputError where the bins differ, a count is negative, or alpha is not between 0 and 1
 */
export function driftVerdict(
  baseline: readonly number[],
  current: readonly number[],
  { limit, alpha, minRows }: DriftOptions,
): DriftVerdict {
  if (!(alpha > 0 && alpha < 1)) throw new StatisticsInputError(`An alpha is between 0 and 1, not ${alpha}.`)
  if (baseline.length !== current.length) {
    throw new StatisticsInputError(`The bins differ: ${baseline.length} and ${current.length}.`)
  }
  const [baselineRows, currentRows] = [rowsOf(baseline), rowsOf(current)]
  const rows = { baselineRows, currentRows }
  if (baselineRows === 0 || currentRows === 0) return { ...UNKNOWN, ...rows }
  const { psi, expectedByChance } = stabilityIndex(baseline, current)
  const psiBeyondChance = Math.max(0, psi - expectedByChance)
  const { beyondChance: jensenShannonBeyondChance } = jensenShannon(baseline, current)
  const { pValue } = homogeneity(baseline, current)
  const chanceExcluded = pValue < alpha
  const judged = Math.min(baselineRows, currentRows) >= minRows
  const verdict = !judged ? 'insufficient' : chanceExcluded && psiBeyondChance > limit ? 'drifted' : 'steady'
  return { verdict, psi, psiBeyondChance, jensenShannonBeyondChance, pValue, chanceExcluded, ...rows }
}

/**
 * Pearson's χ² test that two sets of counts over the same bins are of one distribution. Bins that are empty on both sides say
 * nothing, and those of which fewer than five rows are expected on a side are taken together: the stability index
 * times nm / (n + m) has the same distribution in large samples (Yurdakul 2018), but with rare bins exceeds it.
 *
 * @returns chiSquared, its degrees of freedom, and the chance of exceeding it; 1 where there is nothing to compare
 * @see Pearson, "On the probability that two independent distributions of frequency are really samples from the same
 *   population", Biometrika 8, 1911; Cochran, "Some methods for strengthening the common χ² tests", Biometrics 10, 1954
 */
export function homogeneity(
  baseline: readonly number[],
  current: readonly number[],
): { chiSquared: number; degrees: number; pValue: number } {
  const [n, m] = [rowsOf(baseline), rowsOf(current)]
  const smallerShare = Math.min(n, m) / (n + m)
  let rare: [ours: number, theirs: number] = [0, 0]
  const bins: (typeof rare)[] = []
  for (const [bin, ours] of baseline.entries()) {
    const theirs = current[bin]!
    if ((ours + theirs) * smallerShare >= LEAST_EXPECTED) bins.push([ours, theirs])
    else rare = [rare[0] + ours, rare[1] + theirs]
  }
  if (rare[0] + rare[1] > 0) bins.push(rare)
  if (bins.length < 2) return { chiSquared: 0, degrees: 0, pValue: 1 }
  // Σ (u − v)² / (u + v), with u and v scaled to the same total.
  const chiSquared = bins.reduce(
    (sum, [ours, theirs]) => sum + (ours * Math.sqrt(m / n) - theirs * Math.sqrt(n / m)) ** 2 / (ours + theirs),
    0,
  )
  const degrees = bins.length - 1
  return { chiSquared, degrees, pValue: chiSquaredTail(chiSquared, degrees) }
}

function rowsOf(counts: readonly number[]): number {
  const wrong = counts.find((count) => !(count >= 0 && count < Infinity))
  if (wrong !== undefined) throw new StatisticsInputError(`Rows are counted from 0 up, not ${wrong}.`)
  return counts.reduce((total, count) => total + count, 0)
}

const LEAST_EXPECTED = 5
const UNKNOWN = {
  verdict: 'insufficient',
  psi: null,
  psiBeyondChance: null,
  jensenShannonBeyondChance: null,
  pValue: null,
  chanceExcluded: false,
} as const
