import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decideBudget, percent, span, type BudgetState } from './decide-budget.ts'
import { eventsOf, levelOf } from './level-builders.ts'
import type { EventCount } from './level.ts'

const counts = (max = 100_000) => fc.record({ good: fc.nat(max), bad: fc.nat(max) })
const objectives = fc.double({ min: 0.01, max: 0.9999, noNaN: true })

describe('a budget of many events', () => {
  it('is unmeasured without any', () => {
    expect(decideBudget(levelOf(), eventsOf({ good: 0, bad: 0 }), 'spent')).toMatchObject({
      state: 'unmeasured',
      left: null,
      why: 'nothing was measured in 30 days',
    })
  })

  it('has all left without bad ones, and says what is allowed', () => {
    expect(decideBudget(levelOf(), eventsOf({ good: 1_000, bad: 0 }), null)).toMatchObject({
      state: 'kept',
      left: 1,
      restores: null,
      why: '0 of 1000 requests were bad in 30 days, 0% where 1% is allowed',
    })
  })

  it('has half left after half of the allowed failures', () => {
    const { state, left } = decideBudget(levelOf(), eventsOf({ good: 9_950, bad: 50 }), null)
    expect([state, left]).toEqual(['kept', expect.closeTo(0.5, 9)])
  })

  it('is spent once as many failed as are allowed, and says what would bring it back', () => {
    expect(decideBudget(levelOf(), eventsOf({ good: 9_900, bad: 100 }), null)).toMatchObject({
      state: 'spent',
      left: expect.closeTo(0, 9),
      restores: '1112 more good requests, or once the bad ones are older than 30 days',
      why: expect.stringContaining('100 of 10000 requests were bad in 30 days, 1% where 1% is allowed'),
    })
  })

  it('comes back with a tenth of it left, not with the next good event', () => {
    const at = (good: number, before: BudgetState | null) =>
      decideBudget(levelOf(), eventsOf({ good, bad: 100 }), before).state
    expect(at(10_000, 'spent')).toBe('spent')
    expect(at(10_000, null)).toBe('kept')
    expect(at(11_011, 'spent')).toBe('spent')
    expect(at(11_012, 'spent')).toBe('kept')
  })

  it('is not spent by the first failure of a quiet day', () => {
    expect(decideBudget(levelOf({ objective: 0.999 }), eventsOf({ good: 3, bad: 1 }), null).state).toBe('kept')
    expect(decideBudget(levelOf({ objective: 0.999 }), eventsOf({ good: 3, bad: 5 }), null).state).toBe('spent')
  })

  it('never has more than all of it left, less the more failed, and is spent at none', () => {
    fc.assert(
      fc.property(objectives, counts(), fc.nat(1_000), (objective, whole, more) => {
        fc.pre(whole.good + whole.bad > 0)
        const level = levelOf({ objective })
        const now = decideBudget(level, eventsOf(whole), null)
        expect(now.left!).toBeLessThanOrEqual(1)
        expect(now.state === 'spent').toBe(now.left! <= 0)
        const worse = decideBudget(level, eventsOf({ good: whole.good, bad: whole.bad + more }), null)
        expect(worse.left!).toBeLessThanOrEqual(now.left! + 1e-9)
        const better = decideBudget(level, eventsOf({ good: whole.good + more, bad: whole.bad }), null)
        expect(better.left!).toBeGreaterThanOrEqual(now.left! - 1e-9)
      }),
    )
  })

  it('is back after as many good events as it says', () => {
    fc.assert(
      fc.property(objectives, counts(10_000), (objective, whole) => {
        const level = levelOf({ objective })
        const spent = decideBudget(level, eventsOf(whole), null)
        fc.pre(spent.state === 'spent')
        const needed = Number(/^(\d+) more/.exec(spent.restores!)![1])
        const after = decideBudget(level, eventsOf({ good: whole.good + needed + 1, bad: whole.bad }), 'spent')
        expect(after.state).toBe('kept')
      }),
    )
  })
})

describe('a budget that burns', () => {
  const window = (bad: number, good: number): EventCount => ({ good, bad })
  const whole = { good: 100_000, bad: 100 }

  it('does so when both windows of a pair are fast enough', () => {
    const burning = [{ long: window(15, 85), short: window(2, 8) }]
    expect(decideBudget(levelOf(), eventsOf(whole, { burning }), null)).toMatchObject({
      state: 'burning',
      why: expect.stringContaining('it burns at 15 × the allowed rate over 1 h and 20 × over 5 min'),
      burns: [{ burning: true, severity: 'page' }, { burning: false }, { burning: false }],
    })
  })

  it('does not when it is over, when it is short, or for want of failures', () => {
    for (const pair of [
      { long: window(15, 85), short: window(0, 10) },
      { long: window(14, 86), short: window(5, 5) },
      { long: window(4, 1), short: window(4, 1) },
    ])
      expect(decideBudget(levelOf(), eventsOf(whole, { burning: [pair] }), null).state).toBe('kept')
  })

  it('goes on until the rate has halved', () => {
    const at = (bad: number, before: BudgetState | null) =>
      decideBudget(
        levelOf(),
        eventsOf(whole, { burning: [{ long: window(20, 80), short: window(bad, 100 - bad) }] }),
        before,
      ).state
    expect(at(10, null)).toBe('kept')
    expect(at(10, 'burning')).toBe('burning')
    expect(at(7, 'burning')).toBe('kept')
  })

  it('is spent rather than burning when both hold', () => {
    const burning = [{ long: window(50, 50), short: window(50, 50) }]
    expect(decideBudget(levelOf(), eventsOf({ good: 50, bad: 50 }, { burning }), 'burning').state).toBe('spent')
  })
})

describe('a budget of rare events', () => {
  const runs = levelOf({ name: 'runSuccess', objective: 0.9, effect: 'freeze' })
  const after = (...last: boolean[]) => {
    const bad = last.filter((good) => !good).length
    return decideBudget(runs, eventsOf({ good: last.length - bad, bad }, { last: last.slice(0, 3) }), null)
  }

  it('takes one failure for bad luck, also where it was the only run', () => {
    expect(after(false)).toMatchObject({ state: 'kept', left: 0.5, why: '1 of the last 1 run was bad' })
    expect(after(false, true, true)).toMatchObject({ state: 'kept', why: '1 of the last 3 runs was bad' })
  })

  it('is spent by two of the last three, and back with as many good ones as it says', () => {
    expect(after(false, false)).toMatchObject({ state: 'spent', left: 0, restores: '2 good runs in a row' })
    expect(after(false, false, true)).toMatchObject({ state: 'spent', restores: '2 good runs in a row' })
    expect(after(true, false, false)).toMatchObject({ state: 'spent', restores: '1 good run in a row' })
    expect(after(false, true, false)).toMatchObject({ state: 'spent', restores: '1 good run in a row' })
    expect(after(false, false, false)).toMatchObject({ state: 'spent', restores: '2 good runs in a row' })
    expect(after(true, true, false)).toMatchObject({ state: 'kept' })
  })

  it('is counted as others once the share means something', () => {
    const spent = decideBudget(runs, eventsOf({ good: 27, bad: 3 }, { last: [true, true, true] }), null)
    expect(spent).toMatchObject({ state: 'spent', why: expect.stringContaining('3 of 30 runs were bad') })
    const kept = decideBudget(runs, eventsOf({ good: 28, bad: 2 }, { last: [false, false, true] }), null)
    expect(kept.state).toBe('kept')
  })
})

it('writes shares and times for people', () => {
  expect([0.99951, 0.0005, 0.012, 0.5, 0, 1].map(percent)).toEqual(['99.951%', '0.05%', '1.2%', '50%', '0%', '100%'])
  expect([30 * 86_400_000, 21_600_000, 300_000, 2_500].map(span)).toEqual(['30 days', '6 h', '5 min', '2.5 s'])
})
