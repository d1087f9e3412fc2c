import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { DuckDBConnection } from './duckdb.ts'
import { openDuckDB } from './duckdb.ts'
import { makeDir, syncDir, unlinkIfThere, writeFileAtomic } from './durable-files.ts'
import { LakeBusyError } from './errors.ts'
import { compact, deleteRemoved, sweepUnreferenced } from './housekeeping.ts'
import type { Refused } from './ingest-batch.ts'
import { IngestBatch } from './ingest-batch.ts'
import type { NewMatches } from './label-matching.ts'
import { matchLabels } from './label-matching.ts'
import { ingestLockPath, quarantineDir } from './lake-files.ts'
import type { Manifest, ModelTotals, QuarantineTotals } from './manifest.ts'
import { commitManifest, pruneManifests, readManifest } from './manifest.ts'
import { tryLock } from './process-lock.ts'
import { recoverSpool } from './recover-spool.ts'
import { deleteRetired, retireInstances } from './retire-instances.ts'
import { readSegment } from './segment-reader.ts'
import type { SegmentFile } from './spool-files.ts'
import { listInstances, listSegments, readSegmentHeader } from './spool-files.ts'

/**
 * Moves sealed segments into the lake, each record exactly once however often this is killed:
 *
 *   recover dead spools ─▶ delete segments ≤ watermark ─▶ ┌ read a batch ▶ quarantine ▶ Parquet ▶ fsync
 *                                                          │        ▶ manifest (link = commit) ▶ delete segments ┐
 *                                                          └──────────────── until the spool is empty ◀──────────┘
 *   ─▶ compact (its own commit) ─▶ delete replaced files after their grace ─▶ sweep what crashes left
 *
 * Before the link nothing counts: the segments are read again and the Parquet files become litter. After it the
 * manifest's watermark says that those segments are in, so all that is left to do is to delete them.
 */
export interface IngestInput {
  spoolDir: string
  lakeDir: string
  memoryLimitMb?: number
  threads?: number
  /** Segments that go into one commit, by their size (at least one). */
  batchBytes?: number
  /** No new batch is begun after so long; the rest waits for the next job. */
  deadlineMs?: number
  /** How long replaced files stay for readers, and unreferenced ones for whoever may be writing them. */
  graceMs?: number
  keepManifests?: number
  compactMaxBytes?: number
  /** Predictions that came with a later manifest are not merged yet: monitors have not counted them. */
  observedManifest?: number
  /** A gone gateway's counters are kept in its spool for so long, then in the manifest. */
  retireMs?: number
}

export interface IngestReport {
  manifest: number
  commits: number
  segments: number
  predictions: number
  rows: number
  labels: number
  quarantined: number
  compactedFiles: number
  deletedFiles: number
  /** True when the deadline came before the spool was empty. */
  moreWaiting: boolean
  durationMs: number
}

/** Points between two acts, in order, at which a test may kill the job. */
export type IngestStep =
  | 'spool recovered'
  | 'left-over deleted'
  | 'quarantine written'
  | 'files written'
  | 'manifest written'
  | 'committed'
  | 'segment deleted'
  | 'files merged'
  | 'replaced deleted'
  | 'pruned'

export interface IngestHooks {
  reached?(step: IngestStep): void | Promise<void>
  /** Real time. */
  nowMs?(): number
}

const DEFAULTS = {
  batchBytes: 64 * 1024 * 1024,
  deadlineMs: 5 * 60_000,
  graceMs: 10 * 60_000,
  keepManifests: 20,
  compactMaxBytes: 512 * 1024 * 1024,
  observedManifest: Number.POSITIVE_INFINITY,
  retireMs: 60 * 60_000,
  memoryLimitMb: 512,
  threads: 2,
}
const SWEEP_EVERY_MS = 10 * 60_000
/** More quarantine files than this are not kept, only counted. */
const MAX_QUARANTINE_FILES = 1_000
const LATEST_REFUSALS = 20

/** @throws LakeBusyError if another ingest is at work on this lake */
export async function runIngestJob(input: IngestInput, hooks: IngestHooks = {}): Promise<IngestReport> {
  await makeDir(input.lakeDir)
  const lock = tryLock(ingestLockPath(input.lakeDir))
  if (lock === null) throw new LakeBusyError(input.lakeDir)
  const database = await openDuckDB({ memoryLimitMb: DEFAULTS.memoryLimitMb, threads: DEFAULTS.threads, ...input })
  try {
    return await new Ingest({ ...DEFAULTS, ...input }, hooks, database.connection).run()
  } finally {
    await database.close()
    lock.release()
  }
}

interface SegmentToTake extends SegmentFile {
  stream: string
}

class Ingest {
  private readonly input: Required<IngestInput>
  private readonly hooks: IngestHooks
  private readonly connection: DuckDBConnection
  private readonly startedAtMs = performance.now()
  private readonly report: Omit<IngestReport, 'durationMs' | 'manifest'> = {
    commits: 0,
    segments: 0,
    predictions: 0,
    rows: 0,
    labels: 0,
    quarantined: 0,
    compactedFiles: 0,
    deletedFiles: 0,
    moreWaiting: false,
  }
  private manifest!: Manifest

  constructor(input: Required<IngestInput>, hooks: IngestHooks, connection: DuckDBConnection) {
    this.input = input
    this.hooks = hooks
    this.connection = connection
  }

  async run(): Promise<IngestReport> {
    const { spoolDir, lakeDir } = this.input
    await recoverSpool(spoolDir)
    await this.reached('spool recovered')
    this.manifest = await readManifest(lakeDir)
    await this.deleteLeftOvers()
    for (;;) {
      const segments = await this.nextBatch()
      if (segments.length === 0) break
      if (this.elapsedMs() > this.input.deadlineMs) {
        this.report.moreWaiting = true
        break
      }
      await this.takeIn(segments)
    }
    await this.keepHouse()
    return { manifest: this.manifest.number, ...this.report, durationMs: Math.round(this.elapsedMs()) }
  }

  /** Segments that an earlier job committed and was killed before deleting. Must be done before the watermarks move on. */
  private async deleteLeftOvers(): Promise<void> {
    const { spoolDir } = this.input
    for (const instance of await listInstances(spoolDir)) {
      const done: SegmentFile[] = []
      for (const segment of await this.sealed(instance)) if (this.isIngested(segment)) done.push(segment)
      await this.deleteSegments(done, 'left-over deleted')
    }
  }

  /** From each instance in order, so that a watermark per stream says it all. */
  private async nextBatch(): Promise<SegmentToTake[]> {
    const batch: SegmentToTake[] = []
    let bytes = 0
    for (const instance of await listInstances(this.input.spoolDir)) {
      for (const segment of await this.sealed(instance)) {
        bytes += (await stat(segment.path)).size
        if (batch.length > 0 && bytes > this.input.batchBytes) return batch
        batch.push(segment)
      }
    }
    return batch
  }

  private async sealed(instance: string): Promise<SegmentToTake[]> {
    const segments: SegmentToTake[] = []
    for (const segment of await listSegments(this.input.spoolDir, instance)) {
      if (!segment.sealed) continue
      // A header that the disk has damaged must not keep the rest from being taken in.
      const stream = (await readSegmentHeader(segment.path))?.stream ?? `${instance}-${segment.sequence}-no-header`
      segments.push({ ...segment, stream })
    }
    return segments
  }

  private isIngested(segment: SegmentToTake): boolean {
    return segment.sequence <= (this.manifest.ingested[segment.stream] ?? 0)
  }

  private async takeIn(segments: SegmentToTake[]): Promise<void> {
    const { lakeDir } = this.input
    const batch = new IngestBatch(this.connection, this.manifest.labels.records)
    const quarantine = copyOf(this.manifest.quarantine)
    const refusedBefore = quarantine.records
    for (const segment of segments) {
      const bytes = await readFile(segment.path)
      const refused = await batch.take(readSegment(bytes), bytes)
      if (refused.length > 0) await this.quarantine(segment, refused, quarantine)
    }
    const files = await batch.write(lakeDir, this.manifest.number + 1)
    await this.reached('files written')
    const matches = await matchLabels(this.connection, lakeDir, this.manifest.files, files)
    await this.commit({
      ...this.manifest,
      number: this.manifest.number + 1,
      createdAtMs: this.nowMs(),
      files: [...this.manifest.files, ...files],
      schemas: { ...this.manifest.schemas, ...batch.schemas },
      ingested: watermarks(segments),
      models: addModels(this.manifest.models, batch, matches),
      labels: addLabels(this.manifest.labels, batch.labels, matches),
      quarantine,
    })
    this.count(segments.length, batch, quarantine.records - refusedBefore)
    for (const [, of] of Map.groupBy(segments, (segment) => segment.instance))
      await this.deleteSegments(of, 'segment deleted')
  }

  private count(segments: number, batch: IngestBatch, quarantined: number): void {
    this.report.segments += segments
    this.report.predictions += batch.predictions
    this.report.rows += batch.rows
    this.report.labels += batch.labels
    this.report.quarantined += quarantined
  }

  /** The name depends on the segment alone: a job that is killed and run again writes the same file again. */
  private async quarantine(segment: SegmentToTake, refused: Refused[], totals: QuarantineTotals): Promise<void> {
    const name = `${segment.stream}-${String(segment.sequence).padStart(10, '0')}.spool`
    const dir = quarantineDir(this.input.lakeDir)
    await makeDir(dir)
    if ((await readdir(dir)).length < MAX_QUARANTINE_FILES) {
      await writeFileAtomic(join(dir, name), Buffer.concat(refused.map((record) => record.bytes)))
      await syncDir(dir)
    }
    for (const { kind, bytes, offset, why } of refused) {
      if (kind === 'damaged') totals.damagedBytes += bytes.length
      else totals.records++
      if (kind === 'prediction') totals.predictions++
      if (kind === 'label') totals.labels++
      totals.latest = [{ segment: name, offset, why }, ...totals.latest].slice(0, LATEST_REFUSALS)
    }
    await this.reached('quarantine written')
  }

  private async commit(next: Manifest): Promise<void> {
    await commitManifest(this.input.lakeDir, next, () => this.reached('manifest written'))
    this.manifest = next
    this.report.commits++
    await this.reached('committed')
  }

  private async deleteSegments(segments: SegmentFile[], step: IngestStep): Promise<void> {
    const first = segments[0]
    if (first === undefined) return
    for (const segment of segments) {
      await unlinkIfThere(segment.path)
      await this.reached(step)
    }
    // A deleted segment that a power cut brings back would be taken in again once its watermark is forgotten.
    await syncDir(join(this.input.spoolDir, first.instance))
  }

  private async keepHouse(): Promise<void> {
    const { lakeDir, graceMs, compactMaxBytes, observedManifest, keepManifests } = this.input
    const nowMs = this.nowMs()
    const merged = await compact(this.connection, lakeDir, this.manifest, nowMs, compactMaxBytes, observedManifest)
    if (merged !== null) {
      await this.reached('files merged')
      this.report.compactedFiles = merged.removed.length - this.manifest.removed.length
      await this.commit(merged)
    }
    const removed = await deleteRemoved(lakeDir, this.manifest, this.nowMs(), graceMs)
    this.report.deletedFiles = this.manifest.removed.length - removed.length
    await this.reached('replaced deleted')
    const sweep = this.nowMs() - this.manifest.sweptAtMs >= SWEEP_EVERY_MS
    if (sweep) this.report.deletedFiles += await sweepUnreferenced(lakeDir, this.manifest, this.nowMs(), graceMs)
    const before = this.manifest.retired
    const retired = await retireInstances(this.input.spoolDir, before, this.nowMs(), this.input.retireMs)
    const isNews = JSON.stringify(retired) !== JSON.stringify(before)
    if (sweep || removed.length < this.manifest.removed.length || isNews) {
      const sweptAtMs = sweep ? this.nowMs() : this.manifest.sweptAtMs
      const number = this.manifest.number + 1
      await this.commit({ ...this.manifest, number, createdAtMs: this.nowMs(), removed, sweptAtMs, retired })
    }
    await deleteRetired(this.input.spoolDir, retired)
    if (this.report.commits > 0) await pruneManifests(lakeDir, this.manifest.number, keepManifests)
    await this.reached('pruned')
  }

  private async reached(step: IngestStep): Promise<void> {
    await this.hooks.reached?.(step)
  }

  private nowMs(): number {
    return this.hooks.nowMs?.() ?? Date.now()
  }

  private elapsedMs(): number {
    return performance.now() - this.startedAtMs
  }
}

function watermarks(segments: SegmentToTake[]): Record<string, number> {
  const highest: Record<string, number> = {}
  for (const { stream, sequence } of segments) highest[stream] = Math.max(highest[stream] ?? 0, sequence)
  return highest
}

function addModels(before: Manifest['models'], batch: IngestBatch, matches: NewMatches): Manifest['models'] {
  const models: Record<string, ModelTotals> = { ...before }
  for (const name of new Set([...Object.keys(batch.models), ...Object.keys(matches.byModel)])) {
    const known = models[name] ?? { predictions: 0, rows: 0, labelled: 0, numericLabels: 0 }
    models[name] = {
      predictions: known.predictions + (batch.models[name]?.predictions ?? 0),
      rows: known.rows + (batch.models[name]?.rows ?? 0),
      labelled: known.labelled + (matches.byModel[name]?.labelled ?? 0),
      numericLabels: known.numericLabels + (matches.byModel[name]?.numericLabels ?? 0),
    }
  }
  return models
}

function addLabels(before: Manifest['labels'], records: number, matches: NewMatches): Manifest['labels'] {
  const rows = before.rows + matches.rows
  const matched = before.matched + matches.matched
  return {
    records: before.records + records,
    rows,
    matched,
    unmatched: rows - matched,
    numeric: before.numeric + matches.numeric,
  }
}

function copyOf(quarantine: QuarantineTotals): QuarantineTotals {
  return { ...quarantine, latest: [...quarantine.latest] }
}
