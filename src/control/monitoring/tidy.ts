import type { ModelConfig } from '../../config/project.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Store } from '../../kernel/store/store.ts'
import { resolveAlert } from './alert-requests.ts'
import { listAlerts } from './alert-store.ts'
import { isMonitorSource, type Alert } from './alert.ts'
import { isOfModel } from './judge.ts'
import { forgetSubjects, monitorStates } from './monitor-store.ts'
import type { Subject } from './subject.ts'

/** Why nothing will ever judge this alert again; null: something will. Pure. */
export function whyOver(alert: Alert, model: ModelConfig | null, subject: Subject | null): string | null {
  if (!isMonitorSource(alert.source)) return null
  if (model === null) return `'${alert.model}' is no longer in the configuration`
  const monitor = model.monitors.monitors.find((m) => m.name === alert.source)
  if (monitor === undefined) return `the monitor '${alert.source}' is off`
  const { columns } = monitor
  if (alert.subject !== '' && columns.length > 0 && !columns.includes(alert.subject))
    return `'${alert.source}' no longer watches ${alert.subject}`
  if (isOfModel(monitor)) return null
  if (subject === null) return `'${alert.model}' has no champion`
  if (alert.versionId !== subject.champion.id) return `${subject.champion.id} is the champion now`
  const known = subject.profile?.columns.some((column) => column.name === alert.subject) ?? false
  return alert.subject === '' || known ? null : `${subject.champion.id} has no input ${alert.subject}`
}

/**
 * Resolves what nothing will judge again, and forgets what monitors that are off have said.
 * @param known.unread - models of which it is not known now what is watched
 */
export async function tidy(
  store: Store,
  clock: Clock,
  models: ModelConfig[],
  { subjects, unread }: { subjects: ReadonlyMap<string, Subject>; unread: ReadonlySet<string> },
): Promise<void> {
  for (const alert of await listAlerts(store.db)) {
    if (unread.has(alert.model)) continue
    const model = models.find((m) => m.name === alert.model) ?? null
    const why = whyOver(alert, model, subjects.get(alert.model) ?? null)
    if (why !== null) await store.transaction((tx) => resolveAlert(tx, clock, { ...alert, why }))
  }
  const off = (await monitorStates(store.db)).filter(({ model, monitor }) => {
    const config = models.find((m) => m.name === model)
    return !config?.monitors.monitors.some((m) => m.name === monitor)
  })
  for (const { model, monitor } of off)
    await store.transaction((tx) => forgetSubjects(tx, { model, monitor, keep: [] }))
}
