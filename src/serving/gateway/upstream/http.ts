import type { Socket } from 'node:net'
import { messageOf } from '../../../kernel/errors.ts'
import type { RoutedReplica } from '../../../kernel/contract/routing.ts'
import { UpstreamError } from '../errors.ts'
import { foreignAnswer } from './foreign-answer.ts'
import { connectTimedOut, connectTo, faultOf } from './place.ts'
import type { Place } from './place.ts'
import { ResponseParser } from './response-parser.ts'
import type { ParsedResponse } from './response-parser.ts'
import type { AnswerAs, OpenUpstream, Upstream, UpstreamAnswer, UpstreamCall, UpstreamRequest } from './upstream.ts'

/**
 * HTTP/1.1 over keep-alive connections to a replica's unix socket or port, one exchange at a time on each.
 * Written on `node:net`: `http.Agent` costs 152 µs of CPU a request, and hides whether a connection died before the
 * answer or broke off in the middle of it, which decides about retries.
 */
export interface HttpUpstreamLimits {
  /** A larger answer is refused as `garbled`. */
  answerLimitBytes: number
  /** Node's servers close after 5 s without a request: closing earlier avoids sending into a closing connection. */
  idleMs: number
  connectTimeoutMs: number
}

export const httpUpstreamLimits: HttpUpstreamLimits = {
  answerLimitBytes: 256 * 1024 * 1024,
  idleMs: 3_000,
  connectTimeoutMs: 1_000,
}

export function httpUpstreams(limits: HttpUpstreamLimits = httpUpstreamLimits): OpenUpstream {
  return (replica) => new HttpUpstream(placeOf(replica), limits)
}

/** A server of someone else's listens on a port of this machine; ours has no more than the unix socket for gateways. */
function placeOf({ socketPath, httpPort }: RoutedReplica): Place {
  return httpPort === undefined ? { path: socketPath } : { host: '127.0.0.1', port: httpPort }
}

/** One request as it goes over the wire. */
interface WireRequest {
  head: string
  body: Buffer
  answerLimitBytes?: number
}

const PROBE: WireRequest = { head: 'GET /v2/health/ready HTTP/1.1\r\nHost: replica\r\n\r\n', body: Buffer.alloc(0) }

class HttpUpstream implements Upstream {
  readonly #place: Place
  readonly #limits: HttpUpstreamLimits
  readonly #idle: Connection[] = []
  readonly #open = new Set<Connection>()
  #retired = false

  constructor(place: Place, limits: HttpUpstreamLimits) {
    this.#place = place
    this.#limits = limits
  }

  call(request: UpstreamRequest): UpstreamCall {
    const connection = this.#takeIdle() ?? this.#connect()
    const call = connection.exchange(wireRequest(request))
    const { answerAs } = request
    return answerAs === undefined ? call : asOurs(call, request, answerAs)
  }

  async probe(timeoutMs: number): Promise<boolean> {
    const connection = this.#connect()
    const timer = setTimeout(() => connection.abort(), timeoutMs)
    try {
      return (await connection.exchange(PROBE).answer).status === 200
    } catch {
      return false // the caller asks whether it is ready: it is not
    } finally {
      clearTimeout(timer)
    }
  }

  retire(): void {
    this.#retired = true
    for (const connection of this.#idle.splice(0)) connection.abort()
  }

  close(): void {
    this.#retired = true
    for (const connection of this.#open) connection.abort()
  }

  /** The newest first: what is left over grows old and closes. */
  #takeIdle(): Connection | undefined {
    let connection = this.#idle.pop()
    while (connection !== undefined && !connection.usable) connection = this.#idle.pop()
    return connection
  }

  #connect(): Connection {
    const connection: Connection = new Connection(this.#place, this.#limits, {
      free: () => {
        if (this.#retired) connection.abort()
        else this.#idle.push(connection)
      },
      gone: () => {
        this.#open.delete(connection)
        const at = this.#idle.indexOf(connection)
        if (at >= 0) this.#idle.splice(at, 1)
      },
    })
    this.#open.add(connection)
    return connection
  }
}

interface Waiting {
  resolve(answer: UpstreamAnswer): void
  reject(error: UpstreamError): void
}

class Connection {
  readonly #place: Place
  readonly #socket: Socket
  readonly #parser: ResponseParser
  readonly #limits: HttpUpstreamLimits
  readonly #owner: { free(): void; gone(): void }
  #waiting: Waiting | null = null
  #connected = false
  #aborted = false
  #closed: UpstreamError | null = null
  #failure: NodeJS.ErrnoException | null = null

  constructor(place: Place, limits: HttpUpstreamLimits, owner: { free(): void; gone(): void }) {
    this.#place = place
    this.#limits = limits
    this.#owner = owner
    this.#parser = new ResponseParser(limits.answerLimitBytes)
    this.#socket = connectTo(place)
    this.#socket.setTimeout(limits.connectTimeoutMs, () => this.#timedOut())
    this.#socket.on('connect', () => {
      this.#connected = true
      this.#socket.setTimeout(limits.idleMs)
    })
    this.#socket.on('data', (bytes: Buffer) => this.#read(bytes))
    this.#socket.on('error', (error: NodeJS.ErrnoException) => (this.#failure = error))
    this.#socket.on('end', () => this.#ended())
    this.#socket.on('close', () => this.#fail())
  }

  get usable(): boolean {
    return !this.#socket.destroyed && this.#closed === null
  }

  exchange(request: WireRequest): UpstreamCall {
    if (this.#closed !== null) return { answer: Promise.reject(this.#closed), abort: () => undefined }
    this.#parser.bodyLimitBytes = request.answerLimitBytes ?? this.#limits.answerLimitBytes
    this.#socket.write(encode(request))
    let waiting: Waiting
    const answer = new Promise<UpstreamAnswer>((resolve, reject) => {
      waiting = { resolve, reject }
      this.#waiting = waiting
    })
    // Once it is over, the connection may have another one.
    const abort = (): void => (this.#waiting === waiting ? this.abort() : undefined)
    return { answer, abort }
  }

  /** HTTP/1.1 has no other way to take a request back than to close the connection. */
  abort(): void {
    this.#aborted = true
    this.#socket.destroy()
    this.#fail()
  }

  #read(bytes: Buffer): void {
    if (this.#waiting === null) return this.abort() // nobody asked: whatever this is, it isn't an answer
    this.#answer(() => this.#parser.push(bytes))
  }

  #answer(read: () => ParsedResponse | null): void {
    try {
      const answer = read()
      if (answer !== null) this.#resolve(answer, jsonBytesOf(answer))
    } catch (error) {
      this.#breakOff(error instanceof UpstreamError ? error : new UpstreamError('garbled', messageOf(error), error))
    }
  }

  #resolve(answer: ParsedResponse, jsonBytes: number | null): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (answer.keepAlive && this.usable) this.#owner.free()
    else this.#socket.destroy()
    waiting?.resolve({ ...answer, jsonBytes })
  }

  #ended(): void {
    if (this.#waiting !== null) this.#answer(() => this.#parser.end())
    this.#socket.destroy()
  }

  /** The socket's timer restarts with every read and write: it means a late connection, or an idle one. */
  #timedOut(): void {
    if (this.#connected && this.#waiting !== null) return // the caller has a deadline of its own
    if (!this.#connected) this.#failure = connectTimedOut(this.#limits.connectTimeoutMs)
    this.#socket.destroy()
  }

  #breakOff(error: UpstreamError): void {
    const waiting = this.#waiting
    this.#waiting = null
    this.#closed = error
    this.#socket.destroy()
    waiting?.reject(error)
  }

  #fail(): void {
    const first = this.#closed === null
    if (first) this.#breakOff(this.#reason())
    this.#owner.gone()
  }

  #reason(): UpstreamError {
    return faultOf(this.#place, { aborted: this.#aborted, connected: this.#connected, failure: this.#failure })
  }
}

function wireRequest(request: UpstreamRequest): WireRequest {
  const { model, version, jsonBytes, headers, body, timeoutMs, answerLimitBytes } = request
  // Not every server of someone else's counts versions.
  const named = version === '' ? '' : `/versions/${encodeURIComponent(version)}`
  let lines = `Content-Length: ${body.length}\r\n`
  if (jsonBytes !== null) lines += `Inference-Header-Content-Length: ${jsonBytes}\r\n`
  if (timeoutMs !== undefined) lines += `x-request-timeout-ms: ${timeoutMs}\r\n`
  if (!hasContentType(headers)) lines += `content-type: ${jsonBytes === null ? JSON_TYPE : BYTES_TYPE}\r\n`
  for (let i = 0; i < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`
  const head = `POST /v2/models/${encodeURIComponent(model)}${named}/infer HTTP/1.1\r\nHost: replica\r\n${lines}\r\n`
  return { head, body, answerLimitBytes }
}

const JSON_TYPE = 'application/json'
const BYTES_TYPE = 'application/octet-stream'

function hasContentType(headers: readonly string[]): boolean {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === 'content-type') return true
  return false
}

/** Checked and renamed; given up also while that is done. */
function asOurs(call: UpstreamCall, request: UpstreamRequest, answerAs: AnswerAs): UpstreamCall {
  let isWanted = true
  const answer = call.answer.then((given) => foreignAnswer(given, request, answerAs, () => isWanted))
  const abort = (): void => {
    isWanted = false
    call.abort()
  }
  return { answer, abort }
}

/** One buffer, so one write: two small ones would wake the replica twice. */
function encode({ head, body }: WireRequest): Buffer {
  const bytes = Buffer.allocUnsafe(head.length + body.length)
  bytes.write(head, 0, head.length, 'latin1')
  body.copy(bytes, head.length)
  return bytes
}

/** @throws UpstreamError `garbled` for a length that isn't one, or is more than there is */
function jsonBytesOf({ headers, body }: ParsedResponse): number | null {
  const text = headers.get('inference-header-content-length')
  if (text === undefined) return null
  const length = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (length <= body.length) return length
  const said = `'${text.slice(0, 40)}' with a body of ${body.length} bytes`
  throw new UpstreamError('garbled', `The replica sent Inference-Header-Content-Length ${said}.`)
}
