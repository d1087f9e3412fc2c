import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ServiceLevelController } from '../../../control/service-level/service-level-controller.ts'
import { recordSli } from '../../../control/service-level/sli-requests.ts'
import type { Store } from '../../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../../testing/fake-clock.ts'
import { testStore } from '../../../testing/test-store.ts'
import { budgetSchema } from '../service-level-schemas.ts'
import { ModelUnknownError } from './models.ts'
import { budgetViews } from './service-levels.ts'
import type { Services } from './services.ts'

let store: Store
let clock: FakeClock
let lab: ControlLab
let services: Services
beforeAll(async () => {
  store = await testStore()
})
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  services = { context: lab.context } as Services
})
afterEach(() => lab.close())
afterAll(() => store.close())

async function failRuns(model: string, count: number): Promise<void> {
  const about = { phase: 'pipeline', indicator: 'runSuccess', value: 0, good: false } as const
  for (let i = 0; i < count; i++)
    await recordSli(store.db, {
      ...about,
      model,
      subject: `${model} ${i}`,
      atMs: clock.epochMs(),
      calendarMs: clock.calendarMs(),
    })
}

describe('error budgets over the API', () => {
  it('are those of every model in the order of the loop, or of one', async () => {
    await lab.apply({ a: { train: 'x' }, b: { train: 'x', slos: { modelAge: false } } })
    const all = await budgetViews(services)
    expect(all.map(({ model }) => model)).toEqual([...Array<string>(10).fill('a'), ...Array<string>(9).fill('b')])
    expect(all.slice(0, 2)).toMatchObject([
      { level: 'triggerPunctuality', phase: 'trigger', state: 'unmeasured', left: null, thresholdMs: 300_000 },
      { level: 'runSuccess', phase: 'pipeline', events: 'runs', objective: 0.9, effect: 'freeze' },
    ])
    expect((await budgetViews(services, 'b')).map(({ model }) => model)).toEqual(Array<string>(9).fill('b'))
    for (const view of all) expect(budgetSchema.parse(view)).toEqual(view)
  })

  it('name the alert and the freeze of a spent one, and what would restore it', async () => {
    await lab.apply({ a: { train: 'x' } })
    await failRuns('a', 2)
    await new ServiceLevelController(lab.context, () => []).look()
    expect((await budgetViews(services)).find(({ level }) => level === 'runSuccess')).toMatchObject({
      state: 'spent',
      good: 0,
      bad: 2,
      left: 0,
      why: '2 of the last 2 runs were bad',
      restores: '2 good runs in a row',
      alert: expect.stringMatching(/^alert-\d+$/),
      freeze: expect.stringMatching(/^freeze-\d+$/),
    })
  })

  it('refuse a model that is not there, and are none before anything is applied', async () => {
    expect(await budgetViews(services)).toEqual([])
    await lab.apply({ a: { train: 'x' } })
    await expect(budgetViews(services, 'nope')).rejects.toThrow(ModelUnknownError)
  })
})
