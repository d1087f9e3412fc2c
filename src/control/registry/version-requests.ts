import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { ScoreOutput, Signature } from '../../kernel/model/signature.ts'
import type { Attempt, Run, Step, StepPlace } from '../pipeline/run.ts'
import type { InputRecord } from '../pipeline/step-inputs.ts'
import { beginUse } from '../retirement/retirement-requests.ts'
import type { Approval, Disposition, Lineage } from './version.ts'

/** What other stages may write into the registry. All of it belongs to the caller's transaction. */

/** How a version came into the store, and what serves it: as the lineage has it, or nothing of it. */
export interface Registered {
  registration?: Lineage['registration']
  server?: Lineage['server'] | null
  prepare?: Lineage['prepare'] | null
  tables?: Lineage['tables']
}

export async function createVersionOfRun(
  tx: Transaction<Database>,
  clock: Clock,
  made: Registered & { run: Run; trained: Step; attempts: Attempt[]; sizeBytes: number; reportedMetrics: unknown },
): Promise<string> {
  const { run, trained } = made
  return insertVersion(tx, clock, {
    model: run.model,
    runId: run.id,
    revisionId: run.revisionId,
    modelDigest: trained.modelDigest!,
    sizeBytes: made.sizeBytes,
    lineage: { ...lineageOf(run, made.attempts), ...registered(made) },
    reportedMetrics: made.reportedMetrics,
    trainedAtMs: trained.endedAtMs ?? clock.epochMs(),
    cause: `trained by ${run.id}`,
  })
}

export interface ImportedModel extends Registered {
  model: string
  revisionId: number
  modelDigest: string
  sizeBytes: number
  importedFrom: string
  cause: string
}

export async function createImportedVersion(
  tx: Transaction<Database>,
  clock: Clock,
  model: ImportedModel,
): Promise<string> {
  const lineage: Lineage = {
    importedFrom: model.importedFrom,
    codeDigest: null,
    params: {},
    seed: null,
    asOfMs: null,
    inputs: [],
    environments: [],
    holdoutDigest: null,
    ...registered(model),
  }
  return insertVersion(tx, clock, {
    ...model,
    runId: null,
    lineage,
    reportedMetrics: null,
    trainedAtMs: clock.epochMs(),
  })
}

async function insertVersion(
  tx: Transaction<Database>,
  clock: Clock,
  facts: {
    model: string
    runId: string | null
    revisionId: number
    modelDigest: string
    sizeBytes: number
    lineage: Lineage
    reportedMetrics: unknown
    trainedAtMs: number
    cause: string
  },
): Promise<string> {
  const { last } = await tx
    .selectFrom('version')
    .select((eb) => eb.fn.max('number').as('last'))
    .where('model', '=', facts.model)
    .executeTakeFirstOrThrow()
  const number = Number(last ?? 0) + 1
  const id = `${facts.model}@${number}`
  await tx
    .insertInto('version')
    .values({
      id,
      model: facts.model,
      number,
      status: 'candidate',
      run_id: facts.runId,
      revision_id: facts.revisionId,
      model_digest: facts.modelDigest,
      size_bytes: facts.sizeBytes,
      lineage: JSON.stringify(facts.lineage),
      reported_metrics: facts.reportedMetrics === null ? null : JSON.stringify(facts.reportedMetrics),
      trained_at_ms: facts.trainedAtMs,
      created_at_ms: clock.epochMs(),
      created_calendar_ms: Math.round(clock.calendarMs()),
    })
    .execute()
  await appendEvent(tx, {
    entity: 'version',
    entityId: id,
    from: null,
    to: 'candidate',
    cause: facts.cause,
    ...timesOf(clock),
  })
  return id
}

export async function setSignature(
  tx: Transaction<Database>,
  versionId: string,
  found: { signature: Signature; scoreOutput: ScoreOutput | null },
): Promise<void> {
  await tx
    .updateTable('version')
    .set({ signature: JSON.stringify(found.signature), score_output: JSON.stringify(found.scoreOutput) })
    .where('id', '=', versionId)
    .execute()
}

/**
 * A person's word on a version. It reopens the question of its release, so one that was out of service is revived by an
 * approval. @throws VersionDeletedError where its files are gone and it is approved
 */
export async function setApproval(
  tx: Transaction<Database>,
  clock: Clock,
  versionId: string,
  approval: Approval,
): Promise<void> {
  if (approval.decision === 'approved') await beginUse(tx, clock, { versionId, what: 'an approval', by: approval.by })
  await tx
    .updateTable('version')
    .set({ approval: JSON.stringify(approval), disposition: null, disposition_why: null })
    .where('id', '=', versionId)
    .execute()
  await appendEvent(tx, {
    entity: 'approval',
    entityId: versionId,
    from: null,
    to: approval.decision,
    cause: `${approval.by}: ${approval.why}`,
    ...timesOf(clock),
  })
}

export async function setDisposition(
  tx: Transaction<Database>,
  clock: Clock,
  versionId: string,
  disposition: Disposition,
  why: string,
): Promise<void> {
  await tx.updateTable('version').set({ disposition, disposition_why: why }).where('id', '=', versionId).execute()
  await appendEvent(tx, {
    entity: 'disposition',
    entityId: versionId,
    from: null,
    to: disposition,
    cause: why,
    ...timesOf(clock),
  })
}

/** Points an alias at a version (null removes it) and appends to its history. @throws VersionDeletedError */
export async function setAlias(
  tx: Transaction<Database>,
  clock: Clock,
  change: { model: string; alias: string; versionId: string | null; cause: string },
): Promise<void> {
  const { model, alias, versionId } = change
  if (versionId !== null) await beginUse(tx, clock, { versionId, what: `the alias ${alias}`, by: change.cause })
  if (versionId === null) await tx.deleteFrom('alias').where('model', '=', model).where('alias', '=', alias).execute()
  else
    await tx
      .insertInto('alias')
      .values({ model, alias, version_id: versionId })
      .onConflict((conflict) => conflict.columns(['model', 'alias']).doUpdateSet({ version_id: versionId }))
      .execute()
  const times = timesOf(clock)
  await tx
    .insertInto('alias_history')
    .values({
      model,
      alias,
      version_id: versionId,
      cause: change.cause,
      at_ms: times.atMs,
      calendar_ms: times.calendarMs,
    })
    .execute()
  await appendEvent(tx, {
    entity: 'alias',
    entityId: `${model}@${alias}`,
    from: null,
    to: versionId ?? 'removed',
    cause: change.cause,
    ...times,
  })
}

/** Nothing is said of a file that Millrace serves as it was written. */
function registered(made: Registered): Pick<Lineage, 'registration' | 'server' | 'prepare' | 'tables'> {
  const { registration, server, prepare, tables = [] } = made
  const isPlain = registration === undefined || (registration.original === null && registration.notes.length === 0)
  return {
    ...(isPlain ? {} : { registration }),
    ...(server ? { server } : {}),
    ...(prepare ? { prepare } : {}),
    ...(tables.length === 0 ? {} : { tables }),
  }
}

function lineageOf(run: Run, attempts: Attempt[]): Lineage {
  const good = attempts.filter((a) => a.status === 'succeeded')
  return {
    importedFrom: null,
    codeDigest: run.codeDigest,
    params: run.params,
    seed: run.seed,
    asOfMs: run.asOfMs,
    ...(run.triggerKind === 'backfill' ? { backfilled: true } : {}),
    inputs: good.flatMap((a) =>
      ((a.inputs ?? []) as InputRecord[]).map((i) => ({ step: a.step, name: i.name, digest: i.digest })),
    ),
    environments: good.map((a) => {
      const place = a.environment as StepPlace['record'] | null
      const environment = [place?.kind ?? 'inherit', place?.digest].filter(Boolean).join(' ')
      return { step: a.step, environment, reproducible: place?.reproducible ?? false }
    }),
    holdoutDigest: null,
  }
}
