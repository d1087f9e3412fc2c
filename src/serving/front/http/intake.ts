import { errorAnswer, retryAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import { BodyCollector } from './body-collector.ts'
import { Exchange, NO_HEAD } from './exchange.ts'
import type { ExchangeQueue, Totals } from './exchange-queue.ts'
import type { Admission, HttpFrontLimits, Peer, RequestHead } from './http-front.ts'
import type { OpenParser, ParsedHead, Parser, ParserEvents, ParserPlace, Refusal } from './parser.ts'

/** What the reading side asks of its connection. */
export interface IntakePort {
  admit(head: RequestHead): Admission
  serve(exchange: Exchange): void
  settle(exchange: Exchange, answer: Answer): void
}

export interface IntakeHost extends Totals {
  readonly limits: HttpFrontLimits
  readonly openParser: OpenParser
}

/** A body that nobody wants is read past, so that the connection can be kept; a longer one ends it. */
const SHORT_BODY_BYTES = 64 * 1024

/** The reading side of a connection: from bytes to requests with their whole bodies, within every limit. */
export class Intake implements ParserEvents {
  readonly #host: IntakeHost
  readonly #peer: Peer
  readonly #queue: ExchangeQueue
  readonly #port: IntakePort
  readonly #parser: Parser
  /** In the middle of parsing: what is answered now is sent right after. */
  isReading = false
  /** Nothing more is read until some answers have left. */
  isHeld = false
  hasAsked = false
  /** First bytes of the request that is being read, as its connection notes them; -1: none is. */
  beganMs = -1

  constructor(host: IntakeHost, peer: Peer, queue: ExchangeQueue, port: IntakePort) {
    this.#host = host
    this.#peer = peer
    this.#queue = queue
    this.#port = port
    this.#parser = host.openParser(host.limits, this)
  }

  get place(): ParserPlace {
    return this.#parser.place
  }

  read(bytes: Buffer): void {
    this.isReading = true
    this.#parser.push(bytes)
    this.isReading = false
  }

  /** @returns whether it was held and no longer need be */
  goOn(): boolean {
    if (!this.isHeld || this.#queue.length >= this.#host.limits.pipelined) return false
    this.isHeld = false
    this.isReading = true
    this.#parser.resume()
    this.isReading = false
    return true
  }

  close(): void {
    this.#parser.close()
  }

  onHead(head: ParsedHead): void {
    const { limits, underWay, bodiesBytes } = this.#host
    this.hasAsked = true
    const exchange = this.#queue.append(new Exchange(head, this.#peer))
    const isCheap = head.method === 'GET' || head.method === 'HEAD' // health must be seen, most of all under load
    if (underWay >= limits.requests && !isCheap) return this.#answerEarly(exchange, busy(limits.requests))
    const admission = this.#port.admit(exchange)
    if (admission.kind === 'answer') return this.#answerEarly(exchange, admission.answer)
    if (head.bodyBytes > admission.limitBytes) return this.#cut(exchange, tooLarge(admission.limitBytes))
    if (bodiesBytes > 0 && bodiesBytes + head.bodyBytes > limits.bodiesBytes) return this.#cut(exchange, FULL)
    exchange.limitBytes = admission.limitBytes
    exchange.owesContinue = head.expectsContinue && head.bodyBytes !== 0
  }

  onBody(part: Buffer): void {
    const exchange = this.#queue.last as Exchange
    const { limitBytes, head } = exchange
    if (limitBytes < 0) return
    exchange.owesContinue = false
    if (exchange.heldBytes + part.length > limitBytes) return this.#cut(exchange, tooLarge(limitBytes))
    const { bodiesBytes, limits } = this.#host
    const isAlone = bodiesBytes === exchange.heldBytes // else one that may be as large could never come in
    if (!isAlone && bodiesBytes + part.length > limits.bodiesBytes) return this.#cut(exchange, FULL)
    this.#host.bodiesBytes += part.length
    if (part.length === head.bodyBytes) exchange.body = part
    else (exchange.collector ??= new BodyCollector()).add(part, head.bodyBytes)
  }

  onEnd(): 'go on' | 'hold' {
    const exchange = this.#queue.last as Exchange
    this.beganMs = -1
    exchange.isComplete = true
    exchange.isLast = !exchange.head.keepAlive
    if (exchange.collector !== null) {
      exchange.body = exchange.collector.take()
      exchange.collector = null
    }
    if (exchange.early !== null) this.#port.settle(exchange, exchange.early)
    else this.#port.serve(exchange)
    this.isHeld = this.#queue.length >= this.#host.limits.pipelined
    return this.isHeld ? 'hold' : 'go on'
  }

  onRefusal({ status, reason }: Refusal): void {
    this.refuse(errorAnswer(status, reason))
  }

  /** Answers what will never be a whole request, behind the answers to those before it. Nothing more is read. */
  refuse(answer: Answer): void {
    const { last } = this.#queue
    const isBegun = last !== null && !last.isComplete
    this.#cut(isBegun ? last : this.#queue.append(new Exchange(NO_HEAD, this.#peer)), answer)
  }

  /** Answers without reading the rest of the request, which is the last of its connection. */
  #cut(exchange: Exchange, answer: Answer): void {
    this.#parser.close()
    exchange.isComplete = true
    exchange.isLast = true
    exchange.owesContinue = false
    this.#queue.dropBody(exchange)
    this.#port.settle(exchange, answer)
  }

  #answerEarly(exchange: Exchange, answer: Answer): void {
    const { bodyBytes, expectsContinue } = exchange.head
    const isShort = bodyBytes >= 0 && bodyBytes <= SHORT_BODY_BYTES && !expectsContinue
    if (isShort || bodyBytes === 0) exchange.early = answer
    else this.#cut(exchange, answer)
  }
}

const FULL = retryAnswer('The server holds as many request bytes as it may.')

function busy(requests: number): Answer {
  return retryAnswer(`The server already works on ${requests} requests.`)
}

function tooLarge(limitBytes: number): Answer {
  return errorAnswer(413, `The request body is larger than the limit of ${limitBytes} bytes.`)
}
