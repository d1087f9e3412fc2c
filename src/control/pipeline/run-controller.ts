import { randomUUID } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { completeProject } from '../../config/older-project.ts'
import type { Project } from '../../config/project.ts'
import { MillraceError, reasonOf, unreachable } from '../../kernel/errors.ts'
import type { DeclaredTable } from '../../kernel/features/feature-source.ts'
import type { ControlContext } from '../control-context.ts'
import { registrationOf } from '../registry/model-files.ts'
import { prepareOf, serverOf, type VersionPrepare, type VersionServer } from '../registry/version-server.ts'
import {
  decideNextSteps,
  heldBack,
  nextLookMs,
  retryAt,
  type Observed,
  type RunView,
  type StepAct,
} from './decide-next-steps.ts'
import { launchAttempt, tidyAttempt, type StepRuntime } from './run-attempt.ts'
import { RunRecords } from './run-records.ts'
import {
  attemptMachine,
  inTurn,
  runMachine,
  stepMachine,
  type Attempt,
  type AttemptEvent,
  type Run,
  type Step,
} from './run.ts'
import { attemptsOf, attemptsOfSteps, findRun, openAttempts, openRuns } from './run-store.ts'
import { RunSteps } from './run-steps.ts'
import { collectOutput, failureFile, lastLine, reportedMetrics, type StepOutput } from './step-output.ts'

export type { StepRuntime } from './run-attempt.ts'

/**
 * Drives runs from queued to their end. Each look reads rows and processes, asks `decideNextSteps`, and does what it
 * says, recording first. The same look after a crash finds the same rows and processes and goes on. What takes time
 * (preparing, stopping, collecting) is done beside the loop, so that one run never waits for another's.
 */
export class RunController {
  /** Attempts that this process is preparing or ending, by token. */
  readonly #work = new Map<string, AttemptWork>()
  /** Attempts that could not be prepared or whose output is unusable, by token. */
  readonly #unusable = new Map<string, string>()
  /** Folders of ended attempts that are being emptied. */
  readonly #tidying = new Set<Promise<void>>()
  readonly #steps = new RunSteps()
  /** Why a run does not go on, where something holds it back. */
  readonly #held = new Map<string, string>()
  readonly #context: ControlContext
  readonly #runtime: StepRuntime
  readonly #records: RunRecords
  readonly #placesMax: number
  #placesFree = 0

  /** @param placesMax - attempts that may be under way at once, over all runs */
  constructor(context: ControlContext, runtime: StepRuntime, placesMax = Math.max(2, availableParallelism())) {
    this.#context = context
    this.#runtime = runtime
    this.#records = new RunRecords(context)
    this.#placesMax = placesMax
  }

  /** One look at every open run. @returns when to look again, in ms */
  async look(): Promise<number> {
    const { db } = this.#context.store
    const runs = await openRuns(db)
    this.#held.clear()
    this.#steps.keep(runs.map(({ id }) => id))
    if (runs.length === 0) return IDLE_LOOK_MS
    const attempts = await openAttempts(db)
    this.#placesFree = this.#placesMax - attempts.filter(({ runId }) => runs.some(({ id }) => id === runId)).length
    let againInMs = IDLE_LOOK_MS
    const turns = new Map<string, string>()
    for (const run of inTurn(runs)) {
      // One run of a model at a time, in the order of asking.
      const before = turns.get(run.model)
      if (before === undefined) turns.set(run.model, run.id)
      else if (run.cancelWhy === null) {
        this.#held.set(run.id, `${before} of the same model is before it`)
        continue
      }
      againInMs = Math.min(againInMs, await this.#lookSafely({ run, attempts }))
    }
    return againInMs
  }

  /** What keeps an open run from going on, for people; null where nothing does. */
  heldBack(runId: string): string | null {
    return this.#held.get(runId) ?? null
  }

  /** Waits for what is under way in this process; steps go on by themselves. */
  async settle(): Promise<void> {
    await Promise.all([...this.#work.values()].map((work) => work.done))
    await Promise.all(this.#tidying)
  }

  /** A run that can't be looked at must not keep the others waiting. */
  async #lookSafely(rows: Rows): Promise<number> {
    try {
      return await this.#lookAt(rows)
    } catch (error) {
      this.#context.log.error({ run: rows.run.id, err: error }, 'a run could not be looked at, and is looked at again')
      return IDLE_LOOK_MS
    }
  }

  async #lookAt(rows: Rows): Promise<number> {
    const runId = rows.run.id
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      const view = await this.#view(turn === 0 ? rows : await this.#rowsOf(runId))
      if (view === null) return 0
      const nowMs = this.#context.clock.epochMs()
      const acts = decideNextSteps(view, nowMs)
      for (const act of acts) await this.#do(view, act)
      if (!acts.some(leadsOn)) return this.#wait(view, nowMs, acts.length > 0)
    }
    return WATCH_LOOK_MS
  }

  #wait(view: RunView, nowMs: number, hasBegun: boolean): number {
    const why = heldBack(view, nowMs)
    if (why !== null) this.#held.set(view.run.id, why)
    const timed = nextLookMs(view)
    const watched = hasBegun || view.attempts.length > 0 ? WATCH_LOOK_MS : IDLE_LOOK_MS
    return Math.max(10, Math.min(watched, timed === null ? IDLE_LOOK_MS : timed - nowMs))
  }

  async #rowsOf(runId: string): Promise<Rows | null> {
    const { db } = this.#context.store
    const run = await findRun(db, runId)
    return run === null ? null : { run, attempts: await openAttempts(db) }
  }

  async #view(rows: Rows | null): Promise<RunView | null> {
    if (rows === null || runMachine.isFinal(rows.run.status)) return null
    const { db } = this.#context.store
    const { run } = rows
    // After the attempts: of those that have ended meanwhile the step runs no more.
    const steps = await this.#steps.read(db, run.id)
    const running = new Set(steps.filter(({ status }) => status === 'running').map(({ name }) => name))
    const open = rows.attempts.filter(({ runId, step }) => runId === run.id && running.has(step))
    const attempts = await Promise.all(
      open.map(async (attempt) => ({ attempt, seen: await this.#observe(attempt, steps) })),
    )
    return {
      run,
      steps,
      attempts,
      made: await this.#made(run.id, steps, open),
      holdBack: this.#context.diskLow() ? 'free disk space is below the watermark' : null,
      places: { free: this.#placesFree, max: this.#placesMax },
    }
  }

  /** Only of steps that had an attempt before their open one is there anything to read. */
  async #made(runId: string, steps: Step[], open: Attempt[]): Promise<RunView['made']> {
    const first = open.filter(({ number }) => number === 1)
    const isFirst = new Set(first.map(({ step }) => step))
    const again = begun(steps).filter((step) => !isFirst.has(step))
    return countAttempts([...first, ...(await attemptsOfSteps(this.#context.store.db, runId, again))])
  }

  async #observe(attempt: Attempt, steps: Step[]): Promise<Observed> {
    const work = this.#work.get(attempt.token)
    if (work !== undefined) return { kind: work.kind }
    const unusable = this.#unusable.get(attempt.token)
    if (unusable !== undefined) return { kind: 'unusable', why: unusable }
    const seen = await this.#runtime.observe(attempt.dir, attempt.token)
    if (seen.kind === 'not-started')
      return (await this.#runtime.claimUnstarted(attempt.dir)) ? { kind: 'unstarted' } : { kind: 'running' }
    if (seen.kind === 'running') await this.#limitLog(attempt, steps)
    return seen
  }

  async #limitLog(attempt: Attempt, steps: Step[]): Promise<void> {
    const { logLimitBytes } = steps.find((s) => s.name === attempt.step)!.spec
    await this.#runtime.limitLog(attempt.dir, logLimitBytes).catch((error: unknown) => {
      this.#context.log.warn({ run: attempt.runId, step: attempt.step, err: error }, 'a log could not be shortened')
    })
  }

  async #do(view: RunView, act: StepAct): Promise<void> {
    const { run } = view
    switch (act.kind) {
      case 'startRun':
        return void (await this.#records.runStarted(run))
      case 'startAttempt':
        return this.#startAttempt(view, act.step, act.number)
      case 'collect':
        return this.#beside(act.attempt, 'ending', () => this.#collect(view, act.attempt))
      case 'stopAttempt':
        return this.#stopAttempt(view, act)
      case 'endAttempt':
        return this.#beside(act.attempt, 'ending', () => this.#endAttempt(view, act.attempt, act))
      case 'skipStep':
        return this.#leaveOut(run, act.step, 'skip', act.why)
      case 'cancelStep':
        return this.#leaveOut(run, act.step, 'cancel', act.why)
      case 'endRun':
        return act.event === 'succeed' ? this.#succeed(view) : this.#endRun(run, act.event, act.why)
      default:
        return unreachable(act)
    }
  }

  async #leaveOut(run: Run, step: string, event: 'skip' | 'cancel', why: string): Promise<void> {
    this.#steps.touch(run.id, step)
    await this.#records.stepLeftOut(run, step, event, why)
  }

  async #startAttempt(view: RunView, stepName: string, number: number): Promise<void> {
    const { run, steps } = view
    const step = steps.find((s) => s.name === stepName)!
    const attempt = newAttempt(this.#context, run, stepName, number)
    this.#steps.touch(run.id, stepName)
    if (!(await this.#records.attemptBegun(step, attempt))) return
    this.#placesFree--
    this.#beside(attempt, 'preparing', (signal) => this.#launch(run, step, steps, attempt, signal))
  }

  async #launch(run: Run, step: Step, steps: Step[], attempt: Attempt, signal: AbortSignal): Promise<void> {
    let launched: Awaited<ReturnType<typeof launchAttempt>>
    try {
      const project = await this.#projectOf(run)
      const onPrepared: Parameters<typeof launchAttempt>[2]['onPrepared'] = (inputs, place) =>
        this.#records.attemptPrepared(attempt, inputs, place)
      const launch = { run, step, steps, attempt, project, signal, onPrepared }
      launched = await launchAttempt(this.#context, this.#runtime, launch)
    } catch (error) {
      if (signal.aborted) return
      this.#context.log.warn({ run: run.id, step: step.name, err: error }, 'an attempt could not be prepared')
      // Given up before it began: nobody's fault, and a look sees it as such.
      if (!isGivenUp(error)) this.#unusable.set(attempt.token, reasonOf(error))
      return this.#context.wake('run')
    }
    await this.#records.attemptStarted(attempt)
    // Only now: before there is nothing to do for who looks.
    void launched.exited.then(() => this.#context.wake('run'))
  }

  /** Takes the output of a step that ended with 0 and records its success, in this order. */
  async #collect(view: RunView, attempt: Attempt): Promise<void> {
    // What the step left running must not outlive it, nor write into its output.
    await this.#runtime.stop(attempt.dir, attempt.token)
    const retryAtMs = () => retryAt(view, attempt.step, this.#context.clock.epochMs())
    const failure = await failureFile(attempt.dir)
    if (failure !== null) {
      return this.#recordEnd(view, attempt, { outcome: 'fail', why: failure, exitCode: 0, retryAtMs: retryAtMs() })
    }
    const output = await this.#takeOutput(view, attempt)
    if (typeof output === 'string') {
      return this.#recordEnd(view, attempt, { outcome: 'fail', why: output, exitCode: 0, retryAtMs: retryAtMs() })
    }
    // Where its row has moved on meanwhile, nothing was recorded, and the next look needs its files.
    if (await this.#records.attemptSucceeded(attempt, output)) await this.#tidySoon(view, attempt)
  }

  /** @returns the output, or why it can't be used. @throws where only the store of artifacts is in trouble */
  async #takeOutput({ run }: RunView, attempt: Attempt): Promise<StepOutput | string> {
    const { server, prepare, tables } = await this.#servedBy(run)
    const beside = prepare === null ? tables.map(({ table }) => table) : 'all'
    try {
      return await collectOutput(attempt.dir, this.#context.artifacts, { wholeFolder: server !== null, beside })
    } catch (error) {
      if (error instanceof MillraceError && error.kind !== 'invalid') throw error
      return `its output can't be kept: ${reasonOf(error)}`
    }
  }

  #stopAttempt(view: RunView, act: Extract<StepAct, { kind: 'stopAttempt' }>): void {
    const { attempt, outcome, why } = act
    const launching = this.#work.get(attempt.token)
    launching?.abort.abort()
    this.#beside(attempt, 'ending', async () => {
      if (launching !== undefined) await this.#runtime.claimUnstarted(attempt.dir)
      await launching?.done
      await this.#runtime.stop(attempt.dir, attempt.token)
      // A launch that was under way may have moved it on.
      const current = (await attemptsOf(this.#context.store.db, attempt.runId)).find((a) => a.token === attempt.token)
      if (current === undefined || attemptMachine.isFinal(current.status)) return
      const retryAtMs = outcome === 'timeOut' ? retryAt(view, attempt.step, this.#context.clock.epochMs()) : null
      await this.#recordEnd(view, current, { outcome, why, exitCode: null, retryAtMs })
    })
  }

  async #endAttempt(view: RunView, attempt: Attempt, end: Extract<StepAct, { kind: 'endAttempt' }>): Promise<void> {
    await this.#runtime.stop(attempt.dir, attempt.token)
    await this.#recordEnd(view, attempt, { ...end, why: await whyEnded(attempt, end) })
  }

  async #recordEnd(
    view: RunView,
    attempt: Attempt,
    end: { outcome: AttemptEvent; why: string; exitCode: number | null; retryAtMs: number | null },
  ): Promise<void> {
    if (!(await this.#records.attemptEnded(attempt, end))) return
    this.#unusable.delete(attempt.token)
    const { runId: run, step, number } = attempt
    this.#context.log.info({ run, step, attempt: number, outcome: end.outcome, why: end.why }, 'attempt ended')
    await this.#tidySoon(view, attempt)
  }

  /** Nobody waits for it, unless too much is being removed. */
  async #tidySoon(view: RunView, attempt: Attempt): Promise<void> {
    if (this.#tidying.size >= TIDYING_MAX) await Promise.race(this.#tidying)
    const done = this.#tidy(view, attempt)
      .catch((error: unknown) =>
        this.#context.log.warn({ dir: attempt.dir, err: error }, 'what an attempt has left could not be removed'),
      )
      .finally(() => this.#tidying.delete(done))
    this.#tidying.add(done)
  }

  async #tidy(view: RunView, attempt: Attempt): Promise<void> {
    await this.#limitLog(attempt, view.steps)
    await tidyAttempt(attempt.dir)
  }

  /** Work on one attempt beside the loop. What fails is seen again, and done again, by a later look. */
  #beside(attempt: Attempt, kind: AttemptWork['kind'], work: (signal: AbortSignal) => Promise<void>): void {
    const abort = new AbortController()
    const done = work(abort.signal)
      .catch(async (error: unknown) => {
        this.#context.log.warn(
          { run: attempt.runId, step: attempt.step, err: error },
          `an attempt's ${kind} failed, and is done again`,
        )
        await sleep(REDO_MS)
      })
      .finally(() => {
        if (this.#work.get(attempt.token) === entry) this.#work.delete(attempt.token)
        // What was prepared wakes it when there is something to see.
        if (kind === 'ending') this.#context.wake('run')
      })
    const entry: AttemptWork = { kind, abort, done }
    this.#work.set(attempt.token, entry)
  }

  /** What is to serve that which the run makes, as it was declared when the run began. */
  async #servedBy(run: Run): Promise<ServedBy> {
    const project = await this.#projectOf(run)
    const model = project.models.find(({ name }) => name === run.model)
    if (model === undefined) return { server: null, prepare: null, tables: [] }
    return { server: serverOf(project, model), prepare: prepareOf(project, model), tables: model.serving.enrich }
  }

  async #projectOf(run: Run): Promise<Project> {
    const applied = this.#context.project()
    if (applied?.revisionId === run.revisionId) return applied.project
    const { project } = await this.#context.store.db
      .selectFrom('revision')
      .select('project')
      .where('id', '=', run.revisionId)
      .executeTakeFirstOrThrow()
    return completeProject(project as Project)
  }

  async #succeed(view: RunView): Promise<void> {
    const { run } = view
    const { artifacts, store } = this.#context
    const trained = view.steps.find((s) => s.modelDigest !== null)!
    const { sizeBytes, ...registration } = await registrationOf(artifacts, trained.modelDigest!)
    await this.#records.runSucceeded(run, {
      trained,
      attempts: await attemptsOf(store.db, run.id),
      sizeBytes,
      registration,
      ...(await this.#servedBy(run)),
      reportedMetrics: await reportedMetrics(trained.outputDigest, artifacts),
    })
    this.#context.wake('version')
  }

  async #endRun(run: Run, event: 'fail' | 'cancel', why: string): Promise<void> {
    await this.#records.runEnded(run, event, why)
    this.#context.log.info({ run: run.id, event, why }, 'run ended')
  }
}

/** Of a run, as one look reads them. */
interface Rows {
  run: Run
  /** Those that are open, of any run. */
  attempts: Attempt[]
}

/** Null where Millrace serves it itself, and where it is fed what callers send. */
interface ServedBy {
  server: VersionServer | null
  prepare: VersionPrepare | null
  tables: DeclaredTable[]
}

interface AttemptWork {
  kind: 'preparing' | 'ending'
  abort: AbortController
  /** Never rejects. */
  done: Promise<void>
}

const IDLE_LOOK_MS = 5_000
/** While processes run: also adopted ones, whose end nobody reports. */
const WATCH_LOOK_MS = 200
const TURNS_MAX = 100
const TIDYING_MAX = 8
const REDO_MS = 1_000

const isGivenUp = (error: unknown) => error instanceof MillraceError && error.code === 'MR_STEP_GIVEN_UP'

/** Acts after which something else is due at once. What is done beside the loop wakes it when it is done. */
const LEADS_ON = new Set<StepAct['kind']>(['startRun', 'skipStep', 'cancelStep', 'endRun'])
const leadsOn = ({ kind }: StepAct): boolean => LEADS_ON.has(kind)

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

/** The step's own word where it left one in a file; else how it ended, with the last line that it wrote. */
async function whyEnded(attempt: Attempt, end: Extract<StepAct, { kind: 'endAttempt' }>): Promise<string> {
  if (end.outcome !== 'fail') return end.why
  const said = await failureFile(attempt.dir)
  if (said !== null) return said
  const last = end.exitCode === null ? null : await lastLine(attempt.dir)
  return last === null ? end.why : `${end.why}; its last line: ${last}`
}
