import { StatisticsInputError } from './errors.ts'
import { normalCdf, normalQuantile } from './normal.ts'
import { seededRandom } from './random.ts'
import type { Random } from './random.ts'

/** How the mean of paired differences was bounded. Plain numbers, fit for JSON. */
export interface BcaInterval {
  /** Mean over the rows: Σ differences / rows. */
  mean: number
  /**
   * One-sided bounds, each wrong with probability `alpha`: together a 1 − 2·alpha interval. Null where the method is
   * not defined: fewer than 2 units, or a distribution so skewed that the correction breaks down.
   */
  lower: number | null
  upper: number | null
  alpha: number
  /** Standard deviation of the resampled means. */
  standardError: number
  /** Bias correction z₀ and acceleration â; 0 and 0 would be the plain percentile interval. */
  bias: number
  acceleration: number
  resamples: number
  rows: number
  /** Distinct clusters, null where rows were taken as independent. */
  clusters: number | null
  /** What was drawn: rows, clusters, or random groups of rows above MAX_UNITS. */
  units: number
}

export interface BcaOptions {
  /** One-sided error of each bound, in (0, 0.5]. */
  alpha: number
  /** At least 100. More are made where fewer than five would lie beyond a bound, which would then be a guess. */
  resamples: number
  seed: number
  /** Cluster of each row, as integers 0 … clusters − 1; whole clusters are resampled. Left out: rows are independent. */
  clusters?: Uint32Array | null
}

/**
 * More independent rows than this are first put into so many random groups, which are then resampled whole: the cost
 * stays bounded, and groups of independent rows are independent themselves.
 */
export const MAX_UNITS = 200_000

/**
 * Interval of the mean difference `first − second` of two losses on the same rows, by the bias-corrected and
 * accelerated bootstrap; the acceleration comes from the jackknife over the same units.
 *
 * @param first - loss of one model per row, e.g. the champion; then a positive mean says that `second` is better
 * @throws StatisticsInputError if lengths differ, nothing is there or a difference is not finite
 * @see Efron, "Better bootstrap confidence intervals", JASA 82, 1987
 * @see DiCiccio and Efron, "Bootstrap confidence intervals", Statistical Science 11, 1996
 */
export function pairedBca(first: Float64Array, second: Float64Array, options: BcaOptions): BcaInterval {
  if (first.length !== second.length) {
    throw new StatisticsInputError(`Paired losses must have one length, not ${first.length} and ${second.length}.`)
  }
  const differences = new Float64Array(first.length)
  for (let i = 0; i < first.length; i++) differences[i] = first[i]! - second[i]!
  return bcaOfMean(differences, options)
}

/** The same for the mean of one series. */
export function bcaOfMean(values: Float64Array, options: BcaOptions): BcaInterval {
  checkInput(values, options)
  const random = seededRandom(options.seed)
  const units = toUnits(values, options.clusters ?? null, random)
  const mean = sum(units.sums) / values.length
  const resamples = Math.max(options.resamples, Math.ceil(BEYOND_MIN / options.alpha))
  const means = resampledMeans(units, resamples, random)
  const bias = normalQuantile(shareBelow(means, mean, greatest(units.sums) * ROUNDING))
  const acceleration = jackknifeAcceleration(units)
  const bound = (level: number) => bcaBound(means, mean, bias, acceleration, level)
  const defined = units.sums.length >= 2
  return {
    mean,
    lower: defined ? bound(options.alpha) : null,
    upper: defined ? bound(1 - options.alpha) : null,
    alpha: options.alpha,
    standardError: standardDeviation(means),
    bias: Number.isFinite(bias) ? bias : 0,
    acceleration,
    resamples,
    rows: values.length,
    clusters: options.clusters ? units.sums.length : null,
    units: units.sums.length,
  }
}

function checkInput(values: Float64Array, options: BcaOptions): void {
  const { alpha, resamples, clusters } = options
  if (values.length === 0) throw new StatisticsInputError('The bootstrap needs at least one row.')
  if (!(alpha > 0 && alpha <= 0.5))
    throw new StatisticsInputError(`alpha must lie above 0 and be 0.5 at most, not ${alpha}.`)
  if (!(resamples >= 100))
    throw new StatisticsInputError(`The bootstrap needs 100 resamples or more, not ${resamples}.`)
  if (clusters && clusters.length !== values.length) {
    throw new StatisticsInputError(`${clusters.length} clusters were given for ${values.length} rows.`)
  }
  const bad = values.findIndex((value) => !Number.isFinite(value))
  if (bad >= 0) throw new StatisticsInputError(`The value of row ${bad} is ${values[bad]}, which has no mean.`)
}

/** What is drawn with replacement: sum and number of rows of each. `sizes` is null where all are equal. */
interface Units {
  sums: Float64Array
  sizes: Float64Array | null
  /** Rows per unit where `sizes` is null. */
  size: number
}

function toUnits(values: Float64Array, clusters: Uint32Array | null, random: Random): Units {
  if (clusters) return unitsOf(values, clusters)
  if (values.length <= MAX_UNITS) return { sums: values, sizes: null, size: 1 }
  return unitsOf(values, randomGroups(values.length, MAX_UNITS, random))
}

function unitsOf(values: Float64Array, unitOfRow: Uint32Array): Units {
  const count = unitOfRow.reduce((most, unit) => Math.max(most, unit + 1), 0)
  const sums = new Float64Array(count)
  const sizes = new Float64Array(count)
  for (let i = 0; i < values.length; i++) {
    sums[unitOfRow[i]!]! += values[i]!
    sizes[unitOfRow[i]!]! += 1
  }
  if (sizes.includes(0)) throw new StatisticsInputError('Clusters must be numbered without gaps.')
  const size = sizes[0]!
  return sizes.every((other) => other === size) ? { sums, sizes: null, size } : { sums, sizes, size }
}

/** Deals a shuffled deck (Fisher–Yates), so that an order in the rows, by time say, can't line up with the groups. */
function randomGroups(rows: number, groups: number, random: Random): Uint32Array {
  const groupOfRow = Uint32Array.from({ length: rows }, (_, row) => row % groups)
  for (let last = rows - 1; last > 0; last--) {
    const other = random.integer(last + 1)
    const held = groupOfRow[last]!
    groupOfRow[last] = groupOfRow[other]!
    groupOfRow[other] = held
  }
  return groupOfRow
}

/** Draws are made a block at a time: the indices stay in the first-level cache. Returned in ascending order. */
function resampledMeans(units: Units, resamples: number, random: Random): Float64Array {
  const means = new Float64Array(resamples)
  const draws = new Uint32Array(Math.min(4096, units.sums.length))
  for (let b = 0; b < resamples; b++) means[b] = units.sizes ? drawRatio(units.sums, units.sizes) : drawMean(units.sums)
  return means.sort()

  function drawMean(sums: Float64Array): number {
    let total = 0
    for (let left = sums.length; left > 0; left -= draws.length) {
      const block = left < draws.length ? draws.subarray(0, left) : draws
      random.fillIntegers(block, sums.length)
      total += gather(sums, block)
    }
    return total / (sums.length * units.size)
  }

  function drawRatio(sums: Float64Array, sizes: Float64Array): number {
    let total = 0
    let rows = 0
    for (let left = sums.length; left > 0; left -= draws.length) {
      const block = left < draws.length ? draws.subarray(0, left) : draws
      random.fillIntegers(block, sums.length)
      total += gather(sums, block)
      rows += gather(sizes, block)
    }
    return total / rows
  }
}

/** Four running sums: additions need not wait for each other. */
function gather(from: Float64Array, indices: Uint32Array): number {
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  const even = indices.length & ~3
  for (let i = 0; i < even; i += 4) {
    a += from[indices[i]!]!
    b += from[indices[i + 1]!]!
    c += from[indices[i + 2]!]!
    d += from[indices[i + 3]!]!
  }
  for (let i = even; i < indices.length; i++) a += from[indices[i]!]!
  return a + b + (c + d)
}

/**
 * Share of resampled means under the estimate, ties by half, as scipy.stats.bootstrap counts them. Where most rows differ by
 * nothing and a few by 0.1, a resample in eight is a tie; added up in another order it comes out above or below by the
 * last digit, so what differs by no more counts as equal.
 */
function shareBelow(sorted: Float64Array, mean: number, rounding: number): number {
  let below = 0
  let equal = 0
  for (const value of sorted) {
    if (Math.abs(value - mean) <= rounding) equal += 1
    else if (value < mean) below += 1
  }
  return (below + equal / 2) / sorted.length
}

/** â = Σ(θ̄ − θᵢ)³ / 6(Σ(θ̄ − θᵢ)²)^1.5 over the estimates θᵢ that each leave one unit out (Efron 1987, section 7). */
function jackknifeAcceleration(units: Units): number {
  const count = units.sums.length
  if (count < 2) return 0
  const total = sum(units.sums)
  const rows = units.sizes ? sum(units.sizes) : count * units.size
  const without = units.sums.map((unit, i) => (total - unit) / (rows - (units.sizes ? units.sizes[i]! : units.size)))
  const centre = sum(without) / count
  let squares = 0
  let cubes = 0
  for (const estimate of without) {
    const off = centre - estimate
    squares += off * off
    cubes += off * off * off
  }
  return squares === 0 ? 0 : cubes / (6 * squares ** 1.5)
}

/** Resamples beyond a bound, on average. */
const BEYOND_MIN = 5
/** Resamples of one and the same value differ by the order of additions only: then there is no spread to correct. */
const ROUNDING = 1e-12

function bcaBound(
  sorted: Float64Array,
  mean: number,
  bias: number,
  acceleration: number,
  level: number,
): number | null {
  if (sorted.at(-1)! - sorted[0]! <= Math.abs(mean) * ROUNDING) return mean
  const shifted = bias + normalQuantile(level)
  const stretch = 1 - acceleration * shifted
  if (!Number.isFinite(bias) || stretch <= 0) return null
  return quantileOfSorted(sorted, normalCdf(bias + shifted / stretch))
}

/**
 * Quantile by linear interpolation between order statistics (Hyndman and Fan's type 7, numpy's default).
 * @param sorted - ascending, at least one value
 */
export function quantileOfSorted(sorted: Float64Array, level: number): number {
  if (sorted.length === 0) throw new StatisticsInputError('No values, no quantile.')
  const position = level * (sorted.length - 1)
  const below = Math.floor(position)
  const low = sorted[below]!
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!
  return low + (high - low) * (position - below)
}

function standardDeviation(values: Float64Array): number {
  const mean = sum(values) / values.length
  let squares = 0
  for (const value of values) squares += (value - mean) ** 2
  return Math.sqrt(squares / (values.length - 1))
}

function greatest(values: Float64Array): number {
  let most = 0
  for (const value of values) most = Math.max(most, Math.abs(value))
  return most
}

function sum(values: Float64Array): number {
  let total = 0
  for (const value of values) total += value
  return total
}
