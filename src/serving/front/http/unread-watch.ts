import type { Socket } from 'node:net'

/**
 * Whether a client reads what it is sent, which shows in the system's taking more bytes for it: megabytes fit into the
 * system's own buffers, so that a small answer is never seen to be unread.
 */
export class UnreadWatch {
  readonly #socket: Socket
  readonly #limitMs: number
  #takenBytes = -1
  #takenAtMs = 0

  constructor(socket: Socket, limitMs: number) {
    this.#socket = socket
    this.#limitMs = limitMs
  }

  /** To be asked every now and then. @param nowMs - monotonic */
  isOverdue(nowMs: number): boolean {
    const { writableLength } = this.#socket
    const takenBytes = writableLength === 0 ? -1 : this.#socket.bytesWritten - writableLength
    if (takenBytes < 0 || takenBytes !== this.#takenBytes) {
      this.#takenBytes = takenBytes
      this.#takenAtMs = nowMs
    }
    return nowMs - this.#takenAtMs >= this.#limitMs
  }
}
