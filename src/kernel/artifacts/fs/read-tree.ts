import { lstat, readdir, readlink } from 'node:fs/promises'
import { join, matchesGlob } from 'node:path'
import { ArtifactTreeError } from '../errors.ts'
import { staysInside } from '../tree.ts'

export const TREE_ENTRIES_MAX = 200_000

export interface FoundEntry {
  /** Relative to the directory, with `/`. */
  path: string
  kind: 'file' | 'link' | 'dir' | 'other'
  executable: boolean
  /** Of a link. */
  target: string
}

/** What a directory holds, without what is ignored; folders only where they are empty. Not sorted. */
export async function readTree(root: string, ignore: readonly string[]): Promise<FoundEntry[]> {
  const found: FoundEntry[] = []
  await walk(root, '', ignore, found)
  return found
}

async function walk(root: string, folder: string, ignore: readonly string[], found: FoundEntry[]): Promise<void> {
  const entries = await readdir(join(root, folder), { withFileTypes: true })
  if (entries.length === 0 && folder !== '') found.push(emptyFolder(folder))
  for (const entry of entries) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (isIgnored(path, ignore)) continue
    checkName(path)
    if (entry.isDirectory()) await walk(root, path, ignore, found)
    else found.push(await look(root, path))
    if (found.length > TREE_ENTRIES_MAX) throw tooMany(root)
  }
}

async function look(root: string, path: string): Promise<FoundEntry> {
  const stats = await lstat(join(root, path))
  if (stats.isFile()) return { path, kind: 'file', executable: (stats.mode & 0o100) !== 0, target: '' }
  if (!stats.isSymbolicLink()) return { path, kind: 'other', executable: false, target: '' }
  const target = await readlink(join(root, path))
  if (!staysInside(path, target)) {
    const fix = 'Put the file itself there, or leave the link out (snapshotIgnore for code).'
    throw new ArtifactTreeError(path, `it is a link that leads outside, to '${target}'`, fix)
  }
  return { path, kind: 'link', executable: false, target }
}

export function isIgnored(path: string, ignore: readonly string[]): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return ignore.some((pattern) => matchesGlob(pattern.includes('/') ? path : name, pattern))
}

const emptyFolder = (path: string): FoundEntry => ({ path, kind: 'dir', executable: false, target: '' })

/** Node shows bytes that are not UTF-8 as U+FFFD, and would then look for a file of that name. */
function checkName(path: string): void {
  if (!path.includes('\uFFFD')) return
  throw new ArtifactTreeError(path, 'its name is not UTF-8', 'Rename the file.')
}

function tooMany(root: string): ArtifactTreeError {
  const fix = 'Keep data in files apart and name it as an input, or leave the folder out.'
  return new ArtifactTreeError(root, `it holds more than ${TREE_ENTRIES_MAX} files`, fix)
}
