import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { neverRising, spreadAroundImprovement } from './improvement.ts'
import { seededRandom } from './random.ts'

describe('the closest sequence that never rises', () => {
  it.each([
    [[], []],
    [
      [3, 2, 1],
      [3, 2, 1],
    ],
    [
      [1, 2, 3],
      [2, 2, 2],
    ],
    [
      [5, 1, 3, 4, 2],
      [5, 8 / 3, 8 / 3, 8 / 3, 2],
    ],
  ])('of %j is %j', (values, fit) => {
    expect(neverRising(values)).toEqual(fit)
  })

  it('is closer than any other that never rises', () => {
    const random = seededRandom(3)
    for (let round = 0; round < 200; round++) {
      const values = Array.from({ length: 6 }, () => random.normal())
      const distance = (other: number[]) => other.reduce((total, v, i) => total + (v - values[i]!) ** 2, 0)
      const fit = neverRising(values)
      expect(fit.every((value, i) => i === 0 || value <= fit[i - 1]!)).toBe(true)
      for (let other = 0; other < 20; other++) {
        const falling = fit.map((v) => v + 0.2 * random.normal()).toSorted((a, b) => b - a)
        expect(distance(falling)).toBeGreaterThanOrEqual(distance(fit))
      }
    }
  })
})

describe('the spread around improvement', () => {
  it('is nothing where every model is better than the last, however much', () => {
    expect(spreadAroundImprovement([0.66, 0.65, 0.5, 0.2], 0.05)).toMatchObject({ deviation: 0, lower: 0, upper: 0 })
    expect(spreadAroundImprovement([0.66, 0.65, 0.5, 0.2], 0.05).plain).toBeGreaterThan(0.1)
  })

  it.each([
    [3, 0.25],
    [5, 0.12],
    [10, 0.08],
  ])('estimates the standard deviation of %i models that do not improve, and its lower bound holds', (n, upperMax) => {
    const random = seededRandom(n)
    const rounds = 4_000
    let squares = 0
    const wrong = { lower: 0, upper: 0 }
    for (let round = 0; round < rounds; round++) {
      const { deviation, lower, upper } = spreadAroundImprovement(
        Array.from({ length: n }, () => 0.5 + 0.01 * random.normal()),
        0.05,
      )
      squares += deviation! ** 2 / rounds
      if (lower! > 0.01) wrong.lower += 1 / rounds
      if (upper! < 0.01) wrong.upper += 1 / rounds
    }
    expect(Math.abs(Math.sqrt(squares) / 0.01 - 1)).toBeLessThan(0.05)
    expect(wrong.lower).toBeLessThan(0.08)
    expect(wrong.lower).toBeGreaterThan(0.02)
    // A sequence that falls by chance alone shows no spread at all: three models do so in one case of six.
    expect(wrong.upper).toBeLessThan(upperMax)
  })

  it('is not defined for fewer than two values, nor for what is no number', () => {
    expect(spreadAroundImprovement([0.5], 0.05).deviation).toBeNull()
    expect(() => spreadAroundImprovement([0.5, Number.NaN], 0.05)).toThrow(StatisticsInputError)
    expect(() => spreadAroundImprovement([0.5, 0.6], 0.7)).toThrow(StatisticsInputError)
  })
})
