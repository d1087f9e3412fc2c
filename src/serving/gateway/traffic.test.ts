import { describe, expect, it } from 'vitest'
import { LATENCY_BOUNDS_MS } from '../../kernel/contract/routing.ts'
import { Traffic, latencyBucket } from './traffic.ts'
import type { Served } from './traffic.ts'

const served = (overrides: Partial<Served> = {}): Served => ({
  endpoint: 'e',
  model: 'm',
  version: '1',
  status: 200,
  latencyMs: 3,
  ...overrides,
})

describe('traffic', () => {
  it('keeps a batch as it is until it is acknowledged, and counts on meanwhile', () => {
    const traffic = new Traffic()
    traffic.count(served(), 1)
    const first = structuredClone(traffic.batch())
    traffic.count(served(), 2)
    expect(traffic.batch()).toEqual(first)
    traffic.acknowledge(first.seq)
    const second = traffic.batch()
    expect(second.seq).toBe(first.seq + 1)
    expect(second.traffic[0]?.requests).toBe(1)
    traffic.acknowledge(first.seq)
    expect(traffic.batch()).toBe(second)
    traffic.acknowledge(second.seq)
    expect(traffic.batch().traffic).toEqual([])
  })

  it('tells failures from interruptions and from mistakes of the client', () => {
    const traffic = new Traffic()
    for (const status of [200, 400, 503, 504, null]) traffic.count(served({ status }), 1)
    expect(traffic.batch().traffic[0]).toMatchObject({ requests: 5, failed: 2, interrupted: 1 })
  })

  it('names the first answer of a version once, over all batches', () => {
    const traffic = new Traffic()
    traffic.count(served({ status: 503 }), 1)
    traffic.count(served(), 2)
    traffic.count(served({ version: '2' }), 3)
    const first = traffic.batch()
    expect(first.traffic.map((row) => [row.version, row.firstAnswerAtMs])).toEqual([
      ['1', 2],
      ['2', 3],
    ])
    traffic.acknowledge(first.seq)
    traffic.count(served(), 4)
    expect(traffic.batch().traffic[0]?.firstAnswerAtMs).toBeNull()
  })

  it('puts each latency under its first bound that is not exceeded', () => {
    expect([0, 1, 1.1, 10_000, 10_001].map((ms) => latencyBucket(ms))).toEqual([0, 0, 1, 12, 13])
    expect(LATENCY_BOUNDS_MS).toHaveLength(13)
  })

  it('keeps a bounded number of counters, and counts what found no place', () => {
    const traffic = new Traffic()
    for (let i = 0; i < 10_001; i++) traffic.count(served({ version: String(i) }), 1)
    expect(traffic.batch().traffic).toHaveLength(10_000)
    expect(traffic.uncounted).toBe(1)
  })
})
