import type { Socket } from 'node:net'
import { FRAME_HEAD_BYTES, FRAME_KIND } from '../../kernel/contract/frames.ts'
import { answerHeadBytes, requestHeadBytes, writeAnswerHead, writeHead, writeRequestHead } from './frames.ts'
import type { RequestHead } from './frames.ts'

const BUFFER_BYTES = 64 * 1024
/** Bodies from this size on are handed over as they are, not copied. */
const COPY_BYTES_MAX = 16 * 1024
/** Spare buffers of a whole process. */
const SPARE_MAX = 32
const spare: Buffer[] = []

/** Those of the process that are to be flushed at the end of this turn: one immediate serves them all. */
let due: Outbox[] = []

function flushDue(): void {
  const outboxes = due
  due = []
  for (const outbox of outboxes) outbox.flush()
}

/**
 * What is to be written to one connection, gathered until the end of the turn and written at once: a system call costs
 * more than everything else about a small frame. Buffers are used again: making a new one costs as much as a frame.
 */
export class Outbox {
  readonly #socket: Socket
  readonly #when: 'now' | 'turn-end'
  readonly #flush = (): void => this.flush()
  #buffer: Buffer | null = null
  #at = 0
  #isArmed = false
  /** What the system had taken when it last took something, and when that was seen; monotonic ms. */
  #takenBytes = 0
  #progressMs = 0

  /** @param when - `turn-end`: after all that this turn of the event loop reads. `now`: once the current callback is over */
  constructor(socket: Socket, when: 'now' | 'turn-end') {
    this.#socket = socket
    this.#when = when
  }

  /** Bytes that the other side has not taken. */
  get backlogBytes(): number {
    return this.#socket.writableLength
  }

  /** How long nothing has been seen to be taken, though something is there to be. */
  stuckMs(): number {
    if (this.#socket.writableLength === 0) return 0
    const nowMs = performance.now()
    this.#noteProgress(nowMs)
    return nowMs - this.#progressMs
  }

  /** What has been gathered goes out now. */
  flush(): void {
    this.#isArmed = false
    const buffer = this.#buffer
    if (buffer === null || this.#at === 0) return
    this.#buffer = null
    this.#write(buffer.subarray(0, this.#at), buffer)
    this.#at = 0
  }

  request(head: RequestHead, body: Buffer): void {
    const headBytes = requestHeadBytes(head.model.length + head.version.length + head.headers.length)
    const at = this.#room(headBytes)
    this.#at = writeRequestHead(this.#buffer!, at, head)
    this.#append(body)
  }

  answer(id: number, status: number, jsonBytes: number | null, headers: Buffer, body: Buffer): void {
    const at = this.#room(answerHeadBytes(headers.length))
    this.#at = writeAnswerHead(this.#buffer!, at, id, status, jsonBytes, headers, body.length)
    this.#append(body)
  }

  bare(id: number, kind: (typeof FRAME_KIND)[keyof typeof FRAME_KIND]): void {
    const at = this.#room(FRAME_HEAD_BYTES)
    this.#at = writeHead(this.#buffer!, at, id, kind, FRAME_HEAD_BYTES)
  }

  probed(id: number, isReady: boolean): void {
    const at = this.#room(FRAME_HEAD_BYTES + 1)
    const next = writeHead(this.#buffer!, at, id, FRAME_KIND.probed, FRAME_HEAD_BYTES + 1)
    this.#at = this.#buffer!.writeUInt8(isReady ? 1 : 0, next)
  }

  /** @param bytes - as they are */
  raw(bytes: Buffer): void {
    this.#room(0)
    this.#append(bytes)
  }

  #append(body: Buffer): void {
    if (body.length > COPY_BYTES_MAX) {
      this.flush()
      this.#write(body, null)
    } else if (this.#at + body.length <= BUFFER_BYTES) {
      this.#at += body.copy(this.#buffer!, this.#at)
    } else {
      this.flush()
      this.#at = body.copy(this.#bufferFor(body.length), 0)
      this.#arm()
    }
  }

  /** Makes room for so many bytes. @returns where they go in `#buffer` */
  #room(bytes: number): number {
    if (this.#buffer !== null && this.#at + bytes > this.#buffer.length) this.flush()
    if (this.#buffer === null) this.#bufferFor(bytes)
    this.#arm()
    return this.#at
  }

  #bufferFor(bytes: number): Buffer {
    this.#at = 0
    this.#buffer =
      bytes > BUFFER_BYTES ? Buffer.allocUnsafeSlow(bytes) : (spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES))
    return this.#buffer
  }

  #arm(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    if (this.#when === 'now') process.nextTick(this.#flush)
    else if (due.push(this) === 1) setImmediate(flushDue)
  }

  /** What the system took at once, which is nearly always all, is free again; what it left stays with the socket. */
  #write(bytes: Buffer, reused: Buffer | null): void {
    const socket = this.#socket
    if (!socket.writable) return // it is closed, or closing: nobody would read it
    const isNew = socket.writableLength === 0
    socket.write(bytes)
    if (socket.writableLength > 0) {
      if (isNew) this.#progressMs = performance.now()
      if (isNew) this.#takenBytes = takenOf(socket)
    } else if (reused !== null && reused.length === BUFFER_BYTES && spare.length < SPARE_MAX) spare.push(reused)
  }

  #noteProgress(nowMs: number): void {
    const takenBytes = takenOf(this.#socket)
    if (takenBytes === this.#takenBytes) return
    this.#takenBytes = takenBytes
    this.#progressMs = nowMs
  }
}

function takenOf({ bytesWritten, writableLength }: Socket): number {
  return bytesWritten - writableLength
}
