import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import { recordSli, type SliMeasurement } from './sli-requests.ts'

let store: Store
let clock: FakeClock
let lab: ControlLab
beforeAll(async () => {
  store = await testStore()
})
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
})
afterEach(() => lab.close())
afterAll(() => store.close())

const measure = (overrides: Partial<SliMeasurement>) =>
  recordSli(store.db, {
    phase: 'trigger',
    indicator: 'triggerDelayMs',
    model: 'm',
    value: 1_000,
    good: true,
    subject: 'run-1',
    atMs: clock.epochMs(),
    calendarMs: clock.calendarMs() + 0.5,
    ...overrides,
  })
const recorded = () =>
  store.db.selectFrom('sli').select(['subject', 'good', 'value', 'calendar_ms']).orderBy('seq').execute()

describe('a measured value', () => {
  it('is good up to the threshold that is declared when it is measured', async () => {
    await lab.apply({ m: { train: 'x', slos: { triggerPunctuality: { within: '10s' } } } })
    await measure({ subject: 'in time', value: 10_000 })
    await measure({ subject: 'late', value: 10_001 })
    await lab.apply({ m: { train: 'x', slos: { triggerPunctuality: { within: '1m' } } } })
    await measure({ subject: 'late, but allowed', value: 10_001 })
    expect((await recorded()).map(({ subject, good }) => [subject, good])).toEqual([
      ['in time', true],
      ['late', false],
      ['late, but allowed', true],
    ])
  })

  it('is bad for other reasons whatever its duration', async () => {
    await lab.apply({ m: { train: 'x' } })
    await measure({ good: false, value: 0 })
    expect(await recorded()).toMatchObject([{ good: false }])
  })

  it('is good where nothing is declared, of the level or of the model', async () => {
    await measure({ subject: 'nothing applied', value: 1e12 })
    await lab.apply({ m: { train: 'x', slos: { leadTime: false } } })
    await measure({ phase: 'release', indicator: 'leadTimeMs', subject: 'no level', value: 1e12 })
    await measure({ model: 'gone', subject: 'no model', value: 1e12 })
    expect((await recorded()).map(({ good }) => good)).toEqual([true, true, true])
  })

  it('is none where the clock was set back while it was measured', async () => {
    await measure({ value: -3_600_000 })
    expect(await recorded()).toMatchObject([{ value: 0, good: true }])
  })

  it('is recorded once for each subject, with the calendar', async () => {
    await measure({ value: 1 })
    await measure({ value: 2 })
    expect(await recorded()).toEqual([
      { subject: 'run-1', good: true, value: 1, calendar_ms: Math.round(clock.calendarMs() + 0.5) },
    ])
  })
})
