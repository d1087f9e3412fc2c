import { describe, expect, it } from 'vitest'
import type { CanaryView } from '../../../src/surface/api/canary-schemas.ts'
import { calendarFrom, TrialBook } from './trial-book.ts'

const days = [0, 1, 2].map((day) => ({ atMs: 1_000 * day, calendarMs: Date.UTC(2001, 2, 19 + day) }))

describe('the book of trials', () => {
  it('shares the looks of a release out to the steps in which they were taken', () => {
    const book = new TrialBook()
    book.see(view({ looks: [look(2_500, 'promote'), look(1_900, 'next'), look(600, 'wait')] }))
    const [shadow, canary] = book.facts(calendarFrom(days))
    expect(shadow).toMatchObject({
      id: 'trial-1',
      kind: 'shadow',
      endedAtMs: 1_910,
      startedCalendarMs: days[0]!.calendarMs,
    })
    expect(shadow!.looks.map(({ decision }) => decision)).toEqual(['wait', 'next'])
    expect(canary!.looks).toMatchObject([{ decision: 'promote', calendarMs: days[2]!.calendarMs }])
  })

  it('adds the last look where it was not kept, and takes it once', () => {
    const book = new TrialBook()
    book.see(view({ looks: [look(600, 'wait')], look: look(800, 'wait') }))
    expect(book.facts(calendarFrom(days))[0]!.looks.map(({ atMs }) => atMs)).toEqual([600, 800])
    book.see(view({ looks: [look(600, 'wait')], look: look(600, 'wait') }))
    expect(book.facts(calendarFrom(days))[0]!.looks).toHaveLength(1)
  })

  it('leaves out steps that have not begun, and knows what is closed', () => {
    const book = new TrialBook()
    const [shadow, canary] = view({}).steps
    book.see(
      view({ running: true, steps: [shadow!, { ...canary!, trial: null, startedAtMs: null, state: 'waiting' }] }),
    )
    expect(book.facts(calendarFrom(days))).toHaveLength(1)
    expect(book.isClosed('release-2')).toBe(false)
    book.see(view({ running: false }))
    expect(book.isClosed('release-2')).toBe(true)
    expect(book.facts(calendarFrom(days))).toHaveLength(2)
  })

  it('takes the calendar of the first day for what was before it', () => {
    expect(calendarFrom(days)(-5)).toBe(days[0]!.calendarMs)
  })
})

function view(given: Partial<CanaryView>): CanaryView {
  const step = { state: 'ended', why: 'goes on', weightPercent: 100, startedAtMs: 500, endedAtMs: 1_910 }
  return {
    release: 'release-2',
    challenger: 'late-flight@2',
    champion: 'late-flight@1',
    running: false,
    why: 'no harm',
    look: null,
    looks: [],
    steps: [
      { ...step, trial: 'trial-1', kind: 'shadow', step: 0 },
      { ...step, trial: 'trial-2', kind: 'canary', step: 1, weightPercent: 50, startedAtMs: 1_910, endedAtMs: 2_550 },
    ],
    ...given,
  } as unknown as CanaryView
}

const look = (atMs: number, decision: string) =>
  ({ atMs, decision, why: 'x', requests: 1, labels: 0, tests: [] }) as unknown as CanaryView['looks'][number]
