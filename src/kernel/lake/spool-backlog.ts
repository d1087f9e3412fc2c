import { join } from 'node:path'
import { isMissing } from './durable-files.ts'
import type { LogCounters } from './log-counters.ts'
import { addCounters, NO_COUNTS, readCounters } from './log-counters.ts'
import type { SegmentFile } from './spool-files.ts'
import { countSegment, listInstances, listSegments, readSegmentHeader } from './spool-files.ts'

/** What waits in the spool, and what its gateways counted. */
export interface SpoolBacklog {
  instances: InstanceBacklog[]
  counters: LogCounters
  waiting: Waiting
}

export interface InstanceBacklog {
  instance: string
  counters: LogCounters
  waiting: Waiting
}

export interface Waiting {
  segments: number
  bytes: number
  predictions: number
  labels: number
  /** Real time at which the oldest segment was begun, null where none waits. */
  oldestAtMs: number | null
}

/**
 * For `status`: reads counters, footers of sealed segments and the frames of open ones. Segments that the ingest
 * deletes meanwhile count as gone.
 */
export async function spoolBacklog(spoolDir: string): Promise<SpoolBacklog> {
  const backlog: SpoolBacklog = { instances: [], counters: NO_COUNTS, waiting: nothingWaiting() }
  for (const instance of await listInstances(spoolDir)) {
    const counters = (await readCounters(join(spoolDir, instance))) ?? NO_COUNTS
    const waiting = nothingWaiting()
    for (const segment of await listSegments(spoolDir, instance)) await addSegment(waiting, segment)
    backlog.instances.push({ instance, counters, waiting })
    backlog.counters = addCounters(backlog.counters, counters)
    addWaiting(backlog.waiting, waiting)
  }
  return backlog
}

async function addSegment(waiting: Waiting, segment: SegmentFile): Promise<void> {
  try {
    const { predictions, labels, bytes } = await countSegment(segment.path)
    const oldestAtMs = (await readSegmentHeader(segment.path))?.openedAtMs ?? null
    addWaiting(waiting, { segments: 1, bytes, predictions, labels, oldestAtMs })
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

function addWaiting(sum: Waiting, more: Waiting): void {
  for (const key of ['segments', 'bytes', 'predictions', 'labels'] as const) sum[key] += more[key]
  if (more.oldestAtMs !== null) sum.oldestAtMs = Math.min(sum.oldestAtMs ?? Infinity, more.oldestAtMs)
}

function nothingWaiting(): Waiting {
  return { segments: 0, bytes: 0, predictions: 0, labels: 0, oldestAtMs: null }
}
