import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { appendEvent } from '../kernel/store/state-machine.ts'
import type { Store } from '../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../testing/fake-clock.ts'
import { testStore } from '../testing/test-store.ts'
import { lookOnNews } from './look-on-news.ts'

let store: Store
let lab: ControlLab
let clock: FakeClock
let looks: number
let answer: number | void
let look: () => Promise<number | void>
beforeAll(async () => {
  store = await testStore()
}, 60_000)
afterAll(() => store.close())
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  looks = 0
  answer = undefined
  look = lookOnNews(lab.context, async () => {
    looks++
    return answer
  })
})
afterEach(() => lab.close())

const happens = () =>
  appendEvent(store.db, {
    entity: 'run',
    entityId: 'run-1',
    from: null,
    to: 'queued',
    cause: 't',
    atMs: 0,
    calendarMs: 0,
  })

it('looks once, and again after an event, a revision, an hour, or a while', async () => {
  for (let i = 0; i < 3; i++) await look()
  expect(looks).toBe(1)
  await happens()
  await look()
  await look()
  expect(looks).toBe(2)
  await lab.apply({ m: { train: 'true' } })
  await look()
  await look()
  expect(looks).toBe(3)
  clock.advance(10_000)
  await look()
  expect(looks).toBe(4)
})

it('looks again where it was asked to, or where it failed', async () => {
  answer = 250
  expect(await look()).toBe(250)
  await look()
  expect(looks).toBe(2)
  const failing = lookOnNews(lab.context, () => Promise.reject(new Error('the database is away')))
  await expect(failing()).rejects.toThrow('away')
  await expect(failing()).rejects.toThrow('away')
})
