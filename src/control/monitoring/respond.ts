import type { ModelConfig } from '../../config/project.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Store } from '../../kernel/store/store.ts'
import { endFreeze, requestFreeze } from '../release/freeze-requests.ts'
import { activeFreezes } from '../release/freeze-store.ts'
import { championBefore, requestRollback } from '../release/rollback-requests.ts'
import { recordResponse } from './alert-requests.ts'
import { firingAlerts } from './alert-store.ts'
import { isMonitorSource, type Alert } from './alert.ts'
import { decideResponse } from './decide-response.ts'
import type { Subject } from './subject.ts'

/**
 * Does what monitors declare about their alarms, each once: the wish and the note that it was made are one transaction.
 * A freeze lasts as long as an alarm that wants it.
 * @returns whether anything was asked of the release stage
 */
export async function respond(
  store: Store,
  clock: Clock,
  models: ModelConfig[],
  subjects: ReadonlyMap<string, Subject>,
): Promise<boolean> {
  const firing = (await firingAlerts(store.db)).filter((alert) => isMonitorSource(alert.source))
  let asked = false
  for (const alert of firing) {
    const model = models.find((m) => m.name === alert.model)
    if (model === undefined) continue
    if (await act(store, clock, alert, model, subjects.get(model.name) ?? null)) asked = true
  }
  const wanted = new Set(firing.filter((alert) => alert.response === 'freeze').map((alert) => alert.model))
  for (const freeze of await activeFreezes(store.db)) {
    if (freeze.kind !== 'alert' || wanted.has(freeze.model)) continue
    const why = 'the alarms that asked for it are over'
    await store.transaction((tx) => endFreeze(tx, clock, { id: freeze.id, by: 'monitoring', why }))
    asked = true
  }
  return asked
}

async function act(
  store: Store,
  clock: Clock,
  alert: Alert,
  model: ModelConfig,
  subject: Subject | null,
): Promise<boolean> {
  const monitor = model.monitors.monitors.find((m) => m.name === alert.source)
  const decision = decideResponse(alert, {
    championId: subject?.champion.id ?? null,
    championSinceMs: subject?.sinceMs ?? null,
    previousId: alert.response === 'rollBack' ? await championBefore(store.db, model.name) : null,
    windowMs: model.monitors.windowMs,
    raiseAfter: monitor?.raiseAfter ?? 1,
  })
  if (decision.kind === 'none') return false
  const of = { model: model.name, endpoint: model.endpoint, by: `monitor ${alert.source}` }
  await store.transaction(async (tx) => {
    if (decision.kind === 'decline') return recordResponse(tx, alert.id, decision.why)
    if (decision.kind === 'freeze') {
      const unfreezes = `the end of all alarms that ask for it, or 'millrace unfreeze ${model.name}'`
      const freeze = await requestFreeze(tx, clock, { ...of, kind: 'alert', why: decision.why, unfreezes })
      return recordResponse(tx, alert.id, `${freeze}: automatic release is frozen`)
    }
    const release = await requestRollback(tx, clock, { ...of, to: decision.to, cause: `rollback: ${decision.why}` })
    return recordResponse(tx, alert.id, `${release}: rollback to ${decision.to}`)
  })
  return decision.kind !== 'decline'
}
