import { describe, expect, it } from 'vitest'
import { attemptLimitMs, silenceLimits, SlowestOfLate, suspiciousAfterMs } from './decide-silence.ts'

describe('silence', () => {
  it('is suspicious after a quarter of a second, or three times the slowest answer where that is more', () => {
    expect(suspiciousAfterMs(2, silenceLimits)).toBe(250)
    expect(suspiciousAfterMs(400, silenceLimits)).toBe(1_200)
  })

  it('is borne for three seconds while nothing is known of the model', () => {
    expect(suspiciousAfterMs(null, silenceLimits)).toBe(3_000)
  })
})

describe('a first attempt', () => {
  it('may take two fifths of the time, and always ten times the slowest answer', () => {
    expect(attemptLimitMs(10_000, 5, silenceLimits)).toBe(4_000)
    expect(attemptLimitMs(10_000, 900, silenceLimits)).toBe(9_000)
  })

  it('may take all there is while nothing is known of the model', () => {
    expect(attemptLimitMs(10_000, null, silenceLimits)).toBe(Infinity)
  })
})

describe('the slowest answer of late', () => {
  it('is of the last one to two windows', () => {
    const slowest = new SlowestOfLate(1_000)
    expect(slowest.ms).toBeNull()
    slowest.note(700)
    slowest.turn(1_000)
    slowest.note(5)
    expect(slowest.ms).toBe(700)
    slowest.turn(2_000)
    expect(slowest.ms).toBe(5)
  })

  it('stays what it was while nothing comes', () => {
    const slowest = new SlowestOfLate(1_000)
    slowest.note(700)
    for (let nowMs = 1_000; nowMs < 100_000; nowMs += 1_000) slowest.turn(nowMs)
    expect(slowest.ms).toBe(700)
  })
})
