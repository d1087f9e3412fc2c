import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ServiceLevelsInput } from '../../config/input.ts'
import type { GatewayReport } from '../../kernel/contract/routing.ts'
import type { Store } from '../../kernel/store/store.ts'
import { gatewayReportOf, latencyCounts } from '../../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import { listAlerts } from '../monitoring/alert-store.ts'
import { endFreeze } from '../release/freeze-requests.ts'
import { activeFreezes, listFreezes } from '../release/freeze-store.ts'
import { readLevels } from './level-store.ts'
import { CLEAR_EVERY_MS, MINUTES_KEPT_MS } from './retention.ts'
import { HOUR_MS, QUARTER_MS } from './sampler.ts'
import { ServiceLevelController } from './service-level-controller.ts'
import { recordSli } from './sli-requests.ts'
import { trafficTotals } from './traffic-store.ts'

const DAY_MS = 86_400_000

let store: Store
let clock: FakeClock
let lab: ControlLab
let controller: ServiceLevelController
let gateways: GatewayReport[]

beforeAll(async () => {
  store = await testStore()
})
beforeEach(async () => {
  clock = fakeClock(Date.UTC(2001, 0, 31))
  lab = await controlLab(store, clock)
  gateways = []
  controller = new ServiceLevelController(lab.context, () => gateways)
})
afterEach(() => lab.close())
afterAll(() => store.close())

/** Every level off but those that are named. */
async function declare(slos: ServiceLevelsInput): Promise<void> {
  const names = [
    'triggerPunctuality',
    'runSuccess',
    'evaluationValidity',
    'leadTime',
    'availability',
    'latency',
    'logLag',
    'monitorFreshness',
    'modelAge',
    'retirementSafety',
  ]
  const off = Object.fromEntries(names.map((name) => [name, false]))
  await lab.apply({ m: { train: 'x', slos: { ...off, ...slos } } })
}
let subjects = 0
const measure = (phase: 'pipeline' | 'evaluation', indicator: 'runSuccess' | 'evaluationValid', good: boolean) =>
  recordSli(store.db, {
    phase,
    indicator,
    model: 'm',
    value: good ? 1 : 0,
    good,
    subject: `subject-${++subjects}`,
    atMs: clock.epochMs(),
    calendarMs: clock.calendarMs(),
  })
const run = (good: boolean) => measure('pipeline', 'runSuccess', good)
const requests = (count: number, failed: number, agoMs = 0, version = 'm@1') =>
  store.db
    .insertInto('traffic')
    .values({
      minute_ms: Math.floor((clock.epochMs() - agoMs) / 60_000) * 60_000,
      endpoint: 'm',
      version_id: version,
      requests: count,
      failed,
      interrupted: 0,
      latency_counts: JSON.stringify(latencyCounts(7, count)),
    })
    .execute()
const alerts = (all = false) => listAlerts(store.db, { all })
const samples = (indicator: string) =>
  store.db
    .selectFrom('sli')
    .select(['value', 'good', 'model'])
    .where('indicator', '=', indicator)
    .orderBy('seq')
    .execute()

describe('a spent budget', () => {
  it('is an alert and freezes releases where that was declared, saying why and what would unfreeze them', async () => {
    await declare({ runSuccess: 0.9 })
    for (const good of [true, false, false]) await run(good)
    await controller.look()
    expect(await alerts()).toMatchObject([
      {
        source: 'service-level/runSuccess',
        status: 'firing',
        severity: 'critical',
        response: 'freeze',
        responseTaken: expect.stringMatching(/^froze automatic release \(freeze-\d+\)$/),
        why: 'runSuccess: the budget is spent: 2 of the last 3 runs were bad',
        figures: { state: 'spent', good: 1, bad: 2, left: '0%', restores: '2 good runs in a row' },
      },
    ])
    expect(await activeFreezes(store.db)).toMatchObject([
      {
        kind: 'budget',
        model: 'm',
        why: 'the budget of runSuccess is spent: 2 of the last 3 runs were bad',
        unfreezes: `'millrace unfreeze m', or 2 good runs in a row`,
      },
    ])
    expect(lab.woken).toContain('release')
  })

  it('is told once, whoever looks again, also after a restart', async () => {
    await declare({ runSuccess: 0.9 })
    for (const good of [false, false]) await run(good)
    for (let look = 0; look < 3; look++) {
      await controller.look()
      controller = new ServiceLevelController(lab.context, () => gateways)
      clock.advance(61_000)
    }
    expect(await alerts(true)).toHaveLength(1)
    expect(await listFreezes(store.db, { limit: 10 })).toHaveLength(1)
    const events = await store.db.selectFrom('event').select('to_status').where('entity', '=', 'alert').execute()
    expect(events).toEqual([{ to_status: 'firing' }])
  })

  it('ends its freeze when it is back, and resolves its alert', async () => {
    await declare({ runSuccess: 0.9 })
    for (const good of [false, false]) await run(good)
    await controller.look()
    for (const good of [true, true]) await run(good)
    await controller.look()
    expect(await alerts()).toEqual([])
    expect(await activeFreezes(store.db)).toEqual([])
    expect(await listFreezes(store.db, { limit: 1 })).toMatchObject([
      { status: 'ended', endedBy: 'service levels', endedWhy: 'every budget whose loss freezes releases is back' },
    ])
  })

  it('keeps releases frozen while another one that freezes is spent', async () => {
    await declare({ runSuccess: 0.9, evaluationValidity: 0.9 })
    for (const good of [false, false]) await run(good)
    await controller.look()
    for (const good of [false, false]) await measure('evaluation', 'evaluationValid', good)
    for (const good of [true, true]) await run(good)
    await controller.look()
    expect((await alerts()).map((alert) => alert.source)).toEqual(['service-level/evaluationValidity'])
    expect(await activeFreezes(store.db)).toHaveLength(1)
    for (const good of [true, true]) await measure('evaluation', 'evaluationValid', good)
    await controller.look()
    expect(await activeFreezes(store.db)).toEqual([])
  })

  it('does not overrule a person who unfroze, until it is spent anew', async () => {
    await declare({ runSuccess: 0.9 })
    for (const good of [false, false]) await run(good)
    await controller.look()
    await store.transaction((tx) => endFreeze(tx, clock, { model: 'm', by: 'ann', why: 'known' }))
    clock.advance(HOUR_MS)
    await run(false)
    await controller.look()
    expect(await activeFreezes(store.db)).toEqual([])
    for (const good of [true, true]) await run(good)
    await controller.look()
    for (const good of [false, false]) await run(good)
    await controller.look()
    expect(await activeFreezes(store.db)).toHaveLength(1)
  })

  it('tells only, where that was declared', async () => {
    await declare({ runSuccess: { objective: 0.9, then: 'tell' } })
    for (const good of [false, false]) await run(good)
    await controller.look()
    expect(await alerts()).toMatchObject([{ response: 'tell', responseTaken: null }])
    expect(await activeFreezes(store.db)).toEqual([])
  })

  it('matters less where the model does', async () => {
    await lab.apply({ m: { train: 'x', importance: 'low' } })
    for (const good of [false, false]) await run(good)
    await controller.look()
    expect(await alerts()).toMatchObject([{ severity: 'warning' }])
  })

  it('ends with its level or its model', async () => {
    await declare({ runSuccess: 0.9 })
    for (const good of [false, false]) await run(good)
    await controller.look()
    await declare({})
    await controller.look()
    expect(await alerts()).toEqual([])
    expect(await activeFreezes(store.db)).toEqual([])
    expect(await alerts(true)).toMatchObject([{ status: 'resolved' }])
  })

  it('is back once its failures have left the window', async () => {
    await declare({ runSuccess: { objective: 0.9, window: '7d' } })
    for (const good of [false, false]) await run(good)
    await controller.look()
    clock.advanceCalendar(6 * DAY_MS)
    await controller.look()
    expect(await activeFreezes(store.db)).toHaveLength(1)
    clock.advanceCalendar(2 * DAY_MS)
    await controller.look()
    expect(await activeFreezes(store.db)).toEqual([])
  })

  it('stays as it is when the clock goes back', async () => {
    await declare({ runSuccess: 0.9 })
    for (const good of [false, false]) await run(good)
    await controller.look()
    clock.advanceCalendar(-400 * DAY_MS)
    await controller.look()
    expect(await alerts(true)).toMatchObject([{ status: 'firing' }])
    expect(await listFreezes(store.db, { limit: 10 })).toMatchObject([{ status: 'active' }])
  })
})

describe('a budget that burns', () => {
  it('is an alert with the rate, and over when the failures are', async () => {
    await declare({ availability: 0.99 })
    await requests(100_000, 0, DAY_MS)
    await requests(100, 40)
    await controller.look()
    expect(await alerts()).toMatchObject([
      { source: 'service-level/availability', severity: 'critical', figures: { state: 'burning', burnRate: 40 } },
    ])
    clock.advance(2 * HOUR_MS)
    await requests(1_000, 0)
    await controller.look()
    expect(await alerts()).toEqual([])
  })

  it('becomes spent under the same alert', async () => {
    await declare({ availability: { objective: 0.99, then: 'freeze' } })
    await requests(10_000, 0, DAY_MS)
    await requests(100, 40)
    await controller.look()
    expect(await activeFreezes(store.db)).toEqual([])
    await requests(100, 100, 120_000)
    await controller.look()
    expect(await alerts(true)).toMatchObject([{ figures: { state: 'spent', bad: 140 } }])
    expect(await activeFreezes(store.db)).toHaveLength(1)
  })

  it('gets newer numbers at most once a minute', async () => {
    await declare({ availability: 0.99 })
    await requests(100, 40)
    await controller.look()
    const first = (await alerts())[0]!.why
    await requests(100, 41, 60_000)
    await controller.look()
    expect((await alerts())[0]!.why).toBe(first)
    clock.advance(61_000)
    await controller.look()
    expect((await alerts())[0]!.why).toContain('81 of 200')
  })
})

describe('what is sampled', () => {
  it('is the worst log lag of each quarter of an hour, against the threshold', async () => {
    await declare({ logLag: { within: '10s' } })
    const lag = (lagMs: number) => {
      const report = gatewayReportOf()
      gateways = [{ ...report, log: { ...report.log, lagMs } }]
    }
    for (const lagMs of [500, 30_000, 200]) {
      lag(lagMs)
      await controller.look()
      clock.advance(60_000)
    }
    clock.advance(QUARTER_MS - 180_000)
    lag(100)
    await controller.look()
    gateways = []
    clock.advance(QUARTER_MS)
    await controller.look()
    clock.advance(QUARTER_MS)
    await controller.look()
    expect(await samples('logLagMs')).toEqual([
      { value: 30_000, good: false, model: 'm' },
      { value: 100, good: true, model: 'm' },
    ])
  })

  it('is the age of the champion, once an hour of the calendar, whichever way it goes', async () => {
    await declare({ modelAge: { within: '2d' } })
    await lab.version('m')
    const champion = { model: 'm', alias: 'champion', version_id: 'm@1' }
    await store.db.insertInto('alias').values(champion).execute()
    for (const ms of [0, 60_000, 3 * DAY_MS, -3 * DAY_MS, HOUR_MS, -DAY_MS]) {
      clock.advanceCalendar(ms)
      await controller.look()
    }
    expect(await samples('modelAgeMs')).toEqual([
      { value: 0, good: true, model: 'm' },
      { value: 3 * DAY_MS + 60_000, good: false, model: 'm' },
      { value: HOUR_MS + 60_000, good: true, model: 'm' },
      { value: 0, good: true, model: 'm' },
    ])
  })

  it('is how late monitors are, once they had real time to catch up with a calendar that jumped', async () => {
    await declare({ monitorFreshness: { within: '6h' } })
    const state = { model: 'm', subject: 'a', bad_windows: 0, good_windows: 1, evaluated_until_ms: clock.calendarMs() }
    await store.db
      .insertInto('monitor_state')
      .values({ ...state, monitor: 'drift' })
      .execute()
    await store.db
      .insertInto('monitor_state')
      .values({ ...state, monitor: 'quality' })
      .execute()
    await controller.look()
    expect(await samples('monitorLagMs')).toEqual([])
    await lab.version('m')
    await store.db.insertInto('alias').values({ model: 'm', alias: 'champion', version_id: 'm@1' }).execute()
    await controller.look()
    clock.advanceCalendar(3 * DAY_MS)
    await controller.look()
    clock.advanceCalendar(HOUR_MS)
    clock.advance(61_000)
    await controller.look()
    expect(await samples('monitorLagMs')).toEqual([
      { value: 0, good: true, model: 'm' },
      { value: 2 * DAY_MS + HOUR_MS + 61_000, good: false, model: 'm' },
    ])
  })

  it('is nothing while the disk is full', async () => {
    await declare({ modelAge: 0.9, logLag: 0.9 })
    await lab.version('m')
    await store.db.insertInto('alias').values({ model: 'm', alias: 'champion', version_id: 'm@1' }).execute()
    lab.disk.low = true
    gateways = [gatewayReportOf()]
    await controller.look()
    clock.advance(QUARTER_MS)
    await controller.look()
    expect(await store.db.selectFrom('sli').selectAll().execute()).toEqual([])
  })

  it('counts a version that had to come back against retirement, once', async () => {
    await declare({ retirementSafety: 0.9 })
    await lab.version('m')
    const about = {
      entity: 'retirement',
      entity_id: 'm@1',
      cause: 'x',
      at_ms: clock.epochMs(),
      calendar_ms: clock.calendarMs(),
    }
    for (const [from_status, to_status] of [
      ['draining', 'stopped'],
      ['stopped', 'kept'],
      ['kept', 'proposed'],
      ['proposed', 'kept'],
    ] as const)
      await store.db
        .insertInto('event')
        .values({ ...about, from_status, to_status })
        .execute()
    await controller.look()
    await controller.look()
    expect(await samples('retirementSafety')).toEqual([{ value: 0, good: false, model: 'm' }])
  })
})

describe('what is kept', () => {
  it('is traffic by hour after a day, with the same sums', async () => {
    await declare({ availability: 0.99 })
    const hourMs = Math.floor((clock.epochMs() - MINUTES_KEPT_MS - 3 * HOUR_MS) / HOUR_MS) * HOUR_MS
    for (const minute of [0, 1, 59]) await requests(10, 1, clock.epochMs() - hourMs - minute * 60_000)
    await requests(10, 0, clock.epochMs() - hourMs, 'm@2')
    await requests(5, 5, HOUR_MS)
    const before = await readLevels(store.db, lab.context.project()!.project, nowOf(clock))
    await controller.look()
    const rows = await store.db.selectFrom('traffic').selectAll().orderBy('minute_ms').orderBy('version_id').execute()
    expect(rows).toMatchObject([
      { minute_ms: hourMs, version_id: 'm@1', requests: 30, failed: 3, latency_counts: latencyCounts(7, 30) },
      { minute_ms: hourMs, version_id: 'm@2', requests: 10, failed: 0 },
      { requests: 5 },
    ])
    const after = await readLevels(store.db, lab.context.project()!.project, nowOf(clock))
    expect(after[0]!.budget).toMatchObject({ good: before[0]!.budget.good, bad: before[0]!.budget.bad })
  })

  it('is two of the longest windows, and the sums of what went', async () => {
    await declare({ availability: { objective: 0.99, window: '30d' }, runSuccess: { window: '10d' } })
    await requests(10, 4, 61 * DAY_MS)
    await requests(20, 1, 59 * DAY_MS)
    await run(true)
    await controller.look()
    expect(await store.db.selectFrom('traffic').selectAll().execute()).toHaveLength(1)
    expect(await trafficTotals(store.db)).toEqual([{ endpoint: 'm', requests: 30, failed: 5, interrupted: 0 }])
    clock.advance(61 * DAY_MS)
    await controller.look()
    expect(await store.db.selectFrom('sli').selectAll().where('indicator', '=', 'runSuccess').execute()).toEqual([])
    expect(await trafficTotals(store.db)).toEqual([{ endpoint: 'm', requests: 30, failed: 5, interrupted: 0 }])
  })

  it('stays for a while, so that clearing does not go on all the time', async () => {
    await declare({ availability: 0.99 })
    await controller.look()
    await requests(10, 4, 61 * DAY_MS)
    clock.advance(CLEAR_EVERY_MS - 1_000)
    await controller.look()
    expect(await store.db.selectFrom('traffic').selectAll().execute()).toHaveLength(1)
    clock.advance(2_000)
    await controller.look()
    expect(await store.db.selectFrom('traffic').selectAll().execute()).toEqual([])
  })
})

const nowOf = (at: FakeClock) => ({ epochMs: at.epochMs(), calendarMs: at.calendarMs() })
