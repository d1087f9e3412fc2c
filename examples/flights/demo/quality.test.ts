import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { measure } from './quality.ts'

describe('quality of probabilities', () => {
  it('is the mean surprise: ln 2 for someone who always says one half', () => {
    expect(measure([0, 1, 1], [0.5, 0.5, 0.5])).toEqual({ rows: 3, logLoss: Math.log(2), auc: 0.5 })
  })

  it('does not become infinite by one certain mistake', () => {
    expect(measure([0, 1], [1, 0]).logLoss).toBeCloseTo(-Math.log(1e-7), 6)
  })

  it('gives an AUC of 1, 0 and null for right order, wrong order and one class', () => {
    expect(measure([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]).auc).toBe(1)
    expect(measure([0, 0, 1, 1], [0.4, 0.3, 0.2, 0.1]).auc).toBe(0)
    expect(measure([1, 1], [0.4, 0.3]).auc).toBeNull()
  })

  it('agrees with counting all pairs, ties as one half', () => {
    const row = fc.record({ late: fc.constantFrom<0 | 1>(0, 1), probability: fc.integer({ min: 1, max: 9 }) })
    fc.assert(
      fc.property(fc.array(row, { minLength: 2, maxLength: 30 }), (rows) => {
        const pairs = rows.flatMap((a) => rows.filter((b) => a.late === 1 && b.late === 0).map((b) => [a, b] as const))
        fc.pre(pairs.length > 0)
        const wins = pairs.map(([a, b]) =>
          a.probability > b.probability ? 1 : a.probability === b.probability ? 0.5 : 0,
        )
        const expected = wins.reduce((sum: number, win) => sum + win, 0) / pairs.length
        const { auc } = measure(
          rows.map(({ late }) => late),
          rows.map(({ probability }) => probability / 10),
        )
        expect(auc).toBeCloseTo(expected, 12)
      }),
    )
  })
})
