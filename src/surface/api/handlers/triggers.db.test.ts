import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { TriggerController } from '../../../control/trigger/trigger-controller.ts'
import type { Store } from '../../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../../testing/fake-clock.ts'
import { testStore } from '../../../testing/test-store.ts'
import { backfillSchema, triggerDetailSchema, triggerEventSchema } from '../triggers-schemas.ts'
import type { Services } from './services.ts'
import { backfillHandlers, triggerHandlers } from './triggers.ts'

let store: Store
let lab: ControlLab
let clock: FakeClock
let controller: TriggerController
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())
beforeEach(async () => {
  clock = fakeClock(Date.UTC(2026, 2, 1, 12))
  lab = await controlLab(store, clock)
  await lab.apply({
    m: {
      train: 'true',
      on: [
        { cron: '0 3 * * *', timeZone: 'Europe/Berlin' },
        { newData: 'data/*.csv', atLeast: 2, name: 'weeks' },
        { alarm: 'any' },
      ],
    },
    bare: { train: 'true' },
  })
  controller = new TriggerController(lab.context)
})
afterEach(() => lab.close())

const services = () => ({ context: lab.context, triggers: controller }) as unknown as Services
const call = { signal: new AbortController().signal } as never
const by = 'ann'
const list = async (model?: string) => {
  const found = await triggerHandlers(services()).list({ model }, call)
  return found.map((one) => triggerDetailSchema.parse(one))
}

it('lists every trigger with what it fires for, also before the first look', async () => {
  expect(await list()).toMatchObject([
    { trigger: 'cron-1', kind: 'cron', declared: '0 3 * * * (Europe/Berlin)', why: 'not looked at yet' },
    { trigger: 'weeks', kind: 'newData', declared: '2 files of data/*.csv' },
    { trigger: 'alarm-1', kind: 'alarm', declared: 'alarm of any monitor' },
  ])
  await controller.look()
  expect((await list('m'))[0]).toMatchObject({ state: 'watching', nextAtMs: Date.UTC(2026, 2, 2, 2), lastRun: null })
  clock.advance(86_400_000)
  await controller.look()
  expect((await list('m'))[0]).toMatchObject({ lastRun: 'run-1', lastFiredAtMs: clock.calendarMs() })
  expect(await list('bare')).toEqual([])
  await expect(list('none')).rejects.toMatchObject({ code: 'MR_MODEL_UNKNOWN' })
})

it('finds one by its name, and does not answer a wrong name with nothing', async () => {
  const { list: find, history } = triggerHandlers(services())
  expect(await find({ model: 'm', trigger: 'weeks' }, call)).toMatchObject([{ trigger: 'weeks' }])
  const unknown = { code: 'MR_TRIGGER_NOT_FOUND', message: expect.stringContaining('cron-1, weeks, alarm-1') }
  await expect(find({ model: 'm', trigger: 'week' }, call)).rejects.toMatchObject(unknown)
  await expect(history({ model: 'm', trigger: 'week', limit: 5 }, call)).rejects.toMatchObject(unknown)
  expect(await history({ model: 'm', trigger: 'weeks', limit: 5 }, call)).toEqual([])
})

it('does not give the reason of the pause for the one that was just resumed', async () => {
  const { pause, resume } = triggerHandlers(services())
  await pause({ model: 'm', trigger: 'cron-1', why: 'the export is being rebuilt', by }, call)
  await controller.look()
  const resumed = await resume({ model: 'm', trigger: 'cron-1', catchUp: false, by }, call)
  expect(resumed).toMatchObject([{ state: 'watching', why: 'not looked at yet' }])
})

it('pauses and resumes one or all, seen at once, and keeps it in the history', async () => {
  const { pause, resume, history } = triggerHandlers(services())
  await controller.look()
  const paused = await pause({ model: 'm', why: 'holiday', by }, call)
  expect(paused.map(({ state, why, nextAtMs }) => [state, why, nextAtMs])).toEqual(
    Array.from({ length: 3 }, () => ['paused', 'ann: holiday', null]),
  )
  expect(lab.woken).toContain('trigger')
  const [resumed] = await resume({ model: 'm', trigger: 'weeks', catchUp: false, by }, call)
  expect(resumed).toMatchObject({ trigger: 'weeks', state: 'watching' })
  expect((await list('m')).map(({ state }) => state)).toEqual(['paused', 'watching', 'paused'])
  const events = await history({ model: 'm', trigger: 'weeks', limit: 10 }, call)
  expect(events.map((event) => triggerEventSchema.parse(event).what)).toEqual(['resumed', 'paused'])
})

it('says which triggers there are where one is not', async () => {
  const { pause } = triggerHandlers(services())
  await expect(pause({ model: 'm', trigger: 'cron-2', why: 'w', by }, call)).rejects.toMatchObject({
    code: 'MR_TRIGGER_NOT_FOUND',
    message: "Model m has no trigger 'cron-2'; it has cron-1, weeks, alarm-1.",
  })
  await expect(pause({ model: 'bare', why: 'w', by }, call)).rejects.toMatchObject({
    message: 'Model bare has no trigger.',
  })
})

it('starts, lists, pauses and cancels backfills', async () => {
  const { start, cancel, list: backfills } = backfillHandlers(services())
  const range = { fromMs: Date.UTC(2026, 0, 1), untilMs: Date.UTC(2026, 0, 3), everyMs: 86_400_000 }
  expect(await start({ model: 'bare', ...range, why: 'new feature', by }, call)).toMatchObject({
    backfill: 'backfill-1',
    status: 'running',
    runs: 3,
    queued: 0,
    cause: 'new feature',
  })
  await controller.look()
  const [one] = await backfills({}, call)
  expect(backfillSchema.parse(one)).toMatchObject({ queued: 1, why: 'backfill-1: 1 of 3, as of 2026-01-01T00:00:00Z' })
  expect((await list('bare'))[0]).toMatchObject({ kind: 'backfill', declared: '3 dates from 2026-01-01' })
  const { pause } = triggerHandlers(services())
  await pause({ model: 'bare', trigger: 'backfill-1', why: 'busy', by }, call)
  expect(await backfills({ model: 'bare' }, call)).toMatchObject([{ status: 'paused', why: 'ann: busy' }])
  await store.db.updateTable('run').set({ status: 'succeeded' }).execute()
  expect(await cancel({ model: 'bare', backfill: 'backfill-1', why: 'wrong', by }, call)).toMatchObject({
    status: 'cancelled',
    why: 'ann: wrong',
    succeeded: 1,
    failed: 0,
  })
  await expect(start({ model: 'bare', ...range, everyMs: 60_000, by }, call)).rejects.toMatchObject({
    code: 'MR_BACKFILL_RANGE',
  })
})
