import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { rowsReadBy, totalOf } from '../../testing/rows-read.ts'
import { testStore } from '../../testing/test-store.ts'
import { RunController, type StepRuntime } from './run-controller.ts'
import { requestCancel } from './run-requests.ts'
import { attemptsOf, findRun, stepsOf } from './run-store.ts'

/** What one look costs, and what it goes by: processes are played, the store is real. */

let store: Store
let lab: ControlLab
let clock: FakeClock
let processes: Map<string, { code: number | null; exit: (code: number) => void }>
/** What the system says of how long processes have been there. */
let ages: Map<string, number>
let controller: RunController

beforeAll(async () => {
  store = await testStore()
}, 60_000)
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  processes = new Map()
  ages = new Map()
  controller = new RunController(lab.context, playedRuntime(), 2)
})
afterEach(async () => {
  await controller.settle()
  lab.close()
})
afterAll(() => store.close())

function playedRuntime(): StepRuntime {
  return {
    start({ dir }) {
      const exited = Promise.withResolvers<void>()
      const exit = (code: number) => {
        processes.set(dir, { code, exit })
        exited.resolve()
      }
      processes.set(dir, { code: null, exit })
      return Promise.resolve({ exited: exited.promise })
    },
    observe(dir) {
      const code = processes.get(dir)?.code
      if (code === undefined) return Promise.resolve({ kind: 'not-started' })
      return Promise.resolve(code === null ? { kind: 'running' } : { kind: 'exited', code })
    },
    claimUnstarted: (dir) => Promise.resolve(!processes.has(dir)),
    ageMs: (dir) => ages.get(dir) ?? null,
    stop: () => Promise.resolve(),
    limitLog: () => Promise.resolve(),
    environment: () =>
      Promise.resolve({ env: {}, nodeModules: null, record: { kind: 'inherit', digest: null, reproducible: true } }),
    materialiseSql: () => Promise.reject(new Error('no SQL here')),
  }
}

/** Steps one after the other. */
const chain = (count: number) => ({
  steps: Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`s${i}`, { run: 'true', needs: i === 0 ? [] : [`s${i - 1}`] }]),
  ),
})

const dirOf = (run: string, step: string, number = 1) => join(lab.dataDir, 'runs', run, step, String(number))

/** One look, and what it began beside the loop. */
async function look(): Promise<void> {
  await controller.look()
  await controller.settle()
}

async function exit(run: string, step: string, code = 0, number = 1): Promise<void> {
  processes.get(dirOf(run, step, number))!.exit(code)
  await look()
}

const statusOf = async (run: string, step: string) =>
  (await stepsOf(store.db, run)).find((s) => s.name === step)!.status

it('reads no more for a step of a run of hundreds than for one of a short run', async () => {
  await lab.apply({ short: chain(5), long: chain(400) })
  const costs: number[] = []
  for (const model of ['short', 'long']) {
    const run = await lab.train(model)
    await look()
    await exit(run, 's0')
    await look()
    costs.push(totalOf(await rowsReadBy(store, () => exit(run, 's1').then(look))))
    expect(await statusOf(run, 's1')).toBe('succeeded')
    expect(await statusOf(run, 's2')).toBe('running')
    await requestCancel(store.db, run, 'enough seen')
    for (let i = 0; i < 3; i++) await look()
  }
  expect(costs[1]).toBeLessThanOrEqual(costs[0]! + 20)
}, 60_000)

it('wakes for the end of a process, and not for its beginning', async () => {
  await lab.apply({ m: chain(2) })
  const run = await lab.train('m')
  lab.woken.length = 0
  await look()
  expect(await statusOf(run, 's0')).toBe('running')
  expect(lab.woken).toEqual([])
  processes.get(dirOf(run, 's0'))!.exit(0)
  await expect.poll(() => lab.woken).toEqual(['run'])
  await look()
  expect(lab.woken).toEqual(['run', 'run'])
})

describe('a clock that is set', () => {
  const HOUR_MS = 3_600_000
  const steps = { s0: { run: 'true', timeout: '1m', retries: 1, backoff: '20s' } }
  const outcomes = async (run: string) =>
    (await attemptsOf(store.db, run)).map(({ number, status }) => [number, status])

  it.each([HOUR_MS, -HOUR_MS])('by %i ms neither ends a step that runs nor lets it run on', async (byMs) => {
    await lab.apply({ m: { steps } })
    const run = await lab.train('m')
    await look()
    clock.advance(30_000)
    clock.set(byMs)
    await look()
    clock.advance(30_000)
    await look()
    expect(await statusOf(run, 's0')).toBe('running')
    clock.advance(1_000)
    await look()
    expect((await attemptsOf(store.db, run))[0]).toMatchObject({
      status: 'timedOut',
      why: 'ran longer than its time-out of 60 s',
    })
  })

  it.each([HOUR_MS, -HOUR_MS])('by %i ms neither shortens nor lengthens the pause before a retry', async (byMs) => {
    await lab.apply({ m: { steps } })
    const run = await lab.train('m')
    await look()
    await exit(run, 's0', 1)
    await look()
    clock.set(byMs)
    clock.advance(19_000)
    await look()
    expect(await outcomes(run)).toEqual([[1, 'failed']])
    clock.advance(1_000)
    await look()
    expect(await outcomes(run)).toEqual([
      [1, 'failed'],
      [2, 'running'],
    ])
  })

  it.each([HOUR_MS, -HOUR_MS])('by %i ms before a restart changes nothing of how long a step has run', async (byMs) => {
    await lab.apply({ m: { steps } })
    const run = await lab.train('m')
    await look()
    clock.set(byMs)
    ages.set(dirOf(run, 's0'), 30_000)
    controller = new RunController(lab.context, playedRuntime(), 2)
    await look()
    clock.advance(30_000)
    await look()
    expect(await outcomes(run)).toEqual([[1, 'running']])
    clock.advance(1_000)
    await look()
    expect(await outcomes(run)).toEqual([[1, 'timedOut']])
  })
})

it('counts earlier failures of a step whose attempt a look finds open', async () => {
  const steps = { s0: { run: 'true', retries: 2, backoff: '1s' } }
  await lab.apply({ m: { steps } })
  const run = await lab.train('m')
  await look()
  for (const [i, status] of (['waiting', 'waiting', 'failed'] as const).entries()) {
    await exit(run, 's0', 1, i + 1)
    expect(await statusOf(run, 's0')).toBe(status)
    clock.advance(60_000)
    // As another control plane would find it.
    controller = new RunController(lab.context, playedRuntime(), 2)
    await look()
  }
  expect((await attemptsOf(store.db, run)).map(({ number, status }) => [number, status])).toEqual([
    [1, 'failed'],
    [2, 'failed'],
    [3, 'failed'],
  ])
  expect((await findRun(store.db, run))!.status).toBe('failed')
})

it('takes up a step whose row somebody else has moved', async () => {
  await lab.apply({ m: chain(2) })
  const run = await lab.train('m')
  await look()
  await store.db.updateTable('step').set({ status: 'skipped' }).where('name', '=', 's1').execute()
  await exit(run, 's0')
  // It believes that it waits, finds that it does not, and reads it again.
  for (let i = 0; i < 3; i++) await look()
  expect(await attemptsOf(store.db, run)).toHaveLength(1)
  expect((await findRun(store.db, run))!.status).toBe('failed')
})
