import { randomUUID } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { unreachable } from '../../kernel/errors.ts'
import type { ControlContext } from '../control-context.ts'
import { registrationOf } from '../registry/model-files.ts'
import { AttemptWork } from './attempt-work.ts'
import { decideNextSteps, heldBack, nextLookInMs, type RunView, type StepAct } from './decide-next-steps.ts'
import { observeRun, rowsOf, type Rows, type RunEyes } from './observe-run.ts'
import type { StepRuntime } from './run-attempt.ts'
import { servedBy } from './run-project.ts'
import { RunRecords } from './run-records.ts'
import { inTurn, type Attempt, type Run } from './run.ts'
import { attemptsOf, openAttempts, openRuns } from './run-store.ts'
import { RunSteps } from './run-steps.ts'
import { reportedMetrics } from './step-output.ts'
import { StepTimes } from './step-times.ts'

export type { StepRuntime } from './run-attempt.ts'

/**
 * Drives runs from queued to their end. Each look reads rows and processes (`observeRun`), asks `decideNextSteps`, and does
 * what it says, recording first. The same look after a crash finds the same rows and processes and goes on. What takes
 * time is done beside the loop (`AttemptWork`), so that one run never waits for another's.
 */
export class RunController {
  readonly #context: ControlContext
  readonly #records: RunRecords
  readonly #steps = new RunSteps()
  readonly #times: StepTimes
  readonly #work: AttemptWork
  readonly #eyes: RunEyes
  /** Why a run does not go on, where something holds it back. */
  readonly #held = new Map<string, string>()
  readonly #placesMax: number
  #placesFree = 0

  /** @param placesMax - attempts that may be under way at once, over all runs */
  constructor(context: ControlContext, runtime: StepRuntime, placesMax = Math.max(2, availableParallelism())) {
    this.#context = context
    this.#records = new RunRecords(context)
    this.#times = new StepTimes(context.clock)
    this.#work = new AttemptWork(context, runtime, this.#records)
    this.#eyes = { runtime, work: this.#work, steps: this.#steps, times: this.#times }
    this.#placesMax = placesMax
  }

  /** One look at every open run. @returns when to look again, in ms */
  async look(): Promise<number> {
    const { db } = this.#context.store
    const runs = await openRuns(db)
    const ids = runs.map(({ id }) => id)
    this.#held.clear()
    this.#steps.keep(ids)
    this.#times.keep(ids)
    if (runs.length === 0) return IDLE_LOOK_MS
    const attempts = await openAttempts(db)
    this.#placesFree = this.#placesMax - attempts.filter(({ runId }) => ids.includes(runId)).length
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
  settle(): Promise<void> {
    return this.#work.settle()
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
      const now = turn === 0 ? rows : await rowsOf(this.#context, runId)
      const places = { free: this.#placesFree, max: this.#placesMax }
      const view = await observeRun(this.#context, this.#eyes, now, places)
      if (view === null) return 0
      const acts = decideNextSteps(view, this.#context.clock.epochMs())
      for (const act of acts) await this.#do(view, act)
      if (!acts.some(leadsOn)) return this.#wait(view, acts.length > 0)
    }
    return WATCH_LOOK_MS
  }

  #wait(view: RunView, hasBegun: boolean): number {
    const why = heldBack(view)
    if (why !== null) this.#held.set(view.run.id, why)
    const watched = hasBegun || view.attempts.length > 0 ? WATCH_LOOK_MS : IDLE_LOOK_MS
    return Math.max(10, Math.min(watched, nextLookInMs(view) ?? IDLE_LOOK_MS))
  }

  async #do(view: RunView, act: StepAct): Promise<void> {
    const { run } = view
    switch (act.kind) {
      case 'startRun':
        return void (await this.#records.runStarted(run))
      case 'startAttempt':
        return this.#startAttempt(view, act.step, act.number)
      case 'collect':
        return this.#work.collect(view, act.attempt)
      case 'stopAttempt':
        return this.#work.stop(view, act)
      case 'endAttempt':
        return this.#work.end(view, act)
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
    this.#times.begin(attempt)
    this.#work.launch(view, step, attempt)
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
      ...(await servedBy(this.#context, run)),
      reportedMetrics: await reportedMetrics(trained.outputDigest, artifacts),
    })
    this.#context.wake('version')
  }

  async #endRun(run: Run, event: 'fail' | 'cancel', why: string): Promise<void> {
    await this.#records.runEnded(run, event, why)
    this.#context.log.info({ run: run.id, event, why }, 'run ended')
  }
}

const IDLE_LOOK_MS = 5_000
/** While processes run: also adopted ones, whose end nobody reports. */
const WATCH_LOOK_MS = 200
const TURNS_MAX = 100

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
