import { arrivedWith, type LakeFile } from './manifest.ts'

/** More files of about one size than this in a partition are merged into one. */
export const MAX_FILES = 8
const TIER_BASE = 8

/**
 * Which files to merge, each group into one. Files of a partition are grouped by size in powers of eight, so that a
 * row is written again about as often as its file grows eightfold, and not at each ingest.
 * @param maxBytes - what one commit may rewrite; groups that would pass it wait for the next
 * @param observed - number of the manifest up to which monitors have counted predictions: what came later is left as
 *   it is, so that a file of predictions is counted as a whole or not at all
 */
export function decideCompaction(
  files: readonly LakeFile[],
  maxBytes: number,
  observed = Number.POSITIVE_INFINITY,
): LakeFile[][] {
  const groups = new Map<string, LakeFile[]>()
  for (const file of files) {
    if (file.table === 'predictions' && arrivedWith(file) > observed) continue
    const tier = Math.floor(Math.log(Math.max(1, file.rows)) / Math.log(TIER_BASE))
    const key = JSON.stringify([file.table, file.model, file.schema, file.day, tier])
    const group = groups.get(key)
    if (group) group.push(file)
    else groups.set(key, [file])
  }
  let room = maxBytes
  return [...groups.values()].filter((group) => {
    if (group.length <= MAX_FILES) return false
    const bytes = group.reduce((sum, file) => sum + file.bytes, 0)
    // One group is always taken: else a large one would wait for ever.
    if (bytes > room && room < maxBytes) return false
    room -= bytes
    return true
  })
}
