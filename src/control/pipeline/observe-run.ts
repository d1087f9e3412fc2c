import type { ControlContext } from '../control-context.ts'
import type { AttemptWork } from './attempt-work.ts'
import type { Observed, RunView } from './decide-next-steps.ts'
import { limitLog, type StepRuntime } from './run-attempt.ts'
import type { RunSteps } from './run-steps.ts'
import { runMachine, stepMachine, type Attempt, type Run, type Step } from './run.ts'
import { attemptsOfSteps, findRun, openAttempts } from './run-store.ts'
import type { StepTimes } from './step-times.ts'

/** Of a run, as one look reads them. */
export interface Rows {
  run: Run
  /** Those that are open, of any run. */
  attempts: Attempt[]
}

/** What a run is seen by, besides rows. */
export interface RunEyes {
  runtime: Pick<StepRuntime, 'observe' | 'claimUnstarted' | 'limitLog' | 'ageMs'>
  work: Pick<AttemptWork, 'seenOf'>
  steps: Pick<RunSteps, 'read'>
  times: Pick<StepTimes, 'ranMs' | 'pauseMs'>
}

/** Read again. @returns null where there is no such run */
export async function rowsOf({ store }: ControlContext, runId: string): Promise<Rows | null> {
  const run = await findRun(store.db, runId)
  return run === null ? null : { run, attempts: await openAttempts(store.db) }
}

/** All that the next steps of a run depend on. @returns null where it has ended */
export async function observeRun(
  context: ControlContext,
  eyes: RunEyes,
  rows: Rows | null,
  places: RunView['places'],
): Promise<RunView | null> {
  if (rows === null || runMachine.isFinal(rows.run.status)) return null
  const { run } = rows
  // After the attempts: of those that have ended meanwhile the step runs no more.
  const steps = await eyes.steps.read(context.store.db, run.id)
  const running = new Set(steps.filter(({ status }) => status === 'running').map(({ name }) => name))
  const open = rows.attempts.filter(({ runId, step }) => runId === run.id && running.has(step))
  return {
    run,
    steps,
    attempts: await Promise.all(open.map((attempt) => observeAttempt(context, eyes, attempt, steps))),
    pauses: pausesOf(eyes, steps),
    made: await madeOf(context, run.id, steps, open),
    holdBack: context.diskLow() ? 'free disk space is below the watermark' : null,
    places,
  }
}

async function observeAttempt(
  context: ControlContext,
  { runtime, work, times }: RunEyes,
  attempt: Attempt,
  steps: Step[],
): Promise<RunView['attempts'][number]> {
  const seen = work.seenOf(attempt.token) ?? (await observeProcess(context, runtime, attempt, steps))
  const { timeoutMs } = steps.find((s) => s.name === attempt.step)!.spec
  return { attempt, seen, ranMs: times.ranMs(attempt, timeoutMs, () => runtime.ageMs(attempt.dir)) }
}

async function observeProcess(
  context: ControlContext,
  runtime: RunEyes['runtime'],
  attempt: Attempt,
  steps: Step[],
): Promise<Observed> {
  const { dir, token } = attempt
  const seen = await runtime.observe(dir, token)
  if (seen.kind === 'not-started')
    return (await runtime.claimUnstarted(dir)) ? { kind: 'unstarted' } : { kind: 'running' }
  if (seen.kind === 'running') await limitLog(context, runtime, attempt, steps)
  return seen
}

function pausesOf({ times }: RunEyes, steps: Step[]): RunView['pauses'] {
  const paused = steps.flatMap((step): [string, number][] => {
    const leftMs = step.status === 'waiting' ? times.pauseMs(step) : null
    return leftMs === null ? [] : [[step.name, leftMs]]
  })
  return Object.fromEntries(paused)
}

/** Only of steps that had an attempt before their open one is there anything to read. */
async function madeOf(
  { store }: ControlContext,
  runId: string,
  steps: Step[],
  open: Attempt[],
): Promise<RunView['made']> {
  const first = open.filter(({ number }) => number === 1)
  const isFirst = new Set(first.map(({ step }) => step))
  const again = begun(steps).filter((step) => !isFirst.has(step))
  return countAttempts([...first, ...(await attemptsOfSteps(store.db, runId, again))])
}

/** Steps that may have an attempt that is open, or one that counts for a retry. */
const begun = (steps: Step[]): string[] =>
  steps.filter((s) => s.startedAtMs !== null && !stepMachine.isFinal(s.status)).map(({ name }) => name)

function countAttempts(attempts: Attempt[]): RunView['made'] {
  const made: RunView['made'] = {}
  for (const attempt of attempts) {
    const count = (made[attempt.step] ??= { total: 0, failures: 0 })
    count.total++
    if (attempt.status === 'failed' || attempt.status === 'timedOut') count.failures++
  }
  return made
}
