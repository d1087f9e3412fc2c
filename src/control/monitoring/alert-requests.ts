import type { Transaction } from 'kysely'
import type { MonitorResponse, Severity } from '../../config/project.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { appendEvent, compareAndSet, timesOf } from '../../kernel/store/state-machine.ts'
import type { Alert, AlertFigures } from './alert.ts'
import { findAlert, lastAlarmSeq, openAlert } from './alert-store.ts'
import { AlertResolvedError } from './errors.ts'

/** What other stages may write about alerts. All of it belongs to the caller's transaction, and is safe to repeat. */

export interface AlertRequest {
  model: string
  endpoint: string
  versionId: string | null
  /** The monitor's kind, or `serviceLevelSource(name)`. */
  source: string
  /** A column, a version; empty where the source has one value. */
  subject: string
  severity: Severity
  /** One sentence with the numbers. */
  why: string
  figures: AlertFigures
  response: MonitorResponse
  /** A line for whoever reads it. */
  runbook: string | null
}

/**
 * Raises the alarm: opens an alert that fires, or makes the pending one fire. One that fires already keeps its id and
 * gets the new severity, why and figures.
 * @returns the alert's id
 */
export async function raiseAlert(tx: Transaction<Database>, clock: Clock, request: AlertRequest): Promise<string> {
  const open = await openAlert(tx, request)
  if (open?.status === 'firing') return update(tx, open, request)
  const fired = {
    alarm_seq: (await lastAlarmSeq(tx)) + 1,
    fired_at_ms: clock.epochMs(),
    fired_calendar_ms: Math.round(clock.calendarMs()),
  }
  if (open === null) return insert(tx, clock, request, { status: 'firing', ...fired })
  await update(tx, open, request)
  await move(tx, clock, open, 'firing', request.why, fired)
  return open.id
}

/** Notes what may become an alarm; nobody is told. An alert that is open already gets the new why and figures. */
export async function notePendingAlert(
  tx: Transaction<Database>,
  clock: Clock,
  request: AlertRequest,
): Promise<string> {
  const open = await openAlert(tx, request)
  return open === null ? insert(tx, clock, request, { status: 'pending' }) : update(tx, open, request)
}

/** @returns the alert's id; null where none was open */
export async function resolveAlert(
  tx: Transaction<Database>,
  clock: Clock,
  { why, ...of }: { model: string; source: string; subject: string; why: string },
): Promise<string | null> {
  const open = await openAlert(tx, of)
  if (open === null) return null
  await move(tx, clock, open, 'resolved', why, { resolved_at_ms: clock.epochMs() })
  return open.id
}

/** Records what was done about an alarm, once: what is recorded first stays. */
export async function recordResponse(tx: Transaction<Database>, alertId: string, taken: string): Promise<void> {
  await tx
    .updateTable('alert')
    .set({ response_taken: taken })
    .where('id', '=', alertId)
    .where('response_taken', 'is', null)
    .execute()
}

/** @throws AlertNotFoundError @throws AlertResolvedError */
export async function acknowledgeAlert(
  tx: Transaction<Database>,
  clock: Clock,
  { alertId, by, why }: { alertId: string; by: string; why: string },
): Promise<void> {
  const alert = await findAlert(tx, alertId)
  if (alert.status === 'resolved') throw new AlertResolvedError(alertId, 'acknowledge')
  await tx.updateTable('alert').set({ acknowledged_by: by, acknowledged_why: why }).where('id', '=', alertId).execute()
  await noteEvent(tx, clock, alert, 'acknowledged', { by, why })
}

/** Nothing is sent about it for so long (real time). @throws AlertNotFoundError @throws AlertResolvedError */
export async function silenceAlert(
  tx: Transaction<Database>,
  clock: Clock,
  { alertId, forMs, by, why }: { alertId: string; forMs: number; by: string; why: string },
): Promise<void> {
  const alert = await findAlert(tx, alertId)
  if (alert.status === 'resolved') throw new AlertResolvedError(alertId, 'silence')
  const untilMs = clock.epochMs() + forMs
  await tx.updateTable('alert').set({ silenced_until_ms: untilMs }).where('id', '=', alertId).execute()
  await noteEvent(tx, clock, alert, 'silenced', { by, why, untilMs })
}

async function insert(
  tx: Transaction<Database>,
  clock: Clock,
  request: AlertRequest,
  state:
    | { status: 'pending' }
    | { status: 'firing'; alarm_seq: number; fired_at_ms: number; fired_calendar_ms: number },
): Promise<string> {
  const nowMs = clock.epochMs()
  const calendarMs = Math.round(clock.calendarMs())
  const { id } = await tx
    .insertInto('alert')
    .values({
      model: request.model,
      endpoint: request.endpoint,
      version_id: request.versionId,
      source: request.source,
      subject: request.subject,
      severity: request.severity,
      why: request.why,
      figures: JSON.stringify(request.figures),
      response: request.response,
      runbook: request.runbook,
      opened_at_ms: nowMs,
      opened_calendar_ms: calendarMs,
      ...state,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await appendEvent(tx, {
    entity: 'alert',
    entityId: id,
    from: null,
    to: state.status,
    cause: request.why,
    atMs: nowMs,
    calendarMs,
    detail: detailOf(request),
  })
  return id
}

async function update(tx: Transaction<Database>, { id }: Alert, request: AlertRequest): Promise<string> {
  await tx
    .updateTable('alert')
    .set({
      severity: request.severity,
      why: request.why,
      figures: JSON.stringify(request.figures),
      response: request.response,
      runbook: request.runbook,
      version_id: request.versionId,
    })
    .where('id', '=', id)
    .execute()
  return id
}

async function move(
  tx: Transaction<Database>,
  clock: Clock,
  alert: Alert,
  to: 'firing' | 'resolved',
  cause: string,
  set: Record<string, number>,
): Promise<void> {
  await compareAndSet(tx, {
    table: 'alert',
    key: [alert.id],
    from: alert.status,
    to,
    cause,
    ...timesOf(clock),
    set,
    detail: detailOf(alert),
  })
}

async function noteEvent(
  tx: Transaction<Database>,
  clock: Clock,
  alert: Alert,
  to: 'acknowledged' | 'silenced',
  { why, ...detail }: { by: string; why: string; untilMs?: number },
): Promise<void> {
  await appendEvent(tx, {
    entity: 'alert',
    entityId: alert.id,
    from: alert.status,
    to,
    cause: why,
    ...timesOf(clock),
    detail: { ...detailOf(alert), ...detail },
  })
}

function detailOf({ model, source, subject, severity }: AlertRequest | Alert): Record<string, string> {
  return { model, source, subject, severity }
}
