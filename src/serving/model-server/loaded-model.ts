import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Clock } from '../../kernel/clock.ts'
import { ModelNotServableError, ModelRunError } from '../../kernel/model/errors.ts'
import { openModel } from '../../kernel/model/onnx-model.ts'
import type { OnnxModel } from '../../kernel/model/onnx-model.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { parseInferRequest, ProtocolError } from '../../kernel/protocol/inference.ts'
import type { InferRequest } from '../../kernel/protocol/inference.ts'
import { createBatcher } from './batcher.ts'
import type { Batcher, BatcherLimits, Work } from './batcher.ts'
import { DigestMismatchError, WarmUpError } from './errors.ts'
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
  /** Columns of a single `[N, K]` input. */
  features: string[] | null
  /** An infer request of the protocol that the model must answer before it counts as ready. */
  warmUpRequest?: object | null
}

/** A version in memory, warmed up, behind its own queue. */
export interface LoadedModel {
  readonly model: string
  readonly version: string
  readonly digest: string | null
  readonly signature: Signature
  /** Whether requests are computed together, and why (not). */
  readonly stacking: { stackable: boolean; why: string }
  readonly queued: number
  /**
   * @param work - what the parsed request became; mark it `abandoned` when its client leaves
   * @throws ProtocolError 400 if the model can't compute these values, 500 if it can't compute anything, 503 if too busy
   */
  infer(work: Work): Promise<Record<string, Tensor>>
  close(): Promise<void>
}

/**
 * Verify, load, warm up: ready when this returns.
 * @throws DigestMismatchError, ModelNotServableError, WarmUpError
 */
export async function loadModel(order: LoadOrder, limits: BatcherLimits, clock: Clock): Promise<LoadedModel> {
  if (order.digest !== null) await verify(order.path, order.digest)
  const model = await openModel(order.path, { features: order.features })
  try {
    if (order.digest !== null) await verifyExternal(order, model)
    const warm = await warm_(order, model)
    return new BatchedModel(order, model, warm, limits, clock)
  } catch (error) {
    await model.close()
    throw error
  }
}

async function verify(path: string, digest: string): Promise<void> {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(path), hash)
  } catch (cause) {
    throw new ModelNotServableError({
      code: 'MR_MODEL_MISSING',
      message: `Cannot read the model ${path}: ${(cause as Error).message}.`,
      fix: 'Restore the artifact from a backup, or train the version again.',
      cause,
    })
  }
  const actual = `sha256:${hash.digest('hex')}`
  if (actual !== digest) throw new DigestMismatchError(path, digest, actual)
}

async function verifyExternal({ path, externalDigests = {} }: LoadOrder, model: OnnxModel): Promise<void> {
  for (const file of model.facts.externalFiles) {
    const digest = externalDigests[file]
    if (digest === undefined) {
      throw new ModelNotServableError({
        code: 'MR_MODEL_EXTERNAL_DATA',
        message: `${path} keeps weights in '${file}', which was not registered with it.`,
        fix: 'Export the model as one file (external_data=False).',
      })
    }
    await verify(join(dirname(path), file), digest)
  }
}

async function warm_(order: LoadOrder, model: OnnxModel): Promise<WarmUp> {
  try {
    const sample = order.warmUpRequest ? parseInferRequest(order.warmUpRequest, model.signature).inputs : null
    return await warmUp(model, sample)
  } catch (cause) {
    throw new WarmUpError(`${order.model}@${order.version}`, cause)
  }
}

class BatchedModel implements LoadedModel {
  readonly model: string
  readonly version: string
  readonly digest: string | null
  readonly signature: Signature
  readonly stacking: { stackable: boolean; why: string }
  readonly #model: OnnxModel
  readonly #known: Record<string, Tensor> | null
  readonly #batcher: Batcher

  constructor(order: LoadOrder, model: OnnxModel, warm: WarmUp, limits: BatcherLimits, clock: Clock) {
    this.model = order.model
    this.version = order.version
    this.digest = order.digest
    this.signature = model.signature
    this.stacking = { stackable: warm.stackable, why: warm.why }
    this.#model = model
    this.#known = warm.known
    this.#batcher = createBatcher({
      run: (inputs, outputs) => model.run(inputs, outputs),
      stackable: warm.stackable,
      hasDynamicAxes: model.signature.inputs.some(({ shape }) => shape.lastIndexOf(-1) > 0),
      limits,
      clock,
    })
  }

  get queued(): number {
    return this.#batcher.queued
  }

  async infer(work: Work): Promise<Record<string, Tensor>> {
    try {
      return await this.#batcher.submit(work)
    } catch (error) {
      throw error instanceof ModelRunError ? await this.#judge(error) : error
    }
  }

  /** Whose fault is it? If inputs that worked before still work, it is the values of this request. */
  async #judge(error: ModelRunError): Promise<ProtocolError> {
    const text = error.cause instanceof Error ? error.cause.message : error.message
    if (this.#known === null) return new ProtocolError(500, `The model failed: ${text}`, error)
    try {
      await this.#model.run(this.#known)
      return new ProtocolError(400, `The model can't compute these values: ${text}`, error)
    } catch (again) {
      return new ProtocolError(500, `The model fails on every input: ${text}`, again)
    }
  }

  async close(): Promise<void> {
    await this.#model.close()
  }
}

/** What the queue needs of a parsed request. `timeout` is in µs, as the protocol has it. */
export function workOf(request: InferRequest, nowMs: number): Work {
  const { timeout } = request.parameters
  const deadlineMs = typeof timeout === 'number' && timeout > 0 ? nowMs + timeout / 1_000 : null
  return { inputs: request.inputs, rows: request.rows, outputs: request.outputs, deadlineMs }
}
