import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { messageOf } from '../../../kernel/errors.ts'
import { UpstreamError } from '../errors.ts'
import { ResponseParser } from './response-parser.ts'
import type { ParsedResponse } from './response-parser.ts'
import type { OpenUpstream, Upstream, UpstreamAnswer, UpstreamCall, UpstreamRequest } from './upstream.ts'

/**
 * HTTP/1.1 over keep-alive connections to a replica's unix socket, one exchange at a time on each.
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
  return ({ socketPath }) => new HttpUpstream(socketPath, limits)
}

/** One request as it goes over the wire. */
interface WireRequest {
  head: string
  body: Buffer
  answerLimitBytes?: number
}

const PROBE: WireRequest = { head: 'GET /v2/health/ready HTTP/1.1\r\nHost: replica\r\n\r\n', body: Buffer.alloc(0) }

class HttpUpstream implements Upstream {
  readonly #socketPath: string
  readonly #limits: HttpUpstreamLimits
  readonly #idle: Connection[] = []
  readonly #open = new Set<Connection>()
  #retired = false

  constructor(socketPath: string, limits: HttpUpstreamLimits) {
    this.#socketPath = socketPath
    this.#limits = limits
  }

  call(request: UpstreamRequest): UpstreamCall {
    const connection = this.#takeIdle() ?? this.#connect()
    return { answer: connection.exchange(wireRequest(request)), abort: () => connection.abort() }
  }

  async probe(timeoutMs: number): Promise<boolean> {
    const connection = this.#connect()
    const timer = setTimeout(() => connection.abort(), timeoutMs)
    try {
      return (await connection.exchange(PROBE)).status === 200
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
    const connection: Connection = new Connection(this.#socketPath, this.#limits, {
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
  readonly #socketPath: string
  readonly #socket: Socket
  readonly #parser: ResponseParser
  readonly #limits: HttpUpstreamLimits
  readonly #owner: { free(): void; gone(): void }
  #waiting: Waiting | null = null
  #connected = false
  #aborted = false
  #closed: UpstreamError | null = null
  #failure: NodeJS.ErrnoException | null = null

  constructor(socketPath: string, limits: HttpUpstreamLimits, owner: { free(): void; gone(): void }) {
    this.#socketPath = socketPath
    this.#limits = limits
    this.#owner = owner
    this.#parser = new ResponseParser(limits.answerLimitBytes)
    this.#socket = connect({ path: socketPath })
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

  exchange(request: WireRequest): Promise<UpstreamAnswer> {
    if (this.#closed !== null) return Promise.reject(this.#closed)
    this.#parser.bodyLimitBytes = request.answerLimitBytes ?? this.#limits.answerLimitBytes
    this.#socket.write(encode(request))
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }))
  }

  /** HTTP/1.1 has no other way to take a request back than to close the connection. */
  abort(): void {
    this.#aborted = true
    this.#socket.destroy()
    this.#fail()
  }

  #read(bytes: Buffer): void {
    if (this.#waiting === null) return this.abort() // nobody asked: whatever this is, it isn't an answer
    try {
      const answer = this.#parser.push(bytes)
      if (answer !== null) this.#answer(answer)
    } catch (error) {
      this.#breakOff(error instanceof UpstreamError ? error : new UpstreamError('garbled', messageOf(error), error))
    }
  }

  #answer(answer: ParsedResponse): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (answer.keepAlive && this.usable) this.#owner.free()
    else this.#socket.destroy()
    waiting?.resolve({ ...answer, jsonBytes: jsonBytesOf(answer.headers) })
  }

  #ended(): void {
    const answer = this.#waiting === null ? null : this.#parser.end()
    if (answer !== null) this.#answer(answer)
    this.#socket.destroy()
  }

  /** The socket's timer restarts with every read and write: it means a late connection, or an idle one. */
  #timedOut(): void {
    if (this.#connected && this.#waiting !== null) return // the caller has a deadline of its own
    if (!this.#connected) {
      this.#failure = Object.assign(new Error(`no connection within ${this.#limits.connectTimeoutMs} ms`), {
        code: 'ETIMEDOUT',
      })
    }
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
    const why = this.#failure?.message ?? 'the connection was closed'
    if (this.#aborted) return new UpstreamError('aborted', `The exchange with ${this.#socketPath} was given up.`)
    if (this.#connected)
      return new UpstreamError('died', `The replica at ${this.#socketPath} went away: ${why}.`, this.#failure)
    // On unix sockets a full accept queue is EAGAIN at once: the replica lives, it just can't take more.
    const fault = this.#failure?.code === 'EAGAIN' ? 'busy' : 'refused'
    return new UpstreamError(fault, `No connection to the replica at ${this.#socketPath}: ${why}.`, this.#failure)
  }
}

function wireRequest(request: UpstreamRequest): WireRequest {
  const { model, version, jsonBytes, headers, body } = request
  const path = `/v2/models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}/infer`
  let lines = `Content-Length: ${body.length}\r\n`
  if (jsonBytes !== null) lines += `Inference-Header-Content-Length: ${jsonBytes}\r\n`
  for (let i = 0; i < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`
  return { ...request, head: `POST ${path} HTTP/1.1\r\nHost: replica\r\n${lines}\r\n` }
}

/** One buffer, so one write: two small ones would wake the replica twice. */
function encode({ head, body }: WireRequest): Buffer {
  const bytes = Buffer.allocUnsafe(head.length + body.length)
  bytes.write(head, 0, head.length, 'latin1')
  body.copy(bytes, head.length)
  return bytes
}

function jsonBytesOf(headers: ReadonlyMap<string, string>): number | null {
  const length = Number(headers.get('inference-header-content-length') ?? Number.NaN)
  return Number.isSafeInteger(length) ? length : null
}
