import { FRAME_BYTES_MAX, FRAME_HEAD_BYTES } from '../../kernel/contract/frames.ts'
import { FrameError } from './errors.ts'

export interface FrameSink {
  /**
   * Asked as soon as the head of a frame is there, before anything is kept of it.
   * @param bytes - what follows the kind
   * @returns false: the frame is read over and thrown away; `frame` is not called
   */
  accepts(id: number, kind: number, bytes: number): boolean
  /** @param payload - what follows the kind; a view of what was read */
  frame(id: number, kind: number, payload: Buffer): void
}

const EMPTY = Buffer.alloc(0)
/** Of the length itself, which does not count itself. */
const LENGTH_BYTES = 4
const ID_AND_KIND_BYTES = FRAME_HEAD_BYTES - LENGTH_BYTES

/**
 * Cuts a stream of bytes into frames, in whatever pieces it comes. A frame that lies whole in one piece is not copied;
 * one that spans several is put together once, when it is complete.
 */
export class FrameReader {
  readonly #sink: FrameSink
  /** Less than a head. */
  #rest: Buffer = EMPTY
  #id = 0
  #kind = 0
  /** Of the frame that is being gathered: what is here of it, and how much is not. 0: none is. */
  #parts: Buffer[] = []
  #missing = 0
  #isKept = true

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** @throws FrameError; whatever the sink throws. After that the reader is of no use. */
  push(bytes: Buffer): void {
    let at = this.#missing > 0 ? this.#gather(bytes) : 0
    let piece = bytes
    if (this.#rest.length > 0) {
      piece = Buffer.concat([this.#rest, bytes])
      this.#rest = EMPTY
    }
    while (piece.length - at >= FRAME_HEAD_BYTES) at = this.#readFrame(piece, at)
    if (at < piece.length) this.#rest = piece.subarray(at)
  }

  /** @returns where the next frame begins, which is the end where this one is not whole */
  #readFrame(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32LE(at)
    if (length < ID_AND_KIND_BYTES) throw new FrameError(`it has ${length} bytes`)
    if (length > FRAME_BYTES_MAX) throw new FrameError(`it says to have ${length} bytes, more than ${FRAME_BYTES_MAX}`)
    const id = bytes.readUInt32LE(at + LENGTH_BYTES)
    const kind = bytes[at + FRAME_HEAD_BYTES - 1]!
    const from = at + FRAME_HEAD_BYTES
    const to = at + LENGTH_BYTES + length
    const isKept = this.#sink.accepts(id, kind, to - from)
    if (to <= bytes.length) {
      if (isKept) this.#sink.frame(id, kind, bytes.subarray(from, to))
      return to
    }
    this.#id = id
    this.#kind = kind
    this.#isKept = isKept
    this.#parts = isKept && from < bytes.length ? [bytes.subarray(from)] : []
    this.#missing = to - bytes.length
    return bytes.length
  }

  /** @returns bytes used */
  #gather(bytes: Buffer): number {
    const used = Math.min(bytes.length, this.#missing)
    this.#missing -= used
    if (this.#isKept) this.#parts.push(used === bytes.length ? bytes : bytes.subarray(0, used))
    if (this.#missing > 0 || !this.#isKept) return used
    const payload = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    this.#parts = []
    this.#sink.frame(this.#id, this.#kind, payload)
    return used
  }
}
