import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { binOf, countIntoBins, quantileEdges, stabilityIndex } from './histogram.ts'
import { seededRandom } from './random.ts'

describe('quantile bins', () => {
  it('share distinct values out evenly', () => {
    const values = Float64Array.from({ length: 1000 }, (_, i) => i)
    expect(countIntoBins(quantileEdges(values, 10), values)).toEqual(Array.from({ length: 10 }, () => 100))
  })

  it('get fewer where ties fill several of them', () => {
    const values = Float64Array.of(0, 0, 0, 0, 0, 0, 1, 2, 2, 9)
    const edges = quantileEdges(values, 10)
    expect(edges[0]).toBe(0)
    expect(countIntoBins(edges, values)[0]).toBe(6)
  })

  it('are one bin for a constant and for nothing', () => {
    expect(quantileEdges(Float64Array.of(3, 3, 3), 10)).toEqual([])
    expect(quantileEdges(new Float64Array(), 10)).toEqual([])
  })

  it('put a value into the bin whose upper edge it does not pass', () => {
    expect([-1, 0, 0.5, 1, 7].map((value) => binOf([0, 1], value))).toEqual([0, 0, 1, 1, 2])
  })

  it('count every value once, whatever the values', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }), (list) => {
        const values = Float64Array.from(list).sort()
        const edges = quantileEdges(values, 10)
        const counts = countIntoBins(edges, values)
        expect(edges.every((edge, i) => i === 0 || edge > edges[i - 1]!)).toBe(true)
        expect(counts.reduce((total, count) => total + count, 0)).toBe(list.length)
      }),
    )
  })
})

describe('stabilityIndex', () => {
  it('is 0 for equal shares of different totals', () => {
    expect(stabilityIndex([100, 200, 300], [1000, 2000, 3000]).psi).toBeCloseTo(0, 4)
  })

  it('matches Σ (p − q) ln(p / q) where counts are large', () => {
    const expected = (0.5 - 0.4) * Math.log(0.5 / 0.4) + (0.5 - 0.6) * Math.log(0.5 / 0.6)
    expect(stabilityIndex([500_000, 500_000], [400_000, 600_000]).psi).toBeCloseTo(expected, 5)
  })

  it('stays finite with an empty bin and says how much is chance', () => {
    const index = stabilityIndex([4, 4, 0], [3, 3, 2])
    expect(Number.isFinite(index.psi)).toBe(true)
    expect(index.expectedByChance).toBeGreaterThan(0.4)
  })

  it('averages what it says sampling alone would give', () => {
    const random = seededRandom(5)
    const draw = (rows: number) => {
      const counts = Array.from({ length: 10 }, () => 0)
      for (let i = 0; i < rows; i++) counts[random.integer(10)]! += 1
      return counts
    }
    let psi = 0
    let expected = 0
    for (let round = 0; round < 400; round++) {
      const index = stabilityIndex(draw(5000), draw(2000))
      psi += index.psi
      expected += index.expectedByChance
    }
    expect(psi / expected).toBeGreaterThan(0.9)
    expect(psi / expected).toBeLessThan(1.1)
  })

  it('is not moved by bins that hold nothing on either side, however unlike the numbers of rows', () => {
    const nothing = Array.from({ length: 46 }, () => 0)
    for (const [baseline, current] of [
      [
        [4_000, 4_000, 4_000, 4_000, 4_000],
        [50, 50, 50, 50, 50],
      ],
      [
        [80, 90, 70, 80, 80],
        [30, 90, 40, 50, 40],
      ],
    ] as const)
      expect(stabilityIndex([...baseline, ...nothing], [...current, ...nothing])).toEqual(
        stabilityIndex(baseline, current),
      )
    expect(stabilityIndex([4_000, 4_000, ...nothing], [50, 50, ...nothing]).psi).toBeCloseTo(0, 12)
  })

  it('refuses bins that differ and sides that are empty', () => {
    expect(() => stabilityIndex([1, 2], [1])).toThrow('bins differ')
    expect(() => stabilityIndex([0, 0], [1, 2])).toThrow('nothing')
  })
})
