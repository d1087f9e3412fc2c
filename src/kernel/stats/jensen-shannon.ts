import { StatisticsInputError } from './errors.ts'

/** How far two sets of counts over the same bins lie apart, in bits: 0 for equal shares, 1 where no bin is in both. */
export interface JensenShannon {
  divergence: number
  /** What sampling alone would give: about (B − 1)(1/n + 1/m) / (8 ln 2), B being the bins that hold rows. */
  expectedByChance: number
  /** The divergence less that, at least 0. */
  beyondChance: number
}

/**
 * Divergence of both distributions from their mean. Empty bins need no smoothing. For small differences it is an eighth of
 * the population stability index (in nats), and so is its expectation by chance.
 *
 * @param baseline - counts per bin
 * @param current - counts over the same bins
 * @throws StatisticsInputError where the bins differ or one side holds nothing
 * @see Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37, 1991
 * @see Grosse et al., "Analysis of symbolic sequences using the Jensen-Shannon divergence", Physical Review E 65, 2002
 */
export function jensenShannon(baseline: readonly number[], current: readonly number[]): JensenShannon {
  if (baseline.length !== current.length) {
    throw new StatisticsInputError(`The bins differ: ${baseline.length} and ${current.length}.`)
  }
  const [n, m] = [rowsOf(baseline), rowsOf(current)]
  let divergence = 0
  let used = 0
  for (const [bin, count] of baseline.entries()) {
    const [p, q] = [count / n, current[bin]! / m]
    if (p + q === 0) continue
    used += 1
    divergence += information(p, q) / 2 + information(q, p) / 2
  }
  divergence = Math.min(1, Math.max(0, divergence))
  const expectedByChance = Math.min(1, ((used - 1) * (1 / n + 1 / m)) / (8 * Math.LN2))
  return { divergence, expectedByChance, beyondChance: Math.max(0, divergence - expectedByChance) }
}

/** Bits by which p tells itself from the mean of p and q. */
const information = (p: number, q: number) => (p === 0 ? 0 : p * Math.log2((2 * p) / (p + q)))

function rowsOf(counts: readonly number[]): number {
  const rows = counts.reduce((total, count) => total + count, 0)
  if (!(rows > 0)) throw new StatisticsInputError('Counts that add up to nothing have no shares.')
  return rows
}
