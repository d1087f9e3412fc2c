import { describe, expect, it } from 'vitest'
import type { CronTrigger } from '../../config/project.ts'
import { parseCron, timesBetween } from '../../kernel/cron.ts'
import { seededRandom } from '../../kernel/stats/random.ts'
import { CATCH_UP_MAX, decideCron, skippedText, type CronQuestion, type CronState } from './decide-cron.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const at = (text: string) => Date.parse(text)

const trigger = (change: Partial<CronTrigger> = {}): CronTrigger => ({
  kind: 'cron',
  name: 'cron-1',
  cron: '0 3 * * *',
  timeZone: 'UTC',
  catchUp: 'last',
  overlap: false,
  ...change,
})

/** Everything up to 2 March 2026, 03:00 has been decided. */
const question = (change: Partial<CronQuestion> & { trigger?: CronTrigger } = {}): CronQuestion => {
  const of = change.trigger ?? trigger()
  return {
    trigger: of,
    state: { cron: of.cron, timeZone: of.timeZone, untilMs: at('2026-03-02T03:00Z') },
    resumed: null,
    watchedSinceMs: null,
    openRun: null,
    ...change,
  }
}

describe('a cron trigger', () => {
  it('counts from the first look on', () => {
    const now = at('2026-03-02T12:00Z')
    expect(decideCron(question({ state: null }), now)).toMatchObject({
      kind: 'begin',
      state: { untilMs: now },
      dueMs: at('2026-03-03T03:00Z'),
    })
  })

  it('waits until it is time, and says when', () => {
    expect(decideCron(question(), at('2026-03-03T02:59:59Z'))).toMatchObject({
      kind: 'wait',
      why: 'not yet time',
      dueMs: at('2026-03-03T03:00Z'),
    })
  })

  it('fires at its time, and for the next one only after it', () => {
    expect(decideCron(question(), at('2026-03-03T03:00Z'))).toMatchObject({
      kind: 'act',
      fireMs: at('2026-03-03T03:00Z'),
      isLate: false,
      skipped: [],
      state: { untilMs: at('2026-03-03T03:00Z') },
      dueMs: at('2026-03-04T03:00Z'),
    })
  })

  it('is on time where somebody watched, however fast the calendar runs', () => {
    const none = question({ trigger: trigger({ catchUp: 'none' }), watchedSinceMs: at('2026-03-03T00:00Z') })
    expect(decideCron(none, at('2026-03-03T20:00Z'))).toMatchObject({ fireMs: at('2026-03-03T03:00Z'), isLate: false })
  })

  it.each([
    ['none', null, ['3 up to 2026-03-05T03:00:00Z: it passed while runs could not be started, and catchUp is']],
    ['last', '2026-03-05T03:00Z', ["2 up to 2026-03-04T03:00:00Z: a later time fires, and catchUp is 'last'"]],
    ['all', '2026-03-03T03:00Z', []],
  ] as const)('catches up with %s of the times missed', (catchUp, fires, skipped) => {
    const decision = decideCron(question({ trigger: trigger({ catchUp }) }), at('2026-03-05T12:00Z'))
    if (decision.kind !== 'act') throw new Error(decision.kind)
    expect(decision.fireMs).toBe(fires === null ? null : at(fires))
    expect(decision.skipped.map(skippedText)).toEqual(skipped.map((text) => expect.stringContaining(text) as string))
    expect(decision.isMore).toBe(catchUp === 'all')
  })

  it('skips a time that finds a run open, and says which', () => {
    const decision = decideCron(question({ openRun: 'run-7' }), at('2026-03-03T03:00Z'))
    expect(decision).toMatchObject({
      fireMs: null,
      skipped: [{ count: 1, why: 'run-7 of the model was still open, and overlap is false' }],
      state: { untilMs: at('2026-03-03T03:00Z') },
    })
    const overlap = question({ openRun: 'run-7', trigger: trigger({ overlap: true }) })
    expect(decideCron(overlap, at('2026-03-03T03:00Z'))).toMatchObject({ fireMs: at('2026-03-03T03:00Z') })
  })

  it('runs each missed time one after the other where all are caught up with', () => {
    const all = question({ trigger: trigger({ catchUp: 'all' }), openRun: 'run-7' })
    expect(decideCron(all, at('2026-03-05T12:00Z'))).toMatchObject({
      kind: 'wait',
      state: 'waiting',
      why: '3 scheduled times wait for the end of run-7',
    })
  })

  it('fires nothing of what a pause has missed, unless catching up is asked', () => {
    const now = at('2026-03-03T03:00:30Z')
    const none = { trigger: trigger({ catchUp: 'none' }) }
    const paused = { resumed: { calendarMs: now, catchUp: false }, watchedSinceMs: at('2026-03-03T02:59Z') }
    const decision = decideCron(question({ ...none, ...paused }), now)
    expect(decision).toMatchObject({ kind: 'act', fireMs: null })
    expect(decision.kind === 'act' && decision.skipped[0]!.why).toContain('while the trigger was paused')
    const asked = { ...paused, resumed: { calendarMs: now, catchUp: true } }
    expect(decideCron(question({ ...none, ...asked }), now)).toMatchObject({ fireMs: at('2026-03-03T03:00Z') })
    // Its own policy asks for it.
    expect(decideCron(question(paused), now)).toMatchObject({ fireMs: at('2026-03-03T03:00Z') })
  })

  it('catches up with a bounded number after a jump of a year', () => {
    const hourly = trigger({ cron: '@hourly', catchUp: 'all' })
    const decision = decideCron(question({ trigger: hourly }), at('2027-03-02T03:00Z'))
    expect(decision).toMatchObject({
      fireMs: at('2027-03-02T03:00Z') - (CATCH_UP_MAX - 1) * HOUR_MS,
      skipped: [{ why: 'at most 100 missed times are caught up with' }],
      isMore: true,
    })
  })

  it('starts anew where its schedule or its zone is changed, and never before what was decided', () => {
    const state: CronState = { cron: '0 4 * * *', timeZone: 'UTC', untilMs: at('2026-03-02T04:00Z') }
    expect(decideCron(question({ state }), at('2026-03-02T02:00Z'))).toMatchObject({
      kind: 'begin',
      state: { cron: '0 3 * * *', untilMs: at('2026-03-02T04:00Z') },
      dueMs: at('2026-03-03T03:00Z'),
    })
    const zone = question({ state: { ...state, cron: '0 3 * * *', timeZone: 'Europe/Berlin' } })
    expect(decideCron(zone, at('2026-03-04T00:00Z'))).toMatchObject({ kind: 'begin', dueMs: at('2026-03-04T03:00Z') })
  })

  it('fires nothing twice where the calendar goes back, and says why it waits', () => {
    expect(decideCron(question(), at('2026-02-20T12:00Z'))).toMatchObject({
      kind: 'wait',
      why: 'the calendar went back: times up to 2026-03-02T03:00:00Z have been already',
      dueMs: at('2026-03-03T03:00Z'),
    })
  })

  it.each([
    ['Europe/Berlin', '30 2 * * *', '2026-03-28T12:00Z', '2026-03-29T01:00Z'],
    ['Europe/Berlin', '30 2 * * *', '2026-10-24T12:00Z', '2026-10-25T00:30Z'],
    ['America/New_York', '30 1 * * *', '2026-10-31T12:00Z', '2026-11-01T05:30Z'],
    ['America/New_York', '30 2 * * *', '2026-03-07T12:00Z', '2026-03-08T07:00Z'],
  ])('fires once a day in %s when the clocks change', (timeZone, cron, from, fires) => {
    const of = trigger({ timeZone, cron })
    const seen = play(of, from, () => 10 * 60_000, 24 * 6)
    expect(seen.fired).toEqual([at(fires)])
  })
})

describe.each(['none', 'last', 'all'] as const)('whatever happens to the clock, with catchUp %s,', (catchUp) => {
  it('no time fires twice, none fires early, and each is decided in turn', () => {
    const random = seededRandom(catchUp.length)
    for (let round = 0; round < 40; round++) {
      const of = trigger({ catchUp, cron: round % 2 === 0 ? '0 */6 * * *' : '15 3 * * MON', overlap: true })
      const step = () => (random.integer(8) === 0 ? -1 : 1) * random.integer(5) ** 4 * random.integer(20 * 60_000)
      const { fired, looks } = play(of, '2026-01-01T00:00Z', step, 200)
      expect(new Set(fired).size).toBe(fired.length)
      expect(fired).toEqual(fired.toSorted((a, b) => a - b))
      for (const { decidedMs, nowMs } of looks) expect(decidedMs).toBeLessThanOrEqual(nowMs)
    }
  })

  it('every time fires once where somebody always watches', () => {
    const of = trigger({ catchUp, cron: '*/30 * * * *', timeZone: 'Europe/Berlin' })
    const { fired } = play(of, '2026-03-28T00:00Z', () => 7 * 60_000, 400)
    const cron = parseCron(of.cron)
    const until = at('2026-03-28T00:00Z') + 400 * 7 * 60_000
    expect(fired).toEqual(timesBetween(cron, of.timeZone, at('2026-03-28T00:00Z'), until, 1_000))
  })
})

it('with catchUp all every time fires once, through jumps of weeks', () => {
  const of = trigger({ catchUp: 'all', timeZone: 'America/New_York' })
  const random = seededRandom(5)
  const { fired, nowMs } = play(of, '2026-01-01T00:00Z', () => random.integer(40 * DAY_MS), 40)
  const due = timesBetween(parseCron(of.cron), of.timeZone, at('2026-01-01T00:00Z'), nowMs, 10_000)
  expect(fired).toEqual(due)
})

/** Looks again and again, each time after `step` of calendar time, as the controller does. */
function play(of: CronTrigger, from: string, step: () => number, looksCount: number) {
  let nowMs = at(from)
  let state: CronState | null = null
  let watchedSinceMs: number | null = null
  const fired: number[] = []
  const looks: { decidedMs: number; nowMs: number }[] = []
  for (let i = 0; i <= looksCount; i++) {
    let isMore = true
    while (isMore) {
      const decision = decideCron({ trigger: of, state, resumed: null, watchedSinceMs, openRun: null }, nowMs)
      isMore = decision.kind === 'act' && decision.isMore
      if (decision.kind === 'wait') break
      state = decision.state
      if (decision.kind !== 'act') break
      if (decision.fireMs !== null) fired.push(decision.fireMs)
      looks.push({ decidedMs: decision.fireMs ?? decision.skipped.at(-1)!.lastMs, nowMs })
    }
    watchedSinceMs = nowMs
    nowMs += step()
  }
  return { fired, looks, nowMs: watchedSinceMs! }
}
