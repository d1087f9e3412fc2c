import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import { reasonOf } from '../../kernel/errors.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { ControlContext } from '../control-context.ts'
import { raiseAlert, resolveAlert } from '../monitoring/alert-requests.ts'
import { modelToMeasure } from '../registry/server-place.ts'
import type { Version } from '../registry/version.ts'
import { findVersion } from '../registry/version-store.ts'
import { newestMaturedWindow } from './matured-window.ts'
import type { ReevaluateJobInput, ReevaluateJobOutput } from './reevaluate-job.ts'
import { judgeWindow } from './reevaluation.ts'
import { insertReevaluations, reevaluationsOf } from './reevaluation-store.ts'
import { versionsBeyondUse } from './retirement-store.ts'

/** Source of the alert by which retirement is frozen on a model: as long as it is open, nothing is retired. */
export const SUSPECTED_DATA = 'retirement/data'

const VERSIONS_MAX = 10
const ROWS_MAX = 50_000
/** A job that fails is tried again after so long (real time), so often for one window. */
const RETRY_MS = 60_000
const TRIES_MAX = 3

/**
 * Measures the versions in service (champion, previous, whatever else is deployed) on each labelled window that has
 * matured. What it finds are rows; retirement's policies read them.
 */
export class ReevaluationController {
  readonly #context: ControlContext
  readonly #run: (input: ReevaluateJobInput) => Promise<ReevaluateJobOutput>
  /** By model: versions that a job of this process reads. */
  readonly #reading = new Map<string, { versions: string[]; done: Promise<void> }>()
  readonly #tries = new Map<string, { count: number; notBeforeMs: number }>()

  constructor(context: ControlContext, run: (input: ReevaluateJobInput) => Promise<ReevaluateJobOutput>) {
    this.#context = context
    this.#run = run
  }

  /** Versions that are being read, with who reads them. */
  readers(): Map<string, string[]> {
    const readers = new Map<string, string[]>()
    for (const { versions } of this.#reading.values()) for (const id of versions) readers.set(id, ['a re-evaluation'])
    return readers
  }

  async look(): Promise<void> {
    const applied = this.#context.project()
    if (applied === null || this.#context.diskLow()) return
    for (const model of applied.project.models) {
      if (this.#reading.has(model.name)) continue
      const windowMs = await this.#dueWindow(model)
      if (windowMs !== null) await this.#begin(model, windowMs)
    }
  }

  async settle(): Promise<void> {
    await Promise.all([...this.#reading.values()].map((r) => r.done))
  }

  /** The newest matured window, or the one before it: two in a row are what counts. Null: both are measured. */
  async #dueWindow(model: ModelConfig): Promise<number | null> {
    const { outdated } = model.retirement
    if (outdated === null || model.task === null || model.label === null) return null
    const newest = newestMaturedWindow(this.#context.clock.calendarMs(), outdated.windowMs, model.monitors.labelDelayMs)
    if (newest === null) return null
    // Never before what was measured, also where the calendar was set back.
    const last =
      (await reevaluationsOf(this.#context.store.db, model.name)).at(-1)?.windowMs ?? Number.NEGATIVE_INFINITY
    for (const windowMs of [newest - outdated.windowMs, newest]) {
      const tries = this.#tries.get(`${model.name} ${windowMs}`)
      const mayTry =
        tries === undefined || (tries.count < TRIES_MAX && this.#context.clock.monotonicMs() >= tries.notBeforeMs)
      if (windowMs > last && mayTry) return windowMs
    }
    return null
  }

  async #begin(model: ModelConfig, windowMs: number): Promise<void> {
    const versions = await this.#inService(model.name)
    if (versions.length === 0) return
    const done = this.#measure(model, windowMs, versions)
      .catch((error: unknown) => this.#failed(model.name, windowMs, error))
      .finally(() => {
        this.#reading.delete(model.name)
        this.#context.wake('retirement')
      })
    this.#reading.set(model.name, { versions: versions.map((v) => v.id), done })
  }

  #failed(model: string, windowMs: number, error: unknown): void {
    const key = `${model} ${windowMs}`
    const count = (this.#tries.get(key)?.count ?? 0) + 1
    this.#tries.set(key, { count, notBeforeMs: this.#context.clock.monotonicMs() + RETRY_MS })
    this.#context.log.warn({ model, windowMs, count, why: reasonOf(error) }, 'versions could not be measured again')
  }

  /** Champion, previous and all that is deployed besides, newest first. */
  async #inService(model: string): Promise<Version[]> {
    const { db } = this.#context.store
    const named = await db
      .selectFrom('alias')
      .select('version_id')
      .where('model', '=', model)
      .where('alias', 'in', ['champion', 'previous'])
      .execute()
    const deployed = await db
      .selectFrom('deployment')
      .select('version_id')
      .where('model', '=', model)
      .where('status', '=', 'ready')
      .orderBy('seq', 'desc')
      .execute()
    const beyond = await versionsBeyondUse(db, model)
    const ids = [...new Set([...named, ...deployed].map((r) => r.version_id))].filter((id) => !beyond.has(id))
    const found: Version[] = []
    for (const id of ids.slice(0, VERSIONS_MAX)) {
      const version = await findVersion(db, id)
      if (version !== null && version.signature !== null) found.push(version)
    }
    return found
  }

  async #measure(model: ModelConfig, windowMs: number, versions: Version[]): Promise<void> {
    const { dataDir } = this.#context
    await mkdir(join(dataDir, 'tmp'), { recursive: true })
    const dir = await mkdtemp(join(dataDir, 'tmp', 'reevaluation-'))
    try {
      const output = await this.#run({
        lakeDir: join(dataDir, 'lake'),
        root: this.#context.project()!.project.root,
        model: model.name,
        fromMs: windowMs,
        toMs: windowMs + model.retirement.outdated!.windowMs,
        task: model.task!,
        positive: model.positive,
        loss: model.gate.loss,
        maxRows: ROWS_MAX,
        rowsPath: join(dir, 'rows.parquet'),
        versions: await Promise.all(
          versions.map(async (version) => ({
            ...(await modelToMeasure(this.#context, version, dir)),
            versionId: version.id,
            signature: version.signature!,
            scoreOutput: version.scoreOutput,
          })),
        ),
      })
      await this.#record(model, windowMs, output)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  }

  /** Figures and what they mean for retirement in one transaction. */
  async #record(model: ModelConfig, windowMs: number, output: ReevaluateJobOutput): Promise<void> {
    const { store, clock, log } = this.#context
    const { minRows, margin } = model.retirement.outdated!
    const source = { model: model.name, source: SUSPECTED_DATA, subject: '' }
    await store.transaction(async (tx) => {
      const judged = judgeWindow({
        versions: output.versions,
        rows: output.labelled,
        minRows,
        constantLoss: output.constantLoss,
        margin,
        dataTrouble: output.dataTrouble ?? (await troubledInputs(tx, model.name)),
      })
      const { dataPassed, suspected, verdicts } = judged
      const about = { model: model.name, windowMs, dataPassed, atMs: clock.epochMs() }
      await insertReevaluations(
        tx,
        verdicts.map((verdict) => ({ ...verdict, ...about })),
      )
      if (suspected !== null)
        await raiseAlert(tx, clock, {
          ...source,
          endpoint: model.endpoint,
          versionId: null,
          severity: model.importance === 'critical' ? 'critical' : 'warning',
          why: `nothing of ${model.name} is retired: the labelled data of ${isoDay(windowMs)} is suspected: ${suspected}`,
          figures: {
            windowMs,
            labelled: output.labelled,
            predictions: output.predictions,
            constantLoss: output.constantLoss,
          },
          response: 'tell',
          runbook: null,
        })
      else if (dataPassed)
        await resolveAlert(tx, clock, { ...source, why: `the window of ${isoDay(windowMs)} passed its checks` })
    })
    log.info({ model: model.name, windowMs, labelled: output.labelled }, 'versions were measured on a labelled window')
  }
}

/** Inputs that a monitor finds missing or unknown now: what is measured on them says little of the models. */
async function troubledInputs(db: Transaction<Database>, model: string): Promise<string | null> {
  const firing = await db
    .selectFrom('alert')
    .select(['id', 'source', 'subject'])
    .where('model', '=', model)
    .where('source', 'in', ['missing', 'unseen'])
    .where('status', '=', 'firing')
    .executeTakeFirst()
  return firing === undefined ? null : `${firing.id} is open: ${firing.source} ${firing.subject}`
}

const isoDay = (ms: number) => new Date(ms).toISOString().slice(0, 10)
