import { join } from 'node:path'
import { gateOf } from '../../../control/evaluation/evaluation-store.ts'
import type { Attempt, Run, Step } from '../../../control/pipeline/run.ts'
import { attemptsOf, countSteps, openAttempts, stepsOf } from '../../../control/pipeline/run-store.ts'
import { findVersion } from '../../../control/registry/version-store.ts'
import { isOpen } from '../../../control/release/decide-release-step.ts'
import type { RunSummary, RunView, StepView } from '../run-schemas.ts'
import { openAttemptLog } from './attempt-log.ts'
import { isRouted } from './release-view.ts'
import type { Services } from './services.ts'
import { newestRelease } from './version-view.ts'

export async function runView(services: Services, run: Run): Promise<RunView> {
  const { db } = services.context.store
  const [steps, attempts] = [await stepsOf(db, run.id), await attemptsOf(db, run.id)]
  return {
    ...(await runSummary(services, run)),
    params: run.params,
    seed: run.seed,
    codeDigest: run.codeDigest,
    steps: await Promise.all(
      steps.map((step) =>
        stepView(
          services,
          run,
          step,
          attempts.filter((a) => a.step === step.name),
        ),
      ),
    ),
  }
}

/** Costs as much for a run of a thousand steps as for one of two: who follows a run asks again and again. */
export async function runSummary(services: Services, run: Run): Promise<RunSummary> {
  return {
    id: run.id,
    model: run.model,
    status: run.status,
    why: run.why ?? services.runs.heldBack(run.id),
    cause: `${run.triggerKind}: ${run.triggerWhy}`,
    revision: run.revisionId,
    cancelWhy: run.cancelWhy,
    asOfMs: run.asOfMs,
    createdAtMs: run.createdAtMs,
    startedAtMs: run.startedAtMs,
    endedAtMs: run.endedAtMs,
    progress: await shareDone(services, run),
    outcome: await outcomeOf(services, run),
  }
}

/** What became of the run's model, as far as it is decided. */
async function outcomeOf(services: Services, run: Run): Promise<RunSummary['outcome']> {
  const none = { version: null, status: null, why: null, release: null, releaseStatus: null }
  if (run.status === 'queued' || run.status === 'running') return { ...none, settled: false }
  const { db } = services.context.store
  const row = await db.selectFrom('version').select('id').where('run_id', '=', run.id).executeTakeFirst()
  const version = row === undefined ? null : await findVersion(db, row.id)
  if (version === null) return { ...none, why: run.why, settled: true }
  const release = await newestRelease(services, version.id)
  const gate = await gateOf(db, version.id)
  const releasing =
    release !== null && (isOpen(release) || (release.status === 'released' && !(await isRouted(services, release))))
  return {
    version: version.id,
    status: version.status,
    why: (release === null ? version.dispositionWhy : release.why) ?? gate?.why ?? version.why,
    release: release?.id ?? null,
    releaseStatus: release?.status ?? null,
    settled: version.status === 'error' || (version.disposition !== null && !releasing),
  }
}

async function stepView(services: Services, run: Run, step: Step, attempts: Attempt[]): Promise<StepView> {
  const last = attempts.at(-1)
  const progress = last === undefined ? null : await progressOf(last)
  return {
    name: step.name,
    status: step.status,
    why: step.why ?? (step.status === 'waiting' ? services.runs.heldBack(run.id) : environmentOf(step, last)),
    needs: step.spec.needs,
    progress,
    startedAtMs: step.startedAtMs,
    endedAtMs: step.endedAtMs,
    retryAtMs: step.retryAtMs,
    attempts: attempts.map((a) => ({
      attempt: a.number,
      status: a.status,
      why: a.why,
      exitCode: a.exitCode,
      startedAtMs: a.startedAtMs,
      endedAtMs: a.endedAtMs,
    })),
  }
}

/** The first step with a lock file may wait for minutes, in which it says nothing itself. */
function environmentOf({ spec }: Step, attempt: Attempt | undefined): string | null {
  if (attempt?.status !== 'starting' || spec.environment.kind === 'inherit') return null
  return `its ${spec.environment.kind} environment is being made of ${spec.environment.lock}, unless it is there already`
}

/** Of all steps, each with the same weight; one that is under way by what it says itself. */
async function shareDone({ context }: Services, run: Run): Promise<number> {
  const { db } = context.store
  const { all, ended } = await countSteps(db, run.id)
  if (all === 0 || ended === all) return all === 0 ? 0 : 1
  const open = await openAttempts(db, run.id)
  const fractions = await Promise.all(open.map(async (attempt) => (await progressOf(attempt))?.fraction ?? 0))
  return (ended + fractions.reduce((a, b) => a + b, 0)) / all
}

const TAIL_BYTES = 64 * 1024
const progressLine = /^millrace:progress\s+([0-9.]+)(?:\s+"?(.*?)"?)?\s*$/gm

/** The last `millrace:progress 0.42 "epoch 3"` line that an attempt wrote. */
async function progressOf(attempt: Attempt): Promise<StepView['progress']> {
  const last = [...(await tailOf(join(attempt.dir, 'log'))).matchAll(progressLine)].at(-1)
  if (last === undefined) return null
  return { fraction: Math.min(1, Math.max(0, Number(last[1]) || 0)), text: last[2] ?? '' }
}

async function tailOf(path: string): Promise<string> {
  const file = await openAttemptLog(path)
  if (file === null) return ''
  try {
    const { size } = await file.stat()
    const start = Math.max(0, size - TAIL_BYTES)
    const buffer = Buffer.alloc(size - start)
    await file.read(buffer, 0, buffer.length, start)
    return buffer.toString('utf8')
  } finally {
    await file.close()
  }
}
