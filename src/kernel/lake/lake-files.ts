import { createHash } from 'node:crypto'
import { join } from 'node:path'

/**
 * The lake on disk; every file under data/ is immutable and counts only while a manifest names it:
 *
 *   lake/data/predictions/model=<m>/day=<yyyy-mm-dd>/<manifest>-<random>.parquet
 *   lake/data/labels/day=<yyyy-mm-dd>/<manifest>-<random>.parquet
 *   lake/manifests/0000000001.json   complete in itself; the highest number is the lake
 *   lake/quarantine/<stream>-<sequence>.spool   records that can't be read, in the spool's own frames
 *   lake/ingest.lock                 held by the one ingest that runs
 */
export type LakeTable = 'predictions' | 'labels'

export const manifestsDir = (lakeDir: string): string => join(lakeDir, 'manifests')
export const quarantineDir = (lakeDir: string): string => join(lakeDir, 'quarantine')
export const ingestLockPath = (lakeDir: string): string => join(lakeDir, 'ingest.lock')

/** Folder of a partition, relative to the lake, with `/`. */
export function partitionDir(table: LakeTable, model: string | null, day: string): string {
  return model === null ? `data/${table}/day=${day}` : `data/${table}/model=${partitionValue(model)}/day=${day}`
}

const LONGEST_VALUE = 180

/**
 * A name as a folder: bytes other than letters, digits, dot, dash and underscore become %XX, so that no name leaves
 * its folder or is taken for a glob; what is too long for a file system ends in a digest.
 */
export function partitionValue(name: string): string {
  let encoded = ''
  for (const byte of Buffer.from(name, 'utf8')) {
    const character = String.fromCharCode(byte)
    encoded += /[A-Za-z0-9._-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  if (encoded.length <= LONGEST_VALUE) return encoded
  return `${encoded.slice(0, LONGEST_VALUE)}~${createHash('sha256').update(name).digest('hex').slice(0, 12)}`
}

/** The day (UTC) in which a record is filed. @throws RangeError for a time that no calendar has */
export function dayOf(atMs: number): string {
  return new Date(atMs).toISOString().split('T')[0]!
}
