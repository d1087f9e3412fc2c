import { BodyCollector } from '../../front/http/body-collector.ts'
import { UpstreamError } from '../errors.ts'
import type { UpstreamAnswer } from './upstream.ts'

const HEAD_LIMIT_BYTES = 64 * 1024
const CHUNK_LINE_LIMIT_BYTES = 1024
/** Answers that only announce the real one. */
const ANNOUNCED_MAX = 100
/** So many chunks may be of any size. With more, each must hold `CHUNK_BYTES_MIN` on average: tiny ones cost processor time. */
const CHUNKS_MAX = 10_000
const CHUNK_BYTES_MIN = 64
const HEAD_END = Buffer.from('\r\n\r\n')
const LINE_END = Buffer.from('\r\n')
const EMPTY = Buffer.alloc(0)

export interface ParsedResponse extends Omit<UpstreamAnswer, 'jsonBytes'> {
  /** Whether the connection may carry another exchange. */
  keepAlive: boolean
}

/**
 * Reads HTTP/1.1 responses off one connection, one at a time, in whatever pieces they come.
 * Strict, because an answer must never end up with the wrong request: anything unclear ends the connection.
 *
 * States: head → body by length | body by chunks (size → data → … → trailer) | body until the end → head.
 * @see RFC 9112, sections 4, 6 and 7
 */
export class ResponseParser {
  /** May change between two responses. */
  bodyLimitBytes: number
  #state: 'head' | 'length' | 'chunk-size' | 'chunk-data' | 'trailer' | 'until-end' = 'head'
  #waiting: Buffer = EMPTY
  #head: { status: number; headers: Map<string, string>; keepAlive: boolean } | null = null
  #body = new BodyCollector()
  /** Of the whole body, where its head says so; -1: it does not. */
  #declaredBytes = -1
  #missing = 0
  /** Of this response, so far. */
  #announced = 0
  #chunks = 0
  #trailerBytes = 0

  constructor(bodyLimitBytes: number) {
    this.bodyLimitBytes = bodyLimitBytes
  }

  /**
   * Takes the next bytes from the wire.
   * @returns the response when it is complete, else null
   * @throws UpstreamError `garbled` when it isn't HTTP/1.x, is over a limit, or more follows than was asked for
   */
  push(bytes: Buffer): ParsedResponse | null {
    let rest = this.#waiting.length === 0 ? bytes : Buffer.concat([this.#waiting, bytes])
    this.#waiting = EMPTY
    for (;;) {
      const used = this.#step(rest)
      if (used === null) {
        this.#waiting = rest
        return null
      }
      rest = rest.subarray(used)
      if (this.#head !== null && this.#isComplete()) return this.#finish(rest)
      if (rest.length === 0) return null
    }
  }

  /** The connection has ended: completes a body that is delimited by just that. */
  end(): ParsedResponse | null {
    return this.#state === 'until-end' ? this.#finish(EMPTY) : null
  }

  /** @returns bytes used, or null when more are needed */
  #step(bytes: Buffer): number | null {
    switch (this.#state) {
      case 'head':
        return this.#readHead(bytes)
      case 'length':
        return this.#readData(bytes)
      case 'chunk-size':
        return this.#readChunkSize(bytes)
      case 'chunk-data':
        return this.#readChunk(bytes)
      case 'trailer':
        return this.#readTrailer(bytes)
      case 'until-end':
        return this.#keep(bytes)
    }
  }

  #isComplete(): boolean {
    return this.#missing === 0 && this.#state === 'length'
  }

  #finish(rest: Buffer): ParsedResponse {
    const head = this.#head
    if (head === null || rest.length > 0) throw garbled('sent more than one answer to a request')
    const body = this.#body.take()
    const keepAlive = head.keepAlive && this.#state !== 'until-end'
    this.#state = 'head'
    this.#head = null
    this.#body = new BodyCollector()
    this.#declaredBytes = -1
    this.#missing = 0
    this.#announced = 0
    this.#chunks = 0
    this.#trailerBytes = 0
    return { status: head.status, headers: head.headers, body, keepAlive }
  }

  #readHead(bytes: Buffer): number | null {
    const end = bytes.indexOf(HEAD_END)
    if (end > HEAD_LIMIT_BYTES || (end < 0 && bytes.length > HEAD_LIMIT_BYTES)) throw garbled('sent too long a head')
    if (end < 0) return null
    const head = parseHead(bytes.toString('latin1', 0, end))
    // 100 Continue and its like announce the real answer, which follows.
    if (head.status >= 200) this.#begin(head)
    else if (++this.#announced > ANNOUNCED_MAX) throw garbled(`announced its answer ${this.#announced} times`)
    return end + HEAD_END.length
  }

  #begin(head: { status: number; headers: Map<string, string>; keepAlive: boolean }): void {
    this.#head = head
    const coding = head.headers.get('transfer-encoding')
    const length = head.headers.get('content-length')
    if (coding !== undefined && length !== undefined) throw garbled('sent both Content-Length and Transfer-Encoding')
    if (head.status === 204 || head.status === 304) this.#expect('length', 0)
    else if (coding !== undefined) this.#beginCoding(coding)
    else if (length !== undefined) this.#expect('length', (this.#declaredBytes = this.#limited(parseLength(length))))
    else this.#state = 'until-end'
  }

  #beginCoding(coding: string): void {
    if (coding.toLowerCase() !== 'chunked') throw garbled(`sent Transfer-Encoding '${coding.slice(0, 40)}'`)
    this.#state = 'chunk-size'
  }

  #expect(state: 'length' | 'chunk-data', bytes: number): void {
    this.#state = state
    this.#missing = bytes
  }

  #readData(bytes: Buffer): number {
    const part = bytes.subarray(0, this.#missing)
    this.#missing -= part.length
    return this.#keep(part)
  }

  #readChunkSize(bytes: Buffer): number | null {
    const end = lineEnd(bytes)
    if (end === null) return null
    const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(bytes.toString('latin1', 0, end))?.[1]
    if (size === undefined) throw garbled('sent a chunk without a size')
    const sizeBytes = Number.parseInt(size, 16)
    this.#limited(this.#body.sizeBytes + sizeBytes)
    if (this.#chunks >= CHUNKS_MAX && this.#body.sizeBytes < this.#chunks * CHUNK_BYTES_MIN)
      throw garbled(`sent its answer in chunks of fewer than ${CHUNK_BYTES_MIN} bytes`)
    this.#chunks += 1
    if (sizeBytes === 0) this.#state = 'trailer'
    else this.#expect('chunk-data', sizeBytes)
    return end + LINE_END.length
  }

  #readChunk(bytes: Buffer): number | null {
    if (this.#missing > 0) return this.#readData(bytes)
    if (bytes.length < LINE_END.length) return null
    if (!bytes.subarray(0, LINE_END.length).equals(LINE_END)) throw garbled('sent a chunk longer than it said')
    this.#state = 'chunk-size'
    return LINE_END.length
  }

  #readTrailer(bytes: Buffer): number | null {
    const end = lineEnd(bytes)
    if (end === null) return null
    this.#trailerBytes += end + LINE_END.length
    if (this.#trailerBytes > HEAD_LIMIT_BYTES) throw garbled('sent too long a trailer')
    if (end === 0) this.#expect('length', 0)
    return end + LINE_END.length
  }

  #keep(bytes: Buffer): number {
    this.#limited(this.#body.sizeBytes + bytes.length)
    if (bytes.length > 0) this.#body.add(bytes, this.#declaredBytes) // a list of parts would grow by each of a byte, too
    return bytes.length
  }

  #limited(bytes: number): number {
    if (bytes > this.bodyLimitBytes) throw garbled(`answered with more than ${this.bodyLimitBytes} bytes`)
    return bytes
  }
}

function lineEnd(bytes: Buffer): number | null {
  const end = bytes.indexOf(LINE_END)
  if (end > CHUNK_LINE_LIMIT_BYTES || (end < 0 && bytes.length > CHUNK_LINE_LIMIT_BYTES))
    throw garbled('sent too long a chunk line')
  return end < 0 ? null : end
}

function parseHead(head: string): { status: number; headers: Map<string, string>; keepAlive: boolean } {
  const lines = head.split('\r\n')
  const start = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: |$)/.exec(lines[0] ?? '')
  if (start === null) throw garbled('answered with something else than HTTP/1.x')
  const headers = new Map<string, string>()
  for (let i = 1; i < lines.length; i++) addHeader(headers, lines[i] as string)
  const connection = headers.get('connection')?.toLowerCase()
  const keepAlive = start[1] === '1' ? connection !== 'close' : connection === 'keep-alive'
  return { status: Number(start[2]), headers, keepAlive }
}

function addHeader(headers: Map<string, string>, line: string): void {
  const colon = line.indexOf(':')
  if (colon <= 0 || line.includes('\n') || line.includes('\r')) throw garbled('sent a header line that is none')
  const name = line.slice(0, colon).toLowerCase()
  const value = line.slice(colon + 1).trim()
  if (name === 'content-length' && (headers.get(name) ?? value) !== value) throw garbled('sent two different lengths')
  headers.set(name, value)
}

function parseLength(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw garbled(`sent Content-Length '${text.slice(0, 40)}'`)
  return Number(text)
}

function garbled(what: string): UpstreamError {
  return new UpstreamError('garbled', `The replica ${what}.`)
}
