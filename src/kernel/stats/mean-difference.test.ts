import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { meanDifference } from './mean-difference.ts'

const options = { limit: 0.05, alpha: 0.001, minRows: 200 }
const of = (n: number, mean: number, deviation: number) => ({
  n,
  sum: n * mean,
  squares: n * mean ** 2 + (n - 1) * deviation ** 2,
})

describe('a difference of mean losses', () => {
  it('is worse where it is large and certain', () => {
    const worse = meanDifference(of(5_000, 0.3, 0.4), of(2_000, 0.4, 0.4), options)
    expect(worse).toMatchObject({ verdict: 'worse', baselineRows: 5_000, currentRows: 2_000 })
    expect(worse.difference).toBeCloseTo(0.1, 12)
    expect(worse.difference! - worse.lower!).toBeCloseTo(3.0902 * 0.4 * Math.sqrt(1 / 5_000 + 1 / 2_000), 4)
  })

  it('is steady where it is small, uncertain, or better', () => {
    expect(meanDifference(of(1e6, 0.3, 0.4), of(1e6, 0.31, 0.4), options).verdict).toBe('steady')
    expect(meanDifference(of(300, 0.3, 2), of(300, 0.4, 2), options).verdict).toBe('steady')
    expect(meanDifference(of(3_000, 0.3, 0.4), of(3_000, 0.1, 0.4), options).verdict).toBe('steady')
    expect(meanDifference(of(500, 0, 0), of(500, 0, 0), options)).toMatchObject({
      verdict: 'steady',
      lower: 0,
      upper: 0,
    })
  })

  it('is insufficient on few labels or none', () => {
    expect(meanDifference(of(500, 0, 1), of(8, 9, 1), options).verdict).toBe('insufficient')
    expect(meanDifference(of(500, 0, 1), of(1, 9, 0), options)).toMatchObject({
      verdict: 'insufficient',
      difference: 9,
      lower: null,
    })
    expect(meanDifference(of(0, 0, 0), of(500, 1, 1), options)).toMatchObject({ difference: null, currentMean: 1 })
    expect(() => meanDifference(of(5, Number.NaN, 0), of(5, 1, 1), options)).toThrow(StatisticsInputError)
  })
})
