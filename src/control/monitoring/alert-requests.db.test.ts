import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { alertRequestOf } from '../../testing/control-builders.ts'
import { emptyStore } from '../../testing/control-lab.ts'
import { fakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import {
  acknowledgeAlert,
  notePendingAlert,
  raiseAlert,
  recordResponse,
  resolveAlert,
  silenceAlert,
  type AlertRequest,
} from './alert-requests.ts'
import { alarmsSince, findAlert, listAlerts } from './alert-store.ts'

let store: Store
const clock = fakeClock()
beforeAll(async () => {
  store = await testStore()
})
beforeEach(() => emptyStore(store))
afterAll(() => store.close())

const requestOf = (overrides: Partial<AlertRequest> = {}) => alertRequestOf({ response: 'retrain', ...overrides })
const raise = (overrides?: Partial<AlertRequest>) =>
  store.transaction((tx) => raiseAlert(tx, clock, requestOf(overrides)))
const note = (overrides?: Partial<AlertRequest>) =>
  store.transaction((tx) => notePendingAlert(tx, clock, requestOf(overrides)))
const resolve = (overrides?: Partial<AlertRequest>) =>
  store.transaction((tx) => resolveAlert(tx, clock, { ...requestOf(overrides), why: 'back to normal' }))
const eventsOf = async (id: string) =>
  (await store.db.selectFrom('event').select('to_status').where('entity_id', '=', id).orderBy('id').execute()).map(
    (event) => event.to_status,
  )

describe('an alert', () => {
  it('is one however often it is raised, with the newest figures', async () => {
    const first = await raise()
    expect(await raise({ why: 'PSI 0.5 over 0.25', figures: { psi: 0.5 }, severity: 'critical' })).toBe(first)
    expect(await listAlerts(store.db)).toMatchObject([
      { id: first, status: 'firing', why: 'PSI 0.5 over 0.25', figures: { psi: 0.5 }, severity: 'critical' },
    ])
    expect(await eventsOf(first)).toEqual(['firing'])
  })

  it('is pending before it fires, and keeps its id', async () => {
    const id = await note()
    expect(await findAlert(store.db, id)).toMatchObject({ status: 'pending', alarmSeq: null, firedAtMs: null })
    expect(await note({ why: 'PSI 0.6 over 0.25' })).toBe(id)
    expect(await raise()).toBe(id)
    expect(await findAlert(store.db, id)).toMatchObject({ status: 'firing', firedAtMs: clock.epochMs() })
    expect(await eventsOf(id)).toEqual(['pending', 'firing'])
  })

  it('does not go back to pending', async () => {
    const id = await raise()
    expect(await note()).toBe(id)
    expect((await findAlert(store.db, id)).status).toBe('firing')
  })

  it('is a new one after it was resolved', async () => {
    const first = await raise()
    expect(await resolve()).toBe(first)
    expect(await resolve()).toBeNull()
    expect(await raise()).not.toBe(first)
    expect((await listAlerts(store.db, { all: true })).map((alert) => alert.status)).toEqual(['firing', 'resolved'])
    expect((await listAlerts(store.db)).map((alert) => alert.status)).toEqual(['firing'])
  })

  it('is apart from those of other models, sources and subjects', async () => {
    const ids = [
      await raise(),
      await raise({ model: 'n' }),
      await raise({ source: 'missing' }),
      await raise({ subject: '' }),
    ]
    expect(new Set(ids).size).toBe(4)
  })

  it('keeps what was done about it first', async () => {
    const id = await raise()
    await store.transaction((tx) => recordResponse(tx, id, 'run-1'))
    await store.transaction((tx) => recordResponse(tx, id, 'run-2'))
    expect((await findAlert(store.db, id)).responseTaken).toBe('run-1')
  })

  it('can be acknowledged and silenced while it is open, with the reason in its events', async () => {
    const id = await raise()
    await store.transaction((tx) => acknowledgeAlert(tx, clock, { alertId: id, by: 'ada', why: 'I look at it' }))
    await store.transaction((tx) => silenceAlert(tx, clock, { alertId: id, forMs: 60_000, by: 'ada', why: 'known' }))
    expect(await findAlert(store.db, id)).toMatchObject({
      status: 'firing',
      acknowledged: { by: 'ada', why: 'I look at it' },
      silencedUntilMs: clock.epochMs() + 60_000,
    })
    expect(await eventsOf(id)).toEqual(['firing', 'acknowledged', 'silenced'])
    await resolve()
    const late = store.transaction((tx) => acknowledgeAlert(tx, clock, { alertId: id, by: 'ada', why: 'late' }))
    await expect(late).rejects.toMatchObject({ code: 'MR_ALERT_RESOLVED' })
    const nobody = store.transaction((tx) =>
      silenceAlert(tx, clock, { alertId: 'alert-99', forMs: 1, by: 'a', why: 'b' }),
    )
    await expect(nobody).rejects.toMatchObject({ code: 'MR_ALERT_NOT_FOUND' })
  })
})

describe('alarms since a number', () => {
  it('come in the order in which they fired, not in which they were noticed', async () => {
    const slow = await note({ subject: 'slow' })
    const fast = await raise({ subject: 'fast' })
    const [only] = await alarmsSince(store.db, 'm', 0)
    expect(only!.id).toBe(fast)
    await raise({ subject: 'slow' })
    expect((await alarmsSince(store.db, 'm', only!.alarmSeq!)).map((alarm) => alarm.id)).toEqual([slow])
  })

  it('hold each alarm once, also after it was resolved', async () => {
    const id = await raise()
    await raise()
    await resolve()
    expect((await alarmsSince(store.db, 'm', 0)).map((alarm) => alarm.id)).toEqual([id])
    expect(await alarmsSince(store.db, 'n', 0)).toEqual([])
  })

  it('do not hold what was resolved before it fired', async () => {
    await note()
    await resolve()
    expect(await alarmsSince(store.db, 'm', 0)).toEqual([])
  })
})
