import type { ModelConfig, MonitorConfig, MonitorKind } from '../../../config/project.ts'
import { acknowledgeAlert, silenceAlert } from '../../../control/monitoring/alert-requests.ts'
import { findAlert, listAlerts } from '../../../control/monitoring/alert-store.ts'
import type { Alert } from '../../../control/monitoring/alert.ts'
import { monitoredUntil } from '../../../control/monitoring/monitored-until.ts'
import { monitorStates, type MonitorState } from '../../../control/monitoring/monitor-store.ts'
import type { Notification } from '../../../control/monitoring/notification.ts'
import { notificationsOf } from '../../../control/monitoring/notification-store.ts'
import { RIPENESS } from '../../../control/monitoring/windows.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { AlertView, MonitoredView, MonitorView } from '../monitoring-schemas.ts'
import { declaredModel } from './models.ts'
import type { Services } from './services.ts'

export const monitorHandlers = (services: Services): HandlerGroup<'monitors'> => ({
  async list({ model }) {
    const { context } = services
    if (model !== undefined) declaredModel(services, model)
    const models = (context.project()?.project.models ?? []).filter((m) => model === undefined || m.name === model)
    const states = await monitorStates(context.store.db)
    const alerts = await listAlerts(context.store.db)
    return models.flatMap((m) => m.monitors.monitors.flatMap((monitor) => viewsOf(m, monitor, states, alerts)))
  },
})

export const alertHandlers = (services: Services): HandlerGroup<'alerts'> => ({
  async list({ model, all, limit }) {
    const alerts = await listAlerts(services.context.store.db, { model, all, limit })
    // A model that has left the configuration keeps its alerts; a name that never was must not read as all is well.
    if (alerts.length === 0 && model !== undefined) declaredModel(services, model, true)
    return alertViews(services, alerts)
  },
  async acknowledge({ id, why, by }) {
    const { store, clock } = services.context
    await store.transaction((tx) => acknowledgeAlert(tx, clock, { alertId: id, by, why }))
    return alertView(services, id)
  },
  async silence({ id, forMs, why, by }) {
    const { store, clock } = services.context
    await store.transaction((tx) => silenceAlert(tx, clock, { alertId: id, forMs, by, why }))
    return alertView(services, id)
  },
})

/** Alerts that fire, the gravest first. */
export async function firingAlerts(services: Pick<Services, 'context'>): Promise<AlertView[]> {
  const open = await listAlerts(services.context.store.db)
  const firing = await alertViews(
    services,
    open.filter((alert) => alert.status === 'firing'),
  )
  const rank = { critical: 0, warning: 1, info: 2 }
  return firing.toSorted((a, b) => rank[a.severity] - rank[b.severity])
}

/** How far monitoring has come with each model that has something to watch. */
export async function monitoredViews({ context }: Pick<Services, 'context'>): Promise<MonitoredView[]> {
  const watched = (context.project()?.project.models ?? []).filter((model) => model.monitors.monitors.length > 0)
  return Promise.all(
    watched.map(async (model) => {
      const { dataMs, labelsMs } = await monitoredUntil(context.store.db, model)
      return { model: model.name, monitoredUntilMs: dataMs, labelledUntilMs: labelsMs }
    }),
  )
}

const UNITS: Record<MonitorKind, MonitorView['unit']> = {
  drift: 'psi',
  predictionDrift: 'psi',
  missing: 'share',
  unseen: 'share',
  predictedActual: 'ratio',
  quality: 'loss',
  traffic: 'requests',
  silence: 'ms',
  modelAge: 'ms',
}

/** The monitor as a whole first, then its columns. */
function viewsOf(model: ModelConfig, monitor: MonitorConfig, states: MonitorState[], alerts: Alert[]): MonitorView[] {
  const mine = states.filter((state) => state.model === model.name && state.monitor === monitor.name)
  const whole = mine.find((state) => state.subject === '') ?? null
  const columns = mine.filter((state) => state.subject !== '')
  return [viewOf(model, monitor, whole, alerts), ...columns.map((state) => viewOf(model, monitor, state, alerts))]
}

function viewOf(model: ModelConfig, monitor: MonitorConfig, state: MonitorState | null, alerts: Alert[]): MonitorView {
  const subject = state?.subject ?? ''
  const last = state?.last ?? null
  const isMine = (alert: Alert) =>
    alert.model === model.name && alert.source === monitor.name && alert.subject === subject
  return {
    model: model.name,
    monitor: monitor.name,
    subject,
    version: last?.versionId ?? null,
    verdict: last?.verdict ?? 'waiting',
    why: last?.why ?? 'no window has been judged yet',
    value: last?.value ?? null,
    limit: last?.limit ?? monitor.limit,
    unit: UNITS[monitor.name],
    n: last?.n ?? 0,
    windowFromMs: last?.fromMs ?? null,
    windowToMs: last?.toMs ?? null,
    sinceMs: last?.sinceMs ?? null,
    judgedUntilMs: RIPENESS[monitor.name] === 'level' ? null : (state?.judgedUntilMs ?? null),
    badWindows: state?.bad ?? 0,
    raiseAfter: monitor.raiseAfter,
    response: monitor.response,
    alert: alerts.find(isMine)?.id ?? null,
  }
}

async function alertView(services: Services, id: string): Promise<AlertView> {
  return (await alertViews(services, [await findAlert(services.context.store.db, id)]))[0]!
}

async function alertViews({ context }: Pick<Services, 'context'>, alerts: Alert[]): Promise<AlertView[]> {
  const notifications = await notificationsOf(
    context.store.db,
    alerts.map((alert) => alert.id),
  )
  return alerts.map((alert) =>
    toView(
      alert,
      notifications.filter((n) => n.alertId === alert.id),
    ),
  )
}

function toView(alert: Alert, notifications: Notification[]): AlertView {
  const { seq: _seq, versionId, alarmSeq: _alarmSeq, acknowledged, ...rest } = alert
  return {
    ...rest,
    version: versionId,
    acknowledgedBy: acknowledged?.by ?? null,
    acknowledgedWhy: acknowledged?.why ?? null,
    notifications: notifications.map(({ about, target, status, attempts, why, sentAtMs }) => ({
      about,
      target,
      status,
      attempts,
      why,
      sentAtMs,
    })),
  }
}
