import type { Socket } from 'node:net'
import { messageOf } from '../../../kernel/errors.ts'
import { errorAnswer, retryAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { CancelReason } from '../cancellation.ts'
import { readDirectly } from './direct-read.ts'
import type { Exchange } from './exchange.ts'
import { ExchangeQueue } from './exchange-queue.ts'
import type { Admission, HttpHandler, Peer, RequestHead } from './http-front.ts'
import { Intake } from './intake.ts'
import type { IntakeHost, IntakePort } from './intake.ts'
import { Sender } from './sender.ts'
import type { SenderHost } from './sender.ts'
import { UnreadWatch } from './unread-watch.ts'

/*
 * One client:
 *
 *   socket ─▶ intake (parser) ─▶ queue of exchanges ─▶ handler
 *                                       └─ the first, once answered ─▶ sender ─▶ socket
 *
 *   open ──last answer sent, idle for too long──▶ farewell ──client closes, or time is over──▶ closed
 *     └──────────client leaves, never reads─────────────────────────────────────────────────▶ closed
 *
 * In farewell our side is closed, and what still comes is thrown away: closing with unread bytes sends a reset, which
 * can overtake the answer. @see RFC 9112, 9.6
 */

/** What all connections of a front share. */
export interface ConnectionHost extends IntakeHost, SenderHost {
  readonly handler: HttpHandler
  readonly isDraining: boolean
  /** Draining has come so far that idle connections are closed. */
  readonly closesIdle: boolean
  /** Whether there is memory for so many more bytes of answers; others may be cut off for it. */
  hasRoomFor(bytes: number): boolean
  /** Has `flush` called at the end of this turn. */
  schedule(connection: Connection): void
  forget(connection: Connection): void
}

/** How long a client that was told farewell may take to close, and how much it may send meanwhile. */
const FAREWELL_MS = 1_500
const FAREWELL_BYTES_MAX = 128 * 1024 * 1024
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'
const TOO_SLOW = errorAnswer(408, 'The request was not complete in time.')
const NO_ROOM = retryAnswer('The server holds as many answer bytes as it may.')

export class Connection implements IntakePort {
  readonly #socket: Socket
  readonly #host: ConnectionHost
  readonly #queue: ExchangeQueue
  readonly #intake: Intake
  readonly #sender: Sender
  readonly #unread: UnreadWatch
  #life: 'open' | 'farewell' | 'closed' = 'open'
  #isLastSent = false
  #discardedBytes = 0
  /** When the client must have gone on. */
  #deadlineMs: number
  /** When it was last known to be idle from then on. */
  #idleSinceMs = performance.now()
  #sent: Answer[] = []
  isScheduled = false

  constructor(socket: Socket, peer: Peer, host: ConnectionHost) {
    this.#socket = socket
    this.#host = host
    this.#queue = new ExchangeQueue(host)
    this.#intake = new Intake(host, peer, this.#queue, this)
    this.#sender = new Sender(socket, host, () => this.#onSent())
    this.#unread = new UnreadWatch(socket, host.limits.unreadMs)
    this.#deadlineMs = performance.now() + host.limits.headMs
    readDirectly(socket, (bytes) => this.#onData(bytes))
    socket.on('drain', () => this.#onDrain())
    socket.on('end', () => this.#onLeft())
    socket.on('close', () => this.#onClosed())
    socket.on('error', () => undefined) // a client's reset, as good as its leaving: 'close' follows
  }

  /** Nothing of it is left to do: draining need not wait for it. */
  get isOver(): boolean {
    return this.#life === 'closed' || (this.#life === 'farewell' && this.#socket.writableFinished)
  }

  get isIdle(): boolean {
    return this.#life === 'open' && this.#queue.length === 0 && this.#intake.place === 'between'
  }

  /** 0 while it is not. */
  idleForMs(nowMs: number): number {
    return this.isIdle ? nowMs - this.#idleSinceMs : 0
  }

  /** How long its client has been reading one answer; 0: none is on its way. */
  sendsForMs(nowMs: number): number {
    return this.#life === 'open' && this.#sender.isSending ? nowMs - this.#sender.sendingSinceMs : 0
  }

  /** At once, since what it holds is needed for others. */
  cutOff(): void {
    this.destroy()
    this.#onClosed()
  }

  cancel(reason: CancelReason): void {
    this.#queue.cancel(reason)
  }

  /** Closes our side; the client is given a while to close its own. */
  sayFarewell(): void {
    if (this.#life !== 'open') return
    this.#life = 'farewell'
    this.#intake.close()
    this.#socket.end()
    this.#socket.resume()
    this.#deadlineMs = performance.now() + FAREWELL_MS
  }

  destroy(): void {
    this.#socket.destroy()
  }

  // ── the handler ──

  admit(head: RequestHead): Admission {
    try {
      return this.#host.handler.admit(head)
    } catch (error) {
      return { kind: 'answer', answer: this.#failed(head, error) }
    }
  }

  serve(exchange: Exchange): void {
    exchange.isServed = true
    let outcome: Answer | null | Promise<Answer | null>
    try {
      outcome = this.#host.handler.serve(exchange)
    } catch (error) {
      outcome = this.#failed(exchange, error)
    }
    if (outcome instanceof Promise) void this.#await(exchange, outcome)
    else this.#onServed(exchange, outcome)
  }

  async #await(exchange: Exchange, outcome: Promise<Answer | null>): Promise<void> {
    let answer: Answer | null
    try {
      answer = await outcome
    } catch (error) {
      answer = this.#failed(exchange, error)
    }
    this.#onServed(exchange, answer)
  }

  #onServed(exchange: Exchange, answer: Answer | null): void {
    exchange.isServed = false
    if (answer !== null && this.#life !== 'closed') return this.settle(exchange, answer)
    if (answer !== null) this.#sender.dispose(answer)
    if (this.#life === 'closed') this.#queue.release(exchange)
    else this.destroy() // there is no answer, and the client can not be left waiting for one
  }

  #failed({ target }: RequestHead, error: unknown): Answer {
    const facts = { target: target.slice(0, 200), error: messageOf(error) }
    this.#host.tell('error', 'a request failed inside the server', facts)
    return errorAnswer(500, 'The server failed; its log says why.')
  }

  settle(exchange: Exchange, answer: Answer): void {
    const hasRoom = this.#host.hasRoomFor(answer.body.length)
    const isCutOff = this.#life === 'closed' // for want of room, as its own client is the slowest
    if (!hasRoom || isCutOff) this.#sender.dispose(answer)
    if (isCutOff) return
    this.#queue.answer(exchange, hasRoom ? answer : NO_ROOM)
    if (hasRoom) answer.stream?.onHeld?.((bytes) => this.#hold(exchange, bytes))
    if (exchange === this.#queue.first && !this.#intake.isReading) this.#host.schedule(this)
  }

  /** Of an answer that comes in parts and has begun: where there is no room for more of it, it breaks off. */
  #hold(exchange: Exchange, bytes: number): void {
    const moreBytes = bytes - exchange.answerBytes
    if (exchange.isOver || moreBytes <= 0 || this.#host.hasRoomFor(moreBytes)) return this.#queue.hold(exchange, bytes)
    this.#host.tell('warn', 'an answer broke off: there is no memory for more of it', { bytes })
    this.cutOff()
  }

  // ── from the socket and to it ──

  #onData(bytes: Buffer): void {
    if (this.#intake.place === 'over') return this.#discard(bytes)
    this.#intake.read(bytes)
    this.flush()
  }

  #discard(bytes: Buffer): void {
    this.#discardedBytes += bytes.length
    if (this.#discardedBytes > FAREWELL_BYTES_MAX) this.#socket.pause()
  }

  /** Sends what is ready, goes on reading where that was held, and notes until when the client must go on. */
  flush(): void {
    if (this.#life !== 'open') return
    do this.#sendReady()
    while (!this.#isLastSent && this.#intake.goOn())
    if (this.#isLastSent) this.sayFarewell()
    else this.#awaitClient()
  }

  #sendReady(): void {
    while (this.#queue.first !== null && this.#queue.first.answer !== null && this.#maySend()) {
      const exchange: Exchange = this.#queue.first
      if (this.#isLastOfDrain(exchange)) {
        this.#intake.close()
        exchange.isLast = true
      }
      if (this.#sender.send(exchange) === 'sent') this.#shift()
    }
    this.#sayContinue()
    this.#sender.flush()
    if (this.#sent.length > 0) this.#followUp()
  }

  #maySend(): boolean {
    return this.#sender.isReady && !this.#isLastSent
  }

  #sayContinue(): void {
    const { first } = this.#queue
    if (first?.owesContinue !== true || !this.#maySend()) return
    first.owesContinue = false
    this.#sender.sendText(CONTINUE)
  }

  /** While draining, the last answer that a client waits for closes its connection. */
  #isLastOfDrain(exchange: Exchange): boolean {
    return this.#host.isDraining && exchange.next === null && this.#intake.place === 'between'
  }

  #shift(): void {
    const exchange = this.#queue.shift()
    const { answer, isLast, bytesIn } = exchange
    if (answer?.afterSent !== undefined) this.#sent.push(answer)
    if (isLast) this.#isLastSent = true
    if (answer !== null) this.#tellDone(exchange, answer, bytesIn)
  }

  #tellDone(exchange: Exchange, answer: Answer, bytesIn: number): void {
    const { handler, tell } = this.#host
    if (handler.onDone === undefined) return
    try {
      handler.onDone(exchange, answer, bytesIn, performance.now() - exchange.beganMs)
    } catch (error) {
      tell('error', 'a request could not be counted', { error: messageOf(error) })
    }
  }

  #followUp(): void {
    const sent = this.#sent
    this.#sent = []
    for (const answer of sent) this.#sender.followUp(answer)
  }

  /** A long body or a stream has left as a whole. */
  #onSent(): void {
    this.#shift()
    this.#followUp()
    this.flush()
  }

  #onDrain(): void {
    this.#sender.onDrain()
    this.flush()
  }

  // ── time, and the end ──

  /** Called every tick, for all that is a matter of time. */
  check(nowMs: number): void {
    if (nowMs >= this.#deadlineMs) this.#onDeadline()
    if (this.#unread.isOverdue(nowMs)) this.destroy()
  }

  #awaitClient(): void {
    const { limits } = this.#host
    this.#deadlineMs = Infinity
    if (this.#intake.isHeld) return void this.#socket.pause()
    if (this.#socket.isPaused()) this.#socket.resume()
    switch (this.#intake.place) {
      case 'over':
        return
      case 'between':
        if (this.#queue.length > 0) return
        if (this.#host.closesIdle) return this.sayFarewell()
        this.#idleSinceMs = performance.now()
        this.#deadlineMs = this.#idleSinceMs + limits.idleMs
        return
      case 'head':
        this.#deadlineMs = this.#began() + limits.headMs
        return
      case 'body':
        this.#deadlineMs = this.#began() + limits.requestMs
    }
  }

  #began(): number {
    if (this.#intake.beganMs < 0) this.#intake.beganMs = performance.now()
    return this.#intake.beganMs
  }

  #onDeadline(): void {
    if (this.#life === 'farewell') {
      if (this.#socket.writableLength === 0) this.destroy() // while it still reads, `unreadMs` is what counts
    } else if (this.isIdle && this.#intake.hasAsked) this.sayFarewell()
    else this.#intake.refuse(TOO_SLOW)
  }

  /** A client that closes its side has left, as with node:http; a body that is on its way is still sent. */
  #onLeft(): void {
    if (this.#life !== 'open') return
    this.#intake.close()
    this.#queue.cancel('client-gone')
    this.#sender.endStream()
    const { first } = this.#queue
    if (first !== null && this.#sender.isSendingBody) first.isLast = true
    else this.sayFarewell()
  }

  #onClosed(): void {
    if (this.#life === 'closed') return // it was cut off
    this.#life = 'closed'
    this.#intake.close()
    this.#queue.cancel('client-gone')
    this.#sender.stop()
    for (let exchange = this.#queue.first; exchange !== null; exchange = exchange.next) {
      if (exchange.answer !== null) this.#sender.dispose(exchange.answer)
      if (!exchange.isServed) this.#queue.release(exchange)
    }
    this.#queue.clear()
    this.#host.forget(this)
  }
}
