import type { Clock } from '../../kernel/clock.ts'
import { FED_HEADER, FEED_HEADER, fedHeader } from '../../kernel/contract/fed.ts'
import type { Enricher } from '../../kernel/features/enricher.ts'
import {
  encodeInferAnswer,
  encodeInferRequestBody,
  isLargeAnswer,
  isLargeJson,
  largeAnswer,
  parseInferRequest,
  parseLargeRequest,
  ProtocolError,
} from '../../kernel/protocol/inference.ts'
import type { BodyForm, EncodedBody, InferRequest, InferResponse } from '../../kernel/protocol/inference.ts'
import type { InferAnswer, InferCall } from '../front/data-plane.ts'
import { processTurns } from '../front/in-turns.ts'
import { hopOf, newTrace, RETURN_TRACE, textOf, traceText } from '../front/trace-context.ts'
import type { Tensors, Waiter, Work } from './batcher.ts'
import type { LoadedModel } from './loaded-model.ts'
import type { Preparer } from './prepare-step.ts'

/**
 * One request on its way through a model: read, queued, computed, written. It waits in the queue itself instead of
 * behind promises, and counts where its time went. Neither `resolve` nor `reject` ever throws: the batcher calls them
 * between the answers of others.
 */
export class OneInference implements Waiter {
  readonly #loaded: LoadedModel
  readonly #call: InferCall
  readonly #clock: Clock
  readonly #answered: (answer: InferAnswer | null) => void
  readonly #failed: (error: unknown) => void
  readonly #arrivedMs: number
  #request: InferRequest | null = null
  /** What the model is fed, where whoever asks wants to know it. */
  #fed: Tensors | null = null
  #work: Work | null = null
  #isOver = false

  constructor(
    loaded: LoadedModel,
    call: InferCall,
    clock: Clock,
    answered: (answer: InferAnswer | null) => void,
    failed: (error: unknown) => void,
  ) {
    this.#loaded = loaded
    this.#call = call
    this.#clock = clock
    this.#answered = answered
    this.#failed = failed
    this.#arrivedMs = clock.monotonicMs()
  }

  begin(): void {
    const { body, jsonBytes } = this.#call
    if (isLargeJson(body, jsonBytes)) void this.#beginLarge()
    else this.#begin(body, this.#call)
  }

  /** @param body - as parseInferRequest takes it */
  #begin(body: Uint8Array | object, form: BodyForm): void {
    try {
      const { enricher } = this.#loaded
      if (enricher === null) this.#request = parseInferRequest(body, this.#loaded.signature, form)
      else this.#request = this.#enriched(enricher, body, form)
      this.#work = this.#workOf(this.#request)
    } catch (error) {
      return this.reject(error)
    }
    const { preparer } = this.#loaded
    if (preparer === null) this.#loaded.enqueue(this.#work, this)
    else void this.#enqueuePrepared(preparer, this.#work)
  }

  /** Never rejects. */
  async #enqueuePrepared(preparer: Preparer, asked: Work): Promise<void> {
    try {
      const fed = await preparer.prepare(asked)
      if (this.#call.headers[FEED_HEADER] !== undefined) this.#fed = fed
      this.#work = { ...asked, inputs: fed, queuedMs: this.#clock.monotonicMs() }
    } catch (error) {
      return this.reject(error)
    }
    this.#loaded.enqueue(this.#work, this)
  }

  /** Never rejects. */
  async #beginLarge(): Promise<void> {
    const { body, cancellation, timeoutMs } = this.#call
    const waitsMs = shortest(timeoutMs, null, headerMs(this.#call)) ?? Infinity
    const isWanted = (): boolean =>
      cancellation.reason === null && this.#clock.monotonicMs() - this.#arrivedMs < waitsMs
    try {
      const read = await processTurns.run(parseLargeRequest(body, this.#loaded.signature, this.#call), isWanted)
      if (read === null) this.reject(new ProtocolError(504, 'The request was not read within its timeout'))
      else this.#begin(read.json, read.form)
    } catch (error) {
      this.reject(error)
    }
  }

  resolve(outputs: Tensors): void {
    if (this.#isOver) return
    try {
      const { binaryOutputs } = this.#request!
      if (this.#call.cancellation.reason !== null) this.#conclude(null)
      else if (isLargeAnswer(outputs, binaryOutputs)) void this.#resolveLarge(outputs)
      else {
        const encodingMs = this.#clock.monotonicMs()
        this.#conclude(this.#answerOf(encodeInferAnswer(this.#answerToEncode(outputs), binaryOutputs), encodingMs))
      }
    } catch (error) {
      this.reject(error)
    }
  }

  /** Never rejects. */
  async #resolveLarge(outputs: Tensors): Promise<void> {
    const { cancellation } = this.#call
    const encodingMs = this.#clock.monotonicMs()
    try {
      const steps = largeAnswer(this.#answerToEncode(outputs), this.#request!.binaryOutputs)
      const encoded = await processTurns.run(steps, () => cancellation.reason === null && !this.#isOver)
      if (!this.#isOver) this.#conclude(encoded === null ? null : this.#answerOf(encoded, encodingMs))
    } catch (error) {
      this.reject(error)
    }
  }

  #conclude(answer: InferAnswer | null): void {
    this.#isOver = true
    this.#answered(answer)
  }

  reject(error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#call.cancellation.reason !== null) return this.#answered(null)
    this.#loaded.totals.countFailure(this.#clock.monotonicMs() - this.#arrivedMs)
    this.#failed(error)
  }

  #enriched(enricher: Enricher, body: Uint8Array | object, form: BodyForm): InferRequest {
    const { request, fed } = enricher.read(body, form)
    if (this.#call.headers[FEED_HEADER] !== undefined) this.#fed = fed
    return request
  }

  #workOf({ inputs, rows, outputs, timeoutMicros }: InferRequest): Work {
    const { cancellation, timeoutMs } = this.#call
    const saidMs = timeoutMicros === null ? null : timeoutMicros / 1_000
    const waitsMs = shortest(timeoutMs, saidMs, headerMs(this.#call))
    const deadlineMs = waitsMs === null ? null : this.#arrivedMs + waitsMs
    return { inputs, rows, outputs, deadlineMs, cancellation, queuedMs: this.#clock.monotonicMs() }
  }

  #answerToEncode(outputs: Tensors): InferResponse {
    const { model: modelName, version: modelVersion } = this.#loaded
    return { modelName, modelVersion, id: this.#request!.id, outputs }
  }

  #answerOf({ body, jsonBytes }: EncodedBody, encodingMs: number): InferAnswer {
    const { totals, jsonHeaders, binaryHeaders } = this.#loaded
    const { queuedMs = 0, startedMs = 0, endedMs = 0 } = this.#work!
    const encodedMs = this.#clock.monotonicMs()
    totals.countSuccess({ arrivedMs: this.#arrivedMs, queuedMs, startedMs, endedMs, encodingMs, encodedMs })
    const headers = jsonBytes === null ? jsonHeaders : binaryHeaders
    if (this.#fed !== null) return answerWithFed({ status: 200, headers, body, jsonBytes }, this.#fed)
    if (this.#call.headers[RETURN_TRACE] === undefined) return { status: 200, headers, body, jsonBytes }
    return { status: 200, headers: [...headers, 'traceresponse', traceOf(this.#call)], body, jsonBytes }
  }
}

/** For a gateway: see kernel/contract/fed.ts. */
function answerWithFed(answer: InferAnswer, fed: Tensors): InferAnswer {
  const made = encodeInferRequestBody({ inputs: fed }, { binaryInputs: 'all' })
  const headers = [...answer.headers, FED_HEADER, fedHeader(made)]
  return { ...answer, headers, body: Buffer.concat([answer.body, made.body]) }
}

/** The context of this server's own hop, for a client that asks for it: there is nobody further to hand it on to. */
function traceOf({ headers }: InferCall): string {
  const parent = textOf(headers['traceparent'])
  return traceText(parent === undefined ? newTrace() : hopOf(parent, textOf(headers['tracestate'])))
}

/** How long the client waits, where it says so in a header. */
const TIMEOUT_HEADER = 'x-request-timeout-ms'

function headerMs({ headers }: InferCall): number | null {
  const said = headers[TIMEOUT_HEADER]
  return typeof said === 'string' && /^\d{1,9}$/.test(said) ? Number(said) : null
}

/** Of those that are there; 0 stands for no limit. */
function shortest(a: number | null | undefined, b: number | null, c: number | null): number | null {
  let least: number | null = null
  if (a) least = a
  if (b && (least === null || b < least)) least = b
  if (c && (least === null || c < least)) least = c
  return least
}
