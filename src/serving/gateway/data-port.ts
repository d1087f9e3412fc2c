import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, unreachable } from '../../kernel/errors.ts'
import { errorAnswer, headersOf, jsonAnswer, retryAnswer, sendAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import { Cancellation } from '../front/cancellation.ts'
import { GatewayListenError, GatewayPortTakenError } from './errors.ts'
import { acceptLabels, FEEDBACK_LIMIT_BYTES } from './feedback.ts'
import { discard, guardFront } from './front-guard.ts'
import type { Inference } from './inference.ts'
import { findModel, modelMetadata, modelReadiness } from './metadata.ts'
import type { PredictionLog } from './prediction-log.ts'
import { BodyBudget, readBody, releaseBody } from './request-body.ts'
import type { RoutingTable } from './routing-table.ts'
import { methodOf, parseTarget } from './target.ts'
import type { Target } from './target.ts'
import type { Tell } from './tell.ts'

export interface DataPortLimits {
  /** From the first byte, or the connection, to the end of the request's head. */
  headMs: number
  /** From the first byte to the end of the body. */
  requestMs: number
  /** An idle connection is kept so long. Longer than the 60 s of common load balancers, so that they close first. */
  idleMs: number
  connections: number
  /** Requests under way at once, over all connections. More are refused with 503. */
  requests: number
  bodiesBytes: number
}

export const dataPortLimits: DataPortLimits = {
  headMs: 10_000,
  requestMs: 30_000,
  idleMs: 75_000,
  connections: 8_192,
  requests: 4_096,
  bodiesBytes: 512 * 1024 * 1024,
}

export interface DataPortParts {
  table: () => RoutingTable
  /** False before the first snapshot: then the gateway isn't ready. */
  hasRoutes: () => boolean
  answers: (deploymentId: string) => boolean
  inference: Inference
  log: PredictionLog
  calendarMs: () => number
  server: { name: string; version: string }
  tell: Tell
  limits: DataPortLimits
}

const SHORT_BODY_BYTES = 64 * 1024

/** The port that clients call: Open Inference Protocol v2 over HTTP/1.1, health, and labels. */
export class DataPort {
  readonly #parts: DataPortParts
  readonly #server: Server
  readonly #budget: BodyBudget
  readonly #underWay = new Set<Cancellation>()
  #requests = 0
  #port = 0
  #draining = false

  constructor(parts: DataPortParts) {
    this.#parts = parts
    this.#budget = new BodyBudget(parts.limits.bodiesBytes)
    this.#server = createServer({
      headersTimeout: parts.limits.headMs,
      requestTimeout: parts.limits.requestMs,
      connectionsCheckingInterval: Math.min(1_000, parts.limits.headMs / 2),
      keepAliveTimeout: parts.limits.idleMs,
      noDelay: true,
      requireHostHeader: false, // node:http would answer by itself, and not in JSON: see hasOneHost
    })
    this.#server.maxConnections = parts.limits.connections
    this.#server.on('request', (request, response) => void this.#serve(request, response, false))
    this.#server.on('checkContinue', (request, response) => void this.#serve(request, response, true))
    this.#server.on('checkExpectation', (request, response) =>
      this.#sendEarly(request, response, errorAnswer(417, 'No other expectation than 100-continue can be met.')),
    )
    guardFront(this.#server)
  }

  /**
   * @returns the port, which is another than asked for where that was 0
   * @throws GatewayPortTakenError, GatewayListenError
   */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(host, port, error)))
      this.#server.listen({ host, port, backlog: 1_024 }, () => {
        this.#port = (this.#server.address() as AddressInfo).port
        resolve(this.#port)
      })
    })
  }

  /** 0 while it isn't open. */
  get port(): number {
    return this.#port
  }

  /**
   * Not ready from now on, no new connections; those that are open are told to close with their next answer, or closed
   * when they stay idle for `idleMs`; what is under way is finished, for `limitMs` at most.
   */
  async drain(idleMs: number, limitMs: number): Promise<void> {
    this.#draining = true
    const endsMs = performance.now() + limitMs
    const closed = this.#stopListening()
    await Promise.race([closed, sleep(Math.min(idleMs, limitMs))])
    const closing = setInterval(() => this.#server.closeIdleConnections(), 20)
    await Promise.race([closed, sleep(Math.max(0, endsMs - performance.now()))])
    clearInterval(closing)
    for (const cancellation of this.#underWay) cancellation.cancel('shutdown')
    if (this.#requests > 0) await sleep(50) // for their 503 to leave
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  /** http.Server's own `close` also closes idle connections at once, on which a request may just be on its way. */
  #stopListening(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#server.listening) return resolve()
      NetServer.prototype.close.call(this.#server, () => resolve())
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Promise<void> {
    this.#requests += 1
    try {
      await this.#route(request, response, expectsContinue)
    } catch (error) {
      this.#parts.tell('error', 'a request failed inside the gateway', { url: request.url, error: messageOf(error) })
      if (!response.headersSent) this.#send(response, errorAnswer(500, 'The gateway failed; its log says why.'))
    } finally {
      this.#requests -= 1
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Promise<void> {
    const target = parseTarget(request.url ?? '/')
    const proceed = (): void => {
      if (expectsContinue) response.writeContinue()
    }
    const refusal = this.#refusal(request, target)
    if (refusal !== null) return this.#sendEarly(request, response, refusal)
    if (target.kind === 'infer') return this.#infer(target.name, target.version, request, response, proceed)
    if (target.kind === 'feedback') return this.#feedback(request, response, proceed)
    this.#sendEarly(request, response, this.#answer(target))
  }

  /** What is refused by its head alone. */
  #refusal(request: IncomingMessage, target: Target): Answer | null {
    if (!hasOneHost(request)) return errorAnswer(400, 'The request needs one Host header.')
    const method = methodOf(target)
    if (method === null) return null
    const fits = request.method === method || (method === 'GET' && request.method === 'HEAD')
    if (!fits) return errorAnswer(405, `Use ${method} here, not ${request.method}.`, ['Allow', method])
    if (method === 'POST' && this.#requests > this.#parts.limits.requests) {
      return retryAnswer(`The gateway already works on ${this.#parts.limits.requests} requests.`)
    }
    return null
  }

  #answer(target: Exclude<Target, { kind: 'infer' | 'feedback' }>): Answer {
    const { table, answers, server } = this.#parts
    switch (target.kind) {
      case 'server':
        return jsonAnswer(200, { ...server, extensions: [] })
      case 'live':
        return jsonAnswer(200, { live: true })
      case 'ready':
        return this.#readiness()
      case 'model':
        return modelMetadata(table(), target.name, target.version)
      case 'model-ready':
        return modelReadiness(table(), target.name, target.version, answers)
      case 'malformed':
        return errorAnswer(400, `Bad path: ${target.why}.`)
      case 'unknown':
        return errorAnswer(404, `There is nothing at '${shortened(target.path)}'.`)
      default:
        return unreachable(target)
    }
  }

  #readiness(): Answer {
    if (this.#draining) return errorAnswer(503, 'The gateway is shutting down.')
    if (!this.#parts.hasRoutes()) return retryAnswer('The gateway has no routes yet.')
    return jsonAnswer(200, { ready: true })
  }

  async #infer(
    name: string,
    version: string | null,
    request: IncomingMessage,
    response: ServerResponse,
    proceed: () => void,
  ): Promise<void> {
    const found = findModel(this.#parts.table(), name, version)
    if (found.kind === 'answer') return this.#sendEarly(request, response, found.answer)
    const limits = { limitBytes: found.entry.route.bodyLimitBytes, budget: this.#budget }
    const body = await readBody(request, limits, proceed)
    if (body.kind === 'gone') return
    if (body.kind === 'answer') return this.#sendRefusal(request, response, body.answer, body.cut)
    try {
      const malformed = cheapCheck(body.bytes, request)
      if (malformed !== null) return this.#send(response, malformed)
      const answer = await this.#underCancellation(response, (cancellation) =>
        this.#parts.inference.infer({
          name,
          version,
          headers: request.headers,
          body: body.bytes,
          jsonBytes: jsonBytesOf(request),
          caller: 'anonymous',
          cancellation,
        }),
      )
      if (answer === null) return
      this.#send(response, answer)
      answer.afterSent?.()
    } finally {
      releaseBody(body.bytes, this.#budget)
    }
  }

  async #feedback(request: IncomingMessage, response: ServerResponse, proceed: () => void): Promise<void> {
    const limits = { limitBytes: FEEDBACK_LIMIT_BYTES, budget: this.#budget }
    const body = await readBody(request, limits, proceed)
    if (body.kind === 'gone') return
    if (body.kind === 'answer') return this.#sendRefusal(request, response, body.answer, body.cut)
    try {
      this.#send(response, await acceptLabels(this.#parts.log, body.bytes, this.#parts.calendarMs()))
    } finally {
      releaseBody(body.bytes, this.#budget)
    }
  }

  async #underCancellation<T>(response: ServerResponse, work: (cancellation: Cancellation) => Promise<T>): Promise<T> {
    const cancellation = new Cancellation()
    const left = (): void => cancellation.cancel('client-gone')
    this.#underWay.add(cancellation)
    response.once('close', left)
    try {
      return await work(cancellation)
    } finally {
      response.off('close', left)
      this.#underWay.delete(cancellation)
    }
  }

  #send(response: ServerResponse, answer: Answer): void {
    if (!response.destroyed) sendAnswer(response, answer, this.#draining)
  }

  /** Answers without the body: a short one is read past, so that the connection can be kept, a long one cut off. */
  #sendEarly(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
    const declared = Number(request.headers['content-length'] ?? 0)
    const isShort = declared <= SHORT_BODY_BYTES && request.headers['transfer-encoding'] === undefined
    if (!isShort || request.headers.expect !== undefined) return this.#sendRefusal(request, response, answer, true)
    request.once('end', () => this.#send(response, answer))
    request.resume()
  }

  #sendRefusal(request: IncomingMessage, response: ServerResponse, answer: Answer, cut: boolean): void {
    if (!cut || request.complete) return this.#send(response, answer)
    if (response.destroyed) return
    // The answer goes out whole, but the response is ended only once the client has stopped sending, or had its time.
    response.writeHead(answer.status, headersOf(answer, true))
    response.write(answer.body)
    discard(request, () => response.end())
  }
}

/** Two hosts are how requests are smuggled past a proxy. HTTP/1.0 clients may leave it out. @see RFC 9112, 3.2 */
function hasOneHost({ rawHeaders, httpVersion }: IncomingMessage): boolean {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  return hosts === 1 || (hosts === 0 && httpVersion === '1.0')
}

function jsonBytesOf({ headers }: IncomingMessage): number | null {
  const length = Number(headers['inference-header-content-length'] ?? Number.NaN)
  return Number.isSafeInteger(length) && length >= 0 ? length : null
}

/** Finds what can't be JSON without parsing it: the model server parses, and its 400 is passed on. */
function cheapCheck(body: Buffer, request: IncomingMessage): Answer | null {
  if (request.headers['inference-header-content-length'] !== undefined) return null
  let start = 0
  while (start < body.length && isSpace(body[start] as number)) start += 1
  if (start === body.length)
    return errorAnswer(400, 'The request body is empty; an inference request is a JSON object.')
  if (body[start] !== 0x7b) return errorAnswer(400, 'The request body is not a JSON object.')
  return null
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

function shortened(url: string): string {
  return url.length > 200 ? `${url.slice(0, 200)}…` : url
}

function listenError(host: string, port: number, error: NodeJS.ErrnoException): Error {
  if (error.code === 'EADDRINUSE') return new GatewayPortTakenError(host, port, error)
  return new GatewayListenError(`${host}:${port}`, error)
}
