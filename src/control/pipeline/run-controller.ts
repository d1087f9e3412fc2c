import { randomUUID } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvironmentConfig } from '../../config/project.ts'
import { reasonOf, unreachable } from '../../kernel/errors.ts'
import { compareAndSet } from '../../kernel/store/state-machine.ts'
import type { ControlContext } from '../control-context.ts'
import { createVersionOfRun } from '../registry/version-requests.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import { checkOutCode } from './code-snapshot.ts'
import { decideNextSteps, nextLookMs, retryAt, type Observed, type RunView, type StepAct } from './decide-next-steps.ts'
import { attemptMachine, runMachine, stepMachine, type Attempt, type AttemptEvent, type Run, type Step, type StepPlace } from './run.ts'
import { attemptsOf, openRuns, stepsOf } from './run-store.ts'
import { stepCommand, stepEnvironment } from './step-environment.ts'
import { prepareInputs, type InputRecord } from './step-inputs.ts'
import { collectOutput, failureFile } from './step-output.ts'

/**
 * Drives runs from queued to their end. Each look reads rows and processes, asks `decideNextSteps`, and does what it
 * says, recording first. The same look after a crash finds the same rows and processes and goes on.
 */

/** How steps are run: local processes here, other runtimes later. */
export interface StepRuntime {
  start(step: { dir: string; command: string; cwd: string; env: Record<string, string>; token: string }): Promise<{ exited: Promise<void> }>
  observe(dir: string, token: string): Promise<{ kind: 'not-started' } | { kind: 'running' } | { kind: 'exited'; code: number } | { kind: 'vanished' }>
  /** Makes sure that a step which was recorded but not seen to start never will. @returns false if it did start */
  claimUnstarted(dir: string): Promise<boolean>
  /** Ends the whole tree of processes, also those that left its group. */
  stop(dir: string, token: string): Promise<void>
  /** Keeps the log under its limit while it is written. */
  limitLog(dir: string, limitBytes: number): Promise<void>
  /** Builds or finds the environment of a step. */
  environment(config: EnvironmentConfig, root: string, onLog: (text: string) => void): Promise<StepPlace>
  materialiseSql(sql: string, asOfMs: number, root: string, target: string): Promise<void>
}

const PARALLEL_ATTEMPTS_MAX = 4
const LOOK_AGAIN_MS = 200

export class RunController {
  /** Attempts whose folder, inputs or output are being made by this process. */
  readonly #busy = new Map<string, Promise<void>>()
  /** Attempts that could not be prepared or whose output is unusable. */
  readonly #unusable = new Map<string, string>()
  readonly #context: ControlContext
  readonly #runtime: StepRuntime

  constructor(context: ControlContext, runtime: StepRuntime) {
    this.#context = context
    this.#runtime = runtime
  }

  /** One look at every open run. @returns when to look again, in ms */
  async look(): Promise<number> {
    const runs = await openRuns(this.#context.store.db)
    let againInMs = 5_000
    const taken = new Set<string>()
    for (const run of runs) {
      // One run of a model at a time, in the order of asking.
      if (taken.has(run.model) && run.cancelWhy === null) continue
      taken.add(run.model)
      againInMs = Math.min(againInMs, await this.#lookAt(run))
    }
    return againInMs
  }

  /** Waits for what is under way in this process; steps go on by themselves. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#busy.values())
  }

  async #lookAt(run: Run): Promise<number> {
    for (let turn = 0; turn < 100; turn++) {
      const view = await this.#view(run.id)
      if (view === null) return 5_000
      const nowMs = this.#context.clock.epochMs()
      const acts = decideNextSteps(view, nowMs)
      if (acts.length === 0) return this.#againIn(view, nowMs)
      for (const act of acts) await this.#do(view, act)
    }
    return 0
  }

  #againIn(view: RunView, nowMs: number): number {
    const timed = nextLookMs(view)
    const watched = view.attempts.length > 0 ? LOOK_AGAIN_MS : 5_000
    return Math.max(10, Math.min(watched, timed === null ? 5_000 : timed - nowMs))
  }

  async #view(runId: string): Promise<RunView | null> {
    const { db } = this.#context.store
    const run = (await openRuns(db)).find((r) => r.id === runId)
    if (run === undefined) return null
    const [steps, all] = [await stepsOf(db, runId), await attemptsOf(db, runId)]
    const open = all.filter((a) => !attemptMachine.isFinal(a.status))
    const attempts = await Promise.all(open.map(async (attempt) => ({ attempt, seen: await this.#observe(attempt, steps) })))
    return { run, steps, attempts, made: countAttempts(all), holdBack: this.#holdBack() }
  }

  #holdBack(): string | null {
    if (this.#context.diskLow()) return 'disk space is low'
    return this.#busy.size >= PARALLEL_ATTEMPTS_MAX ? `${PARALLEL_ATTEMPTS_MAX} attempts are being started` : null
  }

  async #observe(attempt: Attempt, steps: Step[]): Promise<Observed> {
    const unusable = this.#unusable.get(attempt.token)
    if (unusable !== undefined) return { kind: 'unusable', why: unusable }
    if (this.#busy.has(attempt.token)) return { kind: 'preparing' }
    const seen = await this.#runtime.observe(attempt.dir, attempt.token)
    if (seen.kind === 'not-started') return (await this.#runtime.claimUnstarted(attempt.dir)) ? { kind: 'unstarted' } : { kind: 'running' }
    if (seen.kind === 'running') {
      const spec = steps.find((s) => s.name === attempt.step)?.spec
      if (spec !== undefined) await this.#runtime.limitLog(attempt.dir, spec.logLimitBytes)
    }
    return seen
  }

  async #do(view: RunView, act: StepAct): Promise<void> {
    const { run } = view
    switch (act.kind) {
      case 'startRun':
        return this.#moveRun(run, 'start', 'its turn', { started_at_ms: this.#context.clock.epochMs() })
      case 'startAttempt':
        return this.#startAttempt(view, act.step, act.number)
      case 'collect':
        return this.#collect(view, act.attempt)
      case 'stopAttempt':
        return this.#stopAttempt(view, act)
      case 'endAttempt': {
        const why = (act.outcome === 'fail' ? await failureFile(act.attempt.dir).catch(() => null) : null) ?? act.why
        await this.#runtime.stop(act.attempt.dir, act.attempt.token)
        return this.#endAttempt(act.attempt, act.outcome, why, act.exitCode, act.retryAtMs)
      }
      case 'skipStep':
        return this.#moveStep(run, act.step, 'waiting', 'skip', act.why)
      case 'cancelStep':
        return this.#moveStep(run, act.step, 'waiting', 'cancel', act.why)
      case 'endRun':
        return act.event === 'succeed' ? this.#succeed(view) : this.#endRun(run, act.event, act.why)
      default:
        return unreachable(act)
    }
  }

  async #startAttempt(view: RunView, stepName: string, number: number): Promise<void> {
    const { run } = view
    const step = view.steps.find((s) => s.name === stepName)!
    const attempt = newAttempt(this.#context, run, stepName, number)
    const recorded = await this.#context.store.transaction(async (tx) => {
      const moved = await compareAndSet(tx, {
        table: 'step',
        key: [run.id, stepName],
        from: 'waiting',
        to: stepMachine.transition('waiting', 'start'),
        cause: `attempt ${number}`,
        ...this.#times(),
        set: { retry_at_ms: null, started_at_ms: step.startedAtMs ?? attempt.startedAtMs },
      })
      if (!moved) return false
      await tx
        .insertInto('attempt')
        .values({ run_id: run.id, step: stepName, number, token: attempt.token, status: 'starting', dir: attempt.dir, started_at_ms: attempt.startedAtMs })
        .execute()
      return true
    })
    if (recorded) this.#inBackground(attempt, () => this.#launch(run, step, view.steps, attempt))
  }

  /** Work on one attempt beside the loop; a failure is what the next look sees. */
  #inBackground(attempt: Attempt, work: () => Promise<void>): void {
    const done = work()
      .catch((error: unknown) => {
        this.#context.log.warn({ run: attempt.runId, step: attempt.step, err: error }, 'an attempt could not be prepared or collected')
        this.#unusable.set(attempt.token, reasonOf(error))
      })
      .finally(() => {
        this.#busy.delete(attempt.token)
        this.#context.wake('run')
      })
    this.#busy.set(attempt.token, done)
  }

  async #launch(run: Run, step: Step, steps: Step[], attempt: Attempt): Promise<void> {
    const root = await this.#rootOf(run)
    const work = join(attempt.dir, 'work')
    for (const folder of ['model', 'output']) await mkdir(join(attempt.dir, folder), { recursive: true })
    const place = await this.#runtime.environment(step.spec.environment, root, (text) => this.#context.log.info({ run: run.id, step: step.name }, text))
    const inputs = await prepareInputs(run, step, steps, join(attempt.dir, 'inputs'), {
      root,
      artifacts: this.#context.artifacts,
      materialiseSql: (sql, asOfMs, target) => this.#runtime.materialiseSql(sql, asOfMs, root, target),
    })
    await checkOutCode({ digest: run.codeDigest!, root, nodeModules: place.nodeModules }, work, this.#context.artifacts)
    await writeFile(join(attempt.dir, 'params.json'), JSON.stringify(run.params))
    await this.#recordLineage(attempt, inputs, place)
    const paths = Object.fromEntries(inputs.map((i) => [i.name, i.path]))
    const started = await this.#runtime.start({
      dir: attempt.dir,
      command: stepCommand(step, run),
      cwd: join(work, step.spec.workingDir),
      env: stepEnvironment(run, step, attempt, paths, place.env),
      token: attempt.token,
    })
    await this.#moveAttempt(attempt, 'starting', 'started', 'process started')
    void started.exited.then(() => this.#context.wake('run'))
  }

  async #rootOf(run: Run): Promise<string> {
    const { project } = await this.#context.store.db.selectFrom('revision').select('project').where('id', '=', run.revisionId).executeTakeFirstOrThrow()
    return (project as { root: string }).root
  }

  async #recordLineage(attempt: Attempt, inputs: InputRecord[], place: StepPlace): Promise<void> {
    await this.#context.store.db
      .updateTable('attempt')
      .set({ inputs: JSON.stringify(inputs), environment: JSON.stringify(place.record) })
      .where('token', '=', attempt.token)
      .execute()
  }

  /** Takes the output of a step that ended with 0 and records its success, in this order. */
  async #collect(view: RunView, attempt: Attempt): Promise<void> {
    // What the step left running must not outlive it, nor write into its output.
    await this.#runtime.stop(attempt.dir, attempt.token)
    const failure = await failureFile(attempt.dir)
    if (failure !== null) {
      const retryAtMs = retryAt(view, attempt.step, this.#context.clock.epochMs())
      return this.#endAttempt(attempt, 'fail', failure, 0, retryAtMs)
    }
    this.#inBackground(attempt, async () => {
      const output = await collectOutput(attempt.dir, this.#context.artifacts)
      await this.#context.store.transaction(async (tx) => {
        const to = attemptMachine.transition(attempt.status, 'succeed')
        const endedAtMs = this.#context.clock.epochMs()
        const moved = await compareAndSet(tx, {
          table: 'attempt', key: [attempt.token], from: attempt.status, to, cause: 'exit status 0', ...this.#times(),
          set: { exit_code: 0, ended_at_ms: endedAtMs },
        })
        if (!moved) return
        await compareAndSet(tx, {
          table: 'step', key: [attempt.runId, attempt.step], from: 'running', to: stepMachine.transition('running', 'succeed'),
          cause: `attempt ${attempt.number} succeeded`, ...this.#times(),
          set: { output_digest: output.outputDigest, model_digest: output.modelDigest, ended_at_ms: endedAtMs, why: output.warnings[0] ?? null },
          detail: { metrics: output.metrics, modelBytes: output.modelBytes, warnings: output.warnings },
        })
      })
      await rm(join(attempt.dir, 'work'), { recursive: true, force: true })
      await rm(join(attempt.dir, 'inputs'), { recursive: true, force: true })
    })
  }

  async #stopAttempt(view: RunView, act: Extract<StepAct, { kind: 'stopAttempt' }>): Promise<void> {
    await this.#runtime.stop(act.attempt.dir, act.attempt.token)
    await this.#busy.get(act.attempt.token)
    // A launch that was under way may have started its process after the first stop.
    await this.#runtime.stop(act.attempt.dir, act.attempt.token)
    const retryAtMs = act.outcome === 'timeOut' ? retryAt(view, act.attempt.step, this.#context.clock.epochMs()) : null
    const [current] = (await attemptsOf(this.#context.store.db, act.attempt.runId)).filter((a) => a.token === act.attempt.token)
    if (current === undefined || attemptMachine.isFinal(current.status)) return
    await this.#endAttempt(current, act.outcome, act.why, null, retryAtMs)
  }

  async #endAttempt(attempt: Attempt, outcome: AttemptEvent, why: string, exitCode: number | null, retryAtMs: number | null): Promise<void> {
    this.#unusable.delete(attempt.token)
    const endedAtMs = this.#context.clock.epochMs()
    await this.#context.store.transaction(async (tx) => {
      const moved = await compareAndSet(tx, {
        table: 'attempt', key: [attempt.token], from: attempt.status, to: attemptMachine.transition(attempt.status, outcome), cause: why,
        ...this.#times(), set: { exit_code: exitCode, why, ended_at_ms: endedAtMs },
      })
      if (!moved) return
      const event = outcome === 'cancel' ? 'cancel' : retryAtMs === null ? 'fail' : 'retry'
      await compareAndSet(tx, {
        table: 'step', key: [attempt.runId, attempt.step], from: 'running', to: stepMachine.transition('running', event),
        cause: `attempt ${attempt.number}: ${why}`, ...this.#times(),
        set: { why, retry_at_ms: retryAtMs, ...(event === 'retry' ? {} : { ended_at_ms: endedAtMs }) },
      })
    })
    this.#context.log.info({ run: attempt.runId, step: attempt.step, attempt: attempt.number, outcome, why }, 'attempt ended')
  }

  async #succeed(view: RunView): Promise<void> {
    const { run } = view
    const trained = view.steps.find((s) => s.modelDigest !== null)!
    const attempts = await attemptsOf(this.#context.store.db, run.id)
    const sizeBytes = await this.#context.artifacts.sizeOf(trained.modelDigest!)
    await this.#context.store.transaction(async (tx) => {
      if (!(await this.#moveRunIn(tx, run, 'succeed', 'all steps succeeded'))) return
      await createVersionOfRun(tx, this.#context.clock, { run, trained, steps: view.steps, attempts, sizeBytes })
      await this.#recordRunSli(tx, run, true)
    })
    this.#context.wake('version')
  }

  async #endRun(run: Run, event: 'fail' | 'cancel', why: string): Promise<void> {
    await this.#context.store.transaction(async (tx) => {
      if (!(await this.#moveRunIn(tx, run, event, why))) return
      if (event === 'fail') await this.#recordRunSli(tx, run, false)
    })
    this.#context.log.info({ run: run.id, event, why }, 'run ended')
  }

  async #recordRunSli(tx: Parameters<typeof recordSli>[0], run: Run, good: boolean): Promise<void> {
    const atMs = this.#context.clock.epochMs()
    const about = { phase: 'pipeline', model: run.model, subject: run.id, atMs } as const
    await recordSli(tx, { ...about, indicator: 'runSuccess', value: good ? 1 : 0, good })
    await recordSli(tx, { ...about, indicator: 'runDurationMs', value: atMs - (run.startedAtMs ?? atMs), good })
  }

  async #moveRun(run: Run, event: 'start', cause: string, set: Record<string, unknown>): Promise<void> {
    const to = runMachine.transition(run.status, event)
    await this.#context.store.transaction((tx) => compareAndSet(tx, { table: 'run', key: [run.id], from: run.status, to, cause, ...this.#times(), set }))
  }

  #moveRunIn(tx: Parameters<typeof compareAndSet>[0], run: Run, event: 'succeed' | 'fail' | 'cancel', why: string): Promise<boolean> {
    const to = runMachine.transition(run.status, event)
    const set = { why, ended_at_ms: this.#context.clock.epochMs() }
    return compareAndSet(tx, { table: 'run', key: [run.id], from: run.status, to, cause: why, ...this.#times(), set })
  }

  async #moveStep(run: Run, step: string, from: 'waiting', event: 'skip' | 'cancel', why: string): Promise<void> {
    const to = stepMachine.transition(from, event)
    const set = { why, ended_at_ms: this.#context.clock.epochMs() }
    await this.#context.store.transaction((tx) => compareAndSet(tx, { table: 'step', key: [run.id, step], from, to, cause: why, ...this.#times(), set }))
  }

  async #moveAttempt(attempt: Attempt, from: 'starting', event: 'started', cause: string): Promise<void> {
    const to = attemptMachine.transition(from, event)
    await this.#context.store.transaction((tx) => compareAndSet(tx, { table: 'attempt', key: [attempt.token], from, to, cause, ...this.#times() }))
  }

  #times(): { atMs: number; calendarMs: number } {
    return { atMs: this.#context.clock.epochMs(), calendarMs: Math.round(this.#context.clock.calendarMs()) }
  }
}

function newAttempt(context: ControlContext, run: Run, step: string, number: number): Attempt {
  return {
    runId: run.id,
    step,
    number,
    token: randomUUID(),
    status: 'starting',
    why: null,
    exitCode: null,
    dir: join(context.dataDir, 'runs', run.id, step, String(number)),
    startedAtMs: context.clock.epochMs(),
    endedAtMs: null,
    inputs: null,
    environment: null,
  }
}

function countAttempts(attempts: Attempt[]): RunView['made'] {
  const made: RunView['made'] = {}
  for (const attempt of attempts) {
    const count = (made[attempt.step] ??= { total: 0, failures: 0 })
    count.total++
    if (attempt.status === 'failed' || attempt.status === 'timedOut') count.failures++
  }
  return made
}

