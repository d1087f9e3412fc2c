import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../kernel/clock.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import { errnoOf } from '../../kernel/runtime/system-error.ts'
import { PrepareAnswerError } from '../../kernel/server/errors.ts'
import { prepareBody, verdictOf } from '../../kernel/server/prepare-exchange.ts'
import { preparedSignature } from '../../kernel/server/prepare-fit.ts'
import { servedSignature } from '../../kernel/server/served-model.ts'
import type { PreparePlan } from '../../kernel/server/server-plan.ts'
import { describeEnd, startServer, type ServerProcess } from '../../kernel/server/server-process.ts'
import { v2Client, type V2Answer, type V2Client } from '../../kernel/server/v2-client.ts'
import type { Work } from './batcher.ts'

type Tensors = Record<string, Tensor>

/** What a request needs of the step: its inputs as callers sent them, and how long the caller waits. */
export type ToPrepare = Pick<Work, 'inputs' | 'rows' | 'deadlineMs' | 'cancellation'>

/** Makes what a model is fed of what callers send. */
export interface Preparer {
  /**
   * Waits until it can be asked, and proves that it fits the model.
   * @returns what callers send, and what the model gives
   * @throws ServerStartError, ServerMetadataError, PrepareFitError
   */
  open(model: Signature): Promise<Signature>
  /** Null while it can be asked. */
  readonly downWhy: string | null
  /**
   * @returns every input of the model, with as many rows
   * @throws ProtocolError 400 or 413 for values that it refuses, 500 for an answer that is of no use, 503 where it is
   * gone, too busy or the caller has left, 504 where it takes too long
   */
  prepare(asked: ToPrepare): Promise<Tensors>
}

export interface PrepareLimits {
  /** Requests at once; more wait for one of these connections. */
  connections: number
  /** Requests that are asked or wait; more are refused with 503. */
  underWay: number
  /** Bytes of all of them together, in JSON; what would be more is refused with 503, unless it is alone. */
  bytes: number
  /** Of one request in JSON, and of its answer. */
  bodyBytes: number
  /** A step that does not say that it is ready for so long hangs. Long: it may be busy with a request. */
  hungMs: number
}

export const prepareLimits: PrepareLimits = {
  connections: 32,
  underWay: 1_024,
  bytes: 256 * 1024 * 1024,
  bodyBytes: 64 * 1024 * 1024,
  hungMs: 30_000,
}

export interface PrepareParts {
  /** Names of the columns of a single `[N, K]` input of the step. */
  features: string[] | null
  /** It has ended, or hangs, and was not told to stop; once. By then it is being killed. */
  onLost: (why: string) => void
  limits?: Partial<PrepareLimits>
  clock?: Clock
}

const WATCH_MS = 1_000

/**
 * A command of the user's own that stands before the model of a replica:
 *
 *   request ─▶ waits for a connection ─▶ POST /v2/models/<name>/infer ─▶ checked against the model's inputs ─▶ fed
 *
 * It is started once. One that ends or hangs is lost, and its replica with it: whoever stays behind half of a pair could
 * only refuse.
 */
export class PrepareStep implements Preparer {
  readonly #plan: PreparePlan
  readonly #parts: PrepareParts
  readonly #limits: PrepareLimits
  readonly #clock: Clock
  readonly #server: ServerProcess
  readonly #client: V2Client
  readonly #path: string
  #model: Signature | null = null
  #downWhy: string | null = null
  #isOpen = false
  #isStopping = false
  #underWay = 0
  #bytes = 0

  /** @throws SpawnError where there is no /bin/sh or no such folder */
  static async start(plan: PreparePlan, parts: PrepareParts): Promise<PrepareStep> {
    return new PrepareStep(plan, parts, await startServer(plan))
  }

  private constructor(plan: PreparePlan, parts: PrepareParts, server: ServerProcess) {
    this.#plan = plan
    this.#parts = parts
    this.#limits = { ...prepareLimits, ...parts.limits }
    this.#clock = parts.clock ?? systemClock
    this.#server = server
    this.#path = `/v2/models/${encodeURIComponent(plan.modelName)}/infer`
    const { connections, bodyBytes: answerMaxBytes } = this.#limits
    this.#client = v2Client(server.httpPort, { connections, answerMaxBytes, asksAgain: true })
    void server.exited.then((end) => this.#lost(`its preparing step has ended with ${describeEnd(end)}`))
  }

  get pid(): number {
    return this.#server.pid
  }

  get downWhy(): string | null {
    return this.#downWhy
  }

  async open(model: Signature): Promise<Signature> {
    const { modelName, role } = this.#plan
    await this.#server.ready()
    const said = await servedSignature(this.#client, modelName, this.#parts.features, role)
    const signature = preparedSignature(said, model)
    this.#model = model
    this.#isOpen = true
    void this.#watch()
    return signature
  }

  async prepare(asked: ToPrepare): Promise<Tensors> {
    const { inputs, rows } = asked
    if (this.#downWhy !== null) throw new ProtocolError(503, `The model can't be fed: ${this.#downWhy}`)
    this.#admit()
    const body = bodyOf(inputs)
    this.#admitBytes(body.length)
    this.#underWay += 1
    this.#bytes += body.length
    try {
      return fedOf(await this.#ask(body, asked), this.#model!, rows)
    } finally {
      this.#underWay -= 1
      this.#bytes -= body.length
    }
  }

  /** SIGTERM, and SIGKILL once `graceMs` are over. May be called again. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true
    this.#downWhy ??= 'its preparing step was stopped'
    await this.#server.stop(graceMs)
    this.#client.close()
  }

  #admit(): void {
    if (this.#underWay >= this.#limits.underWay)
      throw new ProtocolError(503, `${this.#underWay} requests wait for the preparing step already`)
  }

  #admitBytes(bytes: number): void {
    const limits = this.#limits
    if (bytes > limits.bodyBytes)
      throw new ProtocolError(
        413,
        `The request has ${bytes} bytes in JSON, as the preparing step is asked, of ${limits.bodyBytes} at most`,
      )
    if (this.#underWay > 0 && this.#bytes + bytes > limits.bytes)
      throw new ProtocolError(503, `Requests of ${this.#bytes} bytes wait for the preparing step already`)
  }

  /** One request, until it is answered, its time is over or its caller has left. */
  async #ask(body: Buffer, { deadlineMs, cancellation }: ToPrepare): Promise<V2Answer> {
    const { timeoutMs } = this.#plan
    const leftMs = deadlineMs === null ? Infinity : deadlineMs - this.#clock.monotonicMs()
    const waitMs = Math.max(1, Math.min(timeoutMs, leftMs))
    const given = new AbortController()
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      given.abort()
    }, waitMs)
    cancellation?.onCancel(() => given.abort())
    try {
      return await this.#client.post(this.#path, body, null, 2 * waitMs + WATCH_MS, given.signal)
    } catch (error) {
      if ((cancellation?.reason ?? null) !== null)
        throw new ProtocolError(503, 'The request was taken back before it was prepared', error)
      if (isLate && leftMs <= timeoutMs)
        throw new ProtocolError(504, 'The request was not prepared within its timeout', error)
      if (isLate) throw new ProtocolError(504, `The preparing step did not answer within ${timeoutMs} ms`, error)
      throw this.#broken(error)
    } finally {
      clearTimeout(timer)
      cancellation?.onCancel(null)
    }
  }

  /** Where nobody answers any more another replica may; what speaks, and not the protocol, is at fault itself. */
  #broken(error: unknown): ProtocolError {
    const code = errnoOf(error)
    const isGone = this.#downWhy !== null || (code !== null && UNREACHABLE.has(code))
    if (isGone) return new ProtocolError(503, `The preparing step can't be reached (${code ?? this.#downWhy})`, error)
    return new ProtocolError(500, `The preparing step can't be understood: ${messageOf(error)}`, error)
  }

  /** Until it is lost or stopped. */
  async #watch(): Promise<void> {
    const { hungMs } = this.#limits
    let seenMs = performance.now()
    while (this.#downWhy === null) {
      await sleep(Math.min(WATCH_MS, hungMs), undefined, { ref: false })
      if (await this.#server.isReady()) seenMs = performance.now()
      else if (performance.now() - seenMs > hungMs)
        return this.#lost(`its preparing step has not said that it is ready for ${hungMs / 1_000} s`)
    }
  }

  /** One that never got ready is told of by `open`, with its last words. */
  #lost(why: string): void {
    if (this.#isStopping || this.#downWhy !== null) return
    this.#downWhy = why
    this.#client.close()
    void this.#server.stop(0)
    if (this.#isOpen) this.#parts.onLost(why)
  }
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT'])

/** @throws ProtocolError 400 */
function bodyOf(inputs: Tensors): Buffer {
  try {
    return prepareBody(inputs)
  } catch (error) {
    if (error instanceof PrepareAnswerError) throw new ProtocolError(400, upper(error.why), error)
    throw error
  }
}

/** @throws ProtocolError */
function fedOf(answer: V2Answer, model: Signature, rows: number): Tensors {
  const verdict = verdictOf(answer, model, rows)
  switch (verdict.kind) {
    case 'fed':
      return verdict.fed
    case 'refused':
      throw new ProtocolError(verdict.status, verdict.why)
    case 'busy':
      throw new ProtocolError(503, `The preparing step is busy: ${verdict.why}`)
    case 'failed':
      throw new ProtocolError(500, verdict.error.message, verdict.error)
  }
}

const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
