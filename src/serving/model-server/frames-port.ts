import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { FRAME_BYTES_MAX, FRAME_KIND, PREFACE } from '../../kernel/contract/frames.ts'
import { messageOf } from '../../kernel/errors.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import { errorAnswer } from '../front/answer.ts'
import { Cancellation } from '../front/cancellation.ts'
import type { DataPlane, InferAnswer, InferCall } from '../front/data-plane.ts'
import { ListenError } from '../front/http/errors.ts'
import type { Tell } from '../front/tell.ts'
import { FrameError } from '../frames/errors.ts'
import { FrameReader } from '../frames/frame-reader.ts'
import { headersText, readHeaders, readRequest, RequestTexts } from '../frames/frames.ts'
import type { RequestFrame } from '../frames/frames.ts'
import { Outbox } from '../frames/outbox.ts'

/**
 * The model server's end of the frames that gateways send (src/kernel/contract/frames.ts), on a unix socket.
 * Each request is answered exactly once, also one that was cancelled: its answer is empty then.
 */
export interface FramesPort {
  /** @throws ListenError */
  listen(path: string): Promise<void>
  /** Requests that are received, computed or answered. */
  readonly underWay: number
  /**
   * Says goodbye to every gateway and returns once each has had its answers and closed its connections. The socket has
   * lost its name by then, so nobody new finds it; who was just about to connect is still served.
   */
  drain(limits: { lingerMs: number; limitMs: number }): Promise<{ abandoned: number }>
  close(): Promise<void>
}

export interface FramesPortLimits {
  /** Two for each gateway process, and one for each probe; more are closed at once. */
  connections: number
  /** Of one request. Gateways keep to the limit of each endpoint, which may be as large. */
  bodyBytes: number
  /** Of all requests that are here at once, but for a single one that is larger. More are refused with 503. */
  bodiesBytes: number
  /** Requests of one connection that are under way; more are refused with 503. */
  requests: number
  /** Answers that a gateway has not taken: with more, nothing further is read from it. */
  backlogBytes: number
  /** A gateway that takes nothing for so long is cut off, as is one that sends no preface. */
  stuckMs: number
}

export const framesPortLimits: FramesPortLimits = {
  connections: 1_024,
  bodyBytes: FRAME_BYTES_MAX,
  bodiesBytes: 512 * 1024 * 1024,
  requests: 4_096,
  backlogBytes: 64 * 1024 * 1024,
  stuckMs: 10_000,
}

export interface FramesPortOptions {
  plane: DataPlane
  limits?: Partial<FramesPortLimits>
  /** Told of connections that broke the protocol, and of what failed in here. */
  tell?: Tell
}

export function createFramesPort(options: FramesPortOptions): FramesPort {
  return new Port(options)
}

const QUIET_MS = 1_000

class Port implements FramesPort {
  readonly plane: DataPlane
  readonly limits: FramesPortLimits
  readonly tell: Tell
  underWay = 0
  heldBytes = 0
  isDraining = false
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  #path: string | null = null

  constructor({ plane, limits, tell }: FramesPortOptions) {
    this.plane = plane
    this.limits = { ...framesPortLimits, ...limits }
    this.tell = tell ?? (() => undefined)
    this.#server = createServer({ noDelay: true }, (socket) => {
      const connection: Connection = new Connection(socket, this, () => this.#connections.delete(connection))
      this.#connections.add(connection)
    })
    this.#server.maxConnections = this.limits.connections
  }

  async listen(path: string): Promise<void> {
    rmSync(path, { force: true }) // left behind by a process that was killed
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => reject(new ListenError(path, cause)))
      this.#server.listen({ path, backlog: 511 }, resolve)
    })
    chmodSync(path, 0o600)
    this.#server.on('error', (error) =>
      this.tell('warn', 'a connection for frames could not be taken', { why: error.message }),
    )
    this.#path = path
  }

  async drain({ lingerMs, limitMs }: { lingerMs: number; limitMs: number }): Promise<{ abandoned: number }> {
    this.isDraining = true
    if (this.#path !== null) rmSync(this.#path, { force: true })
    for (const connection of this.#connections) connection.goodbye()
    await sleep(lingerMs) // those who found the name just before it went are accepted, and get their goodbye
    this.#server.close()
    await this.#emptied(limitMs)
    const abandoned = this.underWay
    for (const connection of this.#connections) connection.destroy('shutdown')
    return { abandoned }
  }

  /** Gateways close what they were said goodbye on; one that doesn't, and asks nothing, is not waited for. */
  async #emptied(limitMs: number): Promise<void> {
    const giveUpAtMs = performance.now() + limitMs
    let quietSinceMs = performance.now()
    while (this.#connections.size > 0 && performance.now() < giveUpAtMs) {
      if (this.underWay > 0) quietSinceMs = performance.now()
      else if (performance.now() - quietSinceMs > QUIET_MS) return
      await sleep(5)
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const connection of this.#connections) connection.destroy('shutdown')
    await closed
  }
}

class Connection {
  readonly #socket: Socket
  readonly #port: Port
  readonly #outbox: Outbox
  readonly #reader: FrameReader
  readonly #calls = new Map<number, FramedCall>()
  readonly #texts = new RequestTexts()
  readonly #encoded = new EncodedHeaders()
  readonly #headers = new DecodedHeaders()
  #preface: Buffer = Buffer.alloc(0)
  #hasPreface = false
  #patience: NodeJS.Timeout | null

  constructor(socket: Socket, port: Port, onClosed: () => void) {
    this.#socket = socket
    this.#port = port
    this.#outbox = new Outbox(socket, 'now')
    this.#reader = new FrameReader({
      accepts: (id, kind, bytes) => this.#accepts(id, kind, bytes),
      frame: (id, kind, payload) => this.#frame(id, kind, payload),
    })
    this.#patience = setTimeout(() => this.#break('it sent no preface in time'), port.limits.stuckMs)
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('drain', () => this.#taken())
    socket.on('error', () => socket.destroy()) // a gateway that died: 'close' follows
    socket.on('close', () => {
      this.#stopWaiting()
      this.#cancelAll('client-gone')
      onClosed()
    })
  }

  goodbye(): void {
    if (this.#hasPreface) this.#outbox.bare(0, FRAME_KIND.goodbye)
    else this.#socket.destroy() // nothing was asked yet
  }

  destroy(reason: 'shutdown'): void {
    this.#cancelAll(reason)
    this.#socket.destroy()
  }

  #read(bytes: Buffer): void {
    try {
      const frames = this.#hasPreface ? bytes : this.#readPreface(bytes)
      if (frames !== null) this.#reader.push(frames)
    } catch (error) {
      this.#break(messageOf(error))
    }
  }

  /** @returns what follows it; null while it is not complete */
  #readPreface(bytes: Buffer): Buffer | null {
    const all = this.#preface.length === 0 ? bytes : Buffer.concat([this.#preface, bytes])
    if (all.length < PREFACE.length) {
      this.#preface = all
      return null
    }
    if (!all.subarray(0, PREFACE.length).equals(PREFACE)) throw new FrameError('the connection begins otherwise')
    this.#hasPreface = true
    this.#stopWaiting()
    if (this.#port.isDraining) this.goodbye()
    return all.subarray(PREFACE.length)
  }

  #accepts(id: number, kind: number, bytes: number): boolean {
    if (kind !== FRAME_KIND.request) {
      const isKnown = (kind === FRAME_KIND.cancel || kind === FRAME_KIND.probe) && bytes === 0
      if (!isKnown) throw new FrameError(`kind ${kind} with ${bytes} bytes was not to be expected`)
      return true
    }
    if (this.#calls.has(id)) throw new FrameError(`request ${id} is under way already`)
    const refusal = this.#refusal(bytes)
    if (refusal === null) {
      this.#begin(id, bytes)
      return true
    }
    this.#send(id, failed(refusal))
    return false
  }

  #refusal(bytes: number): ProtocolError | null {
    const { limits, heldBytes } = this.#port
    if (bytes > limits.bodyBytes) return new ProtocolError(413, `The request has more than ${limits.bodyBytes} bytes`)
    if (heldBytes > 0 && heldBytes + bytes > limits.bodiesBytes)
      return new ProtocolError(503, `More than ${limits.bodiesBytes} bytes of requests are waiting already`)
    if (this.#calls.size >= limits.requests)
      return new ProtocolError(503, `${limits.requests} requests of this gateway are under way already`)
    return null
  }

  /** Room is taken when a request announces itself, and given back with its answer. */
  #begin(id: number, bytes: number): void {
    this.#calls.set(id, new FramedCall(bytes))
    this.#port.underWay += 1
    this.#port.heldBytes += bytes
  }

  #end(id: number, call: FramedCall): void {
    if (this.#calls.get(id) !== call) return // with its connection
    this.#calls.delete(id)
    this.#port.underWay -= 1
    this.#port.heldBytes -= call.heldBytes
  }

  #frame(id: number, kind: number, payload: Buffer): void {
    if (kind === FRAME_KIND.request) void this.#serve(id, this.#calls.get(id)!, readRequest(payload, this.#texts))
    else if (kind === FRAME_KIND.cancel) this.#calls.get(id)?.cancellation.cancel('client-gone')
    else this.#outbox.probed(id, this.#port.plane.readiness().ready)
  }

  /** Never rejects: whatever goes wrong is an answer. */
  async #serve(id: number, call: FramedCall, frame: RequestFrame): Promise<void> {
    call.take(frame, this.#headers.of(frame.headers))
    let answer: InferAnswer
    try {
      answer = (await this.#port.plane.infer(call)) ?? NOBODY_ASKS
    } catch (error) {
      if (!(error instanceof ProtocolError))
        this.#port.tell('error', 'a request failed inside the server', { error: messageOf(error) })
      answer = failed(error)
    }
    this.#end(id, call)
    this.#send(id, call.cancellation.reason === null ? answer : NOBODY_ASKS)
  }

  #send(id: number, { status, headers, body, jsonBytes }: InferAnswer): void {
    if (!this.#socket.writable) return
    this.#outbox.answer(id, status, jsonBytes, this.#encoded.of(headers), body)
    if (this.#outbox.backlogBytes < this.#port.limits.backlogBytes || this.#socket.isPaused()) return
    this.#socket.pause()
    this.#waitForRoom()
  }

  #waitForRoom(): void {
    const { stuckMs } = this.#port.limits
    this.#patience = setTimeout(() => {
      if (this.#outbox.stuckMs() >= stuckMs) this.#break('it takes no answers')
      else this.#waitForRoom()
    }, stuckMs)
  }

  #taken(): void {
    if (!this.#socket.isPaused()) return
    this.#stopWaiting()
    this.#socket.resume()
  }

  #break(why: string): void {
    this.#port.tell('warn', 'a connection for frames was closed', { why })
    this.#socket.destroy()
  }

  #stopWaiting(): void {
    if (this.#patience !== null) clearTimeout(this.#patience)
    this.#patience = null
  }

  #cancelAll(reason: 'client-gone' | 'shutdown'): void {
    for (const [id, call] of this.#calls) {
      call.cancellation.cancel(reason)
      this.#end(id, call)
    }
  }
}

const NO_BYTES = Buffer.alloc(0)
const NO_HEADERS: string[] = []
/** To a request that was cancelled. */
const NOBODY_ASKS: InferAnswer = { status: 503, headers: NO_HEADERS, body: NO_BYTES, jsonBytes: null }

function failed(error: unknown): InferAnswer {
  const known = error instanceof ProtocolError
  const text = known ? error.message : 'The model server failed; its log says why.'
  return { ...errorAnswer(known ? error.status : 500, text), jsonBytes: null }
}

/** One request as the data plane takes it. */
class FramedCall implements InferCall {
  name = ''
  version: string | null = null
  body: Buffer = NO_BYTES
  jsonBytes: number | null = null
  timeoutMs: number | null = null
  /** Of a gateway, which knows whose request it is. */
  readonly caller = 'gateway'
  readonly cancellation = new Cancellation()
  readonly heldBytes: number
  headers: Readonly<Record<string, string>> = {}

  constructor(heldBytes: number) {
    this.heldBytes = heldBytes
  }

  take(frame: RequestFrame, headers: Readonly<Record<string, string>>): void {
    const { model, version, body, jsonBytes, timeoutMs } = frame
    this.name = model
    this.version = version === '' ? null : version
    this.body = body
    this.jsonBytes = jsonBytes
    this.timeoutMs = timeoutMs === 0 ? null : timeoutMs
    this.headers = headers
  }
}

/** Requests often have the same headers: those that were read last are kept. */
class DecodedHeaders {
  #text = ''
  #headers: Readonly<Record<string, string>> = {}

  of(text: string): Readonly<Record<string, string>> {
    if (text !== this.#text) {
      this.#headers = Object.fromEntries(readHeaders(text))
      this.#text = text
    }
    return this.#headers
  }
}

/** Answers of one version all have the same headers, the same array even. */
class EncodedHeaders {
  #headers: string[] = NO_HEADERS
  #bytes: Buffer = NO_BYTES

  of(headers: string[]): Buffer {
    if (headers !== this.#headers) {
      this.#headers = headers
      this.#bytes = headersText(headers)
    }
    return this.#bytes
  }
}
