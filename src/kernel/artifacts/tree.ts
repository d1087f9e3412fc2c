import { posix } from 'node:path'
import { messageOf } from '../errors.ts'
import { ArtifactDigestError, ArtifactTreeError } from './errors.ts'
import { hexOf, type Tree, type TreeEntry } from './artifacts.ts'

/** The bytes of a manifest: one line of JSON, keys in a fixed order, entries sorted by path. */
export function encodeTree(entries: readonly TreeEntry[]): Uint8Array {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1)).map(inOrder)
  return new TextEncoder().encode(`${JSON.stringify({ kind: 'tree', version: 1, entries: sorted })}\n`)
}

/** How every manifest begins. */
export const TREE_HEAD = '{"kind":"tree",'

/**
 * Reads a manifest and checks every path in it: whatever it says, writing it out stays inside one directory.
 * @throws ArtifactTreeError
 */
export function decodeTree(bytes: Uint8Array, digest: string): Tree {
  const tree = parse(bytes, digest)
  const links = new Set(tree.entries.filter((entry) => entry.type === 'link').map((entry) => entry.path))
  const seen = new Set<string>()
  for (const entry of tree.entries) {
    checkPath(entry.path)
    if (seen.has(entry.path)) throw refused(entry.path, 'it is there twice')
    seen.add(entry.path)
    if (entry.type === 'file') hexOf(entry.digest)
    if (entry.type === 'link' && !staysInside(entry.path, entry.target)) throw refused(entry.path, 'it leads outside')
    for (const parent of parentsOf(entry.path)) {
      if (links.has(parent)) throw refused(entry.path, `its folder '${parent}' is a link`)
    }
  }
  return tree
}

/** Whether a symbolic link at `path` (relative to the tree) with that target ends inside the tree. */
export function staysInside(path: string, target: string): boolean {
  if (posix.isAbsolute(target) || target.includes('\0')) return false
  const end = posix.normalize(posix.join(posix.dirname(path), target))
  return end !== '..' && !end.startsWith('../')
}

function inOrder(entry: TreeEntry): TreeEntry {
  const { path } = entry
  if (entry.type === 'file') {
    return { type: 'file', path, executable: entry.executable, sizeBytes: entry.sizeBytes, digest: entry.digest }
  }
  return entry.type === 'link' ? { type: 'link', path, target: entry.target } : { type: 'dir', path }
}

function parse(bytes: Uint8Array, digest: string): Tree {
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Tree
    if (value?.kind === 'tree' && value.version === 1 && Array.isArray(value.entries)) return value
    throw new ArtifactTreeError(digest, 'it is not a tree manifest', 'Use the digest that putDir has given.')
  } catch (thrown) {
    if (thrown instanceof ArtifactTreeError || thrown instanceof ArtifactDigestError) throw thrown
    throw new ArtifactTreeError(
      digest,
      `it is not a tree manifest (${messageOf(thrown)})`,
      'Use the digest of a directory.',
    )
  }
}

function checkPath(path: unknown): void {
  if (typeof path !== 'string' || path.includes('\0')) throw refused(String(path), 'it is no path')
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw refused(path, 'it would escape its directory')
  }
}

function* parentsOf(path: string): Iterable<string> {
  for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) yield path.slice(0, end)
}

function refused(path: string, why: string): ArtifactTreeError {
  return new ArtifactTreeError(path, why, 'The manifest was not written by Millrace: do not use it.')
}
