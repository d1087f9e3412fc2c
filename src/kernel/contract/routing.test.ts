import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FINE_LATENCY_MAX, fineLatencyBoundMs, fineLatencyBucket } from './routing.ts'

/** Rounding may put what lies exactly on a bound on either side of it. */
const HAIR = 1e-9

describe('fine latency buckets', () => {
  it('hold what lies above the bound before and not above their own', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.1001, max: 200_000, noNaN: true }), (ms) => {
        const bucket = fineLatencyBucket(ms)
        expect(ms).toBeLessThanOrEqual(fineLatencyBoundMs(bucket) * (1 + HAIR))
        expect(ms).toBeGreaterThan(fineLatencyBoundMs(bucket - 1) * (1 - HAIR))
      }),
    )
  })

  it('are as many as were said, whatever the latency', () => {
    expect([-1, 0, 0.1].map((ms) => fineLatencyBucket(ms))).toEqual([0, 0, 0])
    expect([300_000, Number.MAX_VALUE, Infinity].map((ms) => fineLatencyBucket(ms))).toEqual(
      [1, 2, 3].map(() => FINE_LATENCY_MAX),
    )
  })
})
