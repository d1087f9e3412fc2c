import { mkdtemp, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ModelConfig } from '../../config/project.ts'
import { MillraceError, reasonOf } from '../../kernel/errors.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { configuredModel, type ControlContext } from '../control-context.ts'
import { modelToMeasure, type ModelToMeasure } from '../registry/server-place.ts'
import { setSignature } from '../registry/version-requests.ts'
import { championOf, findVersion, undecidedVersions, versionsByStatus } from '../registry/version-store.ts'
import type { Version } from '../registry/version.ts'
import { openReleases } from '../release/release-store.ts'
import { decideGate } from './decide-gate.ts'
import { NoLongerDeclaredError } from './errors.ts'
import type { EvaluateJobInput, EvaluateJobOutput } from './evaluate-job.ts'
import {
  finishEvaluation,
  giveUpEvaluation,
  moveVersion,
  queueEvaluation,
  requeueEvaluation,
  startEvaluation,
} from './evaluation-acts.ts'
import { evaluationInput } from './evaluation-input.ts'
import { openEvaluations, type Evaluation } from './evaluation-store.ts'

/** Runs jobs in processes of their own. */
export interface EvaluationRuntime {
  evaluate(input: EvaluateJobInput): Promise<EvaluateJobOutput>
  /** Opens a model without scoring it, through its server where it has one. @throws ModelNotServableError, ServerStartError */
  inspect(place: ModelToMeasure, features: string[] | null): Promise<{ signature: Signature }>
}

/** A job that dies under it (killed, out of memory) is tried so often by one control plane. */
const DEATHS_MAX = 3
/** In all. A job that is lost with its control plane says nothing against the version, but nothing goes on for ever. */
const ATTEMPTS_MAX = 20

/**
 * candidate → evaluating → passed | failed | inconclusive | error. One version of a model at a time, and none while
 * one is being released, so that each is compared with the champion that it would replace.
 */
export class EvaluationController {
  readonly #context: ControlContext
  readonly #runtime: EvaluationRuntime
  readonly #missing: (model: ModelConfig) => string[]
  /** By model: what this process has under way. */
  readonly #busy = new Map<string, Promise<void>>()
  /** By evaluation: how often its job has died under this process. */
  readonly #deaths = new Map<string, number>()

  constructor(context: ControlContext, runtime: EvaluationRuntime, missing: (model: ModelConfig) => string[]) {
    this.#context = context
    this.#runtime = runtime
    this.#missing = missing
  }

  async look(): Promise<void> {
    const { db } = this.#context.store
    for (const evaluation of await openEvaluations(db)) {
      const version = await findVersion(db, evaluation.versionId)
      if (version === null || this.#busy.has(version.model)) continue
      // Nobody has it under way: the control plane that did is gone.
      if (evaluation.status === 'running') await this.#requeue(version, evaluation, 'its job was lost')
      else if (this.#mayStart(version)) this.#inBackground(version, () => this.#evaluate(version, evaluation))
    }
    for (const version of await versionsByStatus(db, 'candidate')) await this.#begin(version)
  }

  async settle(): Promise<void> {
    await Promise.allSettled(this.#busy.values())
  }

  async #begin(version: Version): Promise<void> {
    const model = this.#model(version)
    if (model === null || this.#busy.has(model.name) || !this.#mayStart(version)) return
    if (this.#missing(model).length > 0) {
      if (version.signature === null) this.#inBackground(version, () => this.#inspect(version, model))
      return
    }
    if (await this.#isOccupied(model.name)) return
    await queueEvaluation(this.#context, version)
    this.#context.wake('evaluation')
  }

  /** Nothing starts for a model that has left the configuration, nor while the disk is nearly full. */
  #mayStart(version: Version): boolean {
    return this.#model(version) !== null && !this.#context.diskLow()
  }

  #model({ model }: Version): ModelConfig | null {
    return configuredModel(this.#context.project(), model)
  }

  /** While another version is evaluated, released, or has passed and is about to be, the champion may change. */
  async #isOccupied(model: string): Promise<boolean> {
    const { db } = this.#context.store
    if ((await versionsByStatus(db, 'evaluating')).some((v) => v.model === model)) return true
    const undecided = (await undecidedVersions(db)).some(
      (v) => v.model === model && v.status === 'passed' && v.disposition === null,
    )
    return undecided || (await openReleases(db)).some((r) => r.model === model)
  }

  #inBackground(version: Version, work: () => Promise<void>): void {
    const done = work()
      .catch((error: unknown) =>
        this.#context.log.error({ version: version.id, err: error }, 'an evaluation could not be recorded'),
      )
      .finally(() => {
        this.#busy.delete(version.model)
        this.#context.wake('evaluation')
        this.#context.wake('release')
      })
    this.#busy.set(version.model, done)
  }

  /** Nothing to evaluate by: it is opened, so that a person who approves it approves something that can be served. */
  async #inspect(version: Version, model: ModelConfig): Promise<void> {
    const { store, clock } = this.#context
    const dir = await this.#scratch()
    try {
      const place = await modelToMeasure(this.#context, version, dir)
      const { signature } = await this.#runtime.inspect(place, model.features)
      await store.transaction((tx) => setSignature(tx, version.id, { signature, scoreOutput: null }))
    } catch (error) {
      await store.transaction((tx) => moveVersion(tx, clock, version, 'err', reasonOf(error)))
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  }

  async #evaluate(version: Version, evaluation: Evaluation): Promise<void> {
    const { store, clock } = this.#context
    const model = this.#model(version)
    if (model === null) return
    const champion = await championOf(store.db, model.name)
    const compared = champion?.id === version.id ? null : champion
    const attempt = evaluation.attempts + 1
    if (!(await startEvaluation(this.#context, evaluation, { attempt, compared }))) return
    const dir = await this.#scratch()
    const startMs = clock.monotonicMs()
    try {
      const missing = this.#missing(model)
      if (missing.length > 0) throw new NoLongerDeclaredError(version.id, missing)
      const files = await evaluationInput(this.#context, { version, champion: compared, model, evaluation, dir })
      const figures = await this.#runtime.evaluate(files)
      const tookMs = clock.monotonicMs() - startMs
      const result = decideGate({ config: model.gate, figures })
      await finishEvaluation(this.#context, version, evaluation, { figures, result, files, tookMs })
      this.#context.log.info({ version: version.id, verdict: result.verdict, why: result.why }, 'the gate has decided')
    } catch (error) {
      // Killed from outside (want of memory): it may go better the next time.
      const passing = error instanceof MillraceError && error.retryable
      const deaths = (this.#deaths.get(evaluation.id) ?? 0) + 1
      this.#deaths.set(evaluation.id, deaths)
      const tried = { ...evaluation, attempts: attempt }
      if (passing && deaths < DEATHS_MAX) await this.#requeue(version, tried, reasonOf(error))
      else await this.#giveUp(version, evaluation, passing ? givenUp(deaths, reasonOf(error)) : reasonOf(error))
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  }

  /** A folder for one job, removed after it. */
  async #scratch(): Promise<string> {
    const parent = join(this.#context.dataDir, 'tmp')
    await mkdir(parent, { recursive: true })
    return mkdtemp(join(parent, 'evaluation-'))
  }

  async #giveUp(version: Version, evaluation: Evaluation, why: string): Promise<void> {
    await giveUpEvaluation(this.#context, version, evaluation, why)
    this.#context.log.warn({ version: version.id, why }, 'a version could not be evaluated')
  }

  async #requeue(version: Version, evaluation: Evaluation, why: string): Promise<void> {
    const { attempts } = evaluation
    if (attempts >= ATTEMPTS_MAX) return this.#giveUp(version, evaluation, givenUp(attempts, why))
    await requeueEvaluation(this.#context, evaluation, why)
    this.#context.wake('evaluation')
  }
}

const givenUp = (attempts: number, why: string) => `given up after ${attempts} attempts: ${why}`
