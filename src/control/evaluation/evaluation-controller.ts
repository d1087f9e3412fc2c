import { mkdtemp, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import { MillraceError, reasonOf } from '../../kernel/errors.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { appendEvent, compareAndSet } from '../../kernel/store/state-machine.ts'
import type { ControlContext } from '../control-context.ts'
import { mayBeReleased, versionMachine, type Version, type VersionEvent } from '../registry/version.ts'
import { modelToMeasure, type ModelToMeasure } from '../registry/server-place.ts'
import { setSignature } from '../registry/version-requests.ts'
import {
  championOf,
  findVersion,
  undecidedVersions,
  versionsBefore,
  versionsByStatus,
} from '../registry/version-store.ts'
import { openReleases } from '../release/release-store.ts'
import { beginUse } from '../retirement/retirement-requests.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import { decideGate } from './decide-gate.ts'
import type { ChampionInput, EvaluateJobInput, EvaluateJobOutput } from './evaluate-job.ts'
import { evaluationMachine, openEvaluations, type Evaluation } from './evaluation-store.ts'
import { NoLongerDeclaredError } from './errors.ts'
import { featuresOf } from './features.ts'
import type { GateResult } from './gate.ts'

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
    const { store, clock } = this.#context
    if (this.#missing(model).length > 0) {
      if (version.signature === null) this.#inBackground(version, () => this.#inspect(version, model))
      return
    }
    if (await this.#isOccupied(model.name)) return
    await store.transaction(async (tx) => {
      if (!(await this.#moveVersion(tx, version, 'evaluate', 'its turn'))) return
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
        ...this.#times(),
        detail: { version: version.id },
      })
    })
    this.#context.wake('evaluation')
  }

  /** Nothing starts for a model that has left the configuration, nor while the disk is nearly full. */
  #mayStart(version: Version): boolean {
    return this.#model(version) !== null && !this.#context.diskLow()
  }

  #model({ model }: Version): ModelConfig | null {
    return this.#context.project()?.project.models.find((m) => m.name === model) ?? null
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
    const { store } = this.#context
    const dir = await this.#scratch()
    try {
      const place = await modelToMeasure(this.#context, version, dir)
      const { signature } = await this.#runtime.inspect(place, model.features)
      await store.transaction((tx) => setSignature(tx, version.id, { signature, scoreOutput: null }))
    } catch (error) {
      await store.transaction((tx) => this.#moveVersion(tx, version, 'err', reasonOf(error)))
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
    const started = await store.transaction(async (tx) => {
      for (const { id } of [version, ...(compared === null ? [] : [compared])])
        await beginUse(tx, clock, { versionId: id, what: evaluation.id, by: 'millrace' })
      return compareAndSet(tx, {
        table: 'evaluation',
        key: [evaluation.id],
        from: 'queued',
        to: evaluationMachine.transition('queued', 'start'),
        cause: `attempt ${attempt}`,
        ...this.#times(),
        set: { attempts: attempt, champion_id: compared?.id ?? null },
        detail: { version: version.id },
      })
    })
    if (!started) return
    const dir = await this.#scratch()
    const startMs = clock.monotonicMs()
    try {
      const missing = this.#missing(model)
      if (missing.length > 0) throw new NoLongerDeclaredError(version.id, missing)
      const input = await this.#jobInput(version, compared, model, evaluation, dir)
      const figures = await this.#runtime.evaluate(input)
      await this.#finish(version, model, evaluation, figures, input, clock.monotonicMs() - startMs)
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

  async #jobInput(
    version: Version,
    champion: Version | null,
    model: ModelConfig,
    evaluation: Evaluation,
    dir: string,
  ): Promise<EvaluateJobInput> {
    const { clock, dataDir } = this.#context
    const rival = champion === null ? null : await this.#measurable(champion, model, dir)
    return {
      version: version.id,
      ...(await modelToMeasure(this.#context, version, dir)),
      features: model.features,
      scoreOutput: model.scoreOutput,
      champion: rival,
      ...(await this.#predecessors(version, model, dir, rival)),
      task: model.task!,
      label: model.label!,
      positive: model.positive,
      holdout: model.holdout!,
      trainingRows: model.trainingRows,
      projectRoot: this.#context.project()!.project.root,
      lakeDir: join(dataDir, 'lake'),
      asOfMs: version.lineage.asOfMs ?? clock.calendarMs(),
      gate: model.gate,
      goldenRows: model.release.preflight.goldenRows,
      seed: Number(evaluation.id.split('-')[1]),
      holdoutPath: join(dir, 'holdout.parquet'),
      lossesPath: join(dir, 'losses.parquet'),
      goldenPath: join(dir, 'golden.json'),
      profilePath: join(dir, 'profile.json'),
    }
  }

  async #measurable(version: Version, model: ModelConfig, dir: string): Promise<ChampionInput> {
    return {
      ...(await modelToMeasure(this.#context, version, dir)),
      version: version.id,
      features: version.signature === null ? model.features : featuresOf(version.signature),
      scoreOutput: version.scoreOutput,
      enriched: version.signature?.enriched,
    }
  }

  /**
   * Of the last versions those that were good enough to serve: a failed experiment says nothing of the spread that users
   * would see, and must not block what comes after it. A backfilled one is made as of the past.
   */
  async #predecessors(
    version: Version,
    model: ModelConfig,
    dir: string,
    champion: ChampionInput | null,
  ): Promise<Pick<EvaluateJobInput, 'predecessors' | 'predecessorsLeftOut'>> {
    const last = await versionsBefore(this.#context.store.db, version, model.gate.stability.versions - 1)
    const predecessors: ChampionInput[] = []
    const predecessorsLeftOut: EvaluateJobInput['predecessorsLeftOut'] = []
    for (const before of last.filter(mayBeReleased).toReversed()) {
      try {
        const isChampion = champion !== null && before.id === champion.version
        predecessors.push(isChampion ? champion : await this.#measurable(before, model, dir))
      } catch (error) {
        predecessorsLeftOut.push({ version: before.id, why: reasonOf(error) })
      }
    }
    return { predecessors, predecessorsLeftOut }
  }

  /** Figures, verdict and status in one transaction, after the artifacts they point at are on disk. */
  async #finish(
    version: Version,
    model: ModelConfig,
    evaluation: Evaluation,
    figures: EvaluateJobOutput,
    files: EvaluateJobInput,
    tookMs: number,
  ): Promise<void> {
    const { store, artifacts, clock } = this.#context
    const [losses, holdout, golden, profile] = await Promise.all(
      [files.lossesPath, files.holdoutPath, files.goldenPath, files.profilePath].map(
        async (path) => (await artifacts.putFile(path)).digest,
      ),
    )
    const result = decideGate({ config: model.gate, figures })
    const endedAtMs = clock.epochMs()
    await store.transaction(async (tx) => {
      const moved = await compareAndSet(tx, {
        table: 'evaluation',
        key: [evaluation.id],
        from: 'running',
        to: evaluationMachine.transition('running', 'finish'),
        cause: `${figures.rows} rows`,
        ...this.#times(),
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
      await this.#recordVerdict(tx, version, evaluation.id, result)
      await this.#recordSlis(tx, version, evaluation, result.verdict !== 'error', tookMs)
    })
    this.#context.log.info({ version: version.id, verdict: result.verdict, why: result.why }, 'the gate has decided')
  }

  async #giveUp(version: Version, evaluation: Evaluation, why: string): Promise<void> {
    const result: GateResult = { verdict: 'error', why, checks: [], provenBetter: false }
    await this.#context.store.transaction(async (tx) => {
      const moved = await compareAndSet(tx, {
        table: 'evaluation',
        key: [evaluation.id],
        from: 'running',
        to: evaluationMachine.transition('running', 'giveUp'),
        cause: why,
        ...this.#times(),
        set: { why, ended_at_ms: this.#context.clock.epochMs() },
        detail: { version: version.id },
      })
      if (!moved) return
      await this.#recordVerdict(tx, version, evaluation.id, result)
      await this.#recordSlis(tx, version, evaluation, false, 0)
    })
    this.#context.log.warn({ version: version.id, why }, 'a version could not be evaluated')
  }

  async #requeue(version: Version, evaluation: Evaluation, why: string): Promise<void> {
    const { attempts } = evaluation
    if (attempts >= ATTEMPTS_MAX) return this.#giveUp(version, evaluation, givenUp(attempts, why))
    await this.#context.store.transaction((tx) =>
      compareAndSet(tx, {
        table: 'evaluation',
        key: [evaluation.id],
        from: 'running',
        to: evaluationMachine.transition('running', 'requeue'),
        cause: why,
        ...this.#times(),
        detail: { version: version.id },
      }),
    )
    this.#context.wake('evaluation')
  }

  async #recordVerdict(
    tx: Transaction<Database>,
    version: Version,
    evaluationId: string,
    result: GateResult,
  ): Promise<void> {
    const event = ({ passed: 'pass', failed: 'fail', inconclusive: 'undecided', error: 'err' } as const)[result.verdict]
    const { id } = await tx
      .insertInto('gate')
      .values({
        version_id: version.id,
        evaluation_id: evaluationId,
        verdict: result.verdict,
        why: result.why,
        checks: JSON.stringify(result.checks),
        proven_better: result.provenBetter,
        decided_at_ms: this.#context.clock.epochMs(),
      })
      .returning('id')
      .executeTakeFirstOrThrow()
    await this.#moveVersion(tx, { ...version, status: 'evaluating' }, event, result.why)
    await appendEvent(tx, {
      entity: 'gate',
      entityId: id,
      from: null,
      to: result.verdict,
      cause: result.why,
      ...this.#times(),
      detail: { version: version.id },
    })
  }

  async #recordSlis(
    tx: Transaction<Database>,
    version: Version,
    evaluation: Evaluation,
    good: boolean,
    tookMs: number,
  ): Promise<void> {
    const about = {
      phase: 'evaluation',
      model: version.model,
      subject: evaluation.id,
      atMs: this.#context.clock.epochMs(),
      calendarMs: this.#context.clock.calendarMs(),
    } as const
    await recordSli(tx, { ...about, indicator: 'evaluationValid', value: good ? 1 : 0, good })
    if (good) await recordSli(tx, { ...about, indicator: 'evaluationDurationMs', value: tookMs, good })
  }

  #moveVersion(tx: Transaction<Database>, version: Version, event: VersionEvent, why: string): Promise<boolean> {
    return compareAndSet(tx, {
      table: 'version',
      key: [version.id],
      from: version.status,
      to: versionMachine.transition(version.status, event),
      cause: why,
      ...this.#times(),
      set: event === 'evaluate' ? {} : { why },
      detail: { model: version.model },
    })
  }

  #times(): { atMs: number; calendarMs: number } {
    return { atMs: this.#context.clock.epochMs(), calendarMs: Math.round(this.#context.clock.calendarMs()) }
  }
}

const givenUp = (attempts: number, why: string) => `given up after ${attempts} attempts: ${why}`
