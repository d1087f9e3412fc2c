import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, ListenOptions } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../kernel/clock.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import {
  encodeInferResponse,
  errorBody,
  LIVE_BODY,
  modelMetadata,
  modelReady,
  parseInferRequest,
  ProtocolError,
  READY_BODY,
  serverMetadata,
} from '../../kernel/protocol/inference.ts'
import type { Identity } from '../../kernel/runtime/process-record.ts'
import { ListenError } from './errors.ts'
import type { Work } from './batcher.ts'
import { workOf } from './loaded-model.ts'
import type { LoadedModel } from './loaded-model.ts'
import type { ModelServer } from './model-server.ts'
import { BodyReader, bodyLimits, ClientGoneError } from './request-body.ts'
import type { BodyLimits } from './request-body.ts'
import { routeOf } from './route.ts'
import type { Route } from './route.ts'

/** The Open Inference Protocol v2 over HTTP, on a unix socket, a loopback port, or both. */
export interface HttpFront {
  listenOnSocket(path: string): Promise<void>
  /** @returns the port, chosen by the system for 0. @throws ListenError */
  listenOnPort(host: string, port: number): Promise<number>
  /** Infer requests that are being received, computed or answered. */
  readonly inFlight: number
  /** From now on not ready, and each answer closes its connection; returns once all is answered, or at the limit. */
  drain(): Promise<{ abandoned: number }>
  readonly isDraining: boolean
  close(): Promise<void>
}

export interface HttpFrontOptions {
  models: ModelServer
  server: { name: string; version: string }
  /** Answered at `GET /identity`, on the unix socket alone: on a port any local user could read the token. */
  identity?: Identity | null
  limits?: Partial<HttpLimits>
  clock?: Clock
}

export interface HttpLimits extends BodyLimits {
  headersTimeoutMs: number
  /** From its first byte to its last a request may take so long; then 408. */
  requestTimeoutMs: number
  keepAliveMs: number
  /** Silence on a connection, computing included, ends it. */
  silenceMs: number
  connections: number
  /** While draining: how long new connections are still taken, since a proxy may not know yet. */
  lingerMs: number
  /** While draining: how long a quiet moment is waited for before listening ends. */
  quietMs: number
  /** While draining: what isn't answered by then is cut off. */
  drainMs: number
}

export const httpLimits: HttpLimits = {
  ...bodyLimits,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveMs: 75_000,
  silenceMs: 300_000,
  connections: 4_096,
  lingerMs: 250,
  quietMs: 250,
  drainMs: 20_000,
}

export function createHttpFront(options: HttpFrontOptions): HttpFront {
  return new Front(options)
}

class Front implements HttpFront {
  readonly #options: HttpFrontOptions
  readonly #limits: HttpLimits
  readonly #clock: Clock
  readonly #bodies: BodyReader
  readonly #servers: Server[] = []
  readonly #socketPaths: string[] = []
  #inFlight = 0
  #draining = false

  constructor(options: HttpFrontOptions) {
    this.#options = options
    this.#limits = { ...httpLimits, ...options.limits }
    this.#clock = options.clock ?? systemClock
    this.#bodies = new BodyReader(this.#limits)
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get isDraining(): boolean {
    return this.#draining
  }

  async listenOnSocket(path: string): Promise<void> {
    rmSync(path, { force: true }) // left behind by a process that was killed
    await listening(this.#createServer(true), { path }, path)
    chmodSync(path, 0o600)
    this.#socketPaths.push(path)
  }

  async listenOnPort(host: string, port: number): Promise<number> {
    const server = this.#createServer(false)
    await listening(server, { host, port }, `${host}:${port}`)
    return (server.address() as AddressInfo).port
  }

  async drain(): Promise<{ abandoned: number }> {
    this.#draining = true
    await sleep(this.#limits.lingerMs)
    await this.#stopListening()
    const giveUpAtMs = this.#clock.monotonicMs() + this.#limits.drainMs
    while (this.#inFlight > 0 && this.#clock.monotonicMs() < giveUpAtMs) await sleep(10)
    return { abandoned: this.#inFlight }
  }

  /**
   * Closing a listening socket resets the connections that wait to be accepted. So the unix socket loses its name first:
   * nobody new finds it, and who has found it is accepted. A port has no name to lose; a quiet moment must do.
   */
  async #stopListening(): Promise<void> {
    for (const path of this.#socketPaths) rmSync(path, { force: true })
    const latestMs = this.#clock.monotonicMs() + this.#limits.quietMs
    do await sleep(10)
    while (this.#inFlight > 0 && this.#clock.monotonicMs() < latestMs)
    for (const server of this.#servers) server.close() // ends idle connections as well
  }

  async close(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)))
    for (const server of this.#servers) server.closeAllConnections()
    await Promise.all(closed)
  }

  #createServer(isPrivate: boolean): Server {
    const { headersTimeoutMs, requestTimeoutMs, keepAliveMs, silenceMs, connections } = this.#limits
    const server = createServer({
      headersTimeout: Math.min(headersTimeoutMs, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
    })
    server.setTimeout(silenceMs)
    server.maxConnections = connections
    server.on('request', (request, response) => void this.#answer(request, response, isPrivate))
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      if (this.#bodies.refusalFor(request) === null) response.writeContinue()
      void this.#answer(request, response, isPrivate)
    })
    server.on('clientError', answerBrokenRequest)
    this.#servers.push(server)
    return server
  }

  /** Never rejects: whatever goes wrong becomes an answer. */
  async #answer(request: IncomingMessage, response: ServerResponse, isPrivate: boolean): Promise<void> {
    try {
      const route = routeOf(request.method ?? '', request.url ?? '', isPrivate)
      if (route.kind === 'infer') await this.#infer(route, request, response)
      else this.#send(response, 200, this.#describe(route))
    } catch (error) {
      if (error instanceof ClientGoneError) return
      const known =
        error instanceof ProtocolError ? error : new ProtocolError(500, `Internal error: ${messageOf(error)}`, error)
      this.#send(response, known.status, errorBody(known.message), null, known.status)
    }
  }

  async #infer(route: Route & { kind: 'infer' }, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let heldBytes = 0
    let work: Work | null = null
    this.#inFlight += 1
    response.once('close', () => {
      this.#inFlight -= 1
      this.#bodies.release(heldBytes)
      if (work) work.abandoned = true // its client has left: what still waits is not run
    })
    const loaded = this.#options.models.find(route.model, route.version)
    refuseEncodings(request)
    const body = await this.#bodies.read(request)
    heldBytes = body.length
    const parsed = parseInferRequest(body, loaded.signature)
    work = workOf(parsed, this.#clock.monotonicMs())
    const outputs = await loaded.infer(work)
    const { model, version } = loaded
    const answer = encodeInferResponse({ modelName: model, modelVersion: version, id: parsed.id, outputs })
    this.#send(response, 200, answer, loaded)
  }

  #describe(route: Exclude<Route, { kind: 'infer' }>): string {
    const { models, server, identity } = this.#options
    switch (route.kind) {
      case 'live':
        return LIVE_BODY
      case 'ready':
        if (this.#draining) throw new ProtocolError(503, 'Not ready: draining')
        if (!models.isReady) throw new ProtocolError(503, `Not ready: ${whyNotReady(models)}`)
        return READY_BODY
      case 'server':
        return serverMetadata({ ...server, extensions: [] })
      case 'model': {
        const { model, signature } = models.find(route.model, route.version)
        return modelMetadata({ name: model, versions: models.versionsOf(model), signature })
      }
      case 'modelReady':
        if (this.#draining) throw new ProtocolError(503, `Model '${route.model}' is not ready: draining`)
        return modelReady(models.find(route.model, route.version).model)
      case 'identity':
        return JSON.stringify(identity ?? {})
    }
  }

  #send(response: ServerResponse, status: number, body: string, by: LoadedModel | null = null, error = 0): void {
    if (response.headersSent || response.destroyed) return
    const sizeBytes = Buffer.byteLength(body)
    const headers = ['content-type', 'application/json', 'content-length', String(sizeBytes)]
    if (by !== null) headers.push('millrace-model-version', headerText(by.version))
    if (error === 503) headers.push('retry-after', '1')
    if (error === 405) headers.push('allow', 'GET, HEAD, POST')
    if (this.#draining || error === 413) headers.push('connection', 'close')
    response.writeHead(status, headers)
    response.end(body, sizeBytes === body.length ? 'latin1' : 'utf8') // plain ASCII is written faster
  }
}

function whyNotReady(models: ModelServer): string {
  const waiting = models.states().find(({ kind }) => kind !== 'ready')
  if (waiting === undefined) return 'no model is loaded'
  return waiting.kind === 'failed' ? waiting.why : `model '${waiting.order.model}' is being loaded`
}

function refuseEncodings(request: IncomingMessage): void {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') {
    throw new ProtocolError(415, `Content-Encoding '${encoding}' is not supported yet: send the JSON uncompressed`)
  }
  const jsonLength = request.headers['inference-header-content-length']
  if (jsonLength !== undefined && jsonLength !== request.headers['content-length']) {
    throw new ProtocolError(
      400,
      `Binary tensors are not supported yet (Inference-Header-Content-Length: ${String(jsonLength)}): send 'data' as JSON`,
    )
  }
}

/** Header values are ASCII; anything else is percent-encoded. */
function headerText(text: string): string {
  return /^[\x21-\x7e]+$/.test(text) ? text : encodeURIComponent(text)
}

/** What isn't HTTP, or didn't arrive in time: the connection is of no further use. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const [status, why] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? ['408 Request Timeout', 'The request did not arrive in time']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? ['431 Request Header Fields Too Large', 'The request headers are too large']
        : ['400 Bad Request', `The request is not valid HTTP: ${error.message}`]
  const body = errorBody(why)
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function listening(server: Server, where: ListenOptions, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(new ListenError(address, cause)))
    server.listen(where, resolve)
  })
}
