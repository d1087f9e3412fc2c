import type { EventEmitter } from 'node:events'
import { Metadata } from '@grpc/grpc-js'
import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js'
import { EXTENSIONS, modelConfig, ProtocolError, statisticsBody } from '../../../kernel/protocol/inference.ts'
import { messageOf } from '../../../kernel/errors.ts'
import type { TensorSpec } from '../../../kernel/model/signature.ts'
import { errorAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import { Cancellation } from '../cancellation.ts'
import type { DataPlane, InferAnswer } from '../data-plane.ts'
import type { OnDone } from '../http/http-front.ts'
import type { CallerOf, KnownCaller } from '../rest/extras.ts'
import { heardOf } from '../rest/heard-of.ts'
import type { Tell } from '../tell.ts'
import { headOf, metadataOf, timeoutMsOf } from './call-facts.ts'
import type { AnyCall } from './call-facts.ts'
import { bodyOfRequest, responseOf } from './infer-messages.ts'
import type { ModelInferRequest, ModelInferResponse, ModelStreamInferResponse } from './messages.ts'
import { CallError, cancelled, errorOf } from './status.ts'

export interface ServiceParts {
  plane: DataPlane
  /** Who calls, or why that one may not. Absent: everybody is `anonymous`. */
  callerOf?: CallerOf
  isDraining: () => boolean
  underWay: UnderWay
  /** Requests of one stream that are worked on at once; more are read once answers have left. */
  perStream: number
  tell: Tell
  /** Told of every inference once it is answered, under the status that HTTP has for it. */
  onDone?: OnDone | undefined
}

/** What is being answered, so that it can be counted, limited, and given up at the end. */
export class UnderWay {
  readonly #cancellations = new Set<Cancellation>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  get count(): number {
    return this.#cancellations.size
  }

  /** @throws ProtocolError 503 */
  begin(): Cancellation {
    if (this.#cancellations.size >= this.#limit) {
      throw new ProtocolError(503, `More than ${this.#limit} calls are being answered already`)
    }
    const cancellation = new Cancellation()
    this.#cancellations.add(cancellation)
    return cancellation
  }

  end(cancellation: Cancellation): void {
    this.#cancellations.delete(cancellation)
  }

  cancelAll(): void {
    for (const cancellation of this.#cancellations) cancellation.cancel('shutdown')
  }
}

interface ByName {
  name: string
  version: string
}

/** The methods of `inference.GRPCInferenceService` over a data plane. */
export function inferenceService(parts: ServiceParts): UntypedServiceImplementation {
  const { plane, isDraining } = parts
  const versionOf = (version: string): string | null => (version === '' ? null : version)
  return {
    ServerLive: unary(parts, () => ({ live: true })),
    ServerReady: unary(parts, () => ({ ready: !isDraining() && plane.readiness().ready })),
    ModelReady: unary(parts, ({ name, version }: ByName, call) => {
      callerOf(parts, call, name)
      return { ready: !isDraining() && plane.modelReadiness(name, versionOf(version)).ready }
    }),
    ServerMetadata: unary(parts, (_request, call) => {
      callerOf(parts, call, null)
      return { ...plane.server, extensions: EXTENSIONS }
    }),
    ModelMetadata: unary(parts, ({ name, version }: ByName, call) => {
      callerOf(parts, call, name)
      const { signature, ...facts } = plane.describe(name, versionOf(version))
      return { ...facts, inputs: signature.inputs.map(tensorMetadata), outputs: signature.outputs.map(tensorMetadata) }
    }),
    ModelConfig: unary(parts, ({ name, version }: ByName, call) => {
      callerOf(parts, call, name)
      return { config: modelConfig(plane.describe(name, versionOf(version))) }
    }),
    ModelStatistics: unary(parts, ({ name, version }: ByName, call) => {
      const { endpoints } = callerOf(parts, call, versionOf(name))
      const heard = name === '' ? endpoints : null
      return statisticsBody(heardOf(heard, plane.statistics(versionOf(name), versionOf(version)), (each) => each.name))
    }),
    RepositoryIndex: unary(parts, ({ ready }: { ready: boolean }, call) => {
      const { endpoints } = callerOf(parts, call, null)
      return { models: heardOf(endpoints, plane.repository.index(ready), (each) => each.name) }
    }),
    RepositoryModelLoad: unary(parts, async ({ model_name, parameters }: RepositoryRequest, call) => {
      callerOf(parts, call, model_name)
      const given = Object.keys(parameters)
      if (given.length > 0) throw new ProtocolError(400, `Models are loaded as they are: without '${given[0]}'`)
      await plane.repository.load(model_name)
      return {}
    }),
    RepositoryModelUnload: unary(parts, async ({ model_name }: RepositoryRequest, call) => {
      callerOf(parts, call, model_name)
      await plane.repository.unload(model_name)
      return {}
    }),
    ModelInfer: (call: ServerUnaryCall<ModelInferRequest, ModelInferResponse>, callback: sendUnaryData<unknown>) =>
      void answerInfer(parts, call, callback),
    ModelStreamInfer: (call: ServerDuplexStream<ModelInferRequest, ModelStreamInferResponse>) =>
      answerStream(parts, call),
  }
}

interface RepositoryRequest {
  model_name: string
  parameters: object
}

const tensorMetadata = ({ name, datatype, shape }: TensorSpec) => ({ name, datatype, shape })

type Unary<Request> = (call: ServerUnaryCall<Request, unknown>, callback: sendUnaryData<unknown>) => void

function unary<Request>(
  { tell }: ServiceParts,
  answer: (request: Request, call: ServerUnaryCall<Request, unknown>) => object | Promise<object>,
): Unary<Request> {
  const run = async (call: ServerUnaryCall<Request, unknown>, callback: sendUnaryData<unknown>): Promise<void> => {
    try {
      callback(null, await answer(call.request, call))
    } catch (error) {
      callback(callError(error, tell))
    }
  }
  return (call, callback) => void run(call, callback)
}

function callError(error: unknown, tell: Tell): CallError {
  if (error instanceof CallError) return error
  if (error instanceof ProtocolError) return new CallError(error.status, error.message)
  tell('error', 'a call failed inside the server', { error: messageOf(error) })
  return new CallError(500, 'The server failed; its log says why.')
}

/** @throws CallError UNAUTHENTICATED, PERMISSION_DENIED */
function callerOf({ callerOf: identify }: ServiceParts, call: AnyCall, name: string | null): KnownCaller {
  const caller = identify?.(headOf(call), name) ?? { kind: 'caller', name: 'anonymous' }
  if (caller.kind === 'answer') throw errorOf(caller.answer)
  return caller
}

async function answerInfer(
  parts: ServiceParts,
  call: ServerUnaryCall<ModelInferRequest, ModelInferResponse>,
  callback: sendUnaryData<unknown>,
): Promise<void> {
  try {
    const answer = await infer(parts, call, call.request)
    const metadata = metadataOf(answer, new Metadata())
    if (answer.status >= 300) callback(Object.assign(errorOf(answer), { metadata }))
    else {
      call.sendMetadata(metadata)
      callback(null, responseOf(answer))
    }
    answer.afterSent?.()
  } catch (error) {
    callback(callError(error, parts.tell))
  }
}

const INFER_TARGET = '/inference.GRPCInferenceService/ModelInfer'
/** A client that has left: nobody is answered. */
const CLIENT_LEFT = 499

/** What is known of a request as soon as it is let in. */
interface Begun {
  cancellation: Cancellation
  bytesIn: number
}

/** @throws ProtocolError, CallError */
async function infer(parts: ServiceParts, call: AnyCall, request: ModelInferRequest): Promise<InferAnswer> {
  const { onDone } = parts
  const begun: Begun = { cancellation: NOBODY, bytesIn: 0 }
  if (onDone === undefined) return inferNow(parts, call, request, begun)
  const beganMs = performance.now()
  const done = (answer: Answer): void => {
    const { cancellation, bytesIn } = begun
    onDone({ ...headOf(call), target: INFER_TARGET, cancellation }, answer, bytesIn, performance.now() - beganMs)
  }
  try {
    const answer = await inferNow(parts, call, request, begun)
    done(answer)
    return answer
  } catch (error) {
    const status = statusOf(error)
    if (status !== CLIENT_LEFT) done(errorAnswer(status, messageOf(error)))
    throw error
  }
}

/** Of requests that were refused before they were let in: nothing is noted of them. */
const NOBODY = new Cancellation()

function statusOf(error: unknown): number {
  if (error instanceof ProtocolError) return error.status
  return error instanceof CallError ? error.httpStatus : 500
}

/** @throws ProtocolError, CallError */
async function inferNow(
  parts: ServiceParts,
  call: AnyCall,
  request: ModelInferRequest,
  begun: Begun,
): Promise<InferAnswer> {
  const { plane, underWay } = parts
  const head = headOf(call)
  const { model_name: name, model_version } = request
  const version = model_version === '' ? null : model_version
  const { name: caller } = callerOf(parts, call, name)
  const { body, jsonBytes } = bodyOfRequest(request, bodyLimitOf(plane, name, version))
  const cancellation = underWay.begin()
  Object.assign(begun, { cancellation, bytesIn: body.length })
  const left = (): void => cancellation.cancel('client-gone')
  const emitter: EventEmitter = call
  emitter.once('cancelled', left)
  try {
    const timeoutMs = timeoutMsOf(call, Date.now())
    const { headers } = head
    const answer = await plane.infer({ name, version, headers, body, jsonBytes, caller, cancellation, timeoutMs })
    if (answer === null) throw cancelled()
    return answer
  } finally {
    emitter.off('cancelled', left)
    underWay.end(cancellation)
  }
}

/** Of one message; Infinity where nothing can be said of the model, which the data plane will say. */
function bodyLimitOf(plane: DataPlane, name: string, version: string | null): number {
  try {
    return plane.bodyLimitBytes(name, version)
  } catch (error) {
    if (error instanceof ProtocolError && error.status === 503) return Number.MAX_SAFE_INTEGER
    throw error
  }
}

/**
 * Answers leave in the order of their requests. One that fails is an error message in the stream, which goes on.
 * @see Triton, grpc_service.proto, "ModelStreamInfer"
 */
function answerStream(
  parts: ServiceParts,
  call: ServerDuplexStream<ModelInferRequest, ModelStreamInferResponse>,
): void {
  call.setMaxListeners(parts.perStream + 10) // each request under way listens for the client's leaving
  let last: Promise<void> = Promise.resolve()
  let waiting = 0
  let asked = 0
  const stopLooking = endWhenDrained(parts, call, () => (waiting > 0 ? null : asked))
  call.on('data', (request: ModelInferRequest) => {
    waiting += 1
    asked += 1
    if (waiting >= parts.perStream) call.pause()
    const answered = streamAnswer(parts, call, request)
    last = last
      .then(async () => {
        const response = await answered
        if (!call.cancelled && !call.write(response)) await drained(call)
      })
      .finally(() => {
        waiting -= 1
        if (waiting < parts.perStream) call.resume()
      })
  })
  call.once('end', () => {
    stopLooking()
    void last.then(() => call.end())
  })
  const emitter: EventEmitter = call
  for (const over of ['cancelled', 'close']) emitter.once(over, stopLooking)
  call.on('error', (error) => parts.tell('info', 'a stream of inferences broke off', { why: messageOf(error) }))
}

/**
 * A stream on which nobody asks any more would keep a server that drains from ending: it is ended from here.
 * @param askedWhenIdle - how often was asked on it; null while it is worked on
 * @returns stops looking
 */
function endWhenDrained(parts: ServiceParts, call: AnyCall & { end(): void }, askedWhenIdle: () => number | null) {
  let before: number | null = null
  const timer = setInterval(() => {
    const asked = parts.isDraining() ? askedWhenIdle() : null
    if (asked !== null && asked === before) {
      clearInterval(timer)
      call.end()
    }
    before = asked
  }, LOOK_EVERY_MS)
  timer.unref()
  return (): void => clearInterval(timer)
}

const LOOK_EVERY_MS = 250

/** Until the client reads on, or is gone. */
function drained(call: ServerDuplexStream<ModelInferRequest, ModelStreamInferResponse>): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      call.off('drain', over).off('cancelled', over).off('close', over)
      resolve()
    }
    call.once('drain', over).once('cancelled', over).once('close', over)
  })
}

/** Never rejects: what fails is said in the message. */
async function streamAnswer(
  parts: ServiceParts,
  call: AnyCall,
  request: ModelInferRequest,
): Promise<ModelStreamInferResponse> {
  const { id, model_name, model_version } = request
  const refused = (error: CallError): ModelStreamInferResponse => ({
    error_message: error.details,
    infer_response: { id, model_name, model_version },
  })
  try {
    const answer = await infer(parts, call, request)
    if (answer.status >= 300) return refused(errorOf(answer))
    const parameters = { triton_final_response: { bool_param: true } }
    const response = { ...responseOf(answer), parameters }
    answer.afterSent?.()
    return { error_message: '', infer_response: response }
  } catch (error) {
    return refused(callError(error, parts.tell))
  }
}
