import { randomBytes } from 'node:crypto'
import type {
  LabelRecord,
  LogMode,
  PredictionRecord,
  SchemaRecord,
  SpoolRecord,
} from '../../kernel/contract/prediction.ts'
import type { LogReport } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { isNoSpace } from '../../kernel/lake/durable-files.ts'
import { errnoOf } from '../../kernel/runtime/system-error.ts'
import type { LogCounters } from '../../kernel/lake/log-counters.ts'
import { writeCounters } from '../../kernel/lake/log-counters.ts'
import type { ProcessLock } from '../../kernel/lake/process-lock.ts'
import { readLeftOpen, sealLeftOpen } from '../../kernel/lake/recover-spool.ts'
import { encodeFrame, frameBytesMax } from '../../kernel/lake/spool-format.ts'
import type { DeclaredSchema } from './batch.ts'
import { Batch } from './batch.ts'
import { PredictionLogFullError, SchemaNotDeclaredError, SpoolClosedError } from './errors.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { Spool, SpoolOptions } from './spool-options.ts'

/** Versions whose schema is kept in memory; the one declared longest ago is forgotten first. */
const MAX_SCHEMAS = 4_096
const TICK_MS = 1_000

const LOGGED = Promise.resolve('logged' as const)
const DROPPED = Promise.resolve('dropped' as const)

/** How a spool begins. */
export interface SpoolStart {
  dir: string
  lock: ProcessLock
  counters: LogCounters
  /** First sequence number to use. */
  sequence: number
  /** What earlier lives of this instance have left open could not be sealed for want of space: later. */
  isUnsealed: boolean
}

export class DiskSpool implements Spool {
  private readonly options: Required<Omit<SpoolOptions, 'onState'>> & Pick<SpoolOptions, 'onState'>
  private readonly dir: string
  private readonly lock: ProcessLock
  private readonly writer: SegmentWriter
  private readonly counters: LogCounters
  private readonly schemas = new Map<string, Map<string, DeclaredSchema>>()
  private schemaCount = 0
  private filling = new Batch()
  /** On its way to the disk while `pumping`, empty otherwise. */
  private flushing = new Batch()
  private pumping: Promise<void> | null = null
  private armed: 'no' | 'timer' | 'immediate' = 'no'
  private commitTimer: NodeJS.Timeout | undefined
  private sealTimer: NodeJS.Timeout | undefined
  private tickTimer: NodeJS.Timeout | undefined
  private ticking: Promise<void> | null = null
  private sealDue = false
  private closed = false
  private diskFull = false
  private freeBytes = 0
  private saving: Promise<void> = Promise.resolve()
  /** Segments below this are an earlier life's, left open; null: none are. */
  private unsealedBelow: number | null
  private sealingFails = false
  private countersSaved = ''
  private countersFailing = false

  constructor(options: DiskSpool['options'], { dir, lock, counters, sequence, isUnsealed }: SpoolStart) {
    this.options = options
    this.unsealedBelow = isUnsealed ? sequence : null
    this.dir = dir
    this.lock = lock
    this.counters = { ...counters }
    this.writer = new SegmentWriter({
      fs: options.fs,
      dir,
      instance: options.instance,
      stream: randomBytes(8).toString('hex'),
      sequence,
      epochMs: () => options.clock.epochMs(),
      counters: () => this.counters,
      saveCounters: () => this.saveCounters(),
    })
  }

  start(freeBytes: number, recovered: number, tornBytes: number): void {
    this.judgeSpace(freeBytes)
    if (recovered > 0) this.tell(`sealed ${recovered} segments of gateways that died, ${tornBytes} torn bytes cut`)
    if (this.unsealedBelow !== null) this.tell('no space to seal what a gateway that died has left: that is done later')
    this.tickTimer = setInterval(() => {
      // On a slow disk ticks are left out rather than queued.
      this.ticking ??= this.tick().finally(() => (this.ticking = null))
    }, TICK_MS)
    this.tickTimer.unref()
  }

  append(record: SpoolRecord, mode: LogMode): Promise<'logged' | 'dropped'> {
    if (record.kind === 'schema') return this.keepSchema(record)
    if (this.closed) return Promise.reject(new SpoolClosedError())
    if (mode === 'off') return this.leaveOut(record)
    const schema = record.kind === 'prediction' ? this.schemas.get(record.model)?.get(record.version) : null
    if (schema === undefined) {
      const { model, version } = record as PredictionRecord
      return Promise.reject(new SchemaNotDeclaredError(model, version))
    }
    const roomBytes = frameBytesMax(record)
    const waitingBytes = this.filling.usedBytes + this.flushing.usedBytes
    if (this.diskFull || waitingBytes + roomBytes > this.options.bufferLimitBytes)
      return this.refuse(record, mode, roomBytes)
    this.filling.add(record, schema, roomBytes, this.options.clock.monotonicMs())
    return mode === 'durable' ? this.whenOnDisk() : this.acknowledge(record)
  }

  countSampledOut(): void {
    this.counters.answered++
    this.counters.sampledOut++
  }

  counts(): LogReport {
    const { answered, logged, sampledOut, dropped, labels } = this.counters
    const oldestMs = this.flushing.oldestMs ?? this.filling.oldestMs
    const lagMs = oldestMs === null ? 0 : Math.max(0, this.options.clock.monotonicMs() - oldestMs)
    return { answered, logged, sampledOut, dropped, labels, lagMs, diskFull: this.diskFull }
  }

  async flush(): Promise<void> {
    while (this.pumping !== null || !this.filling.isEmpty) await (this.pumping ?? this.pump())
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    clearInterval(this.tickTimer)
    await this.flush()
    clearTimeout(this.sealTimer)
    try {
      await this.writer.seal()
    } catch (error) {
      this.tell(`the last segment could not be sealed and waits for the next start: ${messageOf(error)}`)
      await this.writer.abandon()
    }
    await this.ticking
    await this.saveCounters()
    this.lock.release()
  }

  private keepSchema(record: SchemaRecord): Promise<'logged'> {
    const versions = this.schemas.get(record.model) ?? new Map<string, DeclaredSchema>()
    const frame = encodeFrame(record)
    if (versions.get(record.version)?.frame.equals(frame)) return LOGGED
    if (!versions.has(record.version)) this.schemaCount++
    versions.delete(record.version)
    versions.set(record.version, { frame, inSegment: 0 })
    this.schemas.set(record.model, versions)
    if (this.schemaCount > MAX_SCHEMAS) this.forgetOldestSchema()
    return LOGGED
  }

  private forgetOldestSchema(): void {
    for (const [model, versions] of this.schemas) {
      const oldest = versions.keys().next()
      if (oldest.done) continue
      versions.delete(oldest.value)
      if (versions.size === 0) this.schemas.delete(model)
      this.schemaCount--
      return
    }
  }

  private leaveOut(record: PredictionRecord | LabelRecord): Promise<'dropped'> {
    if (record.kind === 'prediction') this.countSampledOut()
    return DROPPED
  }

  private acknowledge(record: PredictionRecord | LabelRecord): Promise<'logged'> {
    if (record.kind === 'prediction') {
      this.counters.answered++
      this.filling.relaxedPredictions++
    } else this.filling.relaxedLabels++
    this.arm(false)
    return LOGGED
  }

  private whenOnDisk(): Promise<'logged'> {
    const { waiters } = this.filling
    return new Promise((resolve, reject) => {
      waiters.push({ resolve: () => resolve('logged'), reject })
      this.arm(true)
    })
  }

  private refuse(record: PredictionRecord | LabelRecord, mode: LogMode, roomBytes: number): Promise<'dropped'> {
    if (mode === 'durable') return Promise.reject(this.fullError(roomBytes))
    if (record.kind === 'prediction') {
      this.counters.answered++
      this.counters.dropped++
    }
    return DROPPED
  }

  private fullError(roomBytes: number): PredictionLogFullError {
    const { minFreeBytes, bufferLimitBytes } = this.options
    if (this.diskFull)
      return new PredictionLogFullError(
        `${this.freeBytes} bytes are free on its disk, fewer than storage.minFree (${minFreeBytes})`,
        `Free space on the disk of ${this.dir}; logging goes on by itself within a second.`,
      )
    return new PredictionLogFullError(
      `${roomBytes} bytes more than the ${this.filling.usedBytes + this.flushing.usedBytes} that wait for the disk would pass the limit of ${bufferLimitBytes}`,
      'Send less at once, or put the data directory on a faster disk.',
    )
  }

  /** A durable record is written as soon as this turn of the event loop is over, together with all others of the turn. */
  private arm(urgent: boolean): void {
    if (this.pumping !== null || this.armed === 'immediate' || (this.armed === 'timer' && !urgent)) return
    clearTimeout(this.commitTimer)
    if (urgent) setImmediate(() => void this.pump())
    else this.commitTimer = setTimeout(() => void this.pump(), this.options.commitMs)
    this.armed = urgent ? 'immediate' : 'timer'
  }

  /** Only one runs at a time. It goes on as long as somebody waits for the disk. */
  private pump(): Promise<void> {
    this.pumping ??= this.work().finally(() => {
      this.pumping = null
      if (this.sealDue) void this.pump()
      else if (!this.filling.isEmpty) this.arm(this.filling.waiters.length > 0)
    })
    return this.pumping
  }

  private async work(): Promise<void> {
    this.armed = 'no'
    clearTimeout(this.commitTimer)
    do {
      if (!this.filling.isEmpty) await this.commit()
      if (this.sealDue || this.writer.isSpent || this.writer.sizeBytes >= this.options.sealBytes) await this.seal()
    } while (this.filling.waiters.length > 0)
  }

  private async commit(): Promise<void> {
    const batch = this.filling
    this.filling = this.flushing
    this.flushing = batch
    try {
      await this.writer.write(batch)
      this.succeed(batch)
    } catch (error) {
      this.fail(batch, error)
    }
    batch.clear()
    if (this.writer.sizeBytes > 0 && this.sealTimer === undefined) this.armSeal(this.options.sealMs)
  }

  private succeed(batch: Batch): void {
    this.counters.logged += batch.predictions
    this.counters.answered += batch.predictions - batch.relaxedPredictions
    this.counters.labels += batch.labels
    for (const waiter of batch.waiters) waiter.resolve()
  }

  /** Relaxed records were acknowledged already: they are counted as dropped, loudly. */
  private fail(batch: Batch, error: unknown): void {
    this.counters.dropped += batch.relaxedPredictions
    this.counters.labelsDropped += batch.relaxedLabels
    const what = `writing ${batch.usedBytes} bytes failed`
    const why = `${what}: ${messageOf(error)}`
    // Clients are shown its message, and not where the log is.
    const full = new PredictionLogFullError(
      `${what} (${errnoOf(error) ?? 'EIO'})`,
      `Check the disk of ${this.dir}.`,
      error,
    )
    for (const waiter of batch.waiters) waiter.reject(full)
    if (isNoSpace(error)) this.diskFull = true
    this.tell(`${why}; ${batch.relaxedPredictions} predictions and ${batch.relaxedLabels} labels dropped`)
  }

  private async seal(): Promise<void> {
    clearTimeout(this.sealTimer)
    this.sealTimer = undefined
    this.sealDue = false
    try {
      await this.writer.seal()
    } catch (error) {
      this.tell(`sealing a segment failed, it is tried again: ${messageOf(error)}`)
      this.armSeal(TICK_MS)
    }
  }

  private armSeal(inMs: number): void {
    this.sealTimer = setTimeout(() => {
      this.sealDue = true
      void this.pump()
    }, inMs)
    this.sealTimer.unref()
  }

  private async tick(): Promise<void> {
    try {
      this.judgeSpace(await this.options.fs.freeBytes(this.dir))
    } catch (error) {
      this.tell(`free space can't be read: ${messageOf(error)}`)
    }
    await this.saveCounters()
    if (this.unsealedBelow !== null && !this.diskFull && !this.countersFailing)
      await this.sealEarlier(this.unsealedBelow)
  }

  /** They are on disk and counted, and wait only for the ingest to be let at them. */
  private async sealEarlier(below: number): Promise<void> {
    const { dir: spoolDir, instance } = this.options
    try {
      const { sealed, tornBytes } = await sealLeftOpen(this.dir, await readLeftOpen(spoolDir, instance, below))
      this.unsealedBelow = null
      this.tell(`sealed ${sealed} segments of gateways that died, ${tornBytes} torn bytes cut`)
    } catch (error) {
      if (!this.sealingFails) this.tell(`what a gateway that died has left can't be sealed: ${messageOf(error)}`)
      this.sealingFails = true
    }
  }

  private judgeSpace(freeBytes: number): void {
    const { minFreeBytes } = this.options
    const full = freeBytes < minFreeBytes
    this.freeBytes = freeBytes
    if (full === this.diskFull) return
    this.diskFull = full
    this.tell(
      full
        ? `only ${freeBytes} bytes free, ${minFreeBytes} needed: nothing is logged`
        : `${freeBytes} bytes free: logging goes on`,
    )
  }

  /** One after the other, so that what is on disk never goes back. */
  private saveCounters(): Promise<void> {
    this.saving = this.saving.then(() => this.writeCounters())
    return this.saving
  }

  private async writeCounters(): Promise<void> {
    const counters = JSON.stringify(this.counters)
    if (counters === this.countersSaved) return
    try {
      await writeCounters(this.dir, this.counters)
      this.countersSaved = counters
      this.countersFailing = false
    } catch (error) {
      if (!this.countersFailing) this.tell(`counters can't be saved: ${messageOf(error)}`)
      this.countersFailing = true
    }
  }

  private tell(why: string): void {
    this.options.onState?.({ diskFull: this.diskFull, freeBytes: this.freeBytes, why })
  }
}
