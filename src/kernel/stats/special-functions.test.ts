import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { chiSquaredQuantile, chiSquaredTail, logBeta, logGamma, logSumExp } from './special-functions.ts'

describe('the gamma and beta functions', () => {
  it('are factorials at whole numbers and √π at a half', () => {
    let factorial = 1
    for (let n = 1; n <= 20; n++) {
      expect(logGamma(n)).toBeCloseTo(Math.log(factorial), 12)
      factorial *= n
    }
    expect(logGamma(0.5)).toBeCloseTo(Math.log(Math.PI) / 2, 14)
    expect(logBeta(2, 3)).toBeCloseTo(Math.log(1 / 12), 14)
  })

  it('keep their digits at a hundred million: ln Γ(x + 1) − ln Γ(x) = ln x', () => {
    expect(logGamma(1e8 + 1) - logGamma(1e8)).toBeCloseTo(Math.log(1e8), 6)
  })

  it('refuse what they are not defined for', () => {
    for (const x of [0, -1, Number.NaN, Infinity]) expect(() => logGamma(x)).toThrow(StatisticsInputError)
  })
})

describe('logSumExp', () => {
  it('adds what would overflow, and nothing', () => {
    expect(logSumExp([1_000, 1_000])).toBeCloseTo(1_000 + Math.LN2, 12)
    expect(logSumExp([])).toBe(-Infinity)
    expect(logSumExp([-Infinity, 0])).toBe(0)
  })
})

describe('χ²', () => {
  it('with two degrees of freedom is an exponential distribution', () => {
    for (const x of [0, 0.1, 1, 10, 100, 1_000]) expect(chiSquaredTail(x, 2) / Math.exp(-x / 2)).toBeCloseTo(1, 12)
  })

  it('has a median near degrees · (1 − 2 / (9 degrees))³, also for a million', () => {
    for (const degrees of [10, 1_000, 1_000_000]) {
      expect(chiSquaredTail(degrees * (1 - 2 / (9 * degrees)) ** 3, degrees)).toBeCloseTo(0.5, 2)
    }
  })

  it('finds the quantiles that its tail goes back from', () => {
    for (const degrees of [1, 2, 9, 50, 500]) {
      for (const probability of [1e-6, 0.05, 0.5, 0.999]) {
        const back = 1 - chiSquaredTail(chiSquaredQuantile(probability, degrees), degrees)
        expect(Math.abs(back / probability - 1)).toBeLessThan(1e-8)
      }
    }
  })

  it('is defined at the ends, and nowhere else', () => {
    expect(chiSquaredTail(0, 3)).toBe(1)
    expect(chiSquaredTail(5, 0)).toBe(1)
    expect(chiSquaredTail(Infinity, 3)).toBe(0)
    expect(() => chiSquaredTail(Number.NaN, 3)).toThrow(StatisticsInputError)
    expect(() => chiSquaredTail(-1, 3)).toThrow(StatisticsInputError)
    expect(() => chiSquaredQuantile(1, 3)).toThrow(StatisticsInputError)
  })
})
