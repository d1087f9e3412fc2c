import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import type { Database, NotificationTable } from '../../kernel/store/schema.ts'
import type { Notification, NotificationStatus, Told } from './notification.ts'

type Db = Kysely<Database> | Transaction<Database>

export async function notificationsOf(db: Db, alertIds: string[]): Promise<Notification[]> {
  if (alertIds.length === 0) return []
  const rows = await db
    .selectFrom('notification')
    .selectAll()
    .where('alert_id', 'in', alertIds)
    .orderBy('seq')
    .execute()
  return rows.map(toNotification)
}

/**
 * What is due, of each receiver the oldest: one that hangs keeps none of the others', nor does what is silenced or waits
 * for its next attempt keep what came later.
 * @param due.untilMs - one that is to wait for longer than this was noted before the clock was set back, and is due
 */
export async function dueNotifications(
  db: Db,
  due: { nowMs: number; untilMs: number; perTarget: number },
): Promise<Notification[]> {
  const { rows } = await sql<Selectable<NotificationTable>>`
    select * from (
      select notification.*, row_number() over (partition by target order by notification.seq) as place
      from notification join alert on alert.id = notification.alert_id
      where notification.status = 'waiting' and (next_at_ms <= ${due.nowMs} or next_at_ms > ${due.untilMs})
        and coalesce(alert.silenced_until_ms, 0) <= ${due.nowMs}) waiting
    where place <= ${due.perTarget} order by seq`.execute(db)
  return rows.map(toNotification)
}

/** Notes that it has to be told; noted already, nothing changes. */
export async function noteNotification(tx: Transaction<Database>, of: Told, nowMs: number): Promise<void> {
  await tx
    .insertInto('notification')
    .values({
      alert_id: of.alertId,
      about: of.about,
      target: of.target,
      status: 'waiting',
      attempts: 0,
      next_at_ms: nowMs,
      created_at_ms: nowMs,
    })
    .onConflict((conflict) => conflict.columns(['alert_id', 'about', 'target']).doNothing())
    .execute()
}

/**
 * Counts an attempt before it is made, so that one that kills the process is not made for ever.
 * @returns false where it is not waiting any more
 */
export async function beginAttempt(db: Db, { seq, attempts }: Notification, nextAtMs: number): Promise<boolean> {
  const updated = await db
    .updateTable('notification')
    .set({ attempts: attempts + 1, next_at_ms: nextAtMs })
    .where('seq', '=', seq)
    .where('status', '=', 'waiting')
    .where('attempts', '=', attempts)
    .executeTakeFirst()
  return updated.numUpdatedRows > 0n
}

export async function endAttempt(
  db: Db,
  seq: number,
  end: { status: NotificationStatus; why: string | null; nextAtMs: number; sentAtMs: number | null },
): Promise<void> {
  await db
    .updateTable('notification')
    .set({ status: end.status, why: end.why, next_at_ms: end.nextAtMs, sent_at_ms: end.sentAtMs })
    .where('seq', '=', seq)
    .where('status', '=', 'waiting')
    .execute()
}

function toNotification(row: Selectable<NotificationTable>): Notification {
  return {
    seq: row.seq,
    alertId: row.alert_id,
    about: row.about as Notification['about'],
    target: row.target,
    status: row.status as NotificationStatus,
    attempts: row.attempts,
    nextAtMs: row.next_at_ms,
    why: row.why,
    createdAtMs: row.created_at_ms,
    sentAtMs: row.sent_at_ms,
  }
}
