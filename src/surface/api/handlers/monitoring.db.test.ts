import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { raiseAlert, resolveAlert } from '../../../control/monitoring/alert-requests.ts'
import { saveMonitorState } from '../../../control/monitoring/monitor-store.ts'
import { noteNotification } from '../../../control/monitoring/notification-store.ts'
import type { Store } from '../../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../../testing/control-lab.ts'
import { fakeClock } from '../../../testing/fake-clock.ts'
import { testStore } from '../../../testing/test-store.ts'
import type { Call } from '../handlers.ts'
import { alertSchema, monitorSchema } from '../monitoring-schemas.ts'
import { alertHandlers, firingAlerts, monitoredViews, monitorHandlers } from './monitoring.ts'
import type { Services } from './services.ts'

const call: Call = { signal: new AbortController().signal, via: 'socket' }
const clock = fakeClock()
const DAY_MS = 86_400_000

let store: Store
let lab: ControlLab
let services: Services
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())
beforeEach(async () => {
  lab = await controlLab(store, clock)
  const monitors = { quality: false, predictedActual: false } as const
  await lab.apply({ m: { train: 'true', task: 'binary', label: 'y', holdout: 'holdout.csv', monitors } })
  // What these handlers use of them.
  services = { context: lab.context } as Services
})
afterEach(() => lab.close())

const drift = { model: 'm', source: 'drift', subject: 'a' }
const raise = (severity: 'warning' | 'critical', subject = 'a') =>
  store.transaction((tx) =>
    raiseAlert(tx, clock, {
      ...drift,
      subject,
      endpoint: 'm',
      versionId: 'm@1',
      severity,
      why: 'PSI 0.4 of a',
      figures: { psi: 0.4 },
      response: 'tell',
      runbook: null,
    }),
  )

describe('monitors by the API', () => {
  it('are those that are on, waiting until a window was judged', async () => {
    const monitors = await monitorHandlers(services).list({}, call)
    expect(monitors.map((m) => [m.monitor, m.verdict])).toEqual([
      ['drift', 'waiting'],
      ['predictionDrift', 'waiting'],
      ['missing', 'waiting'],
      ['unseen', 'waiting'],
    ])
    for (const monitor of monitors) expect(monitorSchema.parse(monitor)).toEqual(monitor)
    expect(await monitoredViews(services)).toEqual([{ model: 'm', monitoredUntilMs: null, labelledUntilMs: null }])
    const none = async () => monitorHandlers(services).list({ model: 'none' }, call)
    await expect(none()).rejects.toMatchObject({ kind: 'not-found' })
  })

  it('show each column with its last window and the alert about it', async () => {
    const id = await raise('warning')
    const last = { versionId: 'm@1', verdict: 'bad', why: 'PSI 0.4 of a', value: 0.4, limit: 0.25, n: 900 } as const
    const state = { model: 'm', monitor: 'drift', judgedUntilMs: DAY_MS, bad: 2, good: 0 } as const
    const window = { fromMs: 0, toMs: DAY_MS, sinceMs: DAY_MS }
    await store.transaction(async (tx) => {
      await saveMonitorState(tx, { ...state, subject: '', last: { ...last, ...window } })
      await saveMonitorState(tx, { ...state, subject: 'a', last: { ...last, ...window } })
    })
    const [whole, column] = await monitorHandlers(services).list({ model: 'm' }, call)
    expect(whole).toMatchObject({ subject: '', verdict: 'bad', alert: null })
    expect(column).toMatchObject({
      subject: 'a',
      value: 0.4,
      limit: 0.25,
      unit: 'psi',
      n: 900,
      alert: id,
      badWindows: 2,
    })
  })
})

describe('alerts by the API', () => {
  it('are listed with what was sent about them, resolved ones when asked for', async () => {
    const id = await raise('warning')
    const told = { alertId: id, about: 'firing', target: 'https://hooks.example.com/… (0a1b2c3d)' } as const
    await store.transaction((tx) => noteNotification(tx, told, 0))
    await store.transaction((tx) => resolveAlert(tx, clock, { ...drift, why: 'over' }))
    const handlers = alertHandlers(services)
    expect(await handlers.list({ all: false, limit: 10 }, call)).toEqual([])
    const [alert] = await handlers.list({ all: true, limit: 10 }, call)
    expect(alertSchema.parse(alert)).toEqual(alert)
    expect(alert).toMatchObject({ id, status: 'resolved', version: 'm@1', notifications: [{ status: 'waiting' }] })
  })

  it('are not said to be none where there is no such model', async () => {
    const { list } = alertHandlers(services)
    expect(await list({ model: 'm', all: false, limit: 10 }, call)).toEqual([])
    const typo = async () => list({ model: 'mm', all: false, limit: 10 }, call)
    await expect(typo()).rejects.toMatchObject({ code: 'MR_MODEL_UNKNOWN', kind: 'not-found' })
  })

  it('are acknowledged and silenced by name', async () => {
    const id = await raise('warning')
    const handlers = alertHandlers(services)
    expect(await handlers.acknowledge({ id, why: 'on it', by: 'ada' }, call)).toMatchObject({ acknowledgedBy: 'ada' })
    const silenced = await handlers.silence({ id, forMs: 60_000, why: 'known', by: 'ada' }, call)
    expect(silenced).toMatchObject({ status: 'firing', silencedUntilMs: clock.epochMs() + 60_000 })
    const nothing = async () => handlers.acknowledge({ id: 'alert-99', why: 'on it', by: 'ada' }, call)
    await expect(nothing()).rejects.toMatchObject({ code: 'MR_ALERT_NOT_FOUND' })
  })

  it('fire in the order of their severity in the status', async () => {
    await raise('warning', 'a')
    await raise('critical', 'b')
    expect((await firingAlerts(services)).map((alert) => alert.subject)).toEqual(['b', 'a'])
  })
})
