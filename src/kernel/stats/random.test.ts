import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { randomFromState, seededRandom } from './random.ts'

describe('seededRandom', () => {
  it("gives the numbers of xoshiro128**'s reference implementation", () => {
    const random = randomFromState(Uint32Array.of(1, 2, 3, 4))
    const drawn = Array.from({ length: 10 }, () => random.uint32())
    expect(drawn).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ])
  })

  it('repeats itself for a seed and differs between neighbouring seeds', () => {
    const draw = (seed: number) => {
      const random = seededRandom(seed)
      return Array.from({ length: 5 }, () => random.uint32())
    }
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
    expect(draw(0).every((word) => word === 0)).toBe(false)
  })

  it('takes the same steps in the fast path as one by one', () => {
    const one = randomFromState(Uint32Array.of(9, 8, 7, 6))
    const many = randomFromState(Uint32Array.of(9, 8, 7, 6))
    const filled = new Uint32Array(100)
    many.fillIntegers(filled, 1000)
    expect(Array.from(filled)).toEqual(Array.from(filled, () => Math.floor((one.uint32() * 1000) / 2 ** 32)))
    expect(many.uint32()).toBe(one.uint32())
  })

  it('draws integers evenly and within their bound', () => {
    const random = seededRandom(1)
    const counts = [0, 0, 0, 0, 0, 0, 0]
    for (let i = 0; i < 70_000; i++) counts[random.integer(7)]! += 1
    const chiSquared = counts.reduce((total, count) => total + (count - 10_000) ** 2 / 10_000, 0)
    expect(chiSquared).toBeLessThan(22.5) // 6 degrees of freedom, p = 0.001
  })

  it('draws standard normals: mean 0, variance 1, 5% beyond 1.96', () => {
    const random = seededRandom(2)
    const values = Array.from({ length: 100_000 }, () => random.normal())
    const mean = values.reduce((total, value) => total + value, 0) / values.length
    const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length
    const beyond = values.filter((value) => Math.abs(value) > 1.959964).length / values.length
    expect(Math.abs(mean)).toBeLessThan(0.01)
    expect(Math.abs(variance - 1)).toBeLessThan(0.02)
    expect(Math.abs(beyond - 0.05)).toBeLessThan(0.003)
  })

  it('keeps uniform numbers in [0, 1)', () => {
    const random = seededRandom(3)
    for (let i = 0; i < 10_000; i++) {
      const value = random.uniform()
      expect(value >= 0 && value < 1).toBe(true)
    }
  })

  it.each([1.5, NaN, Infinity, 2 ** 60])('refuses %s as a seed', (seed) => {
    expect(() => seededRandom(seed)).toThrow(StatisticsInputError)
  })
})
