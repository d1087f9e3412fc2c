import { describe, expect, it } from 'vitest'
import { FINE_LATENCY_MAX, fineLatencyBoundMs, fineLatencyBucket } from '../../contract/routing.ts'
import { StatisticsInputError } from '../errors.ts'
import { seededRandom, type Random } from '../random.ts'
import { latencyBands, type BucketCounts } from './latency-bands.ts'

const options = { alpha: 0.01, margin: 1.5, boundMs: fineLatencyBoundMs, lastBucket: FINE_LATENCY_MAX }

function counted(latenciesMs: number[]): BucketCounts {
  const counts: Record<string, number> = {}
  for (const latencyMs of latenciesMs) add(counts, latencyMs)
  return counts
}

function add(counts: Record<string, number>, latencyMs: number): void {
  const bucket = fineLatencyBucket(latencyMs)
  counts[bucket] = (counts[bucket] ?? 0) + 1
}

const logNormal = (random: Random, medianMs: number) => medianMs * Math.exp(0.5 * random.normal())
const many = (n: number, draw: () => number) => Array.from({ length: n }, draw)

describe('latency bands', () => {
  it('know nothing without requests, and say so without harm', () => {
    const { challenger, champion, ratioAbove, harm } = latencyBands({ challenger: {}, champion: {} }, options)
    expect(challenger).toEqual(champion)
    expect(challenger.p50).toEqual({ estimateMs: null, lowerMs: 0, upperMs: null })
    expect(ratioAbove).toEqual({ p50: 0, p99: 0 })
    expect(harm).toBeNull()
    const one = latencyBands({ challenger: counted([7]), champion: {} }, options)
    expect(one.challenger.p99).toMatchObject({ lowerMs: 0, upperMs: null })
    expect(one.harm).toBeNull()
  })

  it('close in on the quantiles, to a bucket', () => {
    const random = seededRandom(1)
    const arm = counted(many(20_000, () => logNormal(random, 10)))
    const { challenger } = latencyBands({ challenger: arm, champion: arm }, options)
    expect(challenger.requests).toBe(20_000)
    expect(challenger.p50.lowerMs).toBeGreaterThan(9)
    expect(challenger.p50.upperMs).toBeLessThan(11)
    const p99 = 10 * Math.exp(0.5 * 2.3263)
    expect(challenger.p99.lowerMs).toBeGreaterThan(0.85 * p99)
    expect(challenger.p99.upperMs).toBeLessThan(1.25 * p99)
  })

  it('prove a challenger that is twice as slow, in the median or only in the tail', () => {
    const random = seededRandom(2)
    const champion = counted(many(9_000, () => logNormal(random, 10)))
    const slow = counted(many(1_000, () => logNormal(random, 20)))
    const tail = counted(many(1_000, () => (random.uniform() < 0.1 ? 300 : logNormal(random, 10))))
    expect(latencyBands({ challenger: slow, champion }, options)).toMatchObject({ harm: 'p50' })
    expect(latencyBands({ challenger: tail, champion }, options)).toMatchObject({ harm: 'p99' })
    expect(latencyBands({ challenger: champion, champion: slow }, options).harm).toBeNull()
  })

  it('hold for a constant, and have no upper bound in the last bucket, which has none', () => {
    const [constant, stuck] = [counted(many(1_000, () => 5)), counted(many(1_000, () => 1e9))]
    const { challenger, champion, harm } = latencyBands({ challenger: stuck, champion: constant }, options)
    expect(champion.p50.lowerMs).toBeLessThan(5)
    expect(champion.p50.upperMs).toBeGreaterThanOrEqual(5)
    expect(champion.p50.upperMs! / champion.p50.lowerMs).toBeLessThan(1.06)
    expect(challenger.p50).toMatchObject({ estimateMs: null, upperMs: null })
    expect(challenger.p50.lowerMs).toBe(fineLatencyBoundMs(FINE_LATENCY_MAX - 1))
    expect(harm).toBe('p50')
    expect(latencyBands({ challenger: { 0: 500 }, champion: { 0: 500 } }, options).ratioAbove).toEqual({
      p50: 0,
      p99: 0,
    })
  })

  it('refuse buckets that are none', () => {
    const wrong: BucketCounts[] = [{ '-1': 1 }, { 301: 1 }, { a: 1 }, { 3: -1 }, { 3: Number.NaN }]
    for (const counts of wrong) {
      expect(() => latencyBands({ challenger: counts, champion: {} }, options)).toThrow(StatisticsInputError)
    }
  })
})

describe('in simulation, looked at every 20 requests', () => {
  it('at most 5% of 150 bands of alpha 5% ever leave out a true quantile, up to 2,000 requests', () => {
    const random = seededRandom(3)
    const truth = { p50: 10, p99: 10 * Math.exp(0.5 * 2.326347874) }
    let missed = 0
    for (let round = 0; round < 150; round++) missed += everMisses(random, truth) ? 1 : 0
    expect(missed / 150).toBeLessThan(0.05)
  })
})

function everMisses(random: Random, truth: { p50: number; p99: number }): boolean {
  const counts = { challenger: {}, champion: {} }
  for (let request = 1; request <= 2_000; request++) {
    add(random.uniform() < 0.3 ? counts.challenger : counts.champion, logNormal(random, 10))
    if (request % 20 > 0) continue
    const bands = latencyBands(counts, { ...options, alpha: 0.05, margin: 1 })
    for (const arm of [bands.challenger, bands.champion]) {
      if (arm.p50.lowerMs > truth.p50 || (arm.p50.upperMs ?? Infinity) < truth.p50) return true
      if (arm.p99.lowerMs > truth.p99 || (arm.p99.upperMs ?? Infinity) < truth.p99) return true
    }
  }
  return false
}
