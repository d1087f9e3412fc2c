import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { driftVerdict } from '../drift.ts'
import { meanDifference } from '../mean-difference.ts'
import { predictedActual } from '../predicted-actual.ts'
import { shareDifference } from '../proportions.ts'
import { errorEvidence } from './error-process.ts'
import { latencyBands } from './latency-bands.ts'
import { lossDifference, pairedLossDifference } from './loss-difference.ts'
import { predictionShift } from './prediction-shift.ts'

/* Whatever the counts: every figure is a number or null, lower bounds are below upper ones, and nothing throws. */

const count = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 1e12 }))
const share = fc.oneof(fc.constantFrom(0, 1, 0.5, 1e-9, 1 - 1e-9), fc.double({ min: 0, max: 1, noNaN: true }))
const alpha = fc.constantFrom(0.05, 0.01, 0.000_1)
const bins = fc.integer({ min: 0, max: 12 }).chain((length) => {
  const counts = fc.array(count, { minLength: length, maxLength: length })
  return fc.record({ challenger: counts, champion: counts, share })
})
/** Sums that some values have: Σ of squares is at least (Σ)² / n. */
const sums = fc
  .record({ n: count, mean: fc.double({ min: -1e6, max: 1e6, noNaN: true }), spread: fc.constantFrom(0, 1e-9, 1, 1e9) })
  .map(({ n, mean, spread }) => ({ n, sum: n * mean, squares: n * (mean * mean + spread) }))
const minRows = 200

/** The numbers in it that are none: NaN and infinities. */
function wild(value: unknown): number[] {
  if (typeof value === 'number') return Number.isFinite(value) ? [] : [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(wild) : []
}

describe('any counts', () => {
  it('give errors an evidence', () => {
    const steps = fc.array(fc.record({ share, challengerErrors: count, championErrors: count }), { maxLength: 4 })
    fc.assert(
      fc.property(steps, fc.constantFrom(1, 1.5, 100), alpha, (all, margin, level) => {
        expect(wild(errorEvidence(all, { margin, alpha: level }))).toEqual([])
      }),
    )
  })

  it('give predictions a distance and an evidence', () => {
    fc.assert(
      fc.property(bins, share, alpha, (one, otherShare, level) => {
        expect(wild(predictionShift([one, { ...one, share: otherShare }], { limit: 0.25, alpha: level }))).toEqual([])
      }),
    )
  })

  it('give latencies bands in order', () => {
    const buckets = fc.dictionary(fc.integer({ min: 0, max: 300 }).map(String), count, { maxKeys: 20 })
    fc.assert(
      fc.property(buckets, buckets, alpha, (challenger, champion, level) => {
        const options = { alpha: level, margin: 1.5, boundMs: (bucket: number) => 1.05 ** bucket, lastBucket: 300 }
        const found = latencyBands({ challenger, champion }, options)
        expect(wild(found)).toEqual([])
        for (const { p50, p99 } of [found.challenger, found.champion]) {
          expect(p50.lowerMs).toBeLessThanOrEqual(p50.upperMs ?? Infinity)
          expect(p99.lowerMs).toBeLessThanOrEqual(p99.upperMs ?? Infinity)
        }
      }),
    )
  })

  it('give losses an interval around the estimate', () => {
    fc.assert(
      fc.property(sums, sums, alpha, (challenger, champion, level) => {
        const steps = [
          { challenger, champion },
          { challenger: champion, champion: challenger },
        ]
        for (const found of [
          pairedLossDifference(challenger, { alpha: level }),
          lossDifference(steps, { alpha: level }),
        ]) {
          expect(wild(found)).toEqual([])
          if (found.lower === null) continue
          expect(found.lower).toBeLessThanOrEqual(found.estimate!)
          expect(found.upper).toBeGreaterThanOrEqual(found.estimate!)
        }
      }),
    )
  })

  it('give a window a verdict', () => {
    fc.assert(
      fc.property(bins, sums, sums, alpha, ({ challenger, champion }, before, now, level) => {
        const options = { limit: 0.05, alpha: level, minRows }
        expect(wild(driftVerdict(challenger, champion, options))).toEqual([])
        expect(wild(meanDifference(before, now, options))).toEqual([])
        const [rows, part] = [before.n, Math.min(before.n, now.n)]
        expect(wild(shareDifference({ count: part, rows }, { count: 0, rows: now.n }, options))).toEqual([])
        expect(wild(predictedActual({ rows, predicted: part / 3, actual: part }, { ...options, limit: 1.25 }))).toEqual(
          [],
        )
        const squaredErrors = before.squares
        expect(
          wild(predictedActual({ rows, predicted: 1, actual: before.sum, squaredErrors }, { ...options, limit: 1.25 })),
        ).toEqual([])
      }),
    )
  })
})
