import type { Socket } from 'node:net'
import { messageOf } from '../../../kernel/errors.ts'
import { errorAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { Tell } from '../tell.ts'
import { hasBody, headOf } from './answer-bytes.ts'
import type { Framing } from './answer-bytes.ts'
import type { Exchange } from './exchange.ts'
import type { HttpFrontLimits } from './http-front.ts'
import type { Output } from './output.ts'

export interface SenderHost {
  readonly output: Output
  readonly limits: HttpFrontLimits
  readonly date: string
  readonly tell: Tell
}

/** Smaller bodies are copied behind their head, so that both are one write. */
const COPIED_BYTES_MAX = 16 * 1024
/** A body goes out in pieces of this size, so that it can be seen whether the client goes on reading. */
const PIECE_BYTES = 256 * 1024

/** Turns answers into bytes on one socket, one after another, never faster than the client reads. */
export class Sender {
  readonly #socket: Socket
  readonly #host: SenderHost
  readonly #onSent: () => void
  #isBlocked = false
  /** What is left of a large body. */
  #rest: Buffer | null = null
  /** A part of a stream is on its way. */
  #hasPart = false
  /** Since when either is; monotonic. */
  sendingSinceMs = 0
  #stream: AsyncIterator<Buffer> | null = null
  #onUnblocked: (() => void) | null = null
  #isStopped = false
  /** Whose stream is on its way. */
  #streamed: Answer | null = null

  /** @param onSent - called when an answer for which `send` said 'later' has left */
  constructor(socket: Socket, host: SenderHost, onSent: () => void) {
    this.#socket = socket
    this.#host = host
    this.#onSent = onSent
  }

  /** For the next answer. */
  get isReady(): boolean {
    return !this.#isBlocked && this.#rest === null && this.#stream === null && !this.#isStopped
  }

  get isSendingBody(): boolean {
    return this.#rest !== null
  }

  /** Something that the client has to read before there can be more. */
  get isSending(): boolean {
    return this.#rest !== null || this.#hasPart
  }

  /** Small answers wait for `flush`. */
  send(exchange: Exchange): 'sent' | 'later' {
    const answer = exchange.answer as Answer
    const framing = framingOf(answer, exchange)
    if (framing === 'until-close') exchange.isLast = true
    const head = this.#headOf(exchange, answer, framing)
    if (head === null) return this.send(exchange)
    this.sendText(head)
    if (exchange.method === 'HEAD' || !hasBody(answer.status)) {
      if (answer.stream !== undefined) void this.#end(answer.stream[Symbol.asyncIterator]())
      return 'sent'
    }
    if (answer.stream === undefined) return this.#sendBody(answer.body)
    this.flush()
    this.#stream = answer.stream[Symbol.asyncIterator]()
    this.#streamed = answer
    void this.#sendStream(this.#stream, framing === 'chunked')
    return 'later'
  }

  /** @param text - one byte a character */
  sendText(text: string): void {
    if (this.#makeRoom(text.length)) this.#host.output.addText(text)
    else this.#write(Buffer.from(text, 'latin1'))
  }

  flush(): void {
    if (!this.#host.output.flushTo(this.#socket)) this.#isBlocked = true
  }

  onDrain(): void {
    this.#isBlocked = false
    if (this.#rest !== null && this.#sendRest() === 'sent') this.#onSent()
    this.#unblock()
  }

  /** The client is gone. */
  stop(): void {
    this.#isStopped = true
    this.#rest = null
    this.endStream()
  }

  endStream(): void {
    if (this.#stream === null) return
    void this.#end(this.#stream)
    this.#stream = null
    this.#hasPart = false
    this.#unblock()
  }

  /** For an answer that nobody will get, or get whole. */
  dispose(answer: Answer): void {
    const hasBegun = answer === this.#streamed
    if (answer.stream !== undefined && !hasBegun) void this.#end(answer.stream[Symbol.asyncIterator]())
    this.followUp(answer)
  }

  followUp(answer: Answer): void {
    try {
      answer.afterSent?.()
    } catch (error) {
      this.#host.tell('error', 'what follows an answer failed', { error: messageOf(error) })
    }
  }

  /** @returns null: the answer can't be sent, and was replaced by one that says so */
  #headOf(exchange: Exchange, answer: Answer, framing: Framing): string | null {
    const { date, limits, tell } = this.#host
    try {
      return headOf(answer, framing, exchange.isLast ? null : Math.floor(limits.idleMs / 1_000), date)
    } catch (error) {
      tell('error', 'an answer could not be sent', { target: exchange.target.slice(0, 200), error: messageOf(error) })
      this.dispose(answer)
      exchange.answer = errorAnswer(500, 'The server failed; its log says why.')
      return null
    }
  }

  #sendBody(body: Buffer): 'sent' | 'later' {
    if (body.length <= COPIED_BYTES_MAX && this.#makeRoom(body.length)) {
      this.#host.output.addBytes(body)
      return 'sent'
    }
    this.flush()
    this.#rest = body
    this.sendingSinceMs = performance.now()
    return this.#sendRest()
  }

  #sendRest(): 'sent' | 'later' {
    while (this.#rest !== null && !this.#isBlocked) {
      const rest: Buffer = this.#rest
      this.#rest = rest.length > PIECE_BYTES ? rest.subarray(PIECE_BYTES) : null
      this.#write(rest.length > PIECE_BYTES ? rest.subarray(0, PIECE_BYTES) : rest)
    }
    return this.#rest === null ? 'sent' : 'later'
  }

  async #sendStream(iterator: AsyncIterator<Buffer>, isChunked: boolean): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await iterator.next()
        if (this.#stream !== iterator) return
        if (done === true) break
        this.#hasPart = true
        this.sendingSinceMs = performance.now()
        await this.#sendPart(value, isChunked, () => this.#stream === iterator)
        if (this.#stream !== iterator) return
        this.#hasPart = false
      }
    } catch (error) {
      if (this.#stream !== iterator) return // ended by us, and it objects: nobody waits for it any more
      this.#stream = null
      this.#host.tell('error', 'an answer broke off', { error: messageOf(error) })
      this.#socket.destroy() // without its end, so that the client sees that it is not whole
      return
    }
    this.#stream = null
    this.#streamed = null
    if (isChunked) this.sendText('0\r\n\r\n')
    this.flush()
    this.#onSent()
  }

  /** Piece by piece as a body, until the client takes more. @see RFC 9112, 7.1 */
  async #sendPart(part: Buffer, isChunked: boolean, isWanted: () => boolean): Promise<void> {
    if (part.length === 0) return
    if (isChunked) this.sendText(`${part.length.toString(16)}\r\n`)
    if (part.length <= COPIED_BYTES_MAX && this.#makeRoom(part.length)) this.#host.output.addBytes(part)
    else {
      this.flush()
      for (let at = 0; at < part.length; at += PIECE_BYTES) {
        await this.#unblocked()
        if (!isWanted()) return
        this.#write(part.subarray(at, at + PIECE_BYTES))
      }
    }
    if (isChunked) this.sendText('\r\n')
    this.flush()
    await this.#unblocked()
  }

  async #unblocked(): Promise<void> {
    if (this.#isBlocked) await new Promise<void>((resolve) => (this.#onUnblocked = resolve))
  }

  #makeRoom(bytes: number): boolean {
    const { output } = this.#host
    if (output.hasRoom(bytes)) return true
    this.flush()
    return output.hasRoom(bytes)
  }

  #write(bytes: Buffer): void {
    if (!this.#socket.write(bytes)) this.#isBlocked = true
  }

  #unblock(): void {
    const onUnblocked = this.#onUnblocked
    this.#onUnblocked = null
    onUnblocked?.()
  }

  async #end(iterator: AsyncIterator<Buffer>): Promise<void> {
    try {
      await iterator.return?.()
    } catch (error) {
      this.#host.tell('warn', 'a stream did not end well', { error: messageOf(error) })
    }
  }
}

function framingOf(answer: Answer, { head }: Exchange): Framing {
  if (answer.stream === undefined) return 'length'
  return head.minor === 1 ? 'chunked' : 'until-close'
}
