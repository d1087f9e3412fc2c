import { describe, expect, it } from 'vitest'
import { lineEndsInMs, mostWaiting, sheddingLimits, slowSinceAfter } from './decide-shedding.ts'
import type { Line } from './decide-shedding.ts'

const line = (fields: Partial<Line> = {}): Line => ({ waiting: 50, slowSinceMs: 0, endedPerSecond: 400, ...fields })
const most = (of: Line, nowMs: number) => mostWaiting(of, 1_024, sheddingLimits, nowMs)

describe('a line of waiting requests', () => {
  it('may be long for as long as it is short-lived', () => {
    expect(most(line({ slowSinceMs: null }), 10_000)).toBe(1_024)
    expect(most(line(), 499)).toBe(1_024)
  })

  it('may hold what is worked off within the target once it has stood for the interval', () => {
    expect(most(line(), 500)).toBe(40)
    expect(most(line({ endedPerSecond: 20_000 }), 500)).toBe(1_024)
  })

  it('may hold a few even before replicas that hardly get anything done', () => {
    expect(most(line({ endedPerSecond: 1 }), 500)).toBe(8)
  })

  it('is not cut while it is not known how fast it moves', () => {
    expect(most(line({ endedPerSecond: 0 }), 500)).toBe(1_024)
  })

  it('is slow from the first that waits too long until one does not, or, once it is cut, until one waits half as long', () => {
    const after = (waitedMs: number, slowSinceMs: number | null, nowMs: number) =>
      slowSinceAfter(line({ slowSinceMs }), waitedMs, sheddingLimits, nowMs)
    expect([after(100, null, 7), after(101, null, 7), after(300, 7, 400), after(100, 7, 400)]).toEqual([
      null,
      7,
      7,
      null,
    ])
    expect([after(100, 7, 900), after(51, 7, 900), after(50, 7, 900)]).toEqual([7, 7, null])
  })

  it('says when it will have been worked off', () => {
    expect(lineEndsInMs(line({ waiting: 1_000 }))).toBe(2_500)
    expect(lineEndsInMs(line({ endedPerSecond: 0 }))).toBe(1_000)
  })
})
