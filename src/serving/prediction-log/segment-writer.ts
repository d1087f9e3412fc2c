import { join } from 'node:path'
import type { LogCounters } from '../../kernel/lake/log-counters.ts'
import { segmentName } from '../../kernel/lake/spool-files.ts'
import { encodeFrame } from '../../kernel/lake/spool-format.ts'
import type { Batch } from './batch.ts'
import type { SpoolFile, SpoolFs } from './spool-fs.ts'

export interface SegmentWriterOptions {
  fs: SpoolFs
  dir: string
  instance: string
  stream: string
  /** First sequence number to use. */
  sequence: number
  epochMs(): number
  counters(): LogCounters
  /**
   * Puts the counters on disk; awaited before a segment gets its final name. From then on the ingest may delete it,
   * and with it the only other account of what was logged.
   */
  saveCounters(): Promise<void>
}

interface OpenSegment {
  file: SpoolFile
  path: string
  sequence: number
  /** Everything before it is on disk; writes go here, so that what a failed write left is overwritten. */
  endBytes: number
  /** A write or sync failed: what lies after `endBytes` must be cut before anything else is done. */
  dirty: boolean
  /** A sync failed, after which the kernel may have dropped pages: nothing more goes into this file. */
  spent: boolean
  predictions: number
  labels: number
}

/**
 * The segment that is being written. A file appears with its first batch, and `write` returns only after
 * fdatasync of the file and, for a new file, fsync of the folder. One call at a time.
 */
export class SegmentWriter {
  private readonly options: SegmentWriterOptions
  private segment: OpenSegment | null = null
  private nextSequence: number

  constructor(options: SegmentWriterOptions) {
    this.options = options
    this.nextSequence = options.sequence
  }

  /** Bytes in the open segment, 0 where there is none. */
  get sizeBytes(): number {
    return this.segment?.endBytes ?? 0
  }

  get isSpent(): boolean {
    return this.segment?.spent ?? false
  }

  /** @throws what the disk says; then nothing of the batch counts as written and the next call starts clean. */
  async write(batch: Batch): Promise<void> {
    const segment = this.segment ?? (await this.create())
    if (segment.dirty) await this.clean(segment)
    const prelude = this.prelude(batch, segment)
    segment.dirty = true
    if (prelude.length > 0) await segment.file.write(prelude, segment.endBytes)
    await segment.file.write(batch.bytes(), segment.endBytes + prelude.length)
    await this.sync(segment)
    if (segment.endBytes === 0) await this.options.fs.syncDir(this.options.dir)
    segment.endBytes += prelude.length + batch.usedBytes
    segment.dirty = false
    segment.predictions += batch.predictions
    segment.labels += batch.labels
    for (const schema of batch.schemas) schema.inSegment = segment.sequence
  }

  /** Makes the segment readable by the ingest; a segment without a record is removed. @throws what the disk says; call again later. */
  async seal(): Promise<void> {
    const segment = this.segment
    if (segment === null) return
    if (segment.dirty) await this.clean(segment)
    if (segment.endBytes === 0) await this.options.fs.unlink(segment.path)
    else {
      await this.writeFooter(segment)
      await this.options.saveCounters()
      await this.options.fs.rename(segment.path, join(this.options.dir, segmentName(segment.sequence, true)))
    }
    // From here the file has its final name: another try must not rename it again.
    this.segment = null
    await segment.file.close()
    await this.options.fs.syncDir(this.options.dir)
  }

  /** Lets go of the file without sealing it, as a crash would; the next recovery seals it. */
  async abandon(): Promise<void> {
    const segment = this.segment
    this.segment = null
    await segment?.file.close()
  }

  private async create(): Promise<OpenSegment> {
    const sequence = this.nextSequence
    const path = join(this.options.dir, segmentName(sequence, false))
    const file = await this.options.fs.create(path)
    this.nextSequence++
    const fresh = { endBytes: 0, dirty: false, spent: false, predictions: 0, labels: 0 }
    this.segment = { file, path, sequence, ...fresh }
    return this.segment
  }

  /** What must stand before the batch: the header of a new segment, and schemas it has not seen. */
  private prelude(batch: Batch, segment: OpenSegment): Buffer {
    const parts: Buffer[] = []
    if (segment.endBytes === 0) parts.push(this.header())
    for (const schema of batch.schemas) if (schema.inSegment !== segment.sequence) parts.push(schema.frame)
    return Buffer.concat(parts)
  }

  private header(): Buffer {
    const { stream, instance } = this.options
    const [openedAtMs, counters] = [this.options.epochMs(), this.options.counters()]
    return encodeFrame({ kind: 'header', stream, instance, openedAtMs, counters })
  }

  private async sync(segment: OpenSegment): Promise<void> {
    try {
      await segment.file.sync()
    } catch (error) {
      segment.spent = true
      throw error
    }
  }

  private async clean(segment: OpenSegment): Promise<void> {
    await segment.file.truncate(segment.endBytes)
    segment.dirty = false
  }

  /** Saves `status` a walk over the records; where it can't be written the segment is sealed without. */
  private async writeFooter(segment: OpenSegment): Promise<void> {
    const { predictions, labels, endBytes } = segment
    const footer = encodeFrame({ kind: 'footer', predictions, labels })
    try {
      await segment.file.write(footer, endBytes)
      await segment.file.sync()
    } catch {
      // All records before it are on disk already, so cutting it off is all that is left to do.
      await segment.file.truncate(endBytes)
    }
  }
}
