/**
 * From the bytes of one connection to requests. The connection knows this interface only: strict-parser.ts is what
 * serves, and a second implementation over llhttp (src/testing/llhttp-parser.ts) is the oracle of its tests.
 *
 * A request is one `onHead`, then any number of `onBody`, then one `onEnd`. After a refusal, after a request that does
 * not keep its connection, and after `close`, nothing more is read.
 */
export interface Parser {
  /** Reads as far as it can; what is left over it keeps, which is less than the limits of a head. */
  push(bytes: Buffer): void
  /** Goes on after `onEnd` was answered with 'hold'. */
  resume(): void
  readonly place: ParserPlace
  close(): void
}

/**
 * - between: every byte so far belongs to a request that is complete
 * - head, body: in the middle of one
 * - over: nothing more is read
 */
export type ParserPlace = 'between' | 'head' | 'body' | 'over'

export interface ParserEvents {
  onHead(head: ParsedHead): void
  /** A view of what was pushed, not a copy; never empty. */
  onBody(part: Buffer): void
  /** 'hold': nothing more is parsed until `resume`, so that a client can not send far ahead of its answers. */
  onEnd(): 'go on' | 'hold'
  /** What the client sent is no request. The last event there is. */
  onRefusal(refusal: Refusal): void
}

export type OpenParser = (limits: ParserLimits, events: ParserEvents) => Parser

export interface ParserLimits {
  /** Of the request line and the headers together, without the empty line; also of trailers, and of chunk extensions. */
  headBytes: number
  headers: number
}

export interface ParsedHead {
  readonly method: string
  /** In origin-form, or `*`. @see RFC 9112, 3.2 */
  readonly target: string
  /** Names in lower case, a repeated one joined by `, `; without a prototype. May be shared by equal heads. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Of HTTP/1.x. */
  readonly minor: 0 | 1
  /** Whether the client wants to use the connection again. */
  readonly keepAlive: boolean
  /** As declared; -1: chunked, so unknown. */
  readonly bodyBytes: number
  /** The body follows only after `100 Continue`. @see RFC 9110, 10.1.1 */
  readonly expectsContinue: boolean
}

export class Refusal {
  readonly status: number
  /** A sentence for the client. */
  readonly reason: string

  constructor(status: number, reason: string) {
    this.status = status
    this.reason = reason
  }
}

/** 400 for what breaks the grammar. @param what - names the rule that is broken */
export function notHttp(what: string): Refusal {
  return new Refusal(400, `The request is not valid HTTP/1.1 (${what}).`)
}
