import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelInput } from '../../config/input.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, until, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { decidedVersion, promote } from '../../testing/flip-lab.ts'
import { testStore } from '../../testing/test-store.ts'
import { openAlert } from '../monitoring/alert-store.ts'
import type { ReevaluateJobInput, ReevaluateJobOutput } from './reevaluate-job.ts'
import { ReevaluationController, SUSPECTED_DATA } from './reevaluation-controller.ts'
import { reevaluationsOf } from './reevaluation-store.ts'

const DAY_MS = 24 * 3_600_000
const model: ModelInput = {
  train: 'true',
  task: 'binary',
  label: 'late',
  holdout: 'holdout.csv',
  monitors: { labelDelay: '1d' },
  retirement: { outdated: { window: '1d', minRows: 100, margin: 0 } },
}

describe('re-evaluation', () => {
  let store: Store
  let lab: ControlLab
  let clock: FakeClock
  let asked: ReevaluateJobInput[]
  let answer: (input: ReevaluateJobInput) => Promise<ReevaluateJobOutput>
  let controller: ReevaluationController
  beforeAll(async () => {
    store = await testStore()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    clock = fakeClock(Date.UTC(2001, 0, 10, 6))
    lab = await controlLab(store, clock)
    await lab.apply({ m: model })
    asked = []
    controller = newController()
    for (let i = 0; i < 2; i++) {
      clock.advance(1_000)
      await promote(lab, 'm', await decidedVersion(lab, 'm'))
    }
    losses({ 'm@1': 0.5, 'm@2': 0.4 })
  })
  afterEach(() => lab.close())

  const newController = () =>
    new ReevaluationController(lab.context, (input) => {
      asked.push(input)
      return answer(input)
    })
  /** What the job finds, against a constant of 0.6. */
  function losses(byVersion: Record<string, number>, rest: Partial<ReevaluateJobOutput> = {}): void {
    answer = ({ versions }) =>
      Promise.resolve({
        labelled: 400,
        predictions: 500,
        constantLoss: 0.6,
        dataTrouble: null,
        versions: versions.map(({ versionId }) => ({
          versionId,
          rows: 400,
          meanLoss: byVersion[versionId] ?? null,
          why: 'x',
        })),
        ...rest,
      })
  }
  async function looks(count = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      await controller.look()
      await controller.settle()
    }
  }
  const verdicts = async () =>
    (await reevaluationsOf(store.db, 'm')).map(
      (r) => `${new Date(r.windowMs).getUTCDate()} ${r.versionId} ${r.verdict}`,
    )
  const suspected = () => openAlert(store.db, { model: 'm', source: SUSPECTED_DATA, subject: '' })

  it('measures what is in service on the last two windows whose labels have had their time, each once', async () => {
    await looks(4)
    expect(asked.map((a) => new Date(a.fromMs).getUTCDate())).toEqual([7, 8])
    expect(asked[0]).toMatchObject({ task: 'binary', loss: 'logLoss', toMs: asked[0]!.fromMs + DAY_MS })
    expect(asked[0]!.versions.map((v) => v.versionId).toSorted()).toEqual(['m@1', 'm@2'])
    expect((await verdicts()).toSorted()).toEqual(['7 m@1 passed', '7 m@2 passed', '8 m@1 passed', '8 m@2 passed'])
    clock.advanceCalendar(DAY_MS)
    await looks(2)
    expect(asked).toHaveLength(3)
  })

  it('does nothing again where the calendar is set back', async () => {
    await looks(3)
    clock.advanceCalendar(-DAY_MS / 2)
    await looks(3)
    expect(asked).toHaveLength(2)
  })

  it('says who reads a version while it is measured', async () => {
    const waiting = Promise.withResolvers<ReevaluateJobOutput>()
    answer = () => waiting.promise
    await controller.look()
    await until('the job has begun', () => asked.length === 1)
    expect([...controller.readers()].toSorted(([a], [b]) => a.localeCompare(b))).toEqual([
      ['m@1', ['a re-evaluation']],
      ['m@2', ['a re-evaluation']],
    ])
    waiting.reject(new Error('killed'))
    await controller.settle()
    expect(controller.readers().size).toBe(0)
  })

  it('tries a job that dies again later, and not for ever', async () => {
    answer = () => Promise.reject(new Error('out of memory'))
    for (let i = 0; i < 10; i++) {
      await looks()
      clock.advance(61_000)
    }
    // Three times for each of the two windows.
    expect(asked).toHaveLength(6)
    expect(await verdicts()).toEqual([])
  })

  it('fails the version that is below the floor, and suspects nothing', async () => {
    losses({ 'm@1': 0.7, 'm@2': 0.4 })
    await looks(2)
    expect((await verdicts()).filter((v) => v.includes('m@1'))).toEqual(['7 m@1 failed', '8 m@1 failed'])
    expect(await suspected()).toBeNull()
  })

  it('suspects the data where all fail together, tells it, and takes it back with the next window that passes', async () => {
    losses({ 'm@1': 0.7, 'm@2': 0.8 })
    await looks(2)
    expect((await suspected())!.why).toContain('every version that was measured (2) is below the floor 0.6000')
    losses({ 'm@1': 0.5, 'm@2': 0.4 })
    clock.advanceCalendar(DAY_MS)
    await looks()
    expect(await suspected()).toBeNull()
  })

  it('neither tells nor judges by a window with too few labels', async () => {
    losses({ 'm@1': 0.7, 'm@2': 0.8 }, { labelled: 20 })
    await looks(2)
    expect(new Set((await verdicts()).map((v) => v.split(' ')[2]))).toEqual(new Set(['insufficient']))
    expect(await suspected()).toBeNull()
  })

  it('starts nothing while the disk is low, nor where nothing is in service', async () => {
    lab.disk.low = true
    await looks(2)
    lab.disk.low = false
    await lab.apply({ other: model })
    await looks(2)
    expect(asked).toEqual([])
  })
})
