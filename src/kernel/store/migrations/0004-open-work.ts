import { sql, type Kysely } from 'kysely'

/**
 * What loops ask for at every look, whose cost must not grow with what is over: partial indexes of what is open, and
 * indexes by which the newest rows of a model are found.
 */
const statements = [
  `create index attempt_open on attempt (run_id) where status in ('starting', 'running')`,
  `create index run_last on run (model, seq)`,
  `create index run_open_of on run (model, seq) where status in ('queued', 'running')`,
  `create index run_newest on run (seq)`,
  `create index version_last on version (model, seq)`,
  // Of those that are deleted only the rows are left.
  `alter table version add column deleted_at_ms bigint`,
  `update version set deleted_at_ms = retirement.status_at_ms from retirement
    where retirement.version_id = version.id and retirement.status = 'deleted'`,
  `create index version_there on version (model, number) where deleted_at_ms is null`,
  `create index retirement_there on retirement (model) where status <> 'deleted'`,
  `create index version_waiting on version (seq) where status in ('candidate', 'evaluating')`,
  `create index version_undecided on version (seq) where disposition is null or disposition = 'awaiting-approval'`,
  `create index evaluation_open on evaluation (seq) where status in ('queued', 'running')`,
  `create index gate_newest on gate (seq)`,
  `create index release_open on release (seq)
    where status in ('queued', 'deploying', 'preflight', 'switching', 'shadowing', 'canary', 'held')`,
  `create index release_done on release (model, seq) where status = 'released'`,
  `create index deployment_open on deployment (seq) where status in ('starting', 'ready', 'draining')`,
  `create index deployment_of on deployment (version_id)`,
  `create index replica_ended on replica (ended_at_ms) where status = 'gone'`,
  `create index alias_history_last on alias_history (model, alias, seq)`,
  `create index alias_history_version on alias_history (version_id, seq)`,
  `create index freeze_last on "freeze" (model, seq)`,
  `create index alert_alarm on alert (alarm_seq) where alarm_seq is not null`,
  `create index alert_newest on alert (seq) where status <> 'resolved'`,
  `create index notification_waiting on notification (seq) where status = 'waiting'`,
  `create index event_revived on event (at_ms) where entity = 'retirement' and to_status = 'kept'`,
]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
