import { rmSync, utimesSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { ModelInput } from '../../config/input.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { listRuns } from '../pipeline/run-store.ts'
import { TriggerController } from './trigger-controller.ts'

const model: ModelInput = { train: 'true', on: { newData: 'data/*.csv', settle: '5s' } }

describeEachStore('the trigger controller', (open: () => Promise<Store>) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  let lab: ControlLab
  let clock: FakeClock
  let controller: TriggerController

  beforeEach(async () => {
    clock = fakeClock()
    lab = await controlLab(store, clock)
    await lab.apply({ m: model })
    controller = new TriggerController(lab.context)
  })
  afterEach(() => lab.close())

  /** Looks, lets the data settle, and looks again. */
  async function settled(): Promise<void> {
    await controller.look()
    clock.advance(5_000)
    await controller.look()
  }
  const runs = () => listRuns(lab.context.store.db, { limit: 100 })

  it('fires once for new data that has settled, with the reason and the calendar time', async () => {
    lab.write('data/w1.csv', 'a')
    clock.advanceCalendar(86_400_000)
    expect(await controller.look()).toBe(1_000)
    expect(controller.views()).toMatchObject([{ state: 'settling', why: '1 file may still be written' }])
    clock.advance(4_500)
    expect(await controller.look()).toBe(500)
    expect(await runs()).toEqual([])
    clock.advance(500)
    await controller.look()
    expect(await runs()).toMatchObject([
      { triggerKind: 'newData', triggerWhy: '1 new file: data/w1.csv', asOfMs: clock.calendarMs() },
    ])
    expect(lab.woken).toContain('run')
    await settled()
    expect(await runs()).toHaveLength(1)
  })

  it('lets data settle from then on where the clock was set back', async () => {
    lab.write('data/w1.csv', 'a')
    await controller.look()
    clock.set(-3_600_000)
    await settled()
    expect(await runs()).toHaveLength(1)
  })

  it('fires once across restarts, whenever they come', async () => {
    lab.write('data/w1.csv', 'a')
    await settled()
    for (let restart = 0; restart < 3; restart++) {
      controller = new TriggerController(lab.context)
      await settled()
    }
    expect(await runs()).toHaveLength(1)
  })

  it('fires once where two look at the same time', async () => {
    lab.write('data/w1.csv', 'a')
    const other = new TriggerController(lab.context)
    await Promise.all([controller.look(), other.look()])
    clock.advance(5_000)
    await Promise.all([controller.look(), other.look()])
    expect(await runs()).toHaveLength(1)
  })

  it('does not fire for a file that was only touched, nor for one that is gone and comes back', async () => {
    const path = lab.write('data/w1.csv', 'a')
    await settled()
    utimesSync(path, 1_000, 1_000)
    await settled()
    expect(controller.views()).toMatchObject([{ state: 'watching' }])
    rmSync(path)
    await settled()
    lab.write('data/w1.csv', 'a')
    await settled()
    expect(await runs()).toHaveLength(1)
  })

  it('fires again for content that has changed and for more files', async () => {
    lab.write('data/w1.csv', 'a')
    await settled()
    lab.write('data/w1.csv', 'bb')
    await settled()
    lab.write('data/w2.csv', 'c')
    await settled()
    expect((await runs()).map((run) => run.triggerWhy)).toEqual([
      '1 new file: data/w2.csv',
      '1 new file: data/w1.csv',
      '1 new file: data/w1.csv',
    ])
  })

  it('waits while anything is still being written', async () => {
    for (let i = 0; i < 5; i++) {
      lab.write('data/w1.csv', 'x'.repeat(i))
      await controller.look()
      clock.advance(4_000)
    }
    expect(await runs()).toEqual([])
    await settled()
    expect(await runs()).toHaveLength(1)
  })

  it('says that it is blocked while the disk is low, and fires by itself afterwards', async () => {
    lab.write('data/w1.csv', 'a')
    lab.disk.low = true
    await settled()
    expect(controller.views()).toMatchObject([{ state: 'blocked', why: 'free disk space is below the watermark' }])
    lab.disk.low = false
    await settled()
    expect(await runs()).toHaveLength(1)
  })

  it('forgets the view of a model that has left the configuration', async () => {
    await controller.look()
    await lab.apply({ other: { train: 'true' } })
    await controller.look()
    expect(controller.views()).toEqual([])
  })
})
