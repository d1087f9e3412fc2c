import type { Answer } from '../answer.ts'
import { Cancellation } from '../cancellation.ts'
import type { BodyCollector } from './body-collector.ts'
import type { HttpRequest, Peer } from './http-front.ts'
import type { ParsedHead } from './parser.ts'

const EMPTY = Buffer.alloc(0)

/** One request and its answer, in the queue of its connection: answers leave in the order of the requests. */
export class Exchange implements HttpRequest {
  readonly head: ParsedHead
  readonly method: string
  readonly target: string
  readonly headers: ParsedHead['headers']
  readonly peer: Peer
  readonly cancellation = new Cancellation()
  /** Its head was here; monotonic. */
  readonly beganMs = performance.now()
  body: Buffer = EMPTY
  /** Of a body that comes in parts, until it is complete. */
  collector: BodyCollector | null = null
  /** Of the body; -1: nobody wants it. */
  limitBytes = -1
  /** Of a body that is held no more. */
  bytesIn = 0
  /** Decided by the head alone; sent once the body is past. */
  early: Answer | null = null
  answer: Answer | null = null
  /** As counted while it is held. */
  answerBytes = 0
  /** Nothing of it is counted any more. */
  isOver = false
  isComplete = false
  /** The connection is closed after its answer. */
  isLast = false
  /** `100 Continue` is owed as long as nothing of the body has come. */
  owesContinue = false
  /** The handler works on it. What it holds is given back when that ends, even where the client has left before. */
  isServed = false
  next: Exchange | null = null

  constructor(head: ParsedHead, peer: Peer) {
    this.head = head
    this.method = head.method
    this.target = head.target
    this.headers = head.headers
    this.peer = peer
  }

  /** Bytes of its body that are in memory. */
  get heldBytes(): number {
    return this.collector === null ? this.body.length : this.collector.sizeBytes
  }
}

/** For the answer to bytes that never became a request. */
export const NO_HEAD: ParsedHead = {
  method: 'GET',
  target: '',
  headers: {},
  minor: 1,
  keepAlive: false,
  bodyBytes: 0,
  expectsContinue: false,
}
