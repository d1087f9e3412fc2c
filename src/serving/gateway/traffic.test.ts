import { describe, expect, it } from 'vitest'
import { LATENCY_BOUNDS_MS } from '../../kernel/contract/routing.ts'
import { OTHER_CALLERS, Traffic, latencyBucket } from './traffic.ts'
import type { Served } from './traffic.ts'

const served = (overrides: Partial<Served> = {}): Served => ({
  endpoint: 'e',
  model: 'm',
  version: '1',
  origin: 'live',
  trial: null,
  rescued: false,
  pinnedBy: null,
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

  it('names the first answer of a version also behind a mistake of the client', () => {
    const traffic = new Traffic()
    for (const status of [400, 400, 200, 200]) traffic.count(served({ status }), status)
    expect(traffic.batch().traffic[0]).toMatchObject({ requests: 4, firstAnswerAtMs: 200 })
  })

  it('keeps one row for each model, version, origin and trial of an endpoint', () => {
    const traffic = new Traffic()
    const others: Partial<Served>[] = [
      {},
      { endpoint: 'f' },
      { model: 'n' },
      { version: '2' },
      { origin: 'fallback' },
      { trial: 't' },
    ]
    for (let time = 0; time < 3; time++) for (const each of others) traffic.count(served(each), 1)
    const { traffic: rows } = traffic.batch()
    expect(rows.map(({ requests }) => requests)).toEqual(others.map(() => 3))
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

  it('forgets versions that the routes no longer know, so that a year of them is not kept', () => {
    const traffic = new Traffic()
    for (const version of ['1', '2']) traffic.count(served({ version }), 1)
    traffic.acknowledge(traffic.batch().seq)
    traffic.forgetAnsweredBut(({ version }) => version === '2')
    for (const version of ['1', '2']) traffic.count(served({ version }), 2)
    expect(traffic.batch().traffic.map((row) => [row.version, row.firstAnswerAtMs])).toEqual([
      ['1', 2],
      ['2', null],
    ])
  })

  it('takes no first answer from a shadow or a fallback', () => {
    const traffic = new Traffic()
    traffic.count(served({ origin: 'shadow' }), 1)
    traffic.count(served({ origin: 'fallback' }), 2)
    traffic.count(served(), 3)
    expect(traffic.batch().traffic.map((row) => [row.origin, row.firstAnswerAtMs])).toEqual([
      ['shadow', null],
      ['fallback', null],
      ['live', 3],
    ])
  })

  it('has a row for each version, origin and trial', () => {
    const traffic = new Traffic()
    for (const version of ['1', '2'])
      for (const origin of ['live', 'shadow', 'fallback'] as const)
        for (const trial of [null, 'trial-1', 'trial-2'])
          for (let n = 0; n < 2; n++) traffic.count(served({ version, origin, trial }), 1)
    const rows = traffic.batch().traffic
    expect(rows).toHaveLength(18)
    expect(rows.map((row) => row.requests)).toEqual(rows.map(() => 2))
  })

  it('names a bounded number of callers that name a version, and counts all', () => {
    const traffic = new Traffic()
    for (let i = 0; i < 150; i++) traffic.count(served({ pinnedBy: `caller-${i}` }), 1)
    traffic.count(served({ pinnedBy: 'caller-0' }), 1)
    traffic.count(served({ pinnedBy: 'x'.repeat(5_000) }), 1)
    const pinned = traffic.batch().traffic[0]?.pinned ?? []
    expect(pinned).toHaveLength(100)
    expect(pinned[0]).toEqual({ caller: 'caller-0', requests: 2 })
    expect(pinned.at(-1)).toEqual({ caller: OTHER_CALLERS, requests: 52 })
  })

  it('keeps copies that were dropped apart from those that were sent', () => {
    const traffic = new Traffic()
    const account = { endpoint: 'e', model: 'm', version: '1', origin: 'shadow', trial: 'trial-1' } as const
    traffic.countDropped(account)
    traffic.count(served(account), 1)
    traffic.countDropped(account)
    expect(traffic.batch().traffic).toMatchObject([{ requests: 1, failed: 0, dropped: 2 }])
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
