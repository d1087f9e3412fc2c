import { randomBytes } from 'node:crypto'
import { link, open, readdir, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isMissing, makeDir, readDirOrNothing, syncDir } from './durable-files.ts'
import { LakeBusyError, LakeManifestError } from './errors.ts'
import type { LakeTable } from './lake-files.ts'
import { manifestsDir } from './lake-files.ts'
import type { LogCounters } from './log-counters.ts'
import { NO_COUNTS } from './log-counters.ts'

/** The whole lake at one moment. A commit is the creation of the next number by link(2), which fails if it exists. */
export interface Manifest {
  format: 1
  /** 0 is the empty lake, which has no file. */
  number: number
  createdAtMs: number
  files: LakeFile[]
  /** Columns of the prediction files by `LakeFile.schema`. */
  schemas: Record<string, LakeColumn[]>
  /** Files that compaction replaced; deleted once readers of older manifests are done with them. */
  removed: { path: string; removedAtMs: number }[]
  /** Highest ingested segment of each spool stream that still had a segment on disk. */
  ingested: Record<string, number>
  models: Record<string, ModelTotals>
  labels: LabelTotals
  quarantine: QuarantineTotals
  /** Counters of gateways whose spool is gone. */
  retired: { counters: LogCounters; instances: string[] }
  /** When files that no manifest names were last looked for (real time). */
  sweptAtMs: number
}

export interface LakeFile {
  /** Relative to the lake, with `/`. */
  path: string
  table: LakeTable
  model: string | null
  day: string
  /** Key into `schemas`; null for labels. */
  schema: string | null
  rows: number
  bytes: number
  /** Smallest and largest prediction id, so that a join opens only files that may match. */
  minId: string
  maxId: string
  /**
   * Of a merged file: number of the manifest with which the newest of its rows came. Else the path begins with it,
   * see arrivedWith.
   */
  arrived?: number
}

export interface LakeColumn {
  name: string
  /** As DuckDB writes it: `FLOAT`, `VARCHAR`, `DOUBLE[]`. */
  type: string
}

/** Over the life of the lake. */
export interface ModelTotals {
  /** Records, of every origin and status. */
  predictions: number
  /** Batch rows. */
  rows: number
  /** Rows with at least one label. */
  labelled: number
  /** Of those, how many carry a number (or a boolean, or text that reads as a number). */
  numericLabels: number
}

export interface LabelTotals {
  /** As they came, repeats included. */
  records: number
  /** Distinct prediction rows that were labelled. */
  rows: number
  matched: number
  /** `rows − matched`: their prediction is not (yet) in the lake. */
  unmatched: number
  /** Distinct labelled rows whose label is a number. */
  numeric: number
}

export interface QuarantineTotals {
  /** Intact records that could not be read. */
  records: number
  /** Of those, predictions: `logged = in the lake + waiting + quarantined`. */
  predictions: number
  labels: number
  /** Bytes in sealed segments whose CRC was wrong. */
  damagedBytes: number
  /** The last few, newest first. */
  latest: { segment: string; offset: number; why: string }[]
}

export const EMPTY_MANIFEST: Manifest = {
  format: 1,
  number: 0,
  createdAtMs: 0,
  files: [],
  schemas: {},
  removed: [],
  ingested: {},
  models: {},
  labels: { records: 0, rows: 0, matched: 0, unmatched: 0, numeric: 0 },
  quarantine: { records: 0, predictions: 0, labels: 0, damagedBytes: 0, latest: [] },
  retired: { counters: NO_COUNTS, instances: [] },
  sweptAtMs: 0,
}

/** Number of the manifest with which the (newest) rows of a file came into the lake. */
export function arrivedWith(file: LakeFile): number {
  return file.arrived ?? Number(/(?:^|\/)(\d{10,})-[^/]*$/.exec(file.path)?.[1] ?? 0)
}

const READ_TRIES = 5

/** The newest manifest, or one by its number. @throws LakeManifestError if it can't be read or was pruned */
export async function readManifest(lakeDir: string, number?: number): Promise<Manifest> {
  for (let tries = 1; ; tries++) {
    const wanted = number ?? (await newestNumber(lakeDir))
    if (wanted === 0) return EMPTY_MANIFEST
    const path = join(manifestsDir(lakeDir), manifestName(wanted))
    try {
      return parseManifest(path, await readFile(path, 'utf8'))
    } catch (error) {
      if (!isMissing(error)) throw error
      // Pruned between the listing and the reading: a newer one is there.
      if (number !== undefined || tries === READ_TRIES) throw new LakeManifestError(path, 'it is gone', error)
    }
  }
}

/**
 * Makes `next` the lake: written, synced, then linked to its number.
 * @param reached - told before the link, so that a test can stop there
 * @throws LakeBusyError if somebody else committed that number
 */
export async function commitManifest(lakeDir: string, next: Manifest, reached: () => Promise<void>): Promise<void> {
  const dir = manifestsDir(lakeDir)
  await makeDir(dir)
  const temporary = join(dir, `${manifestName(next.number)}.${randomBytes(4).toString('hex')}.tmp`)
  await writeSynced(temporary, `${JSON.stringify(next)}\n`)
  await reached()
  try {
    await link(temporary, join(dir, manifestName(next.number)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new LakeBusyError(lakeDir)
    throw error
  } finally {
    await unlink(temporary)
  }
  await syncDir(dir)
}

/** Deletes manifests before the last `keep`, and what crashed commits left. Only while holding the ingest's lock. */
export async function pruneManifests(lakeDir: string, newest: number, keep: number): Promise<void> {
  const dir = manifestsDir(lakeDir)
  for (const name of await readdir(dir)) {
    const number = numberOf(name)
    if (name.endsWith('.tmp') || (number !== null && number <= newest - keep)) await unlink(join(dir, name))
  }
}

export function manifestName(number: number): string {
  return `${String(number).padStart(10, '0')}.json`
}

/** Number of the newest manifest, without reading it; 0 for the empty lake. */
export async function newestNumber(lakeDir: string): Promise<number> {
  const names = await readDirOrNothing(manifestsDir(lakeDir))
  return names.reduce((newest, name) => Math.max(newest, numberOf(name) ?? 0), 0)
}

function numberOf(name: string): number | null {
  const match = /^(\d{10,})\.json$/.exec(name)
  return match ? Number(match[1]) : null
}

function parseManifest(path: string, text: string): Manifest {
  let manifest: Manifest
  try {
    manifest = JSON.parse(text) as Manifest
  } catch (error) {
    throw new LakeManifestError(path, 'it is not JSON', error)
  }
  if (manifest.format !== 1)
    throw new LakeManifestError(path, `its format is ${String(manifest.format)}, this Millrace reads 1`)
  return manifest
}

async function writeSynced(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}
