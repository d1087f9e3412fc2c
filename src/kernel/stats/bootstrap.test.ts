import { describe, expect, it } from 'vitest'
import { bcaOfMean, MAX_UNITS, pairedBca, quantileOfSorted } from './bootstrap.ts'
import { StatisticsInputError } from './errors.ts'
import { seededRandom } from './random.ts'
import type { Random } from './random.ts'

const SETTINGS = { alpha: 0.05, resamples: 1000, seed: 1 }

describe('pairedBca', () => {
  it('bounds the mean of first − second and gives the same figures for the same seed', () => {
    const random = seededRandom(1)
    const first = Float64Array.from({ length: 500 }, () => random.normal() + 0.3)
    const second = Float64Array.from({ length: 500 }, () => random.normal())
    const interval = pairedBca(first, second, SETTINGS)
    expect(interval.mean).toBeCloseTo(0.3, 0)
    expect(interval.lower!).toBeLessThan(interval.mean)
    expect(interval.upper!).toBeGreaterThan(interval.mean)
    expect(interval.standardError).toBeCloseTo(Math.sqrt(2 / 500), 2)
    expect(pairedBca(first, second, SETTINGS)).toEqual(interval)
    expect(pairedBca(first, second, { ...SETTINGS, seed: 2 }).lower).not.toBe(interval.lower)
  })

  it('has no width where every row differs by the same', () => {
    const interval = bcaOfMean(new Float64Array(1001).fill(0.1), SETTINGS)
    expect(interval).toMatchObject({ lower: interval.mean, upper: interval.mean })
    expect(interval.mean).toBeCloseTo(0.1, 12)
  })

  it('gives no bounds for a single row or a single cluster', () => {
    expect(bcaOfMean(Float64Array.of(1), SETTINGS)).toMatchObject({ mean: 1, lower: null, upper: null })
    const oneCluster = bcaOfMean(Float64Array.of(1, 2, 3), { ...SETTINGS, clusters: Uint32Array.of(0, 0, 0) })
    expect(oneCluster).toMatchObject({ mean: 2, lower: null, upper: null, clusters: 1 })
  })

  it('makes as many resamples as a bound takes that is rarely wrong', () => {
    const values = normals(seededRandom(5), 50, 0)
    const [often, rarely] = [0.05, 0.000_5].map((alpha) => bcaOfMean(values, { ...SETTINGS, alpha }))
    expect([often!.resamples, rarely!.resamples]).toEqual([1_000, 10_000])
    expect((rarely!.mean - rarely!.lower!) / rarely!.standardError).toBeGreaterThan(2.9)
  })

  it('shifts its bounds towards the long tail, unlike a symmetric interval', () => {
    const random = seededRandom(4)
    const skewed = Float64Array.from({ length: 40 }, () => Math.exp(random.normal() * 1.2))
    const { mean, lower, upper, acceleration } = bcaOfMean(skewed, { ...SETTINGS, resamples: 4000 })
    expect(acceleration).toBeGreaterThan(0.03)
    expect(upper! - mean).toBeGreaterThan(1.2 * (mean - lower!))
  })

  it.each([
    ['losses of different length', () => pairedBca(new Float64Array(2), new Float64Array(3), SETTINGS)],
    ['no rows', () => bcaOfMean(new Float64Array(), SETTINGS)],
    ['NaN', () => bcaOfMean(Float64Array.of(1, NaN), SETTINGS)],
    ['an alpha of 0.6', () => bcaOfMean(Float64Array.of(1, 2), { ...SETTINGS, alpha: 0.6 })],
    ['ten resamples', () => bcaOfMean(Float64Array.of(1, 2), { ...SETTINGS, resamples: 10 })],
    ['gaps in clusters', () => bcaOfMean(Float64Array.of(1, 2), { ...SETTINGS, clusters: Uint32Array.of(0, 2) })],
    ['clusters of other rows', () => bcaOfMean(Float64Array.of(1, 2), { ...SETTINGS, clusters: Uint32Array.of(0) })],
  ])('refuses %s', (_, compute) => {
    expect(compute).toThrow(StatisticsInputError)
  })
})

describe('with most rows equal', () => {
  it('does not depend on the unit in which the few others differ', () => {
    const rows = (unit: number) => Float64Array.from({ length: 1_000 }, (_, i) => (i < 8 ? unit : i < 11 ? -unit : 0))
    const whole = bcaOfMean(rows(1), { ...SETTINGS, resamples: 4_000 })
    for (const unit of [0.1, 0.3, 1e-9, 1e12]) {
      const { bias, lower, upper } = bcaOfMean(rows(unit), { ...SETTINGS, resamples: 4_000 })
      expect(bias).toBeCloseTo(whole.bias, 10)
      expect(lower! / unit).toBeCloseTo(whole.lower!, 8)
      expect(upper! / unit).toBeCloseTo(whole.upper!, 8)
    }
  })
})

// Bounds below allow three standard deviations of a simulated share: √(p(1 − p) / rounds).
describe('the BCa bounds, by simulation', () => {
  it('each miss the true mean about 5% of the time on normal differences', () => {
    const { below, above } = missRates(1000, (random) => normals(random, 100, 0), {})
    expect(below).toBeGreaterThan(0.029)
    expect(below).toBeLessThan(0.071)
    expect(above).toBeGreaterThan(0.029)
    expect(above).toBeLessThan(0.071)
  })

  it('each miss it at most 7.5% of the time on differences as skewed as log losses of 200 rows', () => {
    const draw = (random: Random) => Float64Array.from({ length: 200 }, () => Math.exp(random.normal()) - Math.exp(0.5))
    const { below, above } = missRates(1000, draw, {})
    expect(below).toBeLessThan(0.075)
    expect(above).toBeLessThan(0.095) // skewness 6: the long tail is often missed by 200 rows whatever the method
  })

  it('keep their promise on clustered rows when clusters are resampled, and break it when rows are', () => {
    const clusters = Uint32Array.from({ length: 600 }, (_, row) => Math.floor(row / 10))
    const draw = (random: Random) => clusteredNormals(random, 60, 10)
    const whole = missRates(800, draw, { clusters })
    expect(whole.below).toBeLessThan(0.08)
    expect(whole.above).toBeLessThan(0.08)
    const byRow = missRates(300, draw, {})
    expect(byRow.below + byRow.above).toBeGreaterThan(0.25)
  })

  it('keep it with clusters of unequal size', () => {
    const sizes = Array.from({ length: 80 }, (_, cluster) => 1 + (cluster % 9))
    const clusters = Uint32Array.from(sizes.flatMap((size, cluster) => Array.from({ length: size }, () => cluster)))
    const draw = (random: Random) => Float64Array.from(sizes.flatMap((size) => shifted(random, size, random.normal())))
    const { below, above } = missRates(800, draw, { clusters })
    expect(below).toBeLessThan(0.08)
    expect(above).toBeLessThan(0.08)
  })

  it('give the same spread when many rows are resampled in random groups', () => {
    const random = seededRandom(8)
    const values = normals(random, MAX_UNITS + 50_000, 0)
    const interval = bcaOfMean(values, { ...SETTINGS, resamples: 200 })
    expect(interval.units).toBe(MAX_UNITS)
    expect(interval.rows).toBe(values.length)
    expect(interval.standardError * Math.sqrt(values.length)).toBeGreaterThan(0.85)
    expect(interval.standardError * Math.sqrt(values.length)).toBeLessThan(1.15)
  })
})

describe('the gate question, by simulation', () => {
  const margin = 0.05

  it('passes a model that is worse by the margin in at most 5% of cases (and chance)', () => {
    const passed = share(1000, (random, seed) => notWorseThanMargin(normals(random, 200, -margin), seed))
    expect(passed).toBeLessThan(0.071)
  })

  it('hardly ever passes one that is worse by twice the margin', () => {
    const passed = share(150, (random, seed) => notWorseThanMargin(normals(random, 2000, -2 * margin), seed))
    expect(passed).toBeLessThan(0.01)
  })

  it('has the power it should: 80% at 2.49 standard errors inside the margin', () => {
    const rows = Math.round((2.4865 / margin) ** 2) // (z₀.₀₅ + z₀.₂)² σ² / margin²
    const passed = share(200, (random, seed) => notWorseThanMargin(normals(random, rows, 0), seed))
    expect(passed).toBeGreaterThan(0.71)
    expect(passed).toBeLessThan(0.89)
  })

  function notWorseThanMargin(gains: Float64Array, seed: number): boolean {
    return bcaOfMean(gains, { alpha: 0.05, resamples: 400, seed }).lower! > -margin
  }
})

describe('quantileOfSorted', () => {
  it("interpolates as numpy's default does", () => {
    const values = Float64Array.of(1, 2, 4, 8)
    expect([0, 0.25, 0.5, 1].map((level) => quantileOfSorted(values, level))).toEqual([1, 1.75, 3, 8])
  })
})

/** Share of simulated series, whose true mean is 0, that a bound lies on the wrong side of. */
function missRates(rounds: number, draw: (random: Random) => Float64Array, options: { clusters?: Uint32Array }) {
  const random = seededRandom(20_260_101)
  let below = 0
  let above = 0
  for (let round = 0; round < rounds; round++) {
    const { lower, upper } = bcaOfMean(draw(random), { alpha: 0.05, resamples: 600, seed: round, ...options })
    if (upper! < 0) above += 1
    if (lower! > 0) below += 1
  }
  return { below: below / rounds, above: above / rounds }
}

function share(rounds: number, holds: (random: Random, seed: number) => boolean): number {
  const random = seededRandom(42)
  let count = 0
  for (let round = 0; round < rounds; round++) if (holds(random, round)) count += 1
  return count / rounds
}

function normals(random: Random, rows: number, mean: number): Float64Array {
  return Float64Array.from({ length: rows }, () => random.normal() + mean)
}

function clusteredNormals(random: Random, clusters: number, rowsEach: number): Float64Array {
  return Float64Array.from(Array.from({ length: clusters }, () => shifted(random, rowsEach, random.normal())).flat())
}

function shifted(random: Random, rows: number, by: number): number[] {
  return Array.from({ length: rows }, () => random.normal() + by)
}
