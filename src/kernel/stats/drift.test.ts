import { describe, expect, it } from 'vitest'
import { driftVerdict, homogeneity } from './drift.ts'
import { StatisticsInputError } from './errors.ts'
import { jensenShannon } from './jensen-shannon.ts'
import { seededRandom, type Random } from './random.ts'

const options = { limit: 0.25, alpha: 0.001, minRows: 200 }

describe('a drift verdict', () => {
  it('is drifted where the distance matters and chance does not explain it', () => {
    const verdict = driftVerdict([500, 500, 500, 500], [50, 100, 200, 650], options)
    expect(verdict).toMatchObject({ verdict: 'drifted', chanceExcluded: true, baselineRows: 2_000, currentRows: 1_000 })
    expect(verdict.psi).toBeGreaterThan(verdict.psiBeyondChance!)
    expect(verdict.psiBeyondChance).toBeGreaterThan(0.25)
  })

  it('is steady on a trifle in a million rows', () => {
    const verdict = driftVerdict([500_000, 500_000], [510_000, 490_000], options)
    expect(verdict).toMatchObject({ verdict: 'steady', chanceExcluded: true })
    expect(verdict.pValue).toBeLessThan(1e-40)
  })

  it('is insufficient on eight rows, on none, and without a baseline, however far apart', () => {
    expect(driftVerdict([1_000, 0], [0, 8], options).verdict).toBe('insufficient')
    expect(driftVerdict([1_000, 0], [0, 0], options)).toMatchObject({
      verdict: 'insufficient',
      psi: null,
      pValue: null,
    })
    expect(driftVerdict([0, 0], [5, 900], options)).toMatchObject({ verdict: 'insufficient', psiBeyondChance: null })
    expect(driftVerdict([], [], options).verdict).toBe('insufficient')
  })

  it('is steady for a constant column, and drifted once it is missing altogether', () => {
    expect(driftVerdict([1_000, 0], [1_000, 0], options)).toMatchObject({ verdict: 'steady', psi: 0, pValue: 1 })
    expect(driftVerdict([1_000], [1_000], options)).toMatchObject({ verdict: 'steady', psi: 0, pValue: 1 })
    expect(driftVerdict([1_000, 0], [0, 1_000], options).verdict).toBe('drifted')
  })

  it('refuses bins that differ and counts below 0', () => {
    expect(() => driftVerdict([1], [1, 2], options)).toThrow(StatisticsInputError)
    expect(() => driftVerdict([1, -1], [1, 2], options)).toThrow(StatisticsInputError)
    expect(() => driftVerdict([1], [Number.NaN], options)).toThrow(StatisticsInputError)
    expect(() => driftVerdict([1], [1], { ...options, alpha: 1 })).toThrow(StatisticsInputError)
  })

  it('excludes chance in about alpha of quiet windows, also with fifty rare categories', () => {
    const random = seededRandom(31)
    const ten = Array.from({ length: 10 }, () => 0.1)
    const rare = Array.from({ length: 51 }, (_, i) => 1 / (i + 1) ** 1.5)
    for (const shares of [ten, rare]) {
      let excluded = 0
      for (let window = 0; window < 4_000; window++) {
        const verdict = driftVerdict(draw(random, shares, 800), draw(random, shares, 250), { ...options, alpha: 0.05 })
        expect(verdict.verdict).toBe('steady')
        excluded += verdict.chanceExcluded ? 1 : 0
      }
      expect(excluded / 4_000).toBeGreaterThan(0.035)
      expect(excluded / 4_000).toBeLessThan(0.065)
    }
  })
})

describe('the test of homogeneity', () => {
  it('is 0 for proportional counts, and takes rare bins together', () => {
    expect(homogeneity([100, 300], [10, 30]).chiSquared).toBeCloseTo(0, 12)
    expect(homogeneity([1_000, 4, 4, 0], [1_000, 3, 0, 4]).degrees).toBe(1)
    expect(homogeneity([5, 0], [9, 0])).toEqual({ chiSquared: 0, degrees: 0, pValue: 1 })
    expect(homogeneity([0, 0], [0, 0])).toEqual({ chiSquared: 0, degrees: 0, pValue: 1 })
  })

  it('judges what is still rare by how often such few rows divide so', () => {
    // One missing value in 200 rows after none in 20,000: 1 in 101, twice for both tails.
    expect(homogeneity([20_000, 0], [199, 1]).pValue).toBeCloseTo(2 / 101, 10)
    expect(homogeneity([199, 1], [20_000, 0]).pValue).toBeCloseTo(2 / 101, 10)
    // Twice again, as the frequent bins were asked as well.
    expect(homogeneity([10_000, 10_000, 0], [100, 99, 1]).pValue).toBeCloseTo(4 / 101, 10)
    expect(homogeneity([20_000, 1], [200, 0]).pValue).toBe(1)
    expect(homogeneity([1e9, 0], [1e9 - 4, 4]).pValue).toBeCloseTo(2 / 16, 5)
    expect(homogeneity([1_000_000, 0], [195, 5]).pValue).toBeLessThan(1e-15)
    expect(homogeneity([0, 30], [900, 0]).pValue).toBeLessThan(1e-40)
    // Of three rows in all, five are expected nowhere.
    expect(homogeneity([0, 3], [900, 0]).pValue).toBe(1)
  })

  it('excludes chance in at most alpha of windows with a bin that nearly nobody is in', () => {
    const random = seededRandom(33)
    let excluded = 0
    for (let window = 0; window < 6_000; window++) {
      // One in 10,000 of either side. Of the baseline's 20,000 rows: two on average, drawn as of 1,000.
      const rare = draw(random, [0.998, 0.002], 1_000)[1]!
      const { pValue } = homogeneity([20_000 - rare, rare], draw(random, [0.9999, 0.0001], 250))
      excluded += pValue < 0.01 ? 1 : 0
    }
    expect(excluded / 6_000).toBeLessThan(0.01 + 0.004)
  })
})

describe('the Jensen-Shannon divergence', () => {
  it('is 0 bits for equal shares and 1 where nothing is in common', () => {
    expect(jensenShannon([1, 3], [100, 300]).divergence).toBeCloseTo(0, 12)
    expect(jensenShannon([5, 0], [0, 9]).divergence).toBe(1)
  })

  it('without drift is what is expected by chance, on average', () => {
    const random = seededRandom(32)
    const shares = Array.from({ length: 10 }, () => 0.1)
    const rounds = Array.from({ length: 2_000 }, () =>
      jensenShannon(draw(random, shares, 1_000), draw(random, shares, 500)),
    )
    const mean = rounds.reduce((total, { divergence }) => total + divergence / 2_000, 0)
    expect(mean / rounds[0]!.expectedByChance).toBeGreaterThan(0.95)
    expect(mean / rounds[0]!.expectedByChance).toBeLessThan(1.05)
  })

  it('refuses a side that holds nothing', () => {
    expect(() => jensenShannon([0, 0], [1, 2])).toThrow(StatisticsInputError)
    expect(() => jensenShannon([1], [1, 2])).toThrow(StatisticsInputError)
  })
})

function draw(random: Random, weights: number[], rows: number): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const counts = weights.map(() => 0)
  for (let row = 0; row < rows; row++) {
    let rest = random.uniform() * total
    let bin = 0
    while (bin < weights.length - 1 && rest >= weights[bin]!) rest -= weights[bin++]!
    counts[bin]! += 1
  }
  return counts
}
