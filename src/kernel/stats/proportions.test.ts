import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { shareDifference, shareInterval } from './proportions.ts'
import { seededRandom } from './random.ts'

const options = { limit: 0.05, alpha: 0.001, minRows: 200 }

describe('the interval of a share', () => {
  it('reaches 0 and 1 only where the count does', () => {
    expect(shareInterval(0, 50, 0.05)).toMatchObject({ lower: 0 })
    expect(shareInterval(0, 50, 0.05).upper).toBeCloseTo(0.0513, 3)
    expect(shareInterval(50, 50, 0.05)).toMatchObject({ upper: 1 })
    expect(shareInterval(0, 0, 0.05)).toEqual({ lower: 0, upper: 1 })
  })

  it('refuses more than all', () => {
    expect(() => shareInterval(2, 1, 0.05)).toThrow(StatisticsInputError)
    expect(() => shareInterval(Number.NaN, 1, 0.05)).toThrow(StatisticsInputError)
    expect(() => shareInterval(0, 1, 0.5)).toThrow(StatisticsInputError)
  })
})

describe('a difference of shares', () => {
  it('is raised where it is large and certain', () => {
    const raised = shareDifference({ count: 0, rows: 5_000 }, { count: 60, rows: 500 }, options)
    expect(raised).toMatchObject({ verdict: 'raised', baselineShare: 0, currentShare: 0.12 })
    expect(raised.lower).toBeGreaterThan(0.05)
    expect(raised.upper).toBeGreaterThan(0.12)
    expect(raised.pValue).toBeLessThan(1e-20)
  })

  it('is steady where it is small however certain, or falls', () => {
    const small = shareDifference({ count: 0, rows: 1e6 }, { count: 10_000, rows: 1e6 }, options)
    expect(small).toMatchObject({ verdict: 'steady' })
    expect(small.lower).toBeGreaterThan(0)
    expect(shareDifference({ count: 500, rows: 1_000 }, { count: 0, rows: 1_000 }, options).verdict).toBe('steady')
    expect(shareDifference({ count: 0, rows: 900 }, { count: 0, rows: 900 }, options)).toMatchObject({ pValue: 1 })
  })

  it('is insufficient on few rows or none', () => {
    expect(shareDifference({ count: 0, rows: 900 }, { count: 8, rows: 8 }, options).verdict).toBe('insufficient')
    expect(shareDifference({ count: 0, rows: 900 }, { count: 0, rows: 0 }, options)).toMatchObject({
      verdict: 'insufficient',
      difference: null,
    })
  })

  it('has bounds that are each wrong in about 5% of 4,000 rounds', () => {
    const random = seededRandom(41)
    const rounds = 4_000
    const binomial = (rows: number, share: number) => {
      let count = 0
      for (let row = 0; row < rows; row++) count += random.uniform() < share ? 1 : 0
      return { count, rows }
    }
    let [low, high] = [0, 0]
    for (let round = 0; round < rounds; round++) {
      const { lower, upper } = shareDifference(binomial(300, 0.05), binomial(200, 0.1), { ...options, alpha: 0.05 })
      if (lower! > 0.05) low += 1
      if (upper! < 0.05) high += 1
    }
    for (const missed of [low, high]) {
      expect(missed / rounds).toBeGreaterThan(0.03)
      expect(missed / rounds).toBeLessThan(0.07)
    }
  })
})
