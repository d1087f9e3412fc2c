import type { Kysely, Selectable, Transaction } from 'kysely'
import type { StepConfig } from '../../config/project.ts'
import type { AttemptTable, Database, RunTable, StepTable } from '../../kernel/store/schema.ts'
import { attemptMachine, runMachine, stepMachine, type Attempt, type Run, type Step } from './run.ts'

type Db = Kysely<Database> | Transaction<Database>

export async function openRuns(db: Db): Promise<Run[]> {
  const rows = await db
    .selectFrom('run')
    .selectAll()
    .where('status', 'in', ['queued', 'running'])
    .orderBy('seq')
    .execute()
  return rows.map(toRun)
}

export async function listRuns(db: Db, filter: { model?: string; limit: number }): Promise<Run[]> {
  let query = db.selectFrom('run').selectAll().orderBy('seq', 'desc').limit(filter.limit)
  if (filter.model !== undefined) query = query.where('model', '=', filter.model)
  return (await query.execute()).map(toRun)
}

export async function findRun(db: Db, id: string): Promise<Run | null> {
  const row = await db.selectFrom('run').selectAll().where('id', '=', id).executeTakeFirst()
  return row === undefined ? null : toRun(row)
}

export async function stepsOf(db: Db, runId: string): Promise<Step[]> {
  const rows = await db.selectFrom('step').selectAll().where('run_id', '=', runId).orderBy('position').execute()
  return rows.map(toStep)
}

export async function stepsByName(db: Db, runId: string, names: readonly string[]): Promise<Step[]> {
  if (names.length === 0) return []
  const rows = await db.selectFrom('step').selectAll().where('run_id', '=', runId).where('name', 'in', names).execute()
  return rows.map(toStep)
}

export async function attemptsOf(db: Db, runId: string): Promise<Attempt[]> {
  const rows = await db
    .selectFrom('attempt')
    .selectAll()
    .where('run_id', '=', runId)
    .orderBy('step')
    .orderBy('number')
    .execute()
  return rows.map(toAttempt)
}

/** Every attempt of these steps. */
export async function attemptsOfSteps(db: Db, runId: string, steps: readonly string[]): Promise<Attempt[]> {
  if (steps.length === 0) return []
  const rows = await db
    .selectFrom('attempt')
    .selectAll()
    .where('run_id', '=', runId)
    .where('step', 'in', steps)
    .orderBy('step')
    .orderBy('number')
    .execute()
  return rows.map(toAttempt)
}

/** Attempts under way, one of each running step. @param runId - over all runs unless given */
export async function openAttempts(db: Db, runId?: string): Promise<Attempt[]> {
  let query = db.selectFrom('attempt').selectAll().where('status', 'in', ['starting', 'running'])
  if (runId !== undefined) query = query.where('run_id', '=', runId)
  return (await query.orderBy('run_id').orderBy('step').execute()).map(toAttempt)
}

export async function countSteps(db: Db, runId: string): Promise<{ all: number; ended: number }> {
  const counts = await db
    .selectFrom('step')
    .select(({ fn }) => [
      fn.countAll().as('all'),
      fn.countAll().filterWhere('status', 'not in', ['waiting', 'running']).as('ended'),
    ])
    .where('run_id', '=', runId)
    .executeTakeFirstOrThrow()
  return { all: Number(counts.all), ended: Number(counts.ended) }
}

function toRun(row: Selectable<RunTable>): Run {
  return {
    id: row.id,
    model: row.model,
    revisionId: row.revision_id,
    status: runMachine.parse(row.status),
    why: row.why,
    triggerKind: row.trigger_kind,
    triggerWhy: row.trigger_why,
    asOfMs: row.as_of_ms,
    params: row.params as Run['params'],
    seed: row.seed,
    codeDigest: row.code_digest,
    cancelWhy: row.cancel_why,
    createdAtMs: row.created_at_ms,
    startedAtMs: row.started_at_ms,
    endedAtMs: row.ended_at_ms,
  }
}

function toStep(row: Selectable<StepTable>): Step {
  return {
    runId: row.run_id,
    name: row.name,
    status: stepMachine.parse(row.status),
    spec: row.spec as StepConfig,
    why: row.why,
    outputDigest: row.output_digest,
    modelDigest: row.model_digest,
    retryAtMs: row.retry_at_ms,
    startedAtMs: row.started_at_ms,
    endedAtMs: row.ended_at_ms,
  }
}

function toAttempt(row: Selectable<AttemptTable>): Attempt {
  return {
    runId: row.run_id,
    step: row.step,
    number: row.number,
    token: row.token,
    status: attemptMachine.parse(row.status),
    why: row.why,
    exitCode: row.exit_code,
    dir: row.dir,
    startedAtMs: row.started_at_ms,
    endedAtMs: row.ended_at_ms,
    inputs: row.inputs,
    environment: row.environment,
  }
}
