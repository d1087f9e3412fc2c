import type { Answer } from '../answer.ts'
import type { CancelReason } from '../cancellation.ts'
import type { Exchange } from './exchange.ts'

/** Over all connections of a front. */
export interface Totals {
  /** Requests whose head has been read and that still hold something. */
  underWay: number
  /** Of their bodies. */
  bodiesBytes: number
  /** Of their answers, until the last of each has left. */
  answersBytes: number
}

/** The requests of one connection in their order, and what they hold. */
export class ExchangeQueue {
  first: Exchange | null = null
  last: Exchange | null = null
  length = 0
  readonly #totals: Totals

  constructor(totals: Totals) {
    this.#totals = totals
  }

  append(exchange: Exchange): Exchange {
    if (this.last === null) this.first = exchange
    else this.last.next = exchange
    this.last = exchange
    this.length += 1
    this.#totals.underWay += 1
    return exchange
  }

  /** Takes the first out, whose answer has left. */
  shift(): Exchange {
    const exchange = this.first as Exchange
    this.first = exchange.next
    if (this.first === null) this.last = null
    exchange.next = null // else whoever keeps a request would keep all that came after it
    this.length -= 1
    this.release(exchange)
    return exchange
  }

  /** Takes all out, as the client is gone. */
  clear(): void {
    this.first = null
    this.last = null
    this.length = 0
  }

  /** Those that somebody still works on, be it to give one part of an answer after another. */
  cancel(reason: CancelReason): void {
    for (let exchange = this.first; exchange !== null; exchange = exchange.next) {
      const { answer } = exchange
      if (answer === null || answer.stream !== undefined) exchange.cancellation.cancel(reason)
    }
  }

  /** Holds the answer until it has left; the body was there to make it. */
  answer(exchange: Exchange, answer: Answer): void {
    this.dropBody(exchange)
    exchange.answer = answer
    exchange.answerBytes = answer.body.length
    this.#totals.answersBytes += exchange.answerBytes
  }

  /** Of an answer that comes in parts: what of it waits to be sent has changed. */
  hold(exchange: Exchange, bytes: number): void {
    if (exchange.isOver) return
    this.#totals.answersBytes += bytes - exchange.answerBytes
    exchange.answerBytes = bytes
  }

  /** Once for each, when it is answered or its client gone, and nobody works on it any more. */
  release(exchange: Exchange): void {
    this.dropBody(exchange)
    exchange.isOver = true
    this.#totals.answersBytes -= exchange.answerBytes
    this.#totals.underWay -= 1
  }

  dropBody(exchange: Exchange): void {
    this.#totals.bodiesBytes -= exchange.heldBytes
    exchange.bytesIn += exchange.heldBytes
    exchange.collector = null
    exchange.body = EMPTY
    exchange.limitBytes = -1
  }
}

const EMPTY = Buffer.alloc(0)
