import type { Kysely, Selectable, Transaction } from 'kysely'
import type { MonitorResponse, Severity } from '../../config/project.ts'
import type { AlertTable, Database } from '../../kernel/store/schema.ts'
import { alertMachine, type Alert, type AlertFigures } from './alert.ts'
import { AlertNotFoundError } from './errors.ts'

type Db = Kysely<Database> | Transaction<Database>

/** @throws AlertNotFoundError */
export async function findAlert(db: Db, id: string): Promise<Alert> {
  const row = await db.selectFrom('alert').selectAll().where('id', '=', id).executeTakeFirst()
  if (row === undefined) throw new AlertNotFoundError(id)
  return toAlert(row)
}

/** The alert of this subject that is not resolved. */
export async function openAlert(
  db: Db,
  { model, source, subject }: { model: string; source: string; subject: string },
): Promise<Alert | null> {
  const row = await db
    .selectFrom('alert')
    .selectAll()
    .where('model', '=', model)
    .where('source', '=', source)
    .where('subject', '=', subject)
    .where('status', '<>', 'resolved')
    .executeTakeFirst()
  return row === undefined ? null : toAlert(row)
}

/** Newest first. @param filter.all - resolved ones as well */
export async function listAlerts(
  db: Db,
  filter: { model?: string | undefined; all?: boolean; limit?: number } = {},
): Promise<Alert[]> {
  let query = db.selectFrom('alert').selectAll()
  if (filter.model !== undefined) query = query.where('model', '=', filter.model)
  if (filter.all !== true) query = query.where('status', '<>', 'resolved')
  const rows = await query
    .orderBy('seq', 'desc')
    .limit(filter.limit ?? 1_000)
    .execute()
  return rows.map(toAlert)
}

/** All that fire, oldest first, however many alerts are open besides. */
export async function firingAlerts(db: Db): Promise<Alert[]> {
  return (await db.selectFrom('alert').selectAll().where('status', '=', 'firing').orderBy('seq').execute()).map(toAlert)
}

/**
 * Alarms of a model that fired after the one with number `alarmSeq`, in the order in which they fired, resolved ones
 * too. One alert is one alarm, whatever happens to it later: a trigger that remembers the last `alarmSeq` it saw, or
 * takes the alert's id as the key of its firing, fires for it once.
 */
export async function alarmsSince(db: Db, model: string, alarmSeq: number): Promise<Alert[]> {
  const rows = await db
    .selectFrom('alert')
    .selectAll()
    .where('model', '=', model)
    .where('alarm_seq', '>', alarmSeq)
    .orderBy('alarm_seq')
    .execute()
  return rows.map(toAlert)
}

/** The number of the newest alarm of all models; 0 where there was none. */
export async function lastAlarmSeq(db: Db): Promise<number> {
  const { last } = await db
    .selectFrom('alert')
    .select(({ fn }) => fn.max('alarm_seq').as('last'))
    .executeTakeFirstOrThrow()
  return Number(last ?? 0)
}

/**
 * What webhooks may have to be told about: all that fire, and those resolved ones of which they know that they fired and
 * not yet that they are over. @param targets - of the webhooks that are declared
 */
export async function alertsToTell(db: Db, targets: string[]): Promise<Alert[]> {
  const firing = await firingAlerts(db)
  const over = await db
    .selectFrom('alert')
    .selectAll()
    .where('status', '=', 'resolved')
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('notification as fired')
        .leftJoin('notification as over', (join) =>
          join
            .onRef('over.alert_id', '=', 'fired.alert_id')
            .onRef('over.target', '=', 'fired.target')
            .on('over.about', '=', 'resolved'),
        )
        .select('fired.alert_id')
        .where('fired.about', '=', 'firing')
        .where('fired.status', '=', 'sent')
        .where('fired.target', 'in', targets)
        .where('over.seq', 'is', null),
    )
    .orderBy('seq')
    .limit(RESOLVED_TO_TELL)
    .execute()
  return [...firing, ...over.map(toAlert)]
}

/** Of one look, the oldest first: the rest follows at the next. */
const RESOLVED_TO_TELL = 200

/** Resolved alerts that are kept, the newest; with them goes what was sent about them. */
export const ALERTS_KEPT = 10_000

export async function forgetOldAlerts(tx: Transaction<Database>): Promise<void> {
  const oldest = await tx
    .selectFrom('alert')
    .select('seq')
    .where('status', '=', 'resolved')
    .orderBy('seq', 'desc')
    .offset(ALERTS_KEPT)
    .limit(1)
    .executeTakeFirst()
  if (oldest === undefined) return
  const gone = tx.selectFrom('alert').select('id').where('status', '=', 'resolved').where('seq', '<=', oldest.seq)
  await tx.deleteFrom('notification').where('alert_id', 'in', gone).execute()
  await tx.deleteFrom('alert').where('status', '=', 'resolved').where('seq', '<=', oldest.seq).execute()
}

export function toAlert(row: Selectable<AlertTable>): Alert {
  return {
    seq: row.seq,
    id: row.id,
    model: row.model,
    endpoint: row.endpoint,
    versionId: row.version_id,
    source: row.source,
    subject: row.subject,
    severity: row.severity as Severity,
    status: alertMachine.parse(row.status),
    why: row.why,
    figures: row.figures as AlertFigures,
    response: row.response as MonitorResponse,
    responseTaken: row.response_taken,
    runbook: row.runbook,
    openedAtMs: row.opened_at_ms,
    openedCalendarMs: row.opened_calendar_ms,
    alarmSeq: row.alarm_seq,
    firedAtMs: row.fired_at_ms,
    firedCalendarMs: row.fired_calendar_ms,
    resolvedAtMs: row.resolved_at_ms,
    acknowledged: row.acknowledged_by === null ? null : { by: row.acknowledged_by, why: row.acknowledged_why ?? '' },
    silencedUntilMs: row.silenced_until_ms,
  }
}
