import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvironmentConfig } from '../../config/project.ts'
import type { ControlContext } from '../control-context.ts'
import { checkOutCode } from './code-snapshot.ts'
import type { Attempt, Run, Step, StepPlace } from './run.ts'
import { stepCommand, stepEnvironment } from './step-environment.ts'
import { prepareInputs, type InputRecord } from './step-inputs.ts'

/** How steps are run: local processes here, other runtimes later. */
export interface StepRuntime {
  start(step: {
    dir: string
    command: string
    cwd: string
    env: Record<string, string>
    token: string
  }): Promise<{ exited: Promise<void> }>
  observe(
    dir: string,
    token: string,
  ): Promise<{ kind: 'not-started' } | { kind: 'running' } | { kind: 'exited'; code: number } | { kind: 'vanished' }>
  /** Makes sure that a step which was recorded but not seen to start never will. @returns false if it did start */
  claimUnstarted(dir: string): Promise<boolean>
  /** How long a step's process has been there, by a clock that nobody sets; null: the system does not say. */
  ageMs(dir: string): number | null
  /** Ends the whole tree of processes, also those that left its group. */
  stop(dir: string, token: string): Promise<void>
  /** Keeps the log under its limit while it is written. */
  limitLog(dir: string, limitBytes: number): Promise<void>
  /** Builds or finds the environment of a step. */
  environment(
    config: EnvironmentConfig,
    root: string,
    onLog: (text: string) => void,
    signal: AbortSignal,
  ): Promise<StepPlace>
  materialiseSql(sql: string, asOfMs: number, root: string, target: string, signal: AbortSignal): Promise<void>
}

export interface Launch {
  run: Run
  step: Step
  /** All of the run, for their outputs. */
  steps: Step[]
  attempt: Attempt
  /** The project's folder, and what of it is no code. */
  project: { root: string; snapshotIgnore: string[] }
  /** Aborted when the attempt is to end before it has begun. */
  signal: AbortSignal
  /** Called with the lineage before the process starts. */
  onPrepared: (inputs: InputRecord[], place: StepPlace) => Promise<void>
}

/** Makes an attempt's folder, inputs and environment, and starts its process. */
export async function launchAttempt(
  context: ControlContext,
  runtime: StepRuntime,
  { run, step, steps, attempt, project, signal, onPrepared }: Launch,
): Promise<{ exited: Promise<void> }> {
  const { artifacts, dataDir, log } = context
  const { root, snapshotIgnore } = project
  const work = join(attempt.dir, 'work')
  for (const folder of ['model', 'output']) await mkdir(join(attempt.dir, folder), { recursive: true })
  const onLog = (text: string) => log.info({ run: run.id, step: step.name }, text)
  const place = await runtime.environment(step.spec.environment, root, onLog, signal)
  const inputs = await prepareInputs(run, step, steps, join(attempt.dir, 'inputs'), {
    root,
    artifacts,
    signal,
    materialiseSql: (sql, asOfMs, target) => runtime.materialiseSql(sql, asOfMs, root, target, signal),
  })
  const code = { digest: run.codeDigest!, root, ignore: snapshotIgnore, dataDir, nodeModules: place.nodeModules }
  await checkOutCode(code, work, artifacts)
  await writeFile(join(attempt.dir, 'params.json'), JSON.stringify(run.params))
  await onPrepared(inputs, place)
  signal.throwIfAborted()
  const paths = Object.fromEntries(inputs.map((i) => [i.name, i.path]))
  return runtime.start({
    dir: attempt.dir,
    command: stepCommand(step, run),
    cwd: join(work, step.spec.workingDir),
    env: stepEnvironment(run, step, attempt, paths, place.env),
    token: attempt.token,
  })
}

/** A log that can't be shortened now is shortened later. @param steps - of the run */
export async function limitLog(
  { log }: ControlContext,
  runtime: Pick<StepRuntime, 'limitLog'>,
  attempt: Attempt,
  steps: Step[],
): Promise<void> {
  const { logLimitBytes } = steps.find((s) => s.name === attempt.step)!.spec
  await runtime.limitLog(attempt.dir, logLimitBytes).catch((error: unknown) => {
    log.warn({ run: attempt.runId, step: attempt.step, err: error }, 'a log could not be shortened')
  })
}

/** What an ended attempt leaves on disk is its log; what it made is in the artifact store. */
export async function tidyAttempt(dir: string): Promise<void> {
  const folders = ['work', 'inputs', 'model', 'output']
  await Promise.all(folders.map((folder) => rm(join(dir, folder), { recursive: true, force: true })))
}
