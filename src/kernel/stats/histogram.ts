import { quantileOfSorted } from './bootstrap.ts'
import { StatisticsInputError } from './errors.ts'

/**
 * Cut points that share the values out into bins of about equal counts. Ties can't be split, so a column with few
 * distinct values gets fewer bins: `[0, 0, 0, 5]` in quarters is cut at 0 only.
 *
 * @param sorted - ascending, finite
 * @param bins - bins wanted, at least 1
 * @returns strictly ascending inner edges, at most bins − 1, each below the greatest value
 */
export function quantileEdges(sorted: Float64Array, bins: number): number[] {
  if (!(Number.isInteger(bins) && bins >= 1)) throw new StatisticsInputError(`Cannot make ${bins} bins.`)
  const edges: number[] = []
  if (sorted.length === 0) return edges
  const greatest = sorted.at(-1)!
  for (let bin = 1; bin < bins; bin++) {
    const edge = quantileOfSorted(sorted, bin / bins)
    if (edge < greatest && edge > (edges.at(-1) ?? -Infinity)) edges.push(edge)
  }
  return edges
}

/** Bin of a value: 0 up to and including the first edge, then each up to and including its edge, the last beyond all. */
export function binOf(edges: readonly number[], value: number): number {
  let low = 0
  let high = edges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (value <= edges[middle]!) high = middle
    else low = middle + 1
  }
  return low
}

/** Counts per bin; one more bin than edges. */
export function countIntoBins(edges: readonly number[], values: Float64Array): number[] {
  const counts = Array.from({ length: edges.length + 1 }, () => 0)
  for (const value of values) counts[binOf(edges, value)]! += 1
  return counts
}

/** How far two sets of counts over the same bins lie apart. */
export interface StabilityIndex {
  /** Population stability index Σ (p − q) ln(p / q); 0 for equal shares. */
  psi: number
  /** What sampling alone would give: (B − 1)(1/n + 1/m), B being the bins that hold rows. */
  expectedByChance: number
  /** psi · nm / (n + m): about χ² with B − 1 degrees of freedom where nothing has changed. */
  chiSquared: number
  degrees: number
}

/**
 * PSI with what chance would give beside it, so that eight rows raise no alarm. Half a row is added to every bin on
 * both sides: an empty bin would make the index infinite. One that is empty on both says nothing and is left out: half a
 * row is another share of 20,000 rows than of 250, and forty such bins would look like a shift.
 *
 * @param baseline - counts per bin, e.g. of the baseline profile with its missing values last
 * @param current - counts over the same bins
 * @throws StatisticsInputError where the bins differ or one side holds nothing
 * @see Yurdakul, "Statistical properties of the population stability index", Western Michigan University, 2018
 */
export function stabilityIndex(baseline: readonly number[], current: readonly number[]): StabilityIndex {
  if (baseline.length !== current.length) {
    throw new StatisticsInputError(`The bins differ: ${baseline.length} and ${current.length}.`)
  }
  const isUsed = (_: number, bin: number) => baseline[bin]! + current[bin]! > 0
  const [p, n] = smoothedShares(baseline.filter(isUsed))
  const [q, m] = smoothedShares(current.filter(isUsed))
  const psi = p.reduce((total, share, bin) => total + (share - q[bin]!) * Math.log(share / q[bin]!), 0)
  const degrees = p.length - 1
  return { psi, expectedByChance: degrees * (1 / n + 1 / m), chiSquared: (psi * n * m) / (n + m), degrees }
}

function smoothedShares(counts: readonly number[]): [shares: number[], rows: number] {
  const rows = counts.reduce((total, count) => total + count, 0)
  if (!(rows > 0)) throw new StatisticsInputError('Counts that add up to nothing have no shares.')
  return [counts.map((count) => (count + 0.5) / (rows + counts.length / 2)), rows]
}
