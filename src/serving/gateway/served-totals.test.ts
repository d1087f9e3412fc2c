import { expect, it } from 'vitest'
import { ServedTotals } from './served-totals.ts'
import type { ServedRequest } from './served-totals.ts'

function served(overrides: Partial<ServedRequest> = {}): ServedRequest {
  return {
    endpoint: 'late-flights',
    model: 'late-flight',
    version: '1',
    origin: 'live',
    status: 200,
    latencyMs: 2.5,
    ...overrides,
  }
}

it('counts answers and their times, good and bad apart, for each version of an endpoint', () => {
  const totals = new ServedTotals()
  totals.count(served(), 1_000)
  totals.count(served({ latencyMs: 1.5 }), 2_000)
  totals.count(served({ status: 400, latencyMs: 1 }), 3_000)
  totals.count(served({ version: '2', status: 503, latencyMs: 8 }), 4_000)
  expect(totals.of('late-flights', '1')).toEqual({
    success: { count: 2, ns: 4_000_000 },
    fail: { count: 1, ns: 1_000_000 },
    lastAnswerMs: 3_000,
  })
  expect(totals.of('late-flights', '2')).toMatchObject({ success: { count: 0 }, fail: { count: 1, ns: 8_000_000 } })
})

it('counts what a fallback answers, but no copies, nobody, and no client that left', () => {
  const totals = new ServedTotals()
  totals.count(served({ origin: 'fallback' }), 1)
  totals.count(served({ origin: 'shadow' }), 2)
  totals.count(served({ status: null }), 3)
  totals.count(served({ version: '', status: 503 }), 4)
  expect(totals.of('late-flights', '1')).toMatchObject({ success: { count: 1 }, fail: { count: 0 }, lastAnswerMs: 1 })
  expect(totals.of('late-flights', '')).toMatchObject({ success: { count: 0 }, fail: { count: 0 } })
})

it('counts what members of a gather gave under the name by which clients may ask for it', () => {
  const totals = new ServedTotals()
  totals.count(served({ origin: 'member', model: 'trees', version: '3' }), 1)
  expect(totals.of('late-flights', 'trees@3').success.count).toBe(1)
  expect(totals.of('late-flights', '3').success.count).toBe(0)
})

it('forgets the version that came first when there are too many', () => {
  const totals = new ServedTotals()
  for (let version = 1; version <= 2_001; version++) totals.count(served({ version: String(version) }), version)
  expect(totals.of('late-flights', '1').lastAnswerMs).toBe(0)
  expect(totals.of('late-flights', '2').lastAnswerMs).toBe(2)
  expect(totals.of('late-flights', '2001').lastAnswerMs).toBe(2_001)
})
