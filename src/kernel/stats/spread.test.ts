import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { seededRandom } from './random.ts'
import { spread } from './spread.ts'

describe('the spread of a few values', () => {
  it('is unknown for none and one, and 0 for a constant', () => {
    expect(spread([], 0.05)).toEqual({ n: 0, mean: null, deviation: null, lower: null, upper: null })
    expect(spread([3], 0.05)).toMatchObject({ n: 1, mean: 3, deviation: null, upper: null })
    expect(spread([3, 3, 3], 0.05)).toMatchObject({ deviation: 0, lower: 0, upper: 0 })
  })

  it('of five values reaches from 0.65 to 2.4 times the deviation', () => {
    const { deviation, lower, upper } = spread([1, 2, 3, 4, 5], 0.05)
    expect(deviation).toBeCloseTo(Math.sqrt(2.5), 12)
    expect(lower! / deviation!).toBeCloseTo(Math.sqrt(4 / 9.487729), 6)
    expect(upper! / deviation!).toBeCloseTo(Math.sqrt(4 / 0.710723), 6)
  })

  it('has bounds that are each wrong in about 5% of 4,000 rounds', () => {
    const random = seededRandom(43)
    let [low, high] = [0, 0]
    for (let round = 0; round < 4_000; round++) {
      const { lower, upper } = spread(
        Array.from({ length: 6 }, () => 10 + 2 * random.normal()),
        0.05,
      )
      if (lower! > 2) low += 1
      if (upper! < 2) high += 1
    }
    for (const missed of [low, high]) {
      expect(missed / 4_000).toBeGreaterThan(0.04)
      expect(missed / 4_000).toBeLessThan(0.06)
    }
  })

  it('refuses what is no number', () => {
    expect(() => spread([1, Number.NaN], 0.05)).toThrow(StatisticsInputError)
    expect(() => spread([1, 2], 0.5)).toThrow(StatisticsInputError)
  })
})
