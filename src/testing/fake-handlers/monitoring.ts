import type { HandlerGroup } from '../../surface/api/handlers.ts'
import { MillraceError } from '../../kernel/errors.ts'
import type { AlertView, MonitorView } from '../../surface/api/monitoring-schemas.ts'
import { requireModel, T0 } from './world.ts'

export const fakeMonitorHandlers = (): HandlerGroup<'monitors'> => ({
  list: ({ model: name }) => (name === undefined ? null : requireModel(name), fakeMonitors),
})

export const fakeAlertHandlers = (): HandlerGroup<'alerts'> => ({
  list: ({ all }) => (all ? [fakeAlert, { ...fakeAlert, id: 'alert-1', status: 'resolved' }] : [fakeAlert]),
  acknowledge: ({ id, why, by }) => ({ ...alert(id), acknowledgedBy: by, acknowledgedWhy: why }),
  silence: ({ id, forMs }) => ({ ...alert(id), silencedUntilMs: T0 + forMs }),
})

export const fakeAlert: AlertView = {
  id: 'alert-2',
  status: 'firing',
  severity: 'warning',
  model: 'late-flight',
  endpoint: 'late-flight',
  version: 'late-flight@1',
  source: 'drift',
  subject: 'distance',
  why: 'PSI 0.39 of distance beyond chance exceeds 0.25',
  figures: { psi: 0.4, rows: 1_000 },
  runbook: 'Ask the callers for their units.',
  response: 'retrain',
  responseTaken: null,
  openedAtMs: T0,
  openedCalendarMs: T0,
  firedAtMs: T0,
  firedCalendarMs: T0,
  resolvedAtMs: null,
  acknowledgedBy: null,
  acknowledgedWhy: null,
  silencedUntilMs: null,
  notifications: [
    {
      about: 'firing',
      target: 'https://hooks.example.com/… (0a1b2c3d)',
      status: 'failed',
      attempts: 5,
      why: 'no answer within 5000 ms',
      sentAtMs: null,
    },
  ],
}

function alert(id: string): AlertView {
  if (id === fakeAlert.id) return fakeAlert
  throw new MillraceError({
    code: 'MR_ALERT_NOT_FOUND',
    kind: 'not-found',
    message: `There is no alert '${id}'.`,
    fix: `Run 'millrace alerts --all' to see the alerts.`,
  })
}

const fakeMonitor: MonitorView = {
  model: 'late-flight',
  monitor: 'drift',
  subject: 'distance',
  version: 'late-flight@1',
  verdict: 'bad',
  why: fakeAlert.why,
  value: 0.39,
  limit: 0.25,
  unit: 'psi',
  n: 1_000,
  windowFromMs: T0 - 86_400_000,
  windowToMs: T0,
  sinceMs: T0,
  judgedUntilMs: T0,
  badWindows: 2,
  raiseAfter: 2,
  response: 'retrain',
  alert: 'alert-2',
}

const fakeMonitors: MonitorView[] = [
  { ...fakeMonitor, subject: '', alert: null },
  fakeMonitor,
  { ...fakeMonitor, subject: 'origin', verdict: 'ok', value: 0.01, why: 'PSI 0.01 of origin', alert: null },
  {
    ...fakeMonitor,
    monitor: 'silence',
    subject: '',
    verdict: 'ok',
    value: 90_000,
    limit: 3_600_000,
    unit: 'ms',
    why: 'no request for 1.5 min',
    alert: null,
  },
]
