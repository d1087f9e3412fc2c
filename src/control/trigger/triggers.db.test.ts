import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelInput } from '../../config/input.ts'
import { seededRandom } from '../../kernel/stats/random.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import { raiseAlert, resolveAlert } from '../monitoring/alert-requests.ts'
import { findAlert } from '../monitoring/alert-store.ts'
import { listRuns } from '../pipeline/run-store.ts'
import { createVersionOfRun, setDisposition } from '../registry/version-requests.ts'
import type { Backfill } from './backfill.ts'
import { TriggerController } from './trigger-controller.ts'
import { cancelBackfill, pauseTriggers, requestBackfill, resumeTriggers } from './trigger-requests.ts'
import { triggerHistory, triggerStates } from './trigger-store.ts'

/* Cron, alarm, pauses and backfills together with the store. New data: trigger-controller.db.test.ts. */

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const at = (text: string) => Date.parse(text)

const cron = (change: object = {}): ModelInput => ({ train: 'true', on: { cron: '0 3 * * *', ...change } })

let store: Store
let lab: ControlLab
let clock: FakeClock
let controller: TriggerController
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())
beforeEach(async () => {
  clock = fakeClock(at('2026-03-01T12:00Z'))
  lab = await controlLab(store, clock)
  controller = new TriggerController(lab.context)
})
afterEach(() => lab.close())

const look = () => controller.look()
const runs = async () => (await listRuns(store.db, { limit: 1_000 })).toReversed()
const asOfs = async () => (await runs()).map((run) => new Date(run.asOfMs).toISOString().slice(0, 16))
const history = async () => (await triggerHistory(store.db, { limit: 1_000 })).toReversed()
const view = () => controller.views()[0]!
/** The calendar moves while the process is down. */
function restartAfter(ms: number): void {
  clock.advance(ms)
  controller = new TriggerController(lab.context)
}
async function endRuns(): Promise<void> {
  const set = { status: 'succeeded', ended_at_ms: clock.epochMs() }
  await store.db.updateTable('run').set(set).where('status', 'in', ['queued', 'running']).execute()
}
const triggersOf = (model = 'm') => lab.context.project()!.project.models.find(({ name }) => name === model)!.triggers
const pause = () =>
  store.transaction((tx) => pauseTriggers(tx, clock, { model: 'm', triggers: triggersOf(), why: 'holiday', by: 'ada' }))
const resume = (catchUp = false) =>
  store.transaction((tx) =>
    resumeTriggers(tx, clock, { model: 'm', triggers: triggersOf(), why: 'back', by: 'ada', catchUp }),
  )

describe('a cron trigger', () => {
  it('fires once for its time, as of it, and shows the next', async () => {
    await lab.apply({ m: cron() })
    await look()
    expect(view()).toMatchObject({ kind: 'cron', name: 'cron-1', state: 'watching', nextMs: at('2026-03-02T03:00Z') })
    clock.advance(15 * HOUR_MS + 500)
    await look()
    await look()
    expect(await runs()).toMatchObject([
      { triggerKind: 'cron', triggerWhy: '0 3 * * * (UTC) at 2026-03-02T03:00:00Z', asOfMs: at('2026-03-02T03:00Z') },
    ])
    expect(lab.woken).toContain('run')
    expect(view().nextMs).toBe(at('2026-03-03T03:00Z'))
    const [sli] = await store.db.selectFrom('sli').selectAll().execute()
    expect(sli).toMatchObject({ indicator: 'triggerDelayMs', value: 500, good: true, subject: 'run-1' })
  })

  it('fires once across restarts at any moment, and where two look at the same time', async () => {
    await lab.apply({ m: cron() })
    await look()
    for (let day = 0; day < 3; day++) {
      restartAfter(DAY_MS)
      const other = new TriggerController(lab.context)
      await Promise.all([look(), other.look()])
      restartAfter(0)
      await look()
      await endRuns()
    }
    expect(await asOfs()).toEqual(['2026-03-02T03:00', '2026-03-03T03:00', '2026-03-04T03:00'])
  })

  it.each([
    ['none', []],
    ['last', ['2026-03-22T03:00']],
    ['all', ['2026-03-20T03:00', '2026-03-21T03:00', '2026-03-22T03:00']],
  ] as const)('catches up with %s after having been down', async (catchUp, expected) => {
    await lab.apply({ m: cron({ catchUp }) })
    clock.advance(at('2026-03-19T12:00Z') - clock.calendarMs())
    await look()
    restartAfter(3 * DAY_MS)
    for (let i = 0; i < 4; i++) {
      await look()
      await endRuns()
    }
    expect(await asOfs()).toEqual(expected)
    const skipped = (await history()).filter(({ what }) => what === 'skipped').map(({ why }) => why)
    expect(skipped).toHaveLength(catchUp === 'all' ? 0 : 1)
  })

  it('does not overlap, and keeps what it skipped with the reason', async () => {
    await lab.apply({ m: cron() })
    await look()
    clock.advance(DAY_MS)
    await look()
    clock.advance(DAY_MS)
    await look()
    expect(await asOfs()).toEqual(['2026-03-02T03:00'])
    expect(await history()).toMatchObject([
      { what: 'fired', run: 'run-1', model: 'm', trigger: 'cron-1' },
      {
        what: 'skipped',
        run: null,
        why: '2026-03-03T03:00:00Z: run-1 of the model was still open, and overlap is false',
      },
    ])
  })

  it('goes through a rehearsal of days per second without missing a day, also when held', async () => {
    await lab.apply({ m: cron({ timeZone: 'Europe/Berlin', overlap: true, catchUp: 'none' }) })
    await look()
    for (let i = 0; i < 30; i++) {
      clock.advance(200)
      clock.advanceCalendar(i === 12 ? 0 : 0.7 * DAY_MS)
      await look()
    }
    const fired = await asOfs()
    expect(fired).toHaveLength(20)
    // The clocks go forward on the 29th.
    expect(fired.slice(-2)).toEqual(['2026-03-20T02:00', '2026-03-21T02:00'])
  })

  it('fires nothing twice when the calendar goes back', async () => {
    await lab.apply({ m: cron() })
    await look()
    clock.advance(DAY_MS)
    await look()
    await endRuns()
    clock.advanceCalendar(-30 * DAY_MS)
    for (let i = 0; i < 29; i++) {
      clock.advance(DAY_MS)
      await look()
    }
    expect(view().why).toContain('the calendar went back')
    expect(await runs()).toHaveLength(1)
    clock.advance(2 * DAY_MS)
    await look()
    expect(await runs()).toHaveLength(2)
  })

  it('says that it is blocked while the disk is low, and catches up as declared', async () => {
    await lab.apply({ m: cron() })
    await look()
    lab.disk.low = true
    clock.advance(2 * DAY_MS)
    await look()
    expect(view()).toMatchObject({ state: 'blocked', why: 'free disk space is below the watermark' })
    lab.disk.low = false
    await look()
    expect(await asOfs()).toEqual(['2026-03-03T03:00'])
  })

  it('says why it can not fire, and keeps no other from firing', async () => {
    await lab.apply({ a: cron(), b: cron() })
    const broken = triggersOf('a')[0]!
    if (broken.kind === 'cron') broken.timeZone = 'Mars/Olympus'
    await look()
    clock.advance(DAY_MS)
    await look()
    expect(controller.views()).toMatchObject([
      { model: 'a', state: 'blocked', why: "'Mars/Olympus' is not a known time zone." },
      { model: 'b', state: 'watching' },
    ])
    expect(await runs()).toMatchObject([{ model: 'b' }])
  })
})

describe('killed at any moment', () => {
  /** One transaction in three is lost before it, within it, or ends without anybody hearing of it. */
  function unreliable(seed: number): void {
    const random = seededRandom(seed)
    const transaction = store.transaction.bind(store)
    lab.context.store = {
      ...store,
      async transaction(work) {
        const [kind, lost] = [random.integer(3), random.integer(3) === 0]
        if (lost && kind === 0) throw new Error('killed before')
        const result = await transaction(async (tx) => {
          const made = await work(tx)
          if (lost && kind === 1) throw new Error('killed within')
          return made
        })
        if (lost && kind === 2) throw new Error('killed after')
        return result
      },
    }
  }

  it.each([1, 2])('every scheduled time fires once (seed %i)', async (seed) => {
    await lab.apply({ m: cron({ catchUp: 'all', overlap: true }) })
    await look()
    unreliable(seed)
    for (let i = 0; i < 24; i++) {
      restartAfter(i % 8 === 7 ? 3 * DAY_MS : DAY_MS / 3)
      await look()
    }
    lab.context.store = store
    for (let i = 0; i < 20; i++) await look()
    const expected: string[] = []
    for (let ms = at('2026-03-02T03:00Z'); ms <= clock.calendarMs(); ms += DAY_MS)
      expected.push(new Date(ms).toISOString().slice(0, 16))
    expect(await asOfs()).toEqual(expected)
    const fired = (await history()).filter(({ what }) => what === 'fired')
    expect(fired).toHaveLength(expected.length)
  })

  it.each([1, 2])('every alarm fires once (seed %i)', async (seed) => {
    await lab.apply({ m: { train: 'true', on: { alarm: 'any', coolDown: '0s', perDay: 24 } } })
    await look()
    const alerts: string[] = []
    for (let i = 0; i < 6; i++) {
      lab.context.store = store
      alerts.push(await raise('drift', `c${i}`))
      unreliable(seed * 100 + i)
      for (let tries = 0; tries < 6; tries++) {
        restartAfter(HOUR_MS)
        await look()
      }
      lab.context.store = store
      await look()
      await endRuns()
    }
    expect(await runs()).toHaveLength(6)
    const keys = await store.db.selectFrom('trigger_firing').select('firing_key').execute()
    expect(keys.map((row) => row.firing_key)).toEqual(alerts)
  })

  it.each([1, 2])('every date of a backfill runs once, in order (seed %i)', async (seed) => {
    await lab.apply({ m: { train: 'true' } })
    await backfill('2026-01-01', '2026-01-10')
    unreliable(seed)
    for (let i = 0; i < 60; i++) {
      restartAfter(1_000)
      await look()
      if (i % 2 === 0) await endRuns()
    }
    const dates = Array.from({ length: 10 }, (_, i) => `2026-01-${String(i + 1).padStart(2, '0')}T00:00`)
    expect(await asOfs()).toEqual(dates)
  })
})

const alertOf = (source: string, subject: string) => ({
  model: 'm',
  endpoint: 'm',
  versionId: null,
  source,
  subject,
  severity: 'warning' as const,
  why: 'PSI 0.4 over 0.25',
  figures: {},
  response: 'retrain' as const,
  runbook: null,
})
const raise = (source = 'drift', subject = '') =>
  store.transaction((tx) => raiseAlert(tx, clock, alertOf(source, subject)))

describe('an alarm trigger', () => {
  beforeEach(async () => {
    await lab.apply({ m: { train: 'true', on: { alarm: ['drift', 'quality'], coolDown: '6h', perDay: 2 } } })
    await look()
  })

  it('trains once for two alarms at once, and the alerts say so', async () => {
    const ids = [await raise('drift', 'distance'), await raise('quality')]
    await look()
    await look()
    expect(await runs()).toMatchObject([
      {
        triggerKind: 'alarm',
        triggerWhy: 'drift (distance) and quality: PSI 0.4 over 0.25',
        asOfMs: clock.calendarMs(),
      },
    ])
    for (const id of ids) expect(await findAlert(store.db, id)).toMatchObject({ responseTaken: 'run-1' })
    expect((await history()).filter(({ what }) => what === 'fired')).toHaveLength(1)
  })

  it('cools down, keeps its daily cap, and says why it holds back', async () => {
    await raise('drift', 'a')
    await look()
    await endRuns()
    await raise('drift', 'b')
    clock.advance(HOUR_MS)
    await look()
    expect(view()).toMatchObject({
      state: 'waiting',
      why: 'drift (b): cools down after run-1 until 2026-03-01T18:00:00Z',
      nextMs: at('2026-03-01T18:00Z'),
    })
    clock.advance(5 * HOUR_MS)
    await look()
    await endRuns()
    await raise('drift', 'c')
    clock.advance(7 * HOUR_MS)
    await look()
    expect(view()).toMatchObject({ state: 'waiting', why: 'drift (c): 2 of 2 in 24 hours, until 2026-03-02T12:00:00Z' })
    clock.advance(11 * HOUR_MS)
    await look()
    expect(await runs()).toHaveLength(3)
    // Counted from the last look at which it was held back: here looks are hours apart.
    const delays = await store.db.selectFrom('sli').select('value').where('indicator', '=', 'triggerDelayMs').execute()
    expect(delays.map(({ value }) => value)).toEqual([0, 5 * HOUR_MS, 11 * HOUR_MS])
  })

  it('cools down as long as it is to, and not for as long as the clock was set back', async () => {
    await raise('drift', 'a')
    await look()
    await endRuns()
    clock.set(-365 * DAY_MS)
    await raise('drift', 'b')
    await look()
    expect(view()).toMatchObject({ state: 'waiting', why: 'drift (b): cools down after run-1' })
    clock.advance(6 * HOUR_MS - 1)
    await look()
    expect(await runs()).toHaveLength(1)
    clock.advance(1)
    await look()
    expect(await runs()).toHaveLength(2)
  })

  it('drops an alarm that was over before it could fire', async () => {
    await raise('drift', 'a')
    await look()
    await endRuns()
    await raise('drift', 'b')
    await look()
    await store.transaction((tx) => resolveAlert(tx, clock, { ...alertOf('drift', 'b'), why: 'back to normal' }))
    clock.advance(DAY_MS)
    await look()
    expect(await runs()).toHaveLength(1)
    expect((await history()).at(-1)).toMatchObject({
      what: 'skipped',
      why: 'drift (b): it was over before the trigger could fire again',
    })
  })

  it('says that it is blocked where none of its monitors is on', async () => {
    const [model] = lab.context.project()!.project.models
    model!.monitors.monitors = []
    await look()
    expect(view()).toMatchObject({ state: 'blocked', why: 'no monitor is on of drift, quality' })
  })
})

describe('a paused trigger', () => {
  it('fires nothing, and on resume nothing of what it missed', async () => {
    await lab.apply({ m: cron({ catchUp: 'none' }) })
    await look()
    expect(await pause()).toEqual(['cron-1'])
    expect(await pause()).toEqual([])
    clock.advance(15 * HOUR_MS + 1_000)
    await look()
    expect(view()).toMatchObject({ state: 'paused', why: 'ada: holiday' })
    expect(await resume()).toEqual(['cron-1'])
    await look()
    expect(await runs()).toEqual([])
    clock.advance(DAY_MS)
    await look()
    expect(await asOfs()).toEqual(['2026-03-03T03:00'])
    expect((await history()).map(({ what }) => what)).toEqual(['paused', 'resumed', 'skipped', 'fired'])
  })

  it('catches up where it is asked', async () => {
    await lab.apply({ m: cron({ catchUp: 'none' }) })
    await look()
    await pause()
    clock.advance(2 * DAY_MS)
    await resume(true)
    await look()
    expect(await asOfs()).toEqual(['2026-03-03T03:00'])
    expect((await triggerStates(store.db)).get('m/cron-1')).toMatchObject({ paused: null, resumed: null })
  })

  it('is paused also where the pause comes between its decision and its firing', async () => {
    await lab.apply({ m: cron() })
    await look()
    clock.advance(DAY_MS)
    const transaction = store.transaction.bind(store)
    lab.context.store = {
      ...store,
      async transaction(work) {
        lab.context.store = store
        await pause()
        return transaction(work)
      },
    }
    await look()
    expect(await runs()).toEqual([])
  })

  it('takes no new data that came meanwhile for new, unless catching up is asked', async () => {
    await lab.apply({ m: { train: 'true', on: { newData: 'data/*.csv', settle: '5s' } } })
    const settled = async () => {
      await look()
      clock.advance(5_000)
      await look()
    }
    await pause()
    lab.write('data/w1.csv', 'a')
    await settled()
    expect(view().state).toBe('paused')
    await resume()
    await settled()
    expect(await runs()).toEqual([])
    expect((await history()).at(-1)).toMatchObject({
      what: 'skipped',
      why: '1 file that came during the pause: catching up was not asked',
    })
    lab.write('data/w2.csv', 'b')
    await settled()
    expect(await runs()).toMatchObject([{ triggerWhy: '1 new file: data/w2.csv' }])
    await pause()
    lab.write('data/w3.csv', 'c')
    await resume(true)
    await settled()
    await settled()
    expect(await runs()).toHaveLength(2)
  })
})

it.each([HOUR_MS, -HOUR_MS])('waits until a file has settled, also where the clock is set by %i ms', async (byMs) => {
  await lab.apply({ m: { train: 'true', on: { newData: 'data/*.csv', settle: '5s' } } })
  lab.write('data/w1.csv', 'half of ')
  await look()
  clock.set(byMs)
  clock.advance(4_000)
  await look()
  expect(await runs()).toEqual([])
  clock.advance(1_000)
  await look()
  expect(await runs()).toHaveLength(1)
})

describe('a trigger that is given a name', () => {
  it('keeps what it had seen under its place', async () => {
    await lab.apply({ m: { train: 'true', on: { newData: 'data/*.csv', settle: '0s' } } })
    lab.write('data/w1.csv', 'a')
    await look()
    expect(await runs()).toHaveLength(1)
    // As 0.1 wrote it.
    await store.db.updateTable('trigger_state').set({ kind: null }).execute()
    await lab.apply({ m: { train: 'true', on: { newData: 'data/*.csv', settle: '0s', name: 'weekly' } } })
    restartAfter(1_000)
    await look()
    expect(await runs()).toHaveLength(1)
    lab.write('data/w2.csv', 'b')
    await look()
    const keys = await store.db.selectFrom('trigger_firing').select(['trigger_name', 'firing_key']).execute()
    expect(keys).toEqual([
      { trigger_name: 'weekly', firing_key: '1' },
      { trigger_name: 'weekly', firing_key: '2' },
    ])
  })
})

const backfill = (from: string, until: string, everyMs = DAY_MS, model = 'm') =>
  store.transaction((tx) =>
    requestBackfill(tx, clock, {
      model: lab.context.project()!.project.models.find(({ name }) => name === model)!,
      fromMs: at(from),
      untilMs: at(until),
      everyMs,
      params: {},
      why: 'new feature',
      by: 'ada',
    }),
  )

describe('a backfill', () => {
  beforeEach(() => lab.apply({ m: { train: 'true' } }))

  it('runs its dates in order, one at a time, and ends', async () => {
    expect(await backfill('2026-01-01', '2026-01-03')).toBe('backfill-1')
    await look()
    await look()
    expect(await runs()).toMatchObject([
      { triggerKind: 'backfill', triggerWhy: 'backfill-1: 1 of 3, as of 2026-01-01T00:00:00Z', status: 'queued' },
    ])
    expect(view()).toMatchObject({ kind: 'backfill', state: 'waiting', why: '1 of 3 queued: run-1 goes first' })
    for (let i = 0; i < 4; i++) {
      await endRuns()
      await look()
    }
    expect(await asOfs()).toEqual(['2026-01-01T00:00', '2026-01-02T00:00', '2026-01-03T00:00'])
    expect((await triggerStates(store.db)).get('m/backfill-1')!.seen).toMatchObject({ status: 'done', queued: 3 })
    await look()
    expect(controller.views()).toEqual([])
  })

  it('gives way to other runs, to versions that wait for their verdict, and to an earlier backfill', async () => {
    await lab.train('m')
    await backfill('2026-01-01', '2026-01-02')
    await backfill('2026-02-01', '2026-02-02')
    await look()
    expect(controller.views().map(({ why }) => why)).toEqual([
      '0 of 2 queued: run-1 goes first',
      '0 of 2 queued: run-1 goes first',
    ])
    await endRuns()
    await look()
    const [, run] = await runs()
    const version = await store.transaction((tx) =>
      createVersionOfRun(tx, clock, {
        run: run!,
        trained: { modelDigest: 'sha256:1', endedAtMs: 1 } as never,
        attempts: [],
        sizeBytes: 1,
        reportedMetrics: null,
      }),
    )
    await endRuns()
    await look()
    expect(controller.views().map(({ why }) => why)).toEqual([
      '1 of 2 queued: m@1 is to be judged first',
      '0 of 2 queued: backfill-1 goes first',
    ])
    await store.transaction((tx) => setDisposition(tx, clock, version, 'spare', 'made by a backfill'))
    await look()
    expect(await runs()).toHaveLength(3)
  })

  it('does not keep a cron from firing', async () => {
    await lab.apply({ m: cron() })
    await backfill('2026-01-01', '2026-01-02')
    await look()
    clock.advance(DAY_MS)
    await look()
    expect((await runs()).map(({ triggerKind }) => triggerKind)).toEqual(['backfill', 'cron'])
  })

  it('can be cancelled with the run that is open, paused and resumed', async () => {
    const name = await backfill('2026-01-01', '2026-01-09')
    const triggers = [{ name, kind: 'backfill' }]
    await store.transaction((tx) => pauseTriggers(tx, clock, { model: 'm', triggers, why: 'busy', by: 'ada' }))
    await look()
    expect(await runs()).toEqual([])
    const wish = { model: 'm', triggers, why: 'free', by: 'ada', catchUp: false }
    await store.transaction((tx) => resumeTriggers(tx, clock, wish))
    await look()
    const cancel = () =>
      store.transaction((tx) => cancelBackfill(tx, clock, { model: 'm', name, why: 'wrong data', by: 'ada' }))
    await cancel()
    expect(await runs()).toMatchObject([{ cancelWhy: 'backfill-1 was cancelled by ada: wrong data' }])
    await endRuns()
    await look()
    expect(await runs()).toHaveLength(1)
    const { seen } = (await triggerStates(store.db)).get('m/backfill-1')!
    expect(seen as Backfill).toMatchObject({ status: 'cancelled', endedWhy: 'ada: wrong data' })
    await expect(cancel()).rejects.toMatchObject({ code: 'MR_BACKFILL_ENDED' })
    expect(await backfill('2026-01-01', '2026-01-02')).toBe('backfill-2')
  })

  it.each([
    ['2026-01-02', '2026-01-01', DAY_MS, 'has no dates'],
    ['2026-01-02', '2027-01-01', DAY_MS, "reaches beyond the calendar's now"],
    ['2020-01-01', '2026-01-01', DAY_MS, 'That would be 2193 runs; a backfill has at most 366'],
  ])('from %s to %s every %i ms is refused', async (from, until, everyMs, message) => {
    await expect(backfill(from, until, everyMs)).rejects.toThrow(message)
  })

  it('is refused where ten are open', async () => {
    for (let i = 0; i < 10; i++) await backfill('2026-01-01', '2026-01-02')
    await expect(backfill('2026-01-01', '2026-01-02')).rejects.toMatchObject({ code: 'MR_BACKFILLS_TOO_MANY' })
  })
})
