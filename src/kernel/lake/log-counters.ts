import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isMissing, writeFileAtomic } from './durable-files.ts'
import { MalformedRecordError } from './errors.ts'

/** What a gateway counts, over all its restarts. `answered = logged + sampledOut + dropped` once all is flushed. */
export interface LogCounters {
  /** Inference answers handed to the log and acknowledged to the client, failed ones included. */
  answered: number
  /** Predictions that are on disk. */
  logged: number
  sampledOut: number
  /** Answered but not logged: no space, buffer full, or the write failed (relaxed mode). */
  dropped: number
  labels: number
  /** Labels that were acknowledged in relaxed mode and could not be written. */
  labelsDropped: number
}

export const NO_COUNTS: LogCounters = { answered: 0, logged: 0, sampledOut: 0, dropped: 0, labels: 0, labelsDropped: 0 }

export function addCounters(a: LogCounters, b: LogCounters): LogCounters {
  return {
    answered: a.answered + b.answered,
    logged: a.logged + b.logged,
    sampledOut: a.sampledOut + b.sampledOut,
    dropped: a.dropped + b.dropped,
    labels: a.labels + b.labels,
    labelsDropped: a.labelsDropped + b.labelsDropped,
  }
}

export function countersPath(instanceDir: string): string {
  return join(instanceDir, 'counters.json')
}

/** Null where there is no file, or one that can't be read: then the newest segment's header says how things stood. */
export async function readCounters(instanceDir: string): Promise<LogCounters | null> {
  let text: string
  try {
    text = await readFile(countersPath(instanceDir), 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
  return parseCounters(text)
}

export async function writeCounters(instanceDir: string, counters: LogCounters): Promise<void> {
  await writeFileAtomic(countersPath(instanceDir), `${JSON.stringify(counters)}\n`)
}

function parseCounters(text: string): LogCounters | null {
  try {
    const read = JSON.parse(text) as Partial<LogCounters>
    const counters = { ...NO_COUNTS }
    for (const key of Object.keys(NO_COUNTS) as (keyof LogCounters)[]) counters[key] = asCount(read[key])
    return counters
  } catch {
    return null
  }
}

function asCount(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new MalformedRecordError(`counter ${String(value)}`)
}
