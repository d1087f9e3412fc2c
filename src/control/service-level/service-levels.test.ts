import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LATENCY_BOUNDS_MS } from '../../kernel/contract/routing.ts'
import { latencyCounts } from '../../testing/control-builders.ts'
import { quantileOfCounts } from './service-levels.ts'

describe('a quantile of counted latencies', () => {
  it('is unknown without a request', () => {
    expect(quantileOfCounts(latencyCounts(1, 0), 0.5)).toBeNull()
    expect(quantileOfCounts([], 0.5)).toBeNull()
  })

  it('is the upper bound of the bucket that holds it', () => {
    expect(quantileOfCounts(latencyCounts(7, 10), 0.99)).toBe(10)
  })

  it('is the last bound for what is above all of them', () => {
    expect(quantileOfCounts(latencyCounts(99_999, 3), 0.5)).toBe(LATENCY_BOUNDS_MS.at(-1))
  })

  it('is never too low and at most one bucket too high', () => {
    const latencies = fc.array(fc.double({ min: 0, max: 9_999, noNaN: true }), { minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(latencies, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
        const counts = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0)
        const bucket = (value: number) => LATENCY_BOUNDS_MS.findIndex((bound) => value <= bound)
        for (const value of values) counts[bucket(value)]!++
        const exact = values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1]!
        expect(quantileOfCounts(counts, share)).toBe(LATENCY_BOUNDS_MS[bucket(exact)])
      }),
    )
  })
})
