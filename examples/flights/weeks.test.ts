import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { weekName, weekStartMs } from './weeks.ts'

describe('ISO weeks', () => {
  it('names the first week of 2001, which begins on a Monday and on the first of January', () => {
    expect(weekName(Date.UTC(2001, 0, 1))).toBe('2001-W01')
    expect(weekName(Date.UTC(2001, 0, 7, 23, 59))).toBe('2001-W01')
    expect(weekName(Date.UTC(2001, 0, 8))).toBe('2001-W02')
  })

  it('gives the days around New Year to the year of their Thursday', () => {
    expect(weekName(Date.UTC(2000, 0, 2))).toBe('1999-W52')
    expect(weekName(Date.UTC(2004, 11, 31))).toBe('2004-W53')
    expect(weekName(Date.UTC(2001, 11, 31))).toBe('2002-W01')
  })

  it('finds the Monday of every week it has named', () => {
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(1990, 0, 1), max: Date.UTC(2060, 0, 1) }), (timeMs) => {
        const startMs = weekStartMs(weekName(timeMs))
        expect(new Date(startMs).getUTCDay()).toBe(1)
        expect(timeMs - startMs).toBeGreaterThanOrEqual(0)
        expect(timeMs - startMs).toBeLessThan(7 * 86_400_000)
      }),
    )
  })

  it('refuses what is no week, naming it', () => {
    for (const name of ['2001-05', '2001-W54', '2001-W00', 'W05', '../2001-W05']) {
      expect(() => weekStartMs(name)).toThrow(`'${name}'`)
    }
  })
})
