import { expect, it } from 'vitest'
import { LoadHistory, PEAK_MS, RECENT_MS, STEADY_MS } from './replica-load.ts'

/** Reports twice a second from the start, each with the load of its moment. */
function heard(untilMs: number, load: (atMs: number) => number, fromMs = 0): LoadHistory {
  const history = new LoadHistory()
  for (let atMs = fromMs; atMs <= untilMs; atMs += 500) history.note(atMs, load(atMs))
  return history
}

it('says nothing before something was heard, and after it has fallen silent', () => {
  const nothing = { now: null, recent: null, steady: null, peak: null }
  expect(new LoadHistory().load(5_000)).toEqual(nothing)
  expect(heard(100_000, () => 4).load(100_000 + RECENT_MS + 1)).toEqual(nothing)
})

it('gives means over what is recent and what is steady, and the highest of the last minute', () => {
  const history = heard(100_000, (atMs) => (atMs > 100_000 - 3_000 ? 12 : atMs < 45_000 ? 40 : 2))
  const load = history.load(100_000)
  expect(load.now).toBe(12)
  expect(load.recent).toBeCloseTo(12)
  expect(load.steady).toBeCloseTo((6 * 12 + 24 * 2) / 30)
  // The windows of the last minute reach back to 25 s before it: the load of 40 ended 55 s ago.
  expect(load.peak).toBeCloseTo(40)
  const later = heard(STEADY_MS + PEAK_MS + 45_000, (atMs) => (atMs < 45_000 ? 40 : 2))
  expect(later.load(STEADY_MS + PEAK_MS + 45_000).peak).toBeCloseTo(2)
})

it('knows no peak before it has listened for a minute, and none of moments nobody told it of', () => {
  expect(heard(PEAK_MS - 500, () => 4).load(PEAK_MS - 500).peak).toBe(null)
  expect(heard(PEAK_MS, () => 4).load(PEAK_MS).peak).toBeCloseTo(4)
})

it('weighs many gateways as much as one: a slot is the mean of what was said in it', () => {
  const history = new LoadHistory()
  for (let atMs = 0; atMs < 10_000; atMs += 10) history.note(atMs, atMs < 9_000 ? 8 : 0)
  const load = history.load(9_990)
  expect(load.recent).toBeCloseTo((4 * 8) / 6)
})

it('forgets what a slot held a minute and a quarter before', () => {
  const history = heard(1_000, () => 100)
  for (let atMs = 75_000; atMs <= 78_000; atMs += 500) history.note(atMs, 1)
  expect(history.load(78_000)).toMatchObject({ recent: 1, steady: 1 })
})
