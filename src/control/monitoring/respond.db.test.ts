import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab } from '../../testing/control-lab.ts'
import { fakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import { activeFreezes } from '../release/freeze-store.ts'
import { raiseAlert } from './alert-requests.ts'
import { respond } from './respond.ts'

let store: Store
beforeAll(async () => {
  store = await testStore()
}, 60_000)
afterAll(() => store.close())

it('a freeze lasts as long as its alarm, however many alerts were opened since', async () => {
  const clock = fakeClock()
  const lab = await controlLab(store, clock)
  await lab.apply({ m: { train: 'true' } })
  const { models } = lab.context.project()!.project
  const about = { model: 'm', endpoint: 'm', severity: 'warning', why: 'PSI 0.4', response: 'freeze' } as const
  await store.transaction((tx) =>
    raiseAlert(tx, clock, { ...about, versionId: null, source: 'drift', subject: '', figures: {}, runbook: null }),
  )
  await respond(store, clock, models, new Map())
  expect(await activeFreezes(store.db)).toMatchObject([{ kind: 'alert' }])
  const pending = { ...about, response: 'tell', source: 'missing', status: 'pending', figures: '{}' }
  const opened = { opened_at_ms: 0, opened_calendar_ms: 0 }
  await store.db
    .insertInto('alert')
    .values(Array.from({ length: 1_001 }, (_, i) => ({ ...pending, ...opened, subject: `column ${i}` })))
    .execute()
  await respond(store, clock, models, new Map())
  expect(await activeFreezes(store.db)).toMatchObject([{ kind: 'alert' }])
  lab.close()
})
