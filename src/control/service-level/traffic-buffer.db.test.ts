import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { TrafficReport } from '../../kernel/contract/routing.ts'
import type { Store } from '../../kernel/store/store.ts'
import { latencyCounts } from '../../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock } from '../../testing/fake-clock.ts'
import { trialUnderWay } from '../../testing/flip-lab.ts'
import { testStore } from '../../testing/test-store.ts'
import { trafficBuffer, type TrafficBuffer } from './traffic-buffer.ts'

let store: Store
let lab: ControlLab
let buffer: TrafficBuffer
let seq: number
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())

/** m@2 is in its canary against m@1, as trial-1. */
beforeEach(async () => {
  lab = await controlLab(store, fakeClock())
  await lab.apply({ m: { train: 'true' } })
  await trialUnderWay(lab)
  buffer = trafficBuffer(lab.context)
  seq = 0
})
afterEach(() => lab.close())

const report = (changed: Partial<TrafficReport> = {}): TrafficReport => ({
  endpoint: 'm',
  model: 'm',
  version: '2',
  origin: 'live',
  trial: 'trial-1',
  pinned: [],
  requests: 10,
  failed: 1,
  interrupted: 2,
  latencyCounts: latencyCounts(5, 8),
  fineLatency: { 80: 7, 90: 1 },
  firstAnswerAtMs: null,
  ...changed,
})
const add = (...traffic: TrafficReport[]) => buffer.add({ token: 'gateway', trafficSeq: ++seq, traffic })
const trial = () => store.db.selectFrom('trial_count').selectAll().orderBy('version_id').execute()
const traffic = () => store.db.selectFrom('traffic').selectAll().orderBy('version_id').execute()

it('adds up what gateways counted of a trial, by the arm that was drawn, over reports and flushes', async () => {
  expect(add(report(), report({ version: '1', requests: 90, failed: 0 }))).toEqual({ ofTrial: true })
  add(report({ fineLatency: { 90: 2, 300: 1 } }))
  await buffer.flush()
  add(report())
  await buffer.flush()
  expect(await trial()).toMatchObject([
    { trial_id: 'trial-1', version_id: 'm@1', requests: 90, failed: 0 },
    {
      trial_id: 'trial-1',
      version_id: 'm@2',
      requests: 30,
      failed: 3,
      interrupted: 6,
      latency: { 80: 14, 90: 4, 300: 1 },
    },
  ])
  expect(lab.woken).toContain('release')
})

it('counts a batch once that comes again because its acknowledgement was lost', async () => {
  const batch = { token: 'gateway', trafficSeq: 7, traffic: [report()] }
  buffer.add(batch)
  expect(buffer.add(batch)).toEqual({ ofTrial: false })
  await buffer.flush()
  expect(await trial()).toMatchObject([{ requests: 10 }])
})

it('tells only so many callers apart while nothing can be written', async () => {
  const pinned = (from: number) => Array.from({ length: 80 }, (_, i) => ({ caller: `caller ${from + i}`, requests: 1 }))
  add(report({ pinned: pinned(0) }), report({ pinned: pinned(80) }), report({ pinned: pinned(160) }))
  await buffer.flush()
  const pins = await store.db.selectFrom('pin').select(['caller', 'requests']).execute()
  expect(pins).toHaveLength(100)
  expect(pins.find(({ caller }) => caller === '(others)')).toMatchObject({ requests: 141 })
  expect(pins.reduce((sum, { requests }) => sum + requests, 0)).toBe(240)
})

it('keeps copies and fallback answers out of what the endpoint did for its clients', async () => {
  add(report({ origin: 'shadow', failed: 10 }), report({ origin: 'fallback', trial: null, version: '1' }))
  add(report({ version: '1', trial: null, requests: 5, failed: 0 }))
  await buffer.flush()
  expect(await traffic()).toMatchObject([{ version_id: 'm@1', requests: 5, failed: 0 }])
  expect(await trial()).toMatchObject([{ version_id: 'm@2', requests: 10, failed: 10 }])
})

it('a request that failed and was answered by another version is a failure of the arm, not of the endpoint', async () => {
  add(report({ requests: 10, failed: 4, rescued: 3 }))
  await buffer.flush()
  expect(await traffic()).toMatchObject([{ version_id: 'm@2', requests: 10, failed: 1 }])
  expect(await trial()).toMatchObject([{ failed: 4 }])
})

it('counts what belongs to a trial that nobody knows as plain traffic', async () => {
  add(report({ trial: 'trial-99' }))
  await buffer.flush()
  expect(await trial()).toEqual([])
  expect(await traffic()).toMatchObject([{ version_id: 'm@2', requests: 10 }])
})

it('loses nothing where it can not be written, and writes nothing while the disk is low', async () => {
  const context = {
    ...lab.context,
    store: { ...store, transaction: () => Promise.reject(new Error('no database')) },
  }
  buffer = trafficBuffer(context)
  add(report())
  await expect(buffer.flush()).rejects.toThrow('no database')
  context.store.transaction = ((work: never) => store.transaction(work)) as never
  lab.disk.low = true
  await buffer.flush()
  expect(await trial()).toEqual([])
  lab.disk.low = false
  await buffer.flush()
  expect(await trial()).toMatchObject([{ requests: 10, failed: 1 }])
})

it('notes the first answer to a client in the canary, not that to a copy', async () => {
  add(report({ origin: 'shadow', firstAnswerAtMs: 5 }))
  await buffer.flush()
  const first = async () =>
    (await store.db
      .selectFrom('release')
      .select('first_answer_at_ms')
      .where('id', '=', 'release-1')
      .executeTakeFirst())!.first_answer_at_ms
  expect(await first()).toBeNull()
  add(report({ firstAnswerAtMs: 1_234 }))
  await buffer.flush()
  expect(await first()).toBe(1_234)
})

it('counts callers by name, each batch once', async () => {
  const callers = [{ name: 'site' }, { name: 'app' }]
  for (const { name } of callers)
    await store.db
      .insertInto('caller')
      .values({ name, common_names: '[]', created_by: 'ann', created_at_ms: 0, endpoints: null, concurrency: null })
      .execute()
  const batch = {
    token: 'gateway',
    trafficSeq: 20,
    traffic: [],
    callers: [
      { caller: 'site', requests: 3 },
      { caller: 'app', requests: 1 },
    ],
  }
  buffer.add(batch)
  buffer.add(batch)
  buffer.add({ ...batch, trafficSeq: 21, callers: [{ caller: 'site', requests: 4 }] })
  await buffer.flush()
  const counted = await store.db.selectFrom('caller').select(['name', 'requests']).orderBy('name').execute()
  expect(counted).toEqual([
    { name: 'app', requests: 1 },
    { name: 'site', requests: 7 },
  ])
})
