import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError, reasonOf } from '../../kernel/errors.ts'
import type { ControlContext } from '../control-context.ts'
import { retryAt, type Observed, type RunView, type StepAct } from './decide-next-steps.ts'
import { launchAttempt, limitLog, tidyAttempt, type StepRuntime } from './run-attempt.ts'
import { projectOf, servedBy } from './run-project.ts'
import type { RunRecords } from './run-records.ts'
import { attemptMachine, type Attempt, type AttemptEvent, type Run, type Step } from './run.ts'
import { attemptsOf } from './run-store.ts'
import { collectOutput, failureFile, lastLine, type StepOutput } from './step-output.ts'

/**
 * What takes time with an attempt, done beside the loop, so that no run waits for another's: preparing and starting it,
 * stopping it, taking its output, emptying its folder. Recorded when it is done; what fails on the way is seen again by a
 * later look, and done again.
 */
export class AttemptWork {
  /** Attempts that this process is preparing or ending, by token. */
  readonly #underWay = new Map<string, Work>()
  /** Attempts that could not be prepared or whose output is unusable, by token. */
  readonly #unusable = new Map<string, string>()
  /** Folders of ended attempts that are being emptied. */
  readonly #tidying = new Set<Promise<void>>()
  readonly #context: ControlContext
  readonly #runtime: StepRuntime
  readonly #records: RunRecords

  constructor(context: ControlContext, runtime: StepRuntime, records: RunRecords) {
    this.#context = context
    this.#runtime = runtime
    this.#records = records
  }

  /** What this process knows of an attempt without looking at its process; null: nothing. */
  seenOf(token: string): Observed | null {
    const work = this.#underWay.get(token)
    if (work !== undefined) return { kind: work.kind }
    const why = this.#unusable.get(token)
    return why === undefined ? null : { kind: 'unusable', why }
  }

  /** Waits for what is under way in this process; steps go on by themselves. */
  async settle(): Promise<void> {
    await Promise.all([...this.#underWay.values()].map((work) => work.done))
    await Promise.all(this.#tidying)
  }

  launch({ run, steps }: RunView, step: Step, attempt: Attempt): void {
    this.#beside(attempt, 'preparing', (signal) => this.#launch(run, step, steps, attempt, signal))
  }

  collect(view: RunView, attempt: Attempt): void {
    this.#beside(attempt, 'ending', () => this.#collect(view, attempt))
  }

  stop(view: RunView, act: Extract<StepAct, { kind: 'stopAttempt' }>): void {
    const { attempt, outcome, why } = act
    const launching = this.#underWay.get(attempt.token)
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

  end(view: RunView, act: Extract<StepAct, { kind: 'endAttempt' }>): void {
    const { attempt } = act
    this.#beside(attempt, 'ending', async () => {
      await this.#runtime.stop(attempt.dir, attempt.token)
      await this.#recordEnd(view, attempt, { ...act, why: await whyEnded(act) })
    })
  }

  async #launch(run: Run, step: Step, steps: Step[], attempt: Attempt, signal: AbortSignal): Promise<void> {
    let launched: Awaited<ReturnType<typeof launchAttempt>>
    try {
      const project = await projectOf(this.#context, run)
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
    const output = (await failureFile(attempt.dir)) ?? (await this.#takeOutput(view, attempt))
    if (typeof output === 'string') {
      const retryAtMs = retryAt(view, attempt.step, this.#context.clock.epochMs())
      return this.#recordEnd(view, attempt, { outcome: 'fail', why: output, exitCode: 0, retryAtMs })
    }
    // Where its row has moved on meanwhile, nothing was recorded, and the next look needs its files.
    if (await this.#records.attemptSucceeded(attempt, output)) await this.#tidySoon(view, attempt)
  }

  /** @returns the output, or why it can't be used. @throws where only the store of artifacts is in trouble */
  async #takeOutput({ run }: RunView, attempt: Attempt): Promise<StepOutput | string> {
    const { server, prepare, tables } = await servedBy(this.#context, run)
    const beside = prepare === null ? tables.map(({ table }) => table) : 'all'
    try {
      return await collectOutput(attempt.dir, this.#context.artifacts, { wholeFolder: server !== null, beside })
    } catch (error) {
      if (error instanceof MillraceError && error.kind !== 'invalid') throw error
      return `its output can't be kept: ${reasonOf(error)}`
    }
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

  async #tidy({ steps }: RunView, attempt: Attempt): Promise<void> {
    await limitLog(this.#context, this.#runtime, attempt, steps)
    await tidyAttempt(attempt.dir)
  }

  /** What fails is seen again, and done again, by a later look. */
  #beside(attempt: Attempt, kind: Work['kind'], work: (signal: AbortSignal) => Promise<void>): void {
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
        if (this.#underWay.get(attempt.token) === entry) this.#underWay.delete(attempt.token)
        // What was prepared wakes it when there is something to see.
        if (kind === 'ending') this.#context.wake('run')
      })
    const entry: Work = { kind, abort, done }
    this.#underWay.set(attempt.token, entry)
  }
}

interface Work {
  kind: 'preparing' | 'ending'
  abort: AbortController
  /** Never rejects. */
  done: Promise<void>
}

const TIDYING_MAX = 8
const REDO_MS = 1_000

const isGivenUp = (error: unknown) => error instanceof MillraceError && error.code === 'MR_STEP_GIVEN_UP'

/** The step's own word where it left one in a file; else how it ended, with the last line that it wrote. */
async function whyEnded({
  attempt,
  outcome,
  exitCode,
  why,
}: Extract<StepAct, { kind: 'endAttempt' }>): Promise<string> {
  if (outcome !== 'fail') return why
  const said = await failureFile(attempt.dir)
  if (said !== null) return said
  const last = exitCode === null ? null : await lastLine(attempt.dir)
  return last === null ? why : `${why}; its last line: ${last}`
}
