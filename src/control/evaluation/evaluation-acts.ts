import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { appendEvent, compareAndSet, timesOf } from '../../kernel/store/state-machine.ts'
import type { ControlContext } from '../control-context.ts'
import { setSignature } from '../registry/version-requests.ts'
import { versionMachine, type Version, type VersionEvent } from '../registry/version.ts'
import { beginUse } from '../retirement/retirement-requests.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import type { EvaluateJobInput, EvaluateJobOutput } from './evaluate-job.ts'
import { evaluationMachine, type Evaluation } from './evaluation-store.ts'
import type { GateResult } from './gate.ts'

type Tx = Transaction<Database>

/** Its turn has come: the version is being evaluated from now on, and the evaluation waits for its job. */
export async function queueEvaluation({ store, clock }: ControlContext, version: Version): Promise<void> {
  await store.transaction(async (tx) => {
    if (!(await moveVersion(tx, clock, version, 'evaluate', 'its turn'))) return
    const { id } = await tx
      .insertInto('evaluation')
      .values({ version_id: version.id, status: 'queued', attempts: 0, created_at_ms: clock.epochMs() })
      .returning('id')
      .executeTakeFirstOrThrow()
    await appendEvent(tx, {
      entity: 'evaluation',
      entityId: id,
      from: null,
      to: 'queued',
      cause: `of ${version.id}`,
      ...timesOf(clock),
      detail: { version: version.id },
    })
  })
}

/** @returns false where somebody else has started it */
export function startEvaluation(
  { store, clock }: ControlContext,
  { id, versionId }: Evaluation,
  { attempt, compared }: { attempt: number; compared: Version | null },
): Promise<boolean> {
  return store.transaction(async (tx) => {
    for (const used of [versionId, ...(compared === null ? [] : [compared.id])])
      await beginUse(tx, clock, { versionId: used, what: id, by: 'millrace' })
    return compareAndSet(tx, {
      table: 'evaluation',
      key: [id],
      from: 'queued',
      to: evaluationMachine.transition('queued', 'start'),
      cause: `attempt ${attempt}`,
      ...timesOf(clock),
      set: { attempts: attempt, champion_id: compared?.id ?? null },
      detail: { version: versionId },
    })
  })
}

export interface Measured {
  figures: EvaluateJobOutput
  result: GateResult
  /** Where the job has written what it made. */
  files: Pick<EvaluateJobInput, 'lossesPath' | 'holdoutPath' | 'goldenPath' | 'profilePath'>
  tookMs: number
}

/** Figures, verdict and status in one transaction, after the artifacts they point at are on disk. */
export async function finishEvaluation(
  { store, artifacts, clock }: ControlContext,
  version: Version,
  evaluation: Evaluation,
  { figures, result, files, tookMs }: Measured,
): Promise<void> {
  const [losses, holdout, golden, profile] = await Promise.all(
    [files.lossesPath, files.holdoutPath, files.goldenPath, files.profilePath].map(
      async (path) => (await artifacts.putFile(path)).digest,
    ),
  )
  const endedAtMs = clock.epochMs()
  await store.transaction(async (tx) => {
    const moved = await compareAndSet(tx, {
      table: 'evaluation',
      key: [evaluation.id],
      from: 'running',
      to: evaluationMachine.transition('running', 'finish'),
      cause: `${figures.rows} rows`,
      ...timesOf(clock),
      set: {
        figures: JSON.stringify(figures),
        losses_digest: losses,
        holdout_digest: holdout,
        ended_at_ms: endedAtMs,
      },
      detail: { version: version.id, durations: figures.durations },
    })
    if (!moved) return
    await setSignature(tx, version.id, { signature: figures.signature, scoreOutput: figures.scoreOutput })
    await tx
      .updateTable('version')
      .set({ golden_digest: golden!, profile_digest: profile! })
      .where('id', '=', version.id)
      .execute()
    await recordVerdict(tx, clock, version, evaluation.id, result)
    await recordSlis(tx, clock, version, evaluation, { good: result.verdict !== 'error', tookMs })
  })
}

/** No figures: the verdict is that it could not be measured. */
export async function giveUpEvaluation(
  { store, clock }: ControlContext,
  version: Version,
  evaluation: Evaluation,
  why: string,
): Promise<void> {
  await store.transaction(async (tx) => {
    const moved = await compareAndSet(tx, {
      table: 'evaluation',
      key: [evaluation.id],
      from: 'running',
      to: evaluationMachine.transition('running', 'giveUp'),
      cause: why,
      ...timesOf(clock),
      set: { why, ended_at_ms: clock.epochMs() },
      detail: { version: version.id },
    })
    if (!moved) return
    await recordVerdict(tx, clock, version, evaluation.id, { verdict: 'error', why, checks: [], provenBetter: false })
    await recordSlis(tx, clock, version, evaluation, { good: false, tookMs: 0 })
  })
}

/** It waits for another attempt. */
export async function requeueEvaluation(
  { store, clock }: ControlContext,
  { id, versionId }: Evaluation,
  why: string,
): Promise<void> {
  await store.transaction((tx) =>
    compareAndSet(tx, {
      table: 'evaluation',
      key: [id],
      from: 'running',
      to: evaluationMachine.transition('running', 'requeue'),
      cause: why,
      ...timesOf(clock),
      detail: { version: versionId },
    }),
  )
}

/** @returns false where somebody else was first */
export function moveVersion(
  tx: Tx,
  clock: Clock,
  version: Version,
  event: VersionEvent,
  why: string,
): Promise<boolean> {
  return compareAndSet(tx, {
    table: 'version',
    key: [version.id],
    from: version.status,
    to: versionMachine.transition(version.status, event),
    cause: why,
    ...timesOf(clock),
    set: event === 'evaluate' ? {} : { why },
    detail: { model: version.model },
  })
}

const verdictEvents = { passed: 'pass', failed: 'fail', inconclusive: 'undecided', error: 'err' } as const

async function recordVerdict(
  tx: Tx,
  clock: Clock,
  version: Version,
  evaluationId: string,
  result: GateResult,
): Promise<void> {
  const { id } = await tx
    .insertInto('gate')
    .values({
      version_id: version.id,
      evaluation_id: evaluationId,
      verdict: result.verdict,
      why: result.why,
      checks: JSON.stringify(result.checks),
      proven_better: result.provenBetter,
      decided_at_ms: clock.epochMs(),
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await moveVersion(tx, clock, { ...version, status: 'evaluating' }, verdictEvents[result.verdict], result.why)
  await appendEvent(tx, {
    entity: 'gate',
    entityId: id,
    from: null,
    to: result.verdict,
    cause: result.why,
    ...timesOf(clock),
    detail: { version: version.id },
  })
}

async function recordSlis(
  tx: Tx,
  clock: Clock,
  version: Version,
  evaluation: Evaluation,
  { good, tookMs }: { good: boolean; tookMs: number },
): Promise<void> {
  const about = {
    phase: 'evaluation',
    model: version.model,
    subject: evaluation.id,
    atMs: clock.epochMs(),
    calendarMs: clock.calendarMs(),
  } as const
  await recordSli(tx, { ...about, indicator: 'evaluationValid', value: good ? 1 : 0, good })
  if (good) await recordSli(tx, { ...about, indicator: 'evaluationDurationMs', value: tookMs, good })
}
