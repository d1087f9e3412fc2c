import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { predictedActual } from './predicted-actual.ts'
import { seededRandom } from './random.ts'

const options = { limit: 1.25, alpha: 0.001, minRows: 200 }

describe('predicted to actual', () => {
  it('is off where predictions add up to far more, or far less, than comes true', () => {
    const much = predictedActual({ rows: 5_000, predicted: 1_000, actual: 500 }, options)
    expect(much).toMatchObject({ verdict: 'off', ratio: 2, predictedMean: 0.2, actualMean: 0.1 })
    expect(much.lower).toBeGreaterThan(1.7)
    expect(much.upper).toBeLessThan(2.4)
    expect(predictedActual({ rows: 5_000, predicted: 500, actual: 1_000 }, options)).toMatchObject({ verdict: 'off' })
  })

  it('is steady where the ratio is within its limit, or the interval holds 1', () => {
    expect(predictedActual({ rows: 1e6, predicted: 110_000, actual: 100_000 }, options).verdict).toBe('steady')
    expect(predictedActual({ rows: 300, predicted: 6, actual: 4 }, options)).toMatchObject({
      verdict: 'steady',
      ratio: 1.5,
    })
  })

  it('where nothing came true has no ratio, but a lower bound', () => {
    const none = predictedActual({ rows: 5_000, predicted: 500, actual: 0 }, options)
    expect(none).toMatchObject({ verdict: 'off', ratio: null, upper: null })
    expect(none.lower).toBeGreaterThan(20)
    expect(predictedActual({ rows: 500, predicted: 0, actual: 0 }, options)).toMatchObject({
      verdict: 'steady',
      ratio: null,
    })
  })

  it('is insufficient on few rows or none', () => {
    expect(predictedActual({ rows: 8, predicted: 8, actual: 0 }, options).verdict).toBe('insufficient')
    expect(predictedActual({ rows: 0, predicted: 0, actual: 0 }, options)).toMatchObject({ ratio: null, lower: null })
  })

  it('takes values of either sign, with the spread of their errors', () => {
    const values = { rows: 1_000, predicted: -2_000, actual: -1_000, squaredErrors: 2_000 }
    const result = predictedActual(values, options)
    expect(result).toMatchObject({ verdict: 'off', ratio: 2 })
    expect(result.lower).toBeLessThan(2)
    expect(result.upper).toBeGreaterThan(2)
    expect(predictedActual({ ...values, actual: 1_000 }, options)).toMatchObject({
      verdict: 'steady',
      ratio: null,
      lower: null,
    })
    expect(predictedActual({ rows: 400, predicted: 400, actual: 400, squaredErrors: 0 }, options)).toMatchObject({
      verdict: 'steady',
      ratio: 1,
      lower: 1,
      upper: 1,
    })
  })

  it('is less certain where rows stand and fall together', () => {
    const sums = { rows: 1_000, predicted: 150, actual: 100 }
    expect(predictedActual(sums, options).verdict).toBe('off')
    expect(predictedActual(sums, { ...options, rowsPerCluster: 20 }).verdict).toBe('steady')
  })

  it('refuses sums that are none', () => {
    expect(() => predictedActual({ rows: 5, predicted: Number.NaN, actual: 1 }, options)).toThrow(StatisticsInputError)
    expect(() => predictedActual({ rows: 5, predicted: 1, actual: 6 }, options)).toThrow(StatisticsInputError)
    expect(() => predictedActual({ rows: 5, predicted: 1, actual: 1 }, { ...options, limit: 1 })).toThrow(
      StatisticsInputError,
    )
  })

  it('has bounds that are each wrong in at most 5% of 2,000 rounds where predictions are right', () => {
    const random = seededRandom(42)
    let [low, high] = [0, 0]
    for (let round = 0; round < 2_000; round++) {
      let [predicted, actual] = [0, 0]
      for (let row = 0; row < 300; row++) {
        const chance = 0.4 * random.uniform()
        predicted += chance
        actual += random.uniform() < chance ? 1 : 0
      }
      const { lower, upper } = predictedActual({ rows: 300, predicted, actual }, { ...options, alpha: 0.05 })
      if (lower! > 1) low += 1
      if (upper! < 1) high += 1
    }
    for (const missed of [low, high]) {
      expect(missed / 2_000).toBeGreaterThan(0.02)
      expect(missed / 2_000).toBeLessThan(0.06)
    }
  })
})
