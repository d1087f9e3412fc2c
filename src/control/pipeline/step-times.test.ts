import { describe, expect, it } from 'vitest'
import { attemptOf, stepOf } from '../../testing/control-builders.ts'
import { adoptedPauseMs, adoptedRanMs, StepTimes } from './step-times.ts'

const HOUR_MS = 3_600_000

/** Real time, which anybody may set, and the time that passes. */
function settableClock() {
  const clock = { epoch: 1_000_000, monotonic: 50 }
  return {
    epochMs: () => clock.epoch,
    monotonicMs: () => clock.monotonic,
    pass(ms: number) {
      clock.epoch += ms
      clock.monotonic += ms
    },
    set: (byMs: number) => void (clock.epoch += byMs),
  }
}
const unasked = () => expect.fail('the system was asked for the age of a process that began here')

describe('how long an attempt has been under way', () => {
  it.each([HOUR_MS, -HOUR_MS])('does not change when the clock is set by %i ms', (byMs) => {
    const clock = settableClock()
    const times = new StepTimes(clock)
    const attempt = attemptOf({ startedAtMs: clock.epochMs() })
    times.begin(attempt)
    clock.pass(700)
    clock.set(byMs)
    clock.pass(300)
    expect(times.ranMs(attempt, 60_000, unasked)).toBe(1_000)
  })

  it('is counted on from its age where another control plane began it', () => {
    const clock = settableClock()
    const times = new StepTimes(clock)
    const attempt = attemptOf({ startedAtMs: clock.epochMs() - HOUR_MS })
    expect(times.ranMs(attempt, 60_000, () => 5_000)).toBe(5_000)
    clock.set(HOUR_MS)
    clock.pass(2_000)
    expect(times.ranMs(attempt, 60_000, unasked)).toBe(7_000)
  })

  it('is forgotten with its run', () => {
    const clock = settableClock()
    const times = new StepTimes(clock)
    const [kept, gone] = [attemptOf({ token: 'a', runId: 'run-1' }), attemptOf({ token: 'b', runId: 'run-2' })]
    for (const attempt of [kept, gone]) times.begin(attempt)
    clock.pass(700)
    times.keep(['run-1'])
    expect([times.ranMs(kept, 60_000, () => 1), times.ranMs(gone, 60_000, () => 1)]).toEqual([700, 1])
  })
})

describe('where the system does not say how old its process is', () => {
  const ran = (sinceStartMs: number, timeoutMs = 600_000) => adoptedRanMs({ ageMs: null, sinceStartMs, timeoutMs })

  it('the time since its recorded start counts, by the clock', () => {
    expect(ran(45_000)).toBe(45_000)
  })

  it('a clock that was set back gives it no time before its start', () => {
    expect(ran(-HOUR_MS)).toBe(0)
  })

  it('a clock that was set forward leaves it a minute, in which nobody can set the time', () => {
    expect([ran(HOUR_MS), ran(HOUR_MS, 30_000)]).toEqual([540_000, 0])
  })
})

describe('the pause before the next attempt', () => {
  const waiting = (retryAtMs: number | null) => stepOf({ retryAtMs })

  it.each([HOUR_MS, -HOUR_MS])('is as long as it was decided when the clock is set by %i ms', (byMs) => {
    const clock = settableClock()
    const times = new StepTimes(clock)
    const step = waiting(clock.epochMs() + 8_000)
    expect(times.pauseMs(step)).toBe(8_000)
    clock.set(byMs)
    clock.pass(3_000)
    expect(times.pauseMs(step)).toBe(5_000)
    clock.pass(5_000)
    expect(times.pauseMs(step)).toBeNull()
  })

  it('begins anew with each attempt, and is none before the first', () => {
    const clock = settableClock()
    const times = new StepTimes(clock)
    expect(times.pauseMs(waiting(null))).toBeNull()
    expect(times.pauseMs(waiting(clock.epochMs() + 1_000))).toBe(1_000)
    clock.pass(1_000)
    expect(times.pauseMs(waiting(clock.epochMs() + 2_000))).toBe(2_000)
  })

  it('that another control plane decided is never longer than the longest, nor less than nothing', () => {
    expect([adoptedPauseMs(HOUR_MS), adoptedPauseMs(4_000), adoptedPauseMs(-1)]).toEqual([300_000, 4_000, 0])
  })
})
