import type { Answer } from '../answer.ts'
import type { Cancellation } from '../cancellation.ts'

/**
 * HTTP/1.1 on a port or a unix socket, for whoever answers whole requests with whole answers. What a front lets
 * through is a well-formed request with its whole body, within every limit; all else it answers by itself.
 */
export interface HttpFront {
  /**
   * May be called more than once, for several places.
   * @returns the port (chosen by the system for 0), or 0 for a unix socket
   * @throws ListenError naming the address; SharedPortError; TlsFilesError
   */
  listen(where: ListenOn): Promise<number>
  /** Requests whose head has been read and whose answer has not left. */
  readonly underWay: number
  readonly connections: number
  /**
   * No new connections; the open ones are told to close with their next answer, or closed when idle for `idleMs`. What
   * is under way is finished, for `limitMs` at most; then it is cancelled with 'shutdown'.
   */
  drain(limits: DrainLimits): Promise<{ abandoned: number }>
  readonly isDraining: boolean
  close(): Promise<void>
}

export interface DrainLimits {
  idleMs: number
  limitMs: number
  /** New connections are still taken for so long, and closed with their first answer: a proxy may not know yet. Default 0. */
  lingerMs?: number
}

export type ListenOn =
  | { kind: 'port'; host: string; port: number; /** Several processes on one port. */ shared?: boolean; tls?: TlsFiles }
  | { kind: 'socket'; path: string }

/** Paths of PEM files; what they hold is read anew when they change, without a restart. */
export interface TlsFiles {
  certificate: string
  key: string
  /** Callers must show a certificate that these have signed. Absent: none is asked for. */
  clientAuthorities?: string
}

export interface HttpFrontLimits {
  /** Of the request line and the headers together. */
  headBytes: number
  headers: number
  /** From the first byte, or the connection, to the end of the request's head. */
  headMs: number
  /** From the first byte to the end of the body. */
  requestMs: number
  /** An idle connection is kept so long. Longer than the 60 s of common load balancers, so that they close first. */
  idleMs: number
  /** A client that does not read its answer for so long is cut off. */
  unreadMs: number
  connections: number
  /** Requests under way at once, over all connections. More are refused with 503. */
  requests: number
  /** Requests of one connection that are read ahead of their answers. */
  pipelined: number
  /** Of all bodies that are here at once, but for a single one that is larger. More are refused with 503. */
  bodiesBytes: number
  /**
   * Of all answers that wait for their clients to read them. Where another one does not fit, clients that have been
   * reading for longest are cut off for it; where none has been for `laggardMs`, it is refused with 503.
   */
  answersBytes: number
  /** A client that takes longer for an answer may be cut off, where there is no memory for others. */
  laggardMs: number
}

/** A client as far as its connection tells. */
export interface Peer {
  /** Empty for a unix socket. */
  address: string
  /** This machine: loopback, or a unix socket. */
  isLocal: boolean
  isSocket: boolean
  /** Of a client certificate that was verified; null: none was asked for or shown. */
  commonName: string | null
}

export interface RequestHead {
  method: string
  /** As in the request line, percent-encoded, with its query. */
  target: string
  /** Names in lower case, a repeated one joined by `, `. */
  headers: Readonly<Record<string, string | undefined>>
  peer: Peer
}

export interface HttpRequest extends RequestHead {
  /** Whole, as it was sent: a content coding is the handler's to undo. */
  body: Buffer
  cancellation: Cancellation
}

/** Decided by the head alone, before a byte of the body is read and before `100 Continue`. */
export type Admission = { kind: 'read'; limitBytes: number } | { kind: 'answer'; answer: Answer }

export interface HttpHandler {
  admit(head: RequestHead): Admission
  /**
   * Answers leave in the order of their requests. Null: nobody is left to answer (the client is gone).
   * A throw is answered with 500 and told.
   */
  serve(request: HttpRequest): Answer | null | Promise<Answer | null>
  /** Told of what was answered, for counts and logs. */
  readonly onDone?: OnDone | undefined
}

/**
 * Told of each request once its answer has left, those among them that were refused or never became whole (then the
 * target is empty). Called for every request: it is to be quick.
 * @param bytesIn - of the body, as it was sent; 0 where it was not read
 * @param tookMs - from the end of the head to the end of the answer
 */
export type OnDone = (request: DoneRequest, answer: Answer, bytesIn: number, tookMs: number) => void

export interface DoneRequest extends RequestHead {
  /** Which request it is, for those who have noted something of it meanwhile. */
  readonly cancellation: Cancellation
}
