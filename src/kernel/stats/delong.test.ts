import { describe, expect, it } from 'vitest'
import { deLong } from './delong.ts'
import { seededRandom } from './random.ts'
import { areaUnderCurve, midranks } from './ranks.ts'

describe('midranks', () => {
  it('give ties the mean of the ranks they cover', () => {
    expect(Array.from(midranks(Float64Array.of(3, 1, 3, 0)))).toEqual([3.5, 2, 3.5, 1])
  })
})

describe('areaUnderCurve', () => {
  it('counts pairs in the right order, ties by half', () => {
    expect(areaUnderCurve(Float64Array.of(0.1, 0.4, 0.4, 0.8), Uint8Array.of(0, 0, 1, 1))).toBe(0.875)
  })

  it('is not defined for one class', () => {
    expect(areaUnderCurve(Float64Array.of(0.1, 0.4), Uint8Array.of(1, 1))).toBeNull()
  })
})

describe('deLong', () => {
  it('agrees with the definition by placement values over all pairs', () => {
    const { first, second, positive } = twoModels(60, 1, 0.8)
    const result = deLong(first, second, positive)!
    expect(result.difference).toBeCloseTo(areaUnderCurve(first, positive)! - areaUnderCurve(second, positive)!, 12)
    expect(result.standardError).toBeCloseTo(standardErrorByPairs(first, second, positive), 12)
  })

  it('calls a difference significant in about 5% of cases where there is none', () => {
    let significant = 0
    for (let round = 0; round < 1000; round++) {
      const { first, second, positive } = twoModels(200, 100 + round, 0)
      if (deLong(first, second, positive)!.pValue < 0.05) significant += 1
    }
    expect(significant).toBeGreaterThan(30)
    expect(significant).toBeLessThan(75)
  })

  it('sees no difference between a model and itself', () => {
    const { first, positive } = twoModels(100, 3, 0)
    expect(deLong(first, first, positive)).toMatchObject({ difference: 0, standardError: 0, pValue: 1 })
  })

  it('says nothing about fewer than two rows of a class', () => {
    expect(deLong(Float64Array.of(1, 2, 3), Float64Array.of(1, 2, 3), Uint8Array.of(1, 0, 0))).toBeNull()
  })
})

/** Two noisy views of one signal; `edge` is how much sharper the first sees. */
function twoModels(rows: number, seed: number, edge: number) {
  const random = seededRandom(seed)
  const positive = Uint8Array.from({ length: rows }, (_, i) => (i % 3 === 0 ? 1 : 0))
  const score = (sharpness: number) => Float64Array.from(positive, (flag) => flag * sharpness + random.normal())
  return { positive, first: score(0.8 + edge), second: score(0.8) }
}

function standardErrorByPairs(first: Float64Array, second: Float64Array, positive: Uint8Array): number {
  const rows = Array.from(positive.keys())
  const [up, down] = [rows.filter((row) => positive[row] === 1), rows.filter((row) => positive[row] === 0)]
  const wins = (scores: Float64Array, a: number, b: number) =>
    Number(scores[a]! > scores[b]!) + Number(scores[a] === scores[b]) / 2
  const mean = (list: number[]) => list.reduce((total, value) => total + value, 0) / list.length
  const spread = (list: number[]) =>
    list.reduce((total, value) => total + (value - mean(list)) ** 2, 0) / (list.length - 1)
  const byPositive = up.map((a) => mean(down.map((b) => wins(first, a, b) - wins(second, a, b))))
  const byNegative = down.map((b) => mean(up.map((a) => wins(first, a, b) - wins(second, a, b))))
  return Math.sqrt(spread(byPositive) / up.length + spread(byNegative) / down.length)
}
