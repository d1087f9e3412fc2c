import type { Kysely, Selectable, Transaction } from 'kysely'
import { stateMachine } from '../../kernel/state-machine.ts'
import type { Database, EvaluationTable, GateTable } from '../../kernel/store/schema.ts'
import type { EvaluateJobOutput } from './evaluate-job.ts'
import type { GateCheck } from './gate.ts'

type Db = Kysely<Database> | Transaction<Database>

export type EvaluationStatus =
  | 'queued'
  | 'running' // its job is under way; after a restart it is queued again
  | 'done'
  | 'error' // its job could not measure: the gate says `error`

export const evaluationMachine = stateMachine<EvaluationStatus, 'start' | 'requeue' | 'finish' | 'giveUp'>(
  'evaluation',
  {
    queued: { start: 'running', giveUp: 'error' },
    running: { requeue: 'queued', finish: 'done', giveUp: 'error' },
    done: {},
    error: {},
  },
)

export interface Evaluation {
  id: string
  versionId: string
  championId: string | null
  status: EvaluationStatus
  why: string | null
  attempts: number
  figures: EvaluateJobOutput | null
  lossesDigest: string | null
  holdoutDigest: string | null
  createdAtMs: number
  endedAtMs: number | null
}

export interface GateRecord {
  id: string
  versionId: string
  evaluationId: string | null
  verdict: 'passed' | 'failed' | 'inconclusive' | 'error'
  why: string
  checks: GateCheck[]
  provenBetter: boolean
  decidedAtMs: number
}

export async function openEvaluations(db: Db): Promise<Evaluation[]> {
  const rows = await db
    .selectFrom('evaluation')
    .selectAll()
    .where('status', 'in', ['queued', 'running'])
    .orderBy('seq')
    .execute()
  return rows.map(toEvaluation)
}

/** The newest evaluation of a version. */
export async function evaluationOf(db: Db, versionId: string): Promise<Evaluation | null> {
  const row = await db
    .selectFrom('evaluation')
    .selectAll()
    .where('version_id', '=', versionId)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row === undefined ? null : toEvaluation(row)
}

/** The newest verdict on a version. */
export async function gateOf(db: Db, versionId: string): Promise<GateRecord | null> {
  const row = await db
    .selectFrom('gate')
    .selectAll()
    .where('version_id', '=', versionId)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row === undefined ? null : toGate(row)
}

function toEvaluation(row: Selectable<EvaluationTable>): Evaluation {
  return {
    id: row.id,
    versionId: row.version_id,
    championId: row.champion_id,
    status: evaluationMachine.parse(row.status),
    why: row.why,
    attempts: row.attempts,
    figures: row.figures as EvaluateJobOutput | null,
    lossesDigest: row.losses_digest,
    holdoutDigest: row.holdout_digest,
    createdAtMs: row.created_at_ms,
    endedAtMs: row.ended_at_ms,
  }
}

function toGate(row: Selectable<GateTable>): GateRecord {
  return {
    id: row.id,
    versionId: row.version_id,
    evaluationId: row.evaluation_id,
    verdict: row.verdict as GateRecord['verdict'],
    why: row.why,
    checks: row.checks as GateCheck[],
    provenBetter: row.proven_better,
    decidedAtMs: row.decided_at_ms,
  }
}
