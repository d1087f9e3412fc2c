const FIRST_BYTES = 64 * 1024

/**
 * A body from its parts. One that came in one part is not copied; else its memory grows with what has come, never with
 * what was promised, and many small parts cost no more than a few large ones.
 */
export class BodyCollector {
  sizeBytes = 0
  #bytes: Buffer | null = null

  /** @param declaredBytes - -1: unknown */
  add(part: Buffer, declaredBytes: number): void {
    const sizeBytes = this.sizeBytes + part.length
    if (this.#bytes === null) this.#bytes = part
    else {
      if (sizeBytes > this.#bytes.length || this.sizeBytes === this.#bytes.length) this.#grow(sizeBytes, declaredBytes)
      part.copy(this.#bytes, this.sizeBytes)
    }
    this.sizeBytes = sizeBytes
  }

  take(): Buffer {
    const bytes = this.#bytes ?? EMPTY
    this.#bytes = null
    return bytes.length === this.sizeBytes ? bytes : bytes.subarray(0, this.sizeBytes)
  }

  drop(): void {
    this.#bytes = null
    this.sizeBytes = 0
  }

  /** Doubles, but not beyond what was declared. */
  #grow(neededBytes: number, declaredBytes: number): void {
    const doubled = Math.max(FIRST_BYTES, neededBytes * 2)
    const capacity = declaredBytes < 0 ? doubled : Math.min(doubled, Math.max(declaredBytes, neededBytes))
    const bytes = Buffer.allocUnsafeSlow(capacity)
    ;(this.#bytes as Buffer).copy(bytes, 0, 0, this.sizeBytes)
    this.#bytes = bytes
  }
}

const EMPTY = Buffer.alloc(0)
