import { StatisticsInputError } from './errors.ts'
import { stabilityIndex } from './histogram.ts'
import { jensenShannon } from './jensen-shannon.ts'
import { chiSquaredTail, logGamma } from './special-functions.ts'

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
 * A test that two sets of counts over the same bins are of one distribution. Pearson's χ² over the bins of which at least
 * five rows are expected on each side; bins that are empty on both say nothing. (The stability index times nm / (n + m)
 * has the same distribution in large samples (Yurdakul 2018), but with rare bins exceeds it.) The others are taken
 * together. Where they are still too rare, as missing values that come once in ten thousand rows are, χ² would exclude
 * chance by a single row: how those few divide is then judged by itself, exactly, and the smaller of the two p-values
 * counts twice. They are independent, since the one is about which rows are rare, and the other about the rest.
 *
 * @returns chiSquared and its degrees of freedom; the chance of so great a difference, 1 where there is nothing to compare
 * @see Pearson, "On the probability that two independent distributions of frequency are really samples from the same
 *   population", Biometrika 8, 1911; Cochran, "Some methods for strengthening the common χ² tests", Biometrics 10, 1954
 * @see Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 98, 1935, the exact test
 */
export function homogeneity(
  baseline: readonly number[],
  current: readonly number[],
): { chiSquared: number; degrees: number; pValue: number } {
  const [n, m] = [rowsOf(baseline), rowsOf(current)]
  const isFrequent = ([ours, theirs]: Pair) => ((ours + theirs) * Math.min(n, m)) / (n + m) >= LEAST_EXPECTED
  const all = baseline.map((ours, bin): Pair => [ours, current[bin]!]).filter(([ours, theirs]) => ours + theirs > 0)
  const frequent = all.filter(isFrequent)
  const rare = totals(all.filter((pair) => !isFrequent(pair)))
  const areRare = rare[0] + rare[1] > 0 && !isFrequent(rare)
  if (rare[0] + rare[1] > 0 && !areRare) frequent.push(rare)
  const { chiSquared, degrees } = pearson(frequent)
  const pValue = chiSquaredTail(chiSquared, degrees)
  if (!areRare) return { chiSquared, degrees, pValue }
  const ofRare = exactTest(rare, n, m)
  return { chiSquared, degrees, pValue: degrees === 0 ? ofRare : Math.min(1, 2 * Math.min(pValue, ofRare)) }
}

type Pair = [ours: number, theirs: number]

const totals = (pairs: readonly Pair[]): Pair => [
  pairs.reduce((sum, [ours]) => sum + ours, 0),
  pairs.reduce((sum, [, theirs]) => sum + theirs, 0),
]

/** Σ (u − v)² / (u + v), with u and v scaled to the same total. */
function pearson(bins: readonly Pair[]): { chiSquared: number; degrees: number } {
  if (bins.length < 2) return { chiSquared: 0, degrees: 0 }
  const [n, m] = totals(bins)
  if (n === 0 || m === 0) return { chiSquared: 0, degrees: 0 }
  const chiSquared = bins.reduce(
    (sum, [ours, theirs]) => sum + (ours * Math.sqrt(m / n) - theirs * Math.sqrt(n / m)) ** 2 / (ours + theirs),
    0,
  )
  return { chiSquared, degrees: bins.length - 1 }
}

/**
 * Twice the smaller tail of the hypergeometric distribution: of so many rare rows among n + m, how many fall on the side
 * that has fewer of all.
 */
function exactTest([ours, theirs]: Pair, n: number, m: number): number {
  const [seen, rows, others] = n <= m ? [ours, n, m] : [theirs, m, n]
  const rare = ours + theirs
  const all = logChoose(rows + others, rare)
  const chance = (k: number) => Math.exp(logChoose(rows, k) + logChoose(others, rare - k) - all)
  // Outwards from what was seen, until nothing is added any more.
  const tail = (way: 1 | -1) => {
    let sum = 0
    for (let k = seen; k >= Math.max(0, rare - others) && k <= Math.min(rows, rare); k += way) {
      const more = chance(k)
      sum += more
      if (more <= sum * 1e-15) break
    }
    return sum
  }
  const expected = (rare * rows) / (rows + others)
  return Math.min(1, 2 * tail(seen >= expected ? 1 : -1))
}

const logChoose = (n: number, k: number): number =>
  logGamma(n + 1) - logGamma(Math.max(0, k) + 1) - logGamma(Math.max(0, n - k) + 1)

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
