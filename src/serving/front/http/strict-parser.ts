import { canBeginRequest, isTrailerField, parseHead } from './request-head.ts'
import { notHttp, Refusal } from './parser.ts'
import type { ParsedHead, Parser, ParserEvents, ParserLimits, ParserPlace } from './parser.ts'

/*
 *   Head ──no body──────────────────────────────▶ (onEnd) ─▶ Head
 *     ├──Content-Length─▶ Fixed ────────────────▶ (onEnd) ─▶ Head
 *     └──chunked─▶ Size ─▶ Data ─▶ DataEnd ─▶ Size …
 *                    └──0─▶ Trailer ────────────▶ (onEnd) ─▶ Head
 *   any of them ─▶ Over: refused, or the last request of its connection
 *
 * Each step uses up some bytes, or asks for more by WAIT; what it leaves is kept, always less than a limit.
 */
type Step = 'Head' | 'Fixed' | 'Size' | 'Data' | 'DataEnd' | 'Trailer' | 'Over'

const WAIT = -1
const CR = 0x0d
const LF = 0x0a
const HEAD_END = Buffer.from('\r\n\r\n')
/** Old clients send an empty line behind a body: RFC 9112, 2.2 asks for one to be overlooked. */
const EMPTY_LINES_MAX = 4
const CHUNK_LINE_BYTES_MAX = 1_024
/** Of a chunk line that says nothing but its size; what is beyond counts as extensions. */
const PLAIN_CHUNK_LINE_BYTES = 17
/** Clients repeat their heads. Longer ones are not kept, as ten thousand connections may be open. */
const REPEATED_HEAD_BYTES_MAX = 2_048
/** Different heads that all connections remember together, for clients that ask for one thing after another. */
const KNOWN_HEADS_MAX = 512

export function openStrictParser(limits: ParserLimits, events: ParserEvents): Parser {
  return new StrictParser(limits, events)
}

interface KnownHead {
  head: ParsedHead
  /** With the empty line at its end. */
  bytes: Buffer
}

/** What heads said that were read, by their text; a front gives all of its connections the same limits. */
const knownHeads = new WeakMap<ParserLimits, Map<string, KnownHead>>()

function knownHeadsOf(limits: ParserLimits): Map<string, KnownHead> {
  const known = knownHeads.get(limits) ?? new Map<string, KnownHead>()
  knownHeads.set(limits, known)
  return known
}

class StrictParser implements Parser {
  readonly #limits: ParserLimits
  readonly #events: ParserEvents
  readonly #known: Map<string, KnownHead>
  #step: Step = 'Head'
  #rest: Buffer | null = null
  #held = false
  #running = false
  /** How many bytes of `#rest` are known not to hold the end of the head. */
  #searched = 0
  #emptyLines = 0
  #keepAlive = true
  /** Bytes until the end of the body, or of the chunk. */
  #left = 0
  /** Of the chunk extensions, then of the trailer. */
  #overhead = 0
  /** The last head; null where it is too long to be kept. */
  #last: KnownHead | null = null

  constructor(limits: ParserLimits, events: ParserEvents) {
    this.#limits = limits
    this.#events = events
    this.#known = knownHeadsOf(limits)
  }

  get place(): ParserPlace {
    if (this.#step === 'Over') return 'over'
    if (this.#step === 'Head') return this.#rest === null ? 'between' : 'head'
    return 'body'
  }

  push(bytes: Buffer): void {
    if (this.#step === 'Over') return
    this.#rest = this.#rest === null ? bytes : Buffer.concat([this.#rest, bytes])
    this.#run()
  }

  resume(): void {
    this.#held = false
    this.#run()
  }

  close(): void {
    this.#step = 'Over'
    this.#rest = null
    this.#last = null
  }

  #run(): void {
    if (this.#running || this.#rest === null) return
    const bytes = this.#rest
    let at = 0
    this.#rest = null
    this.#running = true
    while (at < bytes.length && !this.#held) {
      const next = this.#take(bytes, at)
      if (next === WAIT) break
      at = next
    }
    this.#running = false
    if (at < bytes.length && this.#step !== 'Over') this.#rest = at === 0 ? bytes : bytes.subarray(at)
  }

  /** @returns where the next step begins, or WAIT */
  #take(bytes: Buffer, at: number): number {
    switch (this.#step) {
      case 'Head':
        return this.#takeHead(bytes, at)
      case 'Fixed':
        return this.#takeData(bytes, at)
      case 'Size':
        return this.#takeSize(bytes, at)
      case 'Data':
        return this.#takeData(bytes, at)
      case 'DataEnd':
        return this.#takeDataEnd(bytes, at)
      case 'Trailer':
        return this.#takeTrailer(bytes, at)
      case 'Over':
        return WAIT
    }
  }

  #takeHead(bytes: Buffer, at: number): number {
    if (this.#searched === 0) {
      if (this.#last !== null && isAt(bytes, at, this.#last.bytes)) return this.#beginRepeated(this.#last, at)
      const first = bytes[at] as number
      if (first === CR) return this.#takeEmptyLine(bytes, at)
      if (!canBeginRequest(first)) return this.#refuse(beginsWrong(first))
    }
    const end = bytes.indexOf(HEAD_END, at + Math.max(0, this.#searched - 3))
    const { headBytes } = this.#limits
    if (end < 0 ? bytes.length - at > headBytes + HEAD_END.length : end - at > headBytes) {
      return this.#refuse(new Refusal(431, `The request head is larger than the limit of ${headBytes} bytes.`))
    }
    if (end < 0) return this.#waitForHead(bytes, at)
    this.#searched = 0
    this.#emptyLines = 0
    const head = this.#readHead(bytes, at, end)
    if (head instanceof Refusal) return this.#refuse(head)
    this.#begin(head)
    return end + HEAD_END.length
  }

  #readHead(bytes: Buffer, at: number, end: number): ParsedHead | Refusal {
    const text = bytes.toString('latin1', at, end)
    this.#last = this.#known.get(text) ?? null
    if (this.#last !== null) return this.#last.head
    const head = parseHead(text, this.#limits.headers)
    if (head instanceof Refusal || text.length > REPEATED_HEAD_BYTES_MAX) return head
    if (this.#known.size >= KNOWN_HEADS_MAX) this.#known.clear()
    this.#last = { head, bytes: Buffer.from(bytes.subarray(at, end + HEAD_END.length)) }
    this.#known.set(text, this.#last)
    return head
  }

  /** The same head again, as it comes with every request of most clients. */
  #beginRepeated({ head, bytes }: KnownHead, at: number): number {
    this.#emptyLines = 0
    this.#begin(head)
    return at + bytes.length
  }

  /** A line feed alone never becomes the end of a head, so its sender would wait until the time is over. */
  #waitForHead(bytes: Buffer, at: number): number {
    for (let lf = bytes.indexOf(LF, at + this.#searched); lf >= 0; lf = bytes.indexOf(LF, lf + 1)) {
      if (lf === at || bytes[lf - 1] !== CR) return this.#refuse(notHttp('a line feed without a carriage return'))
    }
    this.#searched = bytes.length - at
    return WAIT
  }

  #takeEmptyLine(bytes: Buffer, at: number): number {
    if (bytes.length - at < 2) return WAIT
    if (bytes[at + 1] !== LF) return this.#refuse(notHttp('a carriage return without a line feed'))
    this.#emptyLines += 1
    return this.#emptyLines > EMPTY_LINES_MAX ? this.#refuse(notHttp('empty lines instead of a request')) : at + 2
  }

  #begin(head: ParsedHead): void {
    this.#keepAlive = head.keepAlive
    this.#overhead = 0
    this.#left = Math.max(0, head.bodyBytes)
    this.#step = head.bodyBytes < 0 ? 'Size' : 'Fixed'
    this.#events.onHead(head)
    if (head.bodyBytes === 0) this.#end()
  }

  #takeData(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left)
    this.#left -= end - at
    this.#events.onBody(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))
    if (this.#left > 0) return end
    if (this.#step === 'Data') this.#step = 'DataEnd'
    else if (this.#step === 'Fixed') this.#end()
    return end
  }

  /** `chunk-size [chunk-ext] CRLF`; extensions that are well-formed are overlooked. @see RFC 9112, 7.1 */
  #takeSize(bytes: Buffer, at: number): number {
    const lf = bytes.indexOf(LF, at)
    if ((lf < 0 ? bytes.length : lf) - at > CHUNK_LINE_BYTES_MAX) return this.#refuse(CHUNK_LINE_TOO_LONG)
    if (lf < 0) return isHexDigit(bytes[at]) ? WAIT : this.#refuse(notHttp('the size of a chunk'))
    if (lf === at || bytes[lf - 1] !== CR) return this.#refuse(notHttp('a line feed without a carriage return'))
    this.#overhead += Math.max(0, lf - at - PLAIN_CHUNK_LINE_BYTES)
    if (this.#overhead > this.#limits.headBytes) return this.#refuse(CHUNK_LINE_TOO_LONG)
    const size = chunkSize(bytes.toString('latin1', at, lf - 1))
    if (typeof size === 'string') return this.#refuse(notHttp(size))
    this.#left = size
    this.#step = size === 0 ? 'Trailer' : 'Data'
    if (size === 0) this.#overhead = 0
    return lf + 1
  }

  #takeDataEnd(bytes: Buffer, at: number): number {
    if (bytes[at] !== CR) return this.#refuse(notHttp('a chunk is longer than its size'))
    if (bytes.length - at < 2) return WAIT
    if (bytes[at + 1] !== LF) return this.#refuse(notHttp('a carriage return without a line feed'))
    this.#step = 'Size'
    return at + 2
  }

  /** Checked and dropped: nothing that comes behind a body may change what the head said. @see RFC 9110, 6.5.1 */
  #takeTrailer(bytes: Buffer, at: number): number {
    const lf = bytes.indexOf(LF, at)
    const { headBytes } = this.#limits
    if (this.#overhead + (lf < 0 ? bytes.length : lf) - at > headBytes) {
      return this.#refuse(new Refusal(431, `The trailer is larger than the limit of ${headBytes} bytes.`))
    }
    if (lf < 0) return WAIT
    if (lf === at || bytes[lf - 1] !== CR) return this.#refuse(notHttp('a line feed without a carriage return'))
    this.#overhead += lf + 1 - at
    if (lf === at + 1) this.#end()
    else if (!isTrailerField(bytes.toString('latin1', at, lf - 1)))
      return this.#refuse(notHttp('a line of the trailer'))
    return lf + 1
  }

  #end(): void {
    if (this.#step === 'Over') return // closed by whoever heard of the head
    this.#step = this.#keepAlive ? 'Head' : 'Over'
    if (this.#events.onEnd() === 'hold') this.#held = true
  }

  #refuse(refusal: Refusal): number {
    this.close()
    this.#events.onRefusal(refusal)
    return WAIT
  }
}

function isAt(bytes: Buffer, at: number, wanted: Buffer): boolean {
  const { length } = wanted
  return bytes.length - at >= length && bytes.compare(wanted, 0, length, at, at + length) === 0
}

const CHUNK_LINE_TOO_LONG = new Refusal(413, 'The chunk extensions are too large.')

/** RFC 9112, 7.1.1, without the white space around `;` and `=`, which only broken senders use. */
const EXTENSIONS =
  /^(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)+$/
/** 13 hexadecimal digits are exact in a number. */
const SIZE = /^0*([0-9A-Fa-f]{1,13})(?![0-9A-Fa-f])/

/** @returns the size, or what is wrong */
function chunkSize(line: string): number | string {
  const digits = SIZE.exec(line)
  if (digits === null) return 'the size of a chunk'
  const extensions = line.slice(digits[0].length)
  if (extensions !== '' && !EXTENSIONS.test(extensions)) return 'the extension of a chunk'
  return Number.parseInt(digits[1] as string, 16)
}

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false
  return (byte >= 0x30 && byte <= 0x39) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)
}

function beginsWrong(first: number): Refusal {
  if (first === 0x16) return new Refusal(400, 'The client began TLS, but this port speaks HTTP/1.1 without TLS.')
  return notHttp('the request line has no method')
}
