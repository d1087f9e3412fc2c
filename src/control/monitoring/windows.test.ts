import { describe, expect, it } from 'vitest'
import { DAY_MS, HOUR_MS, bucketOf } from './observation.ts'
import { dueWindows, firstWindow, WINDOWS_MAX } from './windows.ts'

const starts = (judgedUntilMs: number, arrivedUntilMs: number) =>
  dueWindows({ judgedUntilMs, arrivedUntilMs }, DAY_MS).map((window) => window.fromMs / DAY_MS)

describe('windows', () => {
  it('are due once they are over, in order and without gaps', () => {
    expect(starts(0, DAY_MS - 1)).toEqual([])
    expect(starts(0, DAY_MS)).toEqual([0])
    expect(starts(DAY_MS, 4 * DAY_MS + HOUR_MS)).toEqual([1, 2, 3])
  })

  it('never come again when the calendar goes back', () => {
    expect(starts(10 * DAY_MS, 3 * DAY_MS)).toEqual([])
  })

  it('are bounded, the oldest left out, however far the calendar jumps', () => {
    const many = starts(0, 10_000 * DAY_MS)
    expect(many).toHaveLength(WINDOWS_MAX)
    expect(many.at(-1)).toBe(9_999)
  })

  it('begin with the one in which a champion came, or the first whole one', () => {
    expect(firstWindow(DAY_MS + HOUR_MS, DAY_MS, false)).toBe(DAY_MS)
    expect(firstWindow(DAY_MS + HOUR_MS, DAY_MS, true)).toBe(2 * DAY_MS)
    expect(firstWindow(DAY_MS, DAY_MS, true)).toBe(DAY_MS)
  })

  it('are tiled by the buckets of counts', () => {
    expect(bucketOf(HOUR_MS, DAY_MS)).toBe(HOUR_MS)
    expect(bucketOf(HOUR_MS, 10 * 60_000)).toBe(10 * 60_000)
    expect(bucketOf(HOUR_MS, 90 * 60_000)).toBe(30 * 60_000)
    expect(bucketOf(DAY_MS, 36 * HOUR_MS)).toBe(12 * HOUR_MS)
  })
})
