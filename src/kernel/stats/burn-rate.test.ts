import { describe, expect, it } from 'vitest'
import { burnRate, burns, burnWindows, errorBudget } from './burn-rate.ts'
import { StatisticsInputError } from './errors.ts'

describe('burn rates', () => {
  it('are 1 where the budget lasts exactly, and 0 without events', () => {
    expect(burnRate(999, 1, 0.999)).toBeCloseTo(1, 12)
    expect(burnRate(0, 10, 0.99)).toBeCloseTo(100, 12)
    expect(burnRate(0, 0, 0.999)).toBe(0)
  })

  it('spend a budget to 0 and below', () => {
    expect(errorBudget(9_990, 10, 0.999)).toEqual({
      allowed: expect.closeTo(10, 9),
      spent: 10,
      left: expect.closeTo(0, 9),
    })
    expect(errorBudget(980, 20, 0.99).left).toBeCloseTo(-1, 9)
    expect(errorBudget(0, 0, 0.99)).toEqual({ allowed: 0, spent: 0, left: 1 })
  })

  it('are watched in the windows of the workbook for 30 days, and in the same proportions for less', () => {
    const hours = (days: number) => burnWindows(days * 86_400_000).map(({ longMs }) => longMs / 3_600_000)
    expect(hours(30)).toEqual([1, 6, 72])
    expect(hours(3)).toEqual([0.1, 0.6, 7.2].map((hour) => expect.closeTo(hour, 9)))
    for (const { burn, longMs } of burnWindows(30 * 86_400_000)) {
      expect([0.02, 0.05, 0.1]).toContainEqual(expect.closeTo((burn * longMs) / (30 * 86_400_000), 9))
    }
  })

  it('alert only where both windows burn and enough has failed', () => {
    const limits = { burn: 14.4, objective: 0.999, minBad: 5 }
    const bad = { good: 980, bad: 20 }
    expect(burns(bad, { good: 98, bad: 2 }, limits)).toBe(true)
    expect(burns(bad, { good: 100, bad: 0 }, limits)).toBe(false)
    expect(burns({ good: 9, bad: 1 }, { good: 0, bad: 1 }, limits)).toBe(false)
    expect(burns({ good: 0, bad: 0 }, { good: 0, bad: 0 }, { ...limits, minBad: 0 })).toBe(false)
  })

  it('refuse an objective without a budget and counts below 0', () => {
    expect(() => burnRate(1, 1, 1)).toThrow(StatisticsInputError)
    expect(() => burnRate(1, 1, Number.NaN)).toThrow(StatisticsInputError)
    expect(() => errorBudget(-1, 0, 0.9)).toThrow(StatisticsInputError)
    expect(() => burnWindows(0)).toThrow(StatisticsInputError)
  })
})
