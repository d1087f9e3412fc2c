import type { Transaction } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'
import { compareAndSet } from '../../kernel/store/state-machine.ts'
import type { ControlContext } from '../control-context.ts'
import { createVersionOfRun, type Registered } from '../registry/version-requests.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import {
  attemptMachine,
  runMachine,
  stepMachine,
  type Attempt,
  type AttemptEvent,
  type Run,
  type Step,
  type StepPlace,
} from './run.ts'
import type { InputRecord } from './step-inputs.ts'
import type { MetricTree, StepOutput } from './step-output.ts'

/** What the run controller writes down. Each method is one transaction; where others were first, it changes nothing. */
export class RunRecords {
  readonly #context: ControlContext

  constructor(context: ControlContext) {
    this.#context = context
  }

  runStarted(run: Run): Promise<boolean> {
    const set = { started_at_ms: this.#nowMs() }
    return this.#transaction((tx) => this.#moveRun(tx, run, 'start', 'its turn', set))
  }

  /** @returns false where the step is no longer waiting: then nothing may be started */
  attemptBegun(step: Step, attempt: Attempt): Promise<boolean> {
    return this.#transaction(async (tx) => {
      const set = { retry_at_ms: null, started_at_ms: step.startedAtMs ?? attempt.startedAtMs }
      if (!(await this.#moveStep(tx, attempt, 'waiting', 'start', `attempt ${attempt.number}`, set))) return false
      await tx
        .insertInto('attempt')
        .values({
          run_id: attempt.runId,
          step: attempt.step,
          number: attempt.number,
          token: attempt.token,
          status: attempt.status,
          dir: attempt.dir,
          started_at_ms: attempt.startedAtMs,
        })
        .execute()
      return true
    })
  }

  /** Lineage: what went in, and where it runs. */
  async attemptPrepared(attempt: Attempt, inputs: InputRecord[], place: StepPlace): Promise<void> {
    await this.#context.store.db
      .updateTable('attempt')
      .set({ inputs: JSON.stringify(inputs), environment: JSON.stringify(place.record) })
      .where('token', '=', attempt.token)
      .execute()
  }

  attemptStarted(attempt: Attempt): Promise<boolean> {
    return this.#transaction((tx) => this.#moveAttempt(tx, attempt, 'started', 'process started'))
  }

  attemptSucceeded(attempt: Attempt, output: StepOutput): Promise<boolean> {
    const endedAtMs = this.#nowMs()
    return this.#transaction(async (tx) => {
      const ended = { exit_code: 0, ended_at_ms: endedAtMs }
      if (!(await this.#moveAttempt(tx, attempt, 'succeed', 'exit status 0', ended))) return false
      const set = {
        output_digest: output.outputDigest,
        model_digest: output.modelDigest,
        ended_at_ms: endedAtMs,
        why: output.warnings[0] ?? null,
      }
      const detail = { metrics: output.metrics, modelBytes: output.modelBytes, warnings: output.warnings }
      return this.#moveStep(tx, attempt, 'running', 'succeed', `attempt ${attempt.number} succeeded`, set, detail)
    })
  }

  /** @param end.retryAtMs - null: the step has failed with it (or is cancelled) */
  attemptEnded(
    attempt: Attempt,
    end: { outcome: AttemptEvent; why: string; exitCode: number | null; retryAtMs: number | null },
  ): Promise<boolean> {
    const { outcome, why, exitCode, retryAtMs } = end
    const endedAtMs = this.#nowMs()
    return this.#transaction(async (tx) => {
      const ended = { exit_code: exitCode, why, ended_at_ms: endedAtMs }
      if (!(await this.#moveAttempt(tx, attempt, outcome, why, ended))) return false
      const event = outcome === 'cancel' ? 'cancel' : retryAtMs === null ? 'fail' : 'retry'
      const set = { why, retry_at_ms: retryAtMs, ...(event === 'retry' ? {} : { ended_at_ms: endedAtMs }) }
      return this.#moveStep(tx, attempt, 'running', event, `attempt ${attempt.number}: ${why}`, set)
    })
  }

  stepLeftOut(run: Run, step: string, event: 'skip' | 'cancel', why: string): Promise<boolean> {
    const set = { why, ended_at_ms: this.#nowMs() }
    return this.#transaction((tx) => this.#moveStep(tx, { runId: run.id, step }, 'waiting', event, why, set))
  }

  /** The run's success and its model version: both or neither. */
  runSucceeded(
    run: Run,
    made: {
      trained: Step
      attempts: Attempt[]
      sizeBytes: number
      reportedMetrics: MetricTree | null
    } & Registered,
  ): Promise<boolean> {
    return this.#transaction(async (tx) => {
      const why = 'all steps succeeded'
      if (!(await this.#moveRun(tx, run, 'succeed', why, { why, ended_at_ms: this.#nowMs() }))) return false
      await createVersionOfRun(tx, this.#context.clock, { run, ...made })
      await this.#recordSlis(tx, run, true)
      return true
    })
  }

  runEnded(run: Run, event: 'fail' | 'cancel', why: string): Promise<boolean> {
    return this.#transaction(async (tx) => {
      if (!(await this.#moveRun(tx, run, event, why, { why, ended_at_ms: this.#nowMs() }))) return false
      if (event === 'fail') await this.#recordSlis(tx, run, false)
      return true
    })
  }

  async #recordSlis(tx: Transaction<Database>, run: Run, good: boolean): Promise<void> {
    // A hundred runs on the past say nothing about how well the present is served.
    if (run.triggerKind === 'backfill') return
    const atMs = this.#nowMs()
    const calendarMs = this.#context.clock.calendarMs()
    const about = { phase: 'pipeline', model: run.model, subject: run.id, atMs, calendarMs } as const
    await recordSli(tx, { ...about, indicator: 'runSuccess', value: good ? 1 : 0, good })
    await recordSli(tx, { ...about, indicator: 'runDurationMs', value: atMs - (run.startedAtMs ?? atMs), good })
  }

  #moveRun(
    tx: Transaction<Database>,
    run: Run,
    event: 'start' | 'succeed' | 'fail' | 'cancel',
    cause: string,
    set: Record<string, unknown>,
  ): Promise<boolean> {
    const to = runMachine.transition(run.status, event)
    return compareAndSet(tx, { table: 'run', key: [run.id], from: run.status, to, cause, ...this.#times(), set })
  }

  #moveStep(
    tx: Transaction<Database>,
    { runId, step }: Pick<Attempt, 'runId' | 'step'>,
    from: 'waiting' | 'running',
    event: Parameters<typeof stepMachine.transition>[1],
    cause: string,
    set: Record<string, unknown>,
    detail?: unknown,
  ): Promise<boolean> {
    const to = stepMachine.transition(from, event)
    return compareAndSet(tx, { table: 'step', key: [runId, step], from, to, cause, ...this.#times(), set, detail })
  }

  #moveAttempt(
    tx: Transaction<Database>,
    attempt: Attempt,
    event: AttemptEvent,
    cause: string,
    set: Record<string, unknown> = {},
  ): Promise<boolean> {
    const to = attemptMachine.transition(attempt.status, event)
    const key = [attempt.token]
    const entityId = `${attempt.runId}/${attempt.step}#${attempt.number}`
    return compareAndSet(tx, {
      table: 'attempt',
      key,
      entityId,
      from: attempt.status,
      to,
      cause,
      ...this.#times(),
      set,
    })
  }

  #transaction<T>(work: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
    return this.#context.store.transaction(work)
  }

  #nowMs(): number {
    return this.#context.clock.epochMs()
  }

  #times(): { atMs: number; calendarMs: number } {
    return { atMs: this.#nowMs(), calendarMs: Math.round(this.#context.clock.calendarMs()) }
  }
}
