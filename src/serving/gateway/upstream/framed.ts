import type { Socket } from 'node:net'
import { FRAME_KIND, PREFACE } from '../../../kernel/contract/frames.ts'
import { messageOf } from '../../../kernel/errors.ts'
import { FrameError } from '../../frames/errors.ts'
import { FrameReader } from '../../frames/frame-reader.ts'
import { headersText, readAnswer, readHeaders, RepeatedText } from '../../frames/frames.ts'
import { Outbox } from '../../frames/outbox.ts'
import { UpstreamError } from '../errors.ts'
import { connectReading, connectTimedOut, faultOf } from './place.ts'
import type { OpenUpstream, Upstream, UpstreamAnswer, UpstreamCall, UpstreamRequest } from './upstream.ts'

/**
 * Frames over a unix socket to our own model server: many exchanges at once on one connection, answered in whatever
 * order they are ready. What is asked in one turn of the event loop is written at once.
 *
 * Two connections at most: small requests must not wait behind one of many megabytes. A connection is opened when it is
 * first needed, and anew after it broke or the replica said goodbye on it.
 * @see src/kernel/contract/frames.ts
 */
export interface FramedUpstreamLimits {
  /** A larger answer is read over and refused as `garbled`. */
  answerLimitBytes: number
  connectTimeoutMs: number
  /** Requests of more bytes take the second connection. */
  bulkBytes: number
  /** A replica that takes no byte of what is written for so long is taken for dead. */
  stuckMs: number
  /** Written and not taken: while there is more, further requests are refused as `busy`. */
  backlogBytes: number
  /** Exchanges that were given up and are still to be answered: with more, the connection is taken for dead. */
  abandoned: number
}

export const framedUpstreamLimits: FramedUpstreamLimits = {
  answerLimitBytes: 256 * 1024 * 1024,
  connectTimeoutMs: 1_000,
  bulkBytes: 256 * 1024,
  stuckMs: 10_000,
  backlogBytes: 128 * 1024 * 1024,
  abandoned: 4_096,
}

export function framedUpstreams(limits: FramedUpstreamLimits = framedUpstreamLimits): OpenUpstream {
  return ({ framesPath = '' }) => new FramedUpstream(framesPath, limits)
}

class FramedUpstream implements Upstream {
  readonly #path: string
  readonly #limits: FramedUpstreamLimits
  #main: Connection | null = null
  #bulk: Connection | null = null
  /** All that are not closed, those that were said goodbye on among them. */
  readonly #open = new Set<Connection>()
  #retired = false

  constructor(path: string, limits: FramedUpstreamLimits) {
    this.#path = path
    this.#limits = limits
  }

  call(request: UpstreamRequest): UpstreamCall {
    const isBulk = request.body.length > this.#limits.bulkBytes
    let connection = isBulk ? this.#bulk : this.#main
    if (connection === null || !connection.isUsable()) {
      connection = this.#connect()
      if (isBulk) this.#bulk = connection
      else this.#main = connection
    }
    const exchange = connection.exchange(request)
    if (this.#retired) connection.retire()
    return exchange
  }

  async probe(timeoutMs: number): Promise<boolean> {
    const connection = this.#connect()
    const timer = setTimeout(() => connection.abort(), timeoutMs)
    try {
      return await connection.probe()
    } catch {
      return false // the caller asks whether it is ready: it is not
    } finally {
      clearTimeout(timer)
      connection.abort()
    }
  }

  retire(): void {
    this.#retired = true
    for (const connection of this.#open) connection.retire()
  }

  close(): void {
    this.#retired = true
    for (const connection of this.#open) connection.abort()
  }

  #connect(): Connection {
    const connection: Connection = new Connection(this.#path, this.#limits, () => {
      this.#open.delete(connection)
      if (this.#main === connection) this.#main = null
      if (this.#bulk === connection) this.#bulk = null
    })
    this.#open.add(connection)
    return connection
  }
}

class Exchange implements UpstreamCall {
  readonly answer: Promise<UpstreamAnswer>
  readonly id: number
  readonly answerLimitBytes: number
  readonly #connection: Connection
  #resolve!: (answer: UpstreamAnswer) => void
  #reject!: (error: UpstreamError) => void
  /** Nobody waits for it any more; its answer is still to come. */
  isAbandoned = false

  constructor(connection: Connection, id: number, answerLimitBytes: number) {
    this.#connection = connection
    this.id = id
    this.answerLimitBytes = answerLimitBytes
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  resolve(answer: UpstreamAnswer): void {
    this.#resolve(answer)
  }

  reject(error: UpstreamError): void {
    this.#reject(error)
  }

  abort(): void {
    this.#connection.abandon(this)
  }
}

/** What an id on a connection stands for; a probe has only one. */
const PROBE_ID = 0
const TIMEOUT_MAX_MS = 0xffff_ffff

class Connection {
  readonly #path: string
  readonly #limits: FramedUpstreamLimits
  readonly #onClosed: () => void
  readonly #socket: Socket
  readonly #outbox: Outbox
  readonly #reader: FrameReader
  /** By id; those that were abandoned stay until they are answered, so that no other id is taken for one of them. */
  readonly #exchanges = new Map<number, Exchange>()
  #abandoned = 0
  #lastId = PROBE_ID
  #probe: { resolve(isReady: boolean): void; reject(error: Error): void } | null = null
  #connected = false
  #aborted = false
  /** Takes no more, and closes after its last answer. */
  #leaving = false
  #failure: NodeJS.ErrnoException | null = null
  #closed: UpstreamError | null = null
  readonly #names = new Texts()
  readonly #headersText = new RepeatedText()
  readonly #headers = new AnswerHeaders()
  readonly #requestHeaders = new RequestHeaders()

  constructor(path: string, limits: FramedUpstreamLimits, onClosed: () => void) {
    this.#path = path
    this.#limits = limits
    this.#onClosed = onClosed
    this.#socket = connectReading({ path }, (bytes) => this.#read(bytes))
    this.#outbox = new Outbox(this.#socket, 'turn-end')
    this.#reader = new FrameReader({
      accepts: (id, kind, bytes) => this.#accepts(id, kind, bytes),
      frame: (id, kind, payload) => this.#frame(id, kind, payload),
    })
    this.#outbox.raw(PREFACE)
    this.#socket.setTimeout(limits.connectTimeoutMs, () => this.#lateToConnect())
    this.#socket.on('connect', () => {
      this.#connected = true
      this.#socket.setTimeout(0)
    })
    this.#socket.on('error', (error: NodeJS.ErrnoException) => (this.#failure = error))
    this.#socket.on('end', () => this.#socket.destroy())
    this.#socket.on('close', () => this.#close(this.#reason()))
  }

  /** Whether another request may go here. What hangs is found out by whoever comes next. */
  isUsable(): boolean {
    if (this.#leaving || this.#closed !== null || this.#socket.destroyed) return false
    const stuckMs = this.#outbox.stuckMs()
    if (stuckMs > this.#limits.stuckMs) this.#die(`it has taken nothing for ${Math.round(stuckMs)} ms`)
    else if (this.#abandoned > this.#limits.abandoned) this.#die(`it left ${this.#abandoned} requests unanswered`)
    return this.#closed === null
  }

  exchange(request: UpstreamRequest): Exchange {
    const exchange = new Exchange(this, this.#nextId(), request.answerLimitBytes ?? this.#limits.answerLimitBytes)
    const { backlogBytes } = this.#outbox
    if (backlogBytes > this.#limits.backlogBytes) {
      const why = `The replica at ${this.#path} has ${backlogBytes} bytes to take already.`
      exchange.reject(new UpstreamError('busy', why))
      return exchange
    }
    this.#exchanges.set(exchange.id, exchange)
    const { body, jsonBytes, timeoutMs = 0 } = request
    this.#outbox.request(
      {
        id: exchange.id,
        jsonBytes,
        timeoutMs: Math.min(timeoutMs, TIMEOUT_MAX_MS),
        model: this.#names.bytesOf(request.model),
        version: this.#names.bytesOf(request.version),
        headers: this.#requestHeaders.of(request.headers),
        bodyBytes: body.length,
      },
      body,
    )
    return exchange
  }

  probe(): Promise<boolean> {
    this.#outbox.bare(PROBE_ID, FRAME_KIND.probe)
    return new Promise((resolve, reject) => (this.#probe = { resolve, reject }))
  }

  /** Its caller is told at once; the replica is asked to spare itself the work. */
  abandon(exchange: Exchange): void {
    if (exchange.isAbandoned || this.#exchanges.get(exchange.id) !== exchange) return
    exchange.isAbandoned = true
    this.#abandoned += 1
    exchange.reject(new UpstreamError('aborted', `The exchange with ${this.#path} was given up.`))
    this.#outbox.bare(exchange.id, FRAME_KIND.cancel)
    if (this.#leaving) this.#leaveWhenDone()
  }

  retire(): void {
    this.#leaving = true
    this.#leaveWhenDone()
  }

  abort(): void {
    this.#aborted = true
    this.#close(this.#reason())
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0
    while (this.#lastId === PROBE_ID || this.#exchanges.has(this.#lastId))
    return this.#lastId
  }

  #read(bytes: Buffer): void {
    try {
      this.#reader.push(bytes)
    } catch (error) {
      const why = error instanceof FrameError ? error.message : messageOf(error)
      this.#close(new UpstreamError('garbled', `The replica at ${this.#path} can't be understood: ${why}`, error))
    }
  }

  #accepts(id: number, kind: number, bytes: number): boolean {
    if (kind === FRAME_KIND.answer) return this.#acceptsAnswer(id, bytes)
    const isKnown = kind === FRAME_KIND.probed ? bytes === 1 && this.#probe !== null : kind === FRAME_KIND.goodbye
    if (!isKnown) throw new FrameError(`kind ${kind} with ${bytes} bytes was not to be expected`)
    return true
  }

  #acceptsAnswer(id: number, bytes: number): boolean {
    const exchange = this.#exchanges.get(id)
    if (exchange === undefined) throw new FrameError(`it answers ${id}, which nobody asked`)
    if (!exchange.isAbandoned && bytes <= exchange.answerLimitBytes) return true
    this.#end(exchange)
    if (!exchange.isAbandoned) {
      const why = `The replica at ${this.#path} answered with more than ${exchange.answerLimitBytes} bytes.`
      exchange.reject(new UpstreamError('garbled', why))
    }
    return false
  }

  #frame(id: number, kind: number, payload: Buffer): void {
    if (kind === FRAME_KIND.answer) this.#answer(id, payload)
    else if (kind === FRAME_KIND.probed) this.#probe?.resolve(payload[0] === 1)
    else this.retire()
  }

  #answer(id: number, payload: Buffer): void {
    const exchange = this.#exchanges.get(id)
    if (exchange === undefined) throw new FrameError(`it answers ${id}, which nobody asks any more`)
    const { status, headers, body, jsonBytes } = readAnswer(payload, this.#headersText)
    const read = this.#headers.of(headers)
    this.#end(exchange)
    if (!exchange.isAbandoned) exchange.resolve({ status, headers: read, body, jsonBytes })
  }

  #end(exchange: Exchange): void {
    this.#exchanges.delete(exchange.id)
    if (exchange.isAbandoned) this.#abandoned -= 1
    if (this.#leaving) this.#leaveWhenDone()
  }

  #leaveWhenDone(): void {
    if (this.#exchanges.size === this.#abandoned && this.#probe === null) this.#socket.end()
  }

  #lateToConnect(): void {
    this.#failure = connectTimedOut(this.#limits.connectTimeoutMs)
    this.#socket.destroy()
  }

  #die(why: string): void {
    this.#failure = new Error(why)
    this.#close(this.#reason())
  }

  #close(error: UpstreamError): void {
    if (this.#closed !== null) return
    this.#closed = error
    this.#socket.destroy()
    this.#onClosed()
    this.#probe?.reject(error)
    for (const exchange of this.#exchanges.values()) if (!exchange.isAbandoned) exchange.reject(error)
    this.#exchanges.clear()
  }

  #reason(): UpstreamError {
    const end = { aborted: this.#aborted, connected: this.#connected, failure: this.#failure }
    return faultOf({ path: this.#path }, end)
  }
}

/** Names as bytes: a replica has one or two, so the last ones are kept. */
class Texts {
  readonly #known = new Map<string, Buffer>()

  bytesOf(text: string): Buffer {
    let bytes = this.#known.get(text)
    if (bytes === undefined) {
      if (this.#known.size >= 16) this.#known.clear()
      bytes = Buffer.from(text)
      this.#known.set(text, bytes)
    }
    return bytes
  }
}

/** Headers of requests are mostly the same: those that were written last are kept. */
class RequestHeaders {
  #pairs: readonly string[] = []
  #bytes = headersText([])

  of(pairs: readonly string[]): Buffer {
    if (!areSame(pairs, this.#pairs)) {
      this.#pairs = pairs
      this.#bytes = headersText(pairs)
    }
    return this.#bytes
  }
}

function areSame(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false
  return true
}

/** Headers of answers are nearly always the same: those that were read last are kept. */
class AnswerHeaders {
  #text = ''
  #headers: ReadonlyMap<string, string> = new Map()

  of(text: string): ReadonlyMap<string, string> {
    if (text !== this.#text) {
      this.#headers = new Map(readHeaders(text))
      this.#text = text
    }
    return this.#headers
  }
}
