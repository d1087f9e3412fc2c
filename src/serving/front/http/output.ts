import type { Socket } from 'node:net'

const SLAB_BYTES = 64 * 1024

/**
 * Gathers what one connection sends in one turn, so that it is one write, in memory that all connections share. What
 * the system took at once, which is nearly always all, is free again; what it left stays with its client.
 */
export class Output {
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #begin = 0
  #end = 0

  /** @returns false: flush before; what does not fit then either must be written past this */
  hasRoom(bytes: number): boolean {
    if (bytes <= SLAB_BYTES - this.#end) return true
    if (this.#end > this.#begin || bytes > SLAB_BYTES) return false
    this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
    this.#begin = 0
    this.#end = 0
    return true
  }

  /** @param text - one byte a character */
  addText(text: string): void {
    this.#end += this.#slab.write(text, this.#end, 'latin1')
  }

  addBytes(bytes: Buffer): void {
    this.#end += bytes.copy(this.#slab, this.#end)
  }

  /** @returns whether the socket takes more; else it says 'drain' later */
  flushTo(socket: Socket): boolean {
    if (this.#end === this.#begin) return !socket.writableNeedDrain
    const takesMore = socket.write(this.#slab.subarray(this.#begin, this.#end))
    if (socket.writableLength === 0) this.#end = this.#begin
    else this.#begin = this.#end
    return takesMore
  }
}
