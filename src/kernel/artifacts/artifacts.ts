import { ArtifactDigestError } from './errors.ts'

/**
 * Content-addressed files: the name of an artifact is the digest of its bytes, so that it can't change unnoticed.
 * What is put is on disk (fsynced) when the promise resolves; putting it again changes nothing. Every read checks the
 * digest. A directory is kept as its files plus a tree manifest, whose digest stands for the whole.
 */
export interface Artifacts {
  /** The file is read once: what is kept is what was hashed, also if somebody writes to it meanwhile. */
  putFile(path: string): Promise<StoredArtifact>
  putBytes(bytes: Uint8Array): Promise<StoredArtifact>
  /**
   * Keeps a directory: files with their executable bit, symbolic links that stay inside, empty folders.
   * @param options.ignore - globs of paths relative to `dir`; one without a slash matches that name at any depth
   * @throws ArtifactTreeError for a link that leads outside, a name that is not UTF-8, or too many files
   */
  putDir(dir: string, options: { ignore: readonly string[] }): Promise<StoredTree>
  /**
   * Keeps some files as a directory, each under its path in it, wherever it lies.
   * @throws ArtifactTreeError for a path that leads outside or is named twice
   */
  putFiles(files: readonly { path: string; from: string }[]): Promise<StoredTree>
  /**
   * Copies a kept directory to `target`, which must not exist (or be empty) and appears complete or not at all.
   * The copies are the caller's own: writing to them never reaches the store.
   */
  materialiseDir(digest: string, target: string): Promise<void>
  /** A path for reading, after its bytes have been hashed again. @throws ArtifactNotFoundError, ArtifactCorruptError */
  verifiedPath(digest: string): Promise<string>
  /** @throws ArtifactNotFoundError, ArtifactCorruptError */
  readBytes(digest: string): Promise<Uint8Array<ArrayBuffer>>
  /** Whether it is a kept directory, by its first bytes. @throws ArtifactNotFoundError */
  isTree(digest: string): Promise<boolean>
  /** The manifest of a kept directory. @throws ArtifactTreeError where the artifact is something else */
  readTree(digest: string): Promise<Tree>
  has(digest: string): Promise<boolean>
  /** Bytes of a file artifact, of the manifest for a directory. @throws ArtifactNotFoundError */
  sizeOf(digest: string): Promise<number>
  /**
   * Removes one file (of a directory: its manifest). Who puts the same content meanwhile keeps it: what was put within
   * `unusedForMs` of real time stays, as its digest may not have been recorded anywhere yet. Killed in between, it is there
   * again after the next start.
   */
  remove(digest: string, options: { unusedForMs: number }): Promise<'removed' | 'gone' | 'recent'>
  /**
   * As if it were put again, with the files of a directory: for who is about to record a digest that was kept long ago.
   * @throws ArtifactNotFoundError
   */
  renew(digest: string): Promise<void>
  /** All that is kept, files and manifests, in no order. What comes and goes meanwhile may be missing. */
  list(): AsyncIterable<KeptFile>
}

export interface KeptFile extends StoredArtifact {
  /** Real time since it was put last; negative where the system's clock was set back. */
  ageMs: number
}

export interface StoredArtifact {
  /** `sha256:` and 64 lower-case hex digits */
  digest: string
  sizeBytes: number
}

export interface StoredTree extends StoredArtifact {
  files: number
  /** Of all files together. */
  contentBytes: number
  /** Sockets, pipes and devices: they have no content to keep. */
  leftOut: string[]
}

/** Entries are sorted by path and modes normalised, so that the same content has the same digest everywhere. */
export interface Tree {
  kind: 'tree'
  version: 1
  entries: TreeEntry[]
}

export type TreeEntry =
  | { type: 'file'; path: string; executable: boolean; sizeBytes: number; digest: string }
  | { type: 'link'; path: string; target: string }
  /** Only folders that are empty: the others follow from their entries. */
  | { type: 'dir'; path: string }

const digestPattern = /^sha256:([0-9a-f]{64})$/

/**
 * The hex digits of a digest. Everything that becomes a path in the store goes through here, so that nothing can
 * escape it.
 */
export function hexOf(digest: string): string {
  const hex = digestPattern.exec(digest)?.[1]
  if (hex === undefined) throw new ArtifactDigestError(digest)
  return hex
}

export const isDigest = (text: string): boolean => digestPattern.test(text)
