import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MAX_FILES, decideCompaction } from './decide-compaction.ts'
import type { DuckDBConnection } from './duckdb.ts'
import { isMissing, syncDir, unlinkIfThere } from './durable-files.ts'
import { newFilePath } from './ingest-batch.ts'
import { arrivedWith, type LakeFile, type Manifest } from './manifest.ts'
import { parquetFiles } from './parquet-files.ts'
import { copyToParquet } from './parquet-writer.ts'

/** Merges small files. Gives the manifest to commit, or null where nothing is to be done. Old files stay for their readers. */
export async function compact(
  connection: DuckDBConnection,
  lakeDir: string,
  manifest: Manifest,
  nowMs: number,
  maxBytes: number,
  observed?: number,
): Promise<Manifest | null> {
  const groups = decideCompaction(manifest.files, maxBytes, observed)
  if (groups.length === 0) return null
  const merged: LakeFile[] = []
  for (const group of groups) merged.push(await mergeFiles(connection, lakeDir, group, manifest.number + 1))
  const replaced = new Set(groups.flat().map((file) => file.path))
  return {
    ...manifest,
    number: manifest.number + 1,
    createdAtMs: nowMs,
    files: [...manifest.files.filter((file) => !replaced.has(file.path)), ...merged],
    removed: [...manifest.removed, ...[...replaced].map((path) => ({ path, removedAtMs: nowMs }))],
  }
}

async function mergeFiles(
  connection: DuckDBConnection,
  lakeDir: string,
  group: LakeFile[],
  number: number,
): Promise<LakeFile> {
  const first = group[0]
  if (first === undefined || group.length <= MAX_FILES)
    throw new RangeError(`${group.length} files are no group to merge.`)
  const path = await newFilePath(lakeDir, first.table, first.model, first.day, number)
  await copyToParquet(connection, `FROM ${parquetFiles(lakeDir, group)}`, join(lakeDir, path))
  await syncDir(join(lakeDir, path, '..'))
  const ids = group.flatMap((file) => [file.minId, file.maxId]).toSorted()
  return {
    ...first,
    path,
    rows: group.reduce((sum, file) => sum + file.rows, 0),
    bytes: (await stat(join(lakeDir, path))).size,
    minId: ids[0]!,
    maxId: ids.at(-1)!,
    arrived: Math.max(...group.map(arrivedWith)),
  }
}

/** Deletes replaced files whose grace is over; gives what is left of the list. Safe to repeat. */
export async function deleteRemoved(
  lakeDir: string,
  manifest: Manifest,
  nowMs: number,
  graceMs: number,
): Promise<Manifest['removed']> {
  const kept: Manifest['removed'] = []
  for (const entry of manifest.removed) {
    if (nowMs - entry.removedAtMs < graceMs) kept.push(entry)
    else await unlinkIfThere(join(lakeDir, entry.path))
  }
  return kept
}

/** Deletes data files that no manifest names: what a crash left between writing and committing. Returns how many. */
export async function sweepUnreferenced(
  lakeDir: string,
  manifest: Manifest,
  nowMs: number,
  graceMs: number,
): Promise<number> {
  const known = new Set([...manifest.files, ...manifest.removed].map((file) => file.path))
  let swept = 0
  for (const path of await dataFiles(lakeDir)) {
    if (known.has(path) || nowMs - (await changedAtMs(join(lakeDir, path), nowMs)) < graceMs) continue
    await unlinkIfThere(join(lakeDir, path))
    swept++
  }
  return swept
}

async function dataFiles(lakeDir: string): Promise<string[]> {
  try {
    const entries = await readdir(join(lakeDir, 'data'), { recursive: true })
    return entries.filter((name) => name.endsWith('.parquet')).map((name) => `data/${name.replaceAll('\\', '/')}`)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

async function changedAtMs(path: string, ifGone: number): Promise<number> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if (isMissing(error)) return ifGone
    throw error
  }
}
