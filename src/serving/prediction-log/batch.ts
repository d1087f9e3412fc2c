import type { LabelRecord, PredictionRecord } from '../../kernel/contract/prediction.ts'
import { writeFrame } from '../../kernel/lake/spool-format.ts'

const FIRST_BYTES = 256 * 1024

/** A version's schema, encoded once; `inSegment` says into which segment it was written last. */
export interface DeclaredSchema {
  frame: Buffer
  inSegment: number
}

export interface Waiter {
  resolve(): void
  reject(error: Error): void
}

/** Records that go to disk together: one write, one fdatasync. Two of them take turns, so buffers are used again. */
export class Batch {
  private buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  usedBytes = 0
  predictions = 0
  labels = 0
  /** Of those, how many were acknowledged before they are on disk. */
  relaxedPredictions = 0
  relaxedLabels = 0
  /** Monotonic time of the first record; null while empty. */
  oldestMs: number | null = null
  readonly waiters: Waiter[] = []
  readonly schemas = new Set<DeclaredSchema>()

  get isEmpty(): boolean {
    return this.usedBytes === 0
  }

  /** Encodes the record at the end. `roomBytes` is what it may take at most, see `frameBytesMax`. */
  add(record: PredictionRecord | LabelRecord, schema: DeclaredSchema | null, roomBytes: number, nowMs: number): void {
    if (this.usedBytes + roomBytes > this.buffer.length) this.grow(this.usedBytes + roomBytes)
    this.usedBytes = writeFrame(this.buffer, this.usedBytes, record)
    this.oldestMs ??= nowMs
    if (record.kind === 'prediction') this.predictions++
    else this.labels++
    if (schema !== null) this.schemas.add(schema)
  }

  bytes(): Buffer {
    return this.buffer.subarray(0, this.usedBytes)
  }

  clear(): void {
    this.usedBytes = 0
    this.predictions = 0
    this.labels = 0
    this.relaxedPredictions = 0
    this.relaxedLabels = 0
    this.oldestMs = null
    this.waiters.length = 0
    this.schemas.clear()
  }

  private grow(neededBytes: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(neededBytes, this.buffer.length * 2))
    this.buffer.copy(grown, 0, 0, this.usedBytes)
    this.buffer = grown
  }
}
