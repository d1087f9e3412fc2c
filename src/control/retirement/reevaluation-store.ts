import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Database, ReevaluationTable } from '../../kernel/store/schema.ts'
import type { Reevaluation } from './reevaluation.ts'

type Db = Kysely<Database> | Transaction<Database>

/** The last windows of a model: enough for two in a row of every version. */
const ROWS_MAX = 500

/** Oldest window first. */
export async function reevaluationsOf(db: Db, model: string): Promise<Reevaluation[]> {
  const rows = await db
    .selectFrom('reevaluation')
    .selectAll()
    .where('model', '=', model)
    .orderBy('window_ms', 'desc')
    .orderBy('seq')
    .limit(ROWS_MAX)
    .execute()
  return rows.map(toReevaluation).toSorted((a, b) => a.windowMs - b.windowMs)
}

/** Each version of a window once: a job that was repeated after a crash changes nothing. */
export async function insertReevaluations(tx: Transaction<Database>, rows: Reevaluation[]): Promise<void> {
  if (rows.length === 0) return
  await tx
    .insertInto('reevaluation')
    .values(
      rows.map((r) => ({
        model: r.model,
        version_id: r.versionId,
        window_ms: r.windowMs,
        rows: r.rows,
        mean_loss: r.meanLoss,
        floor: r.floor,
        verdict: r.verdict,
        why: r.why,
        data_passed: r.dataPassed,
        at_ms: r.atMs,
      })),
    )
    .onConflict((conflict) => conflict.columns(['version_id', 'window_ms']).doNothing())
    .execute()
}

function toReevaluation(row: Selectable<ReevaluationTable>): Reevaluation {
  return {
    model: row.model,
    versionId: row.version_id,
    windowMs: row.window_ms,
    rows: row.rows,
    meanLoss: row.mean_loss,
    floor: row.floor,
    verdict: row.verdict as Reevaluation['verdict'],
    why: row.why,
    dataPassed: row.data_passed,
    atMs: row.at_ms,
  }
}
