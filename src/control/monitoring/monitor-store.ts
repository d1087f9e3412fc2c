import type { Kysely, Transaction } from 'kysely'
import type { MonitorKind } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { Finding, Verdict } from './finding.ts'

type Db = Kysely<Database> | Transaction<Database>

/** What a monitor said last of one subject; of the monitor as a whole where `subject` is empty. */
export interface MonitorState {
  model: string
  monitor: MonitorKind
  subject: string
  /** Calendar: no window that ends before is judged again. */
  judgedUntilMs: number
  bad: number
  good: number
  last: LastFinding | null
}

export interface LastFinding {
  versionId: string
  verdict: Verdict
  why: string
  value: number | null
  limit: number | null
  n: number
  /** The window that was judged; of a monitor that looks at now, the one in which it was looked last. */
  fromMs: number
  toMs: number
  /** Calendar: since when the verdict is this one. */
  sinceMs: number
}

export async function monitorStates(db: Db, model?: string): Promise<MonitorState[]> {
  let query = db.selectFrom('monitor_state').selectAll()
  if (model !== undefined) query = query.where('model', '=', model)
  const rows = await query.orderBy('model').orderBy('monitor').orderBy('subject').execute()
  return rows.map((row) => ({
    model: row.model,
    monitor: row.monitor as MonitorKind,
    subject: row.subject,
    judgedUntilMs: row.evaluated_until_ms,
    bad: row.bad_windows,
    good: row.good_windows,
    last: row.last as LastFinding | null,
  }))
}

export async function saveMonitorState(tx: Transaction<Database>, state: MonitorState): Promise<void> {
  const values = {
    evaluated_until_ms: state.judgedUntilMs,
    bad_windows: state.bad,
    good_windows: state.good,
    last: state.last === null ? null : JSON.stringify(state.last),
  }
  await tx
    .insertInto('monitor_state')
    .values({ model: state.model, monitor: state.monitor, subject: state.subject, ...values })
    .onConflict((conflict) => conflict.columns(['model', 'monitor', 'subject']).doUpdateSet(values))
    .execute()
}

/** Forgets columns that are not watched any more; an empty list of subjects keeps none. */
export async function forgetSubjects(
  tx: Transaction<Database>,
  { model, monitor, keep }: { model: string; monitor: string; keep: string[] },
): Promise<void> {
  let query = tx.deleteFrom('monitor_state').where('model', '=', model).where('monitor', '=', monitor)
  if (keep.length > 0) query = query.where('subject', 'not in', keep)
  await query.execute()
}

export function lastOf(
  finding: Finding,
  of: { versionId: string; fromMs: number; toMs: number; before: LastFinding | null },
): LastFinding {
  const { verdict, why, value, limit, n } = finding
  const same = of.before?.verdict === verdict && of.before.versionId === of.versionId
  const { versionId, fromMs, toMs } = of
  return { versionId, verdict, why, value, limit, n, fromMs, toMs, sinceMs: same ? of.before!.sinceMs : toMs }
}
