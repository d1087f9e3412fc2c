import type { FileHandle } from 'node:fs/promises'
import { open, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isNoSpace, syncDir } from './durable-files.ts'
import type { LogCounters } from './log-counters.ts'
import { NO_COUNTS, readCounters, writeCounters } from './log-counters.ts'
import { tryLock } from './process-lock.ts'
import type { SegmentFile } from './spool-files.ts'
import { countFrames, headerIn, listInstances, listSegments, lockPath, segmentName } from './spool-files.ts'
import { encodeFrame } from './spool-format.ts'

export interface RecoveryReport {
  sealed: number
  /** Bytes after the last intact record: writes that a crash cut short, never acknowledged. */
  tornBytes: number
}

/**
 * Seals what dead gateways left open, in all instances whose lock nobody holds; running ones are left alone.
 * Safe to call from several processes at once and to be killed at any point.
 */
export async function recoverSpool(spoolDir: string): Promise<RecoveryReport> {
  const report: RecoveryReport = { sealed: 0, tornBytes: 0 }
  for (const instance of await listInstances(spoolDir)) {
    const segments = await listSegments(spoolDir, instance)
    if (segments.every((segment) => segment.sealed)) continue
    const lock = tryLock(lockPath(spoolDir, instance))
    if (lock === null) continue
    try {
      const done = await recoverInstance(spoolDir, instance)
      report.sealed += done.sealed
      report.tornBytes += done.tornBytes
    } finally {
      lock.release()
    }
  }
  return report
}

/** The same for one instance whose lock the caller holds. */
export async function recoverInstance(spoolDir: string, instance: string): Promise<RecoveryReport> {
  const dir = join(spoolDir, instance)
  const left = await readLeftOpen(spoolDir, instance)
  // Counters first: once a segment is sealed nobody looks at its header again.
  if (left.segments.length > 0) await writeCounters(dir, left.counters ?? NO_COUNTS)
  return await sealLeftOpen(dir, left)
}

/** What a dead gateway has left open of one instance. */
export interface LeftOpen {
  segments: readonly { segment: SegmentFile; bytes: number; seen: ReturnType<typeof countFrames> }[]
  /** Of the instance, with what these segments show; null: nothing is known. */
  counters: LogCounters | null
}

/**
 * Reads, and changes nothing.
 * @param below - only segments with a lower number: the others are somebody's who lives
 */
export async function readLeftOpen(spoolDir: string, instance: string, below = Infinity): Promise<LeftOpen> {
  let counters = await readCounters(join(spoolDir, instance))
  const segments: LeftOpen['segments'][number][] = []
  for (const segment of await listSegments(spoolDir, instance)) {
    if (segment.sealed || segment.sequence >= below) continue
    const bytes = await readFile(segment.path)
    const seen = countFrames(bytes)
    counters = catchUp(counters ?? NO_COUNTS, headerIn(bytes)?.counters ?? NO_COUNTS, seen)
    segments.push({ segment, bytes: bytes.length, seen })
  }
  return { segments, counters }
}

/** The instance's counters, with what these segments show, must be on disk before. */
export async function sealLeftOpen(dir: string, { segments }: LeftOpen): Promise<RecoveryReport> {
  const report: RecoveryReport = { sealed: 0, tornBytes: 0 }
  for (const { segment, bytes, seen } of segments) {
    report.tornBytes += bytes - seen.end
    if (seen.predictions + seen.labels === 0) await unlink(segment.path)
    else {
      await sealTorn(segment, seen)
      report.sealed++
    }
    await syncDir(dir)
  }
  return report
}

/** counters.json is up to a second old; the segment says what was logged since. What was answered can't be less than that. */
function catchUp(saved: LogCounters, atOpen: LogCounters, seen: { predictions: number; labels: number }): LogCounters {
  const logged = Math.max(saved.logged, atOpen.logged + seen.predictions)
  const sampledOut = Math.max(saved.sampledOut, atOpen.sampledOut)
  const dropped = Math.max(saved.dropped, atOpen.dropped)
  return {
    answered: Math.max(saved.answered, atOpen.answered, logged + sampledOut + dropped),
    logged,
    sampledOut,
    dropped,
    labels: Math.max(saved.labels, atOpen.labels + seen.labels),
    labelsDropped: Math.max(saved.labelsDropped, atOpen.labelsDropped),
  }
}

async function sealTorn(segment: SegmentFile, seen: ReturnType<typeof countFrames>): Promise<void> {
  const file = await open(segment.path, 'r+')
  try {
    await file.truncate(seen.end)
    if (!seen.footer) await appendFooter(file, seen)
    await file.datasync()
  } finally {
    await file.close()
  }
  await rename(segment.path, join(segment.path, '..', segmentName(segment.sequence, true)))
}

/** The footer only saves `status` a walk: on a full disk the segment goes without. */
async function appendFooter(file: FileHandle, seen: ReturnType<typeof countFrames>): Promise<void> {
  const footer = encodeFrame({ kind: 'footer', predictions: seen.predictions, labels: seen.labels })
  try {
    const { bytesWritten } = await file.write(footer, 0, footer.length, seen.end)
    if (bytesWritten < footer.length) await file.truncate(seen.end)
  } catch (error) {
    if (!isNoSpace(error)) throw error
    await file.truncate(seen.end)
  }
}
