import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../kernel/clock.ts'
import type { Enricher } from '../../kernel/features/enricher.ts'
import type { PlacedTable } from '../../kernel/features/feature-source.ts'
import { openEnricher } from '../../kernel/features/open-enricher.ts'
import { ModelRunError } from '../../kernel/model/errors.ts'
import type { OnnxModel } from '../../kernel/model/onnx-model.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { parseInferRequest, ProtocolError } from '../../kernel/protocol/inference.ts'
import type { InferRequest } from '../../kernel/protocol/inference.ts'
import { withoutFolders } from '../front/error-text.ts'
import { createBatcher } from './batcher.ts'
import type { Batcher, BatcherLimits, Waiter, Work } from './batcher.ts'
import type { Isolate } from './decide-isolation.ts'
import { WarmUpError } from './errors.ts'
import { openForServing } from './open-for-serving.ts'
import type { OpenedModel } from './open-for-serving.ts'
import type { Preparer } from './prepare-step.ts'
import { InferenceTotals } from './statistics.ts'
import { verifyFile, verifyWeights } from './verify-files.ts'
import { warmThrough } from './warm-preparer.ts'
import { warmUp } from './warm-up.ts'
import type { WarmUp } from './warm-up.ts'

export interface LoadOrder {
  model: string
  version: string
  path: string
  /** `sha256:<hex>` of the file; null skips the check (`millrace serve`, where nothing was registered). */
  digest: string | null
  /** Digests of the weight files beside it, by the names that the ONNX file uses. */
  externalDigests?: Record<string, string>
  /** Columns of a single `[N, K]` input. Where a step prepares what it is fed: of that step, which knows them itself. */
  features: string[] | null
  /** Tables that give some of its inputs. */
  tables?: readonly PlacedTable[]
  /** Makes what the model is fed of what callers send; whoever gives it ends it. Absent: callers send what it is fed. */
  preparer?: Preparer | undefined
  /** An infer request of the protocol that the model must answer before it counts as ready. */
  warmUpRequest?: object | null
}

/** How the versions of one server run. */
export interface LoadSettings {
  limits: BatcherLimits
  clock: Clock
  isolate: Isolate
  /** How long requests that are under way are waited for when a version is closed. */
  closeMs: number
  tell: TellModel
}

export type TellModel = (level: 'info' | 'warn', message: string, facts: Record<string, unknown>) => void

/** A version in memory, warmed up, behind its own queue. */
export interface LoadedModel {
  readonly model: string
  readonly version: string
  readonly digest: string | null
  /** With what callers send, where tables give some of the inputs; of a step and the model behind it, where there is one. */
  readonly signature: Signature
  /** Null: requests have every input. */
  readonly enricher: Enricher | null
  /** Null: the model is fed what callers send. */
  readonly preparer: Preparer | null
  /** Whether requests are computed together, and why (not). */
  readonly stacking: { stackable: boolean; why: string }
  /** Whether it runs in a process of its own, and why (not). */
  readonly isolation: { pid: number | null; why: string }
  /** Rows of one run at most. */
  readonly maxBatchRows: number
  /** Null while it can compute. */
  readonly downWhy: string | null
  readonly totals: InferenceTotals
  /** Of its answers, JSON and binary; nobody changes them. */
  readonly jsonHeaders: string[]
  readonly binaryHeaders: string[]
  /** Requests that wait, or are computed. */
  readonly underWay: number
  readonly queued: number
  /**
   * @param work - what the parsed request became; its cancellation takes it out of the queue
   * @throws ProtocolError 400 if the model can't compute these values, 500 if it can't compute anything, 503 if too busy
   * or closed, 504 if its time is over
   */
  infer(work: Work): Promise<Record<string, Tensor>>
  /** The same for whom a promise costs too much. */
  enqueue(work: Work, waiter: Waiter): void
  /** Waits until what is under way has been answered, so long at most (`closeMs` unless said), then frees the memory. */
  close(waitMs?: number): Promise<void>
}

/**
 * Verify, load, warm up: ready when this returns.
 * @throws DigestMismatchError, ModelNotServableError, FeatureTableError, WarmUpError, RunProcessError, ServerStartError,
 * ServerMetadataError, PrepareFitError
 */
export async function loadModel(
  order: LoadOrder,
  settings: LoadSettings,
  othersAreServed: boolean,
): Promise<LoadedModel> {
  const { path, digest, preparer } = order
  const features = preparer === undefined ? order.features : null
  if (digest !== null) await verifyFile(path, digest)
  const { tell } = settings
  const facts = { model: order.model, version: order.version }
  const opened = await openForServing({
    path,
    isolate: settings.isolate,
    othersAreServed,
    sampleOf: (model) => sampleOf(order, model),
    options: {
      features,
      beforeRestart: async (model) => {
        if (digest === null) return
        await verifyFile(path, digest)
        await verifyWeights(order, model)
      },
      onDown: (why) => tell('warn', "the model's process is down", { ...facts, why }),
      onUp: () => tell('info', "the model's process is up again", facts),
    },
  })
  try {
    if (digest !== null) await verifyWeights(order, opened.model)
    const before = await openBefore(order, opened.model.signature, settings.clock)
    const warm = await warm_(order, opened.model)
    if (preparer !== undefined) await warmPreparer(order, preparer, before.signature, opened.model, tell)
    return new BatchedModel(order, opened, warm, before, settings)
  } catch (error) {
    await opened.model.close()
    throw error
  }
}

/** What stands before the model, and what callers send therefore. */
interface Before {
  signature: Signature
  enricher: Enricher | null
}

async function openBefore({ tables = [], preparer }: LoadOrder, model: Signature, clock: Clock): Promise<Before> {
  if (preparer !== undefined) return { signature: await preparer.open(model), enricher: null }
  const enricher = tables.length === 0 ? null : await openEnricher(tables, model, clock)
  return { signature: enricher?.signature ?? model, enricher }
}

async function warm_(order: LoadOrder, model: OnnxModel): Promise<WarmUp> {
  const sample = sampleOf(order, model)
  try {
    return await warmUp(model, sample)
  } catch (cause) {
    throw new WarmUpError(`${order.model}@${order.version}`, cause)
  }
}

/** First requests are slow here too. @throws WarmUpError */
async function warmPreparer(
  order: LoadOrder,
  preparer: Preparer,
  signature: Signature,
  model: OnnxModel,
  tell: TellModel,
): Promise<void> {
  const facts = { model: order.model, version: order.version }
  try {
    const why = await warmThrough(preparer, signature, model)
    if (why !== null) tell('info', 'made-up rows were refused while it was warmed up', { ...facts, why })
  } catch (cause) {
    throw new WarmUpError(`${order.model}@${order.version}`, cause)
  }
}

/** @throws WarmUpError */
function sampleOf(order: LoadOrder, model: OnnxModel): Record<string, Tensor> | null {
  try {
    return order.warmUpRequest ? parseInferRequest(order.warmUpRequest, model.signature).inputs : null
  } catch (cause) {
    throw new WarmUpError(`${order.model}@${order.version}`, cause)
  }
}

/** A run elsewhere blocks nobody here: larger batches are worth their wait. */
const ISOLATED_RUN_FACTOR = 4
/** A broken model is not asked again and again whether it still works. */
const JUDGED_MS = 1_000

class BatchedModel implements LoadedModel {
  readonly model: string
  readonly version: string
  readonly digest: string | null
  readonly signature: Signature
  readonly enricher: Enricher | null
  readonly preparer: Preparer | null
  readonly stacking: { stackable: boolean; why: string }
  readonly maxBatchRows: number
  readonly totals = new InferenceTotals()
  readonly jsonHeaders: string[]
  readonly binaryHeaders: string[]
  readonly #opened: OpenedModel
  readonly #known: Record<string, Tensor> | null
  readonly #settings: LoadSettings
  readonly #batcher: Batcher
  #worksUntilMs = 0

  constructor(order: LoadOrder, opened: OpenedModel, warm: WarmUp, before: Before, settings: LoadSettings) {
    const { model } = opened
    const { limits, clock } = settings
    const blocking = opened.isolated === null
    this.model = order.model
    this.version = order.version
    this.digest = order.digest
    this.signature = before.signature
    this.enricher = before.enricher
    this.preparer = order.preparer ?? null
    this.stacking = { stackable: warm.stackable, why: warm.why }
    this.maxBatchRows = warm.stackable ? limits.maxBatchRows : 0
    this.jsonHeaders = headersOf('application/json', order.version)
    this.binaryHeaders = headersOf('application/octet-stream', order.version)
    this.#opened = opened
    this.#known = warm.known
    this.#settings = settings
    this.#batcher = createBatcher({
      run: (inputs, outputs) => model.run(inputs, outputs),
      stackable: warm.stackable,
      hasDynamicAxes: model.signature.inputs.some(({ shape }) => shape.lastIndexOf(-1) > 0),
      blocking,
      limits: blocking ? limits : { ...limits, targetRunMs: limits.targetRunMs * ISOLATED_RUN_FACTOR },
      clock,
      onRun: (rows) => this.totals.countRun(rows),
      judge: (error) => this.#judge(error),
    })
  }

  get isolation(): { pid: number | null; why: string } {
    return { pid: this.#opened.isolated?.pid ?? null, why: this.#opened.why }
  }

  get downWhy(): string | null {
    return this.preparer?.downWhy ?? this.#opened.isolated?.downWhy ?? null
  }

  get queued(): number {
    return this.#batcher.queued
  }

  get underWay(): number {
    return this.#batcher.underWay
  }

  infer(work: Work): Promise<Record<string, Tensor>> {
    return this.#batcher.submit(work)
  }

  enqueue(work: Work, waiter: Waiter): void {
    this.#batcher.enqueue(work, waiter)
  }

  /** Whose fault is it? If inputs that worked before still work, it is the values of this request. */
  async #judge(error: unknown): Promise<unknown> {
    if (!(error instanceof ModelRunError)) return error
    const text = withoutFolders(error.cause instanceof Error ? error.cause.message : error.message)
    if (this.#known === null) return new ProtocolError(500, `The model failed: ${text}`, error)
    const wrongValues = new ProtocolError(400, `The model can't compute these values: ${text}`, error)
    const { clock } = this.#settings
    if (clock.monotonicMs() < this.#worksUntilMs) return wrongValues
    try {
      await this.#opened.model.run(this.#known)
      this.#worksUntilMs = clock.monotonicMs() + JUDGED_MS
      return wrongValues
    } catch (again) {
      if (again instanceof ProtocolError) return again // its process is gone
      return new ProtocolError(500, `The model fails on every input: ${text}`, again)
    }
  }

  async close(waitMs = this.#settings.closeMs): Promise<void> {
    const { clock } = this.#settings
    const giveUpAtMs = clock.monotonicMs() + waitMs
    while (this.underWay > 0 && clock.monotonicMs() < giveUpAtMs) await sleep(5)
    this.#batcher.close(`Model '${this.model}' version '${this.version}' was unloaded`)
    await this.#opened.model.close()
  }
}

function headersOf(contentType: string, version: string): string[] {
  const headers = ['Content-Type', contentType, 'millrace-model-version', headerText(version)]
  return Object.freeze(headers) as string[]
}

/** Header values are ASCII; anything else is percent-encoded. */
function headerText(text: string): string {
  return /^[\x21-\x7e]+$/.test(text) ? text : encodeURIComponent(text)
}

/** What the queue needs of a parsed request. `timeout` is in µs, as the protocol has it. */
export function workOf({ inputs, rows, outputs, timeoutMicros }: InferRequest, nowMs: number): Work {
  return { inputs, rows, outputs, deadlineMs: timeoutMicros ? nowMs + timeoutMicros / 1_000 : null }
}
