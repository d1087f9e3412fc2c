import { createHash, randomBytes } from 'node:crypto'
import { constants, createReadStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import {
  access,
  chmod,
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { asDataDirError, prepareDataDir } from '../../runtime/data-dir.ts'
import { errnoOf } from '../../runtime/system-error.ts'
import { processStartTime } from '../../runtime/process-identity.ts'
import { syncPath } from '../../runtime/sync-tree.ts'
import { hexOf, isDigest, type Artifacts, type KeptFile, type StoredArtifact, type TreeEntry } from '../artifacts.ts'
import { ArtifactCorruptError, ArtifactNotFoundError } from '../errors.ts'
import { decodeTree, encodeTree, TREE_HEAD } from '../tree.ts'
import { readTree, type FoundEntry } from './read-tree.ts'

/**
 * Artifacts in a directory of this machine:
 *
 *   sha256/ab/abcdef…   one file each, mode 0444
 *   tmp/<pid>-<random>  being written; swept when its process is gone
 *   tmp/<pid>-of-<hex>  being removed; put back when its process is gone
 *
 * Writing: into tmp, hash, fsync, rename, fsync of the directory. Several processes may write at the same time.
 * Removing: into tmp, where its time can't change any more; it goes back where somebody has put it again just before.
 */
export function openFsArtifacts(root: string): Artifacts {
  const temporaryDir = join(root, 'tmp')
  try {
    prepareDataDir(root)
    mkdirSync(temporaryDir, { recursive: true, mode: 0o700 })
    sweep(root, temporaryDir)
  } catch (thrown) {
    throw asDataDirError(thrown, root)
  }
  return new FsArtifacts(root, temporaryDir)
}

const PARALLEL_FILES = 8
const TEMPORARY_MAX_AGE_MS = 24 * 3_600_000
/** Between the pid and the digest of what is being removed. */
const REMOVING = '-of-'

class FsArtifacts implements Artifacts {
  readonly #root: string
  readonly #temporaryDir: string

  constructor(root: string, temporaryDir: string) {
    this.#root = root
    this.#temporaryDir = temporaryDir
  }

  putFile(path: string): Promise<StoredArtifact> {
    return this.#put(async (temporary) => {
      // First, so that a source that can't be read is not taken for trouble with the store.
      await access(path, constants.R_OK)
      await copyFile(path, temporary, constants.COPYFILE_FICLONE)
    })
  }

  putBytes(bytes: Uint8Array): Promise<StoredArtifact> {
    return this.#put(async (temporary) => {
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await handle.writeFile(bytes)
      } finally {
        await handle.close()
      }
    })
  }

  async putDir(dir: string, { ignore }: { ignore: readonly string[] }) {
    const found = await readTree(dir, ignore)
    const entries: TreeEntry[] = []
    await inParallel(found, async (entry) => {
      const kept = await this.#keepEntry(dir, entry)
      if (kept !== null) entries.push(kept)
    })
    return this.#putTree(
      entries,
      found.filter((entry) => entry.kind === 'other').map((entry) => entry.path),
    )
  }

  async putFiles(files: readonly { path: string; from: string }[]) {
    const entries: TreeEntry[] = []
    await inParallel(files, async ({ path, from }) => {
      entries.push({ type: 'file', path, executable: false, ...(await this.putFile(from)) })
    })
    decodeTree(encodeTree(entries), 'the files') // what could not be written out again is not kept
    return this.#putTree(entries, [])
  }

  async #putTree(entries: TreeEntry[], leftOut: string[]) {
    const files = entries.filter((entry) => entry.type === 'file')
    const contentBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0)
    return { ...(await this.putBytes(encodeTree(entries))), files: files.length, contentBytes, leftOut }
  }

  async materialiseDir(digest: string, target: string): Promise<void> {
    const tree = await this.readTree(digest)
    const building = `${target}.building-${process.pid}-${randomBytes(4).toString('hex')}`
    try {
      await mkdir(building, { recursive: true })
      for (const entry of tree.entries) await mkdir(folderFor(building, entry), { recursive: true })
      await inParallel(tree.entries, (entry) => this.#write(entry, join(building, entry.path)))
      await rename(building, target)
    } catch (thrown) {
      await rm(building, { recursive: true, force: true })
      throw asDataDirError(thrown, target)
    }
  }

  async verifiedPath(digest: string): Promise<string> {
    const path = this.#pathOf(digest)
    const found = await this.#reading(digest, () => hashFile(path))
    if (found.digest !== digest) throw new ArtifactCorruptError(digest, path, found.digest)
    return path
  }

  async readBytes(digest: string): Promise<Uint8Array<ArrayBuffer>> {
    const path = this.#pathOf(digest)
    const bytes = await this.#reading(digest, () => readFile(path))
    const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    if (found !== digest) throw new ArtifactCorruptError(digest, path, found)
    return bytes
  }

  async readTree(digest: string) {
    return decodeTree(await this.readBytes(digest), digest)
  }

  async isTree(digest: string): Promise<boolean> {
    const file = await this.#reading(digest, () => open(this.#pathOf(digest), 'r'))
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(TREE_HEAD.length), 0, TREE_HEAD.length, 0)
      return buffer.subarray(0, bytesRead).toString('latin1') === TREE_HEAD
    } finally {
      await file.close()
    }
  }

  async has(digest: string): Promise<boolean> {
    return (await stat(this.#pathOf(digest)).catch(nullIfMissing)) !== null
  }

  async sizeOf(digest: string): Promise<number> {
    return (await this.#reading(digest, () => stat(this.#pathOf(digest)))).size
  }

  async remove(digest: string, { unusedForMs }: { unusedForMs: number }): Promise<'removed' | 'gone' | 'recent'> {
    const path = this.#pathOf(digest)
    const found = await stat(path).catch(nullIfMissing)
    if (found === null) return 'gone'
    if (isRecent(found, unusedForMs)) return 'recent'
    const removing = join(this.#temporaryDir, `${process.pid}${REMOVING}${hexOf(digest)}`)
    const isMoved = (await rename(path, removing).catch(nullIfMissing)) !== null
    if (!isMoved) return 'gone'
    // Who puts it again finds it up to the rename, and then it is seen here; or not at all, and writes it anew.
    const isWanted = isRecent(await stat(removing), unusedForMs)
    if (isWanted) await rename(removing, path)
    else await rm(removing)
    await syncPath(dirname(path))
    return isWanted ? 'recent' : 'removed'
  }

  async renew(digest: string): Promise<void> {
    const files = (await this.isTree(digest)) ? (await this.readTree(digest)).entries : []
    const now = new Date()
    await inParallel([digest, ...digestsOf(files)], (kept) =>
      this.#reading(kept, () => utimes(this.#pathOf(kept), now, now)),
    )
  }

  async *list(): AsyncIterable<KeptFile> {
    const root = join(this.#root, 'sha256')
    for (const folder of (await readdir(root).catch(nullIfMissing)) ?? []) {
      for (const hex of (await readdir(join(root, folder)).catch(nullIfMissing)) ?? []) {
        const found = await stat(join(root, folder, hex)).catch(nullIfMissing)
        if (found === null || !isDigest(`sha256:${hex}`)) continue
        yield { digest: `sha256:${hex}`, sizeBytes: found.size, ageMs: Date.now() - found.mtimeMs }
      }
    }
  }

  #pathOf(digest: string): string {
    const hex = hexOf(digest)
    return join(this.#root, 'sha256', hex.slice(0, 2), hex)
  }

  async #put(write: (temporary: string) => Promise<void>): Promise<StoredArtifact> {
    const temporary = join(this.#temporaryDir, `${process.pid}-${randomBytes(8).toString('hex')}`)
    try {
      await write(temporary)
      const { digest, sizeBytes } = await hashFile(temporary)
      // One that is there and intact stays; one that the disk has damaged is healed by the rename.
      if (!(await this.#isStill(digest))) await this.#publish(temporary, this.#pathOf(digest))
      return { digest, sizeBytes }
    } catch (thrown) {
      // Only our own directory's trouble: a source that can't be read keeps its own error.
      throw isAbout(thrown, this.#root) ? asDataDirError(thrown, this.#root) : thrown
    } finally {
      await rm(temporary, { force: true })
    }
  }

  async #publish(temporary: string, path: string): Promise<void> {
    await chmod(temporary, 0o444)
    await syncPath(temporary)
    const created = await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await rename(temporary, path)
    await syncPath(dirname(path))
    if (created === undefined) return
    await syncPath(dirname(dirname(path)))
    await syncPath(this.#root)
  }

  /** There and intact; its time then says that it was put just now, which `remove` respects. */
  async #isStill(digest: string): Promise<boolean> {
    if (!(await this.#isIntact(digest))) return false
    const now = new Date()
    return (await utimes(this.#pathOf(digest), now, now).catch(nullIfMissing)) !== null
  }

  async #isIntact(digest: string): Promise<boolean> {
    const found = await hashFile(this.#pathOf(digest)).catch(nullIfMissing)
    return found?.digest === digest
  }

  async #keepEntry(dir: string, entry: FoundEntry): Promise<TreeEntry | null> {
    const { path } = entry
    if (entry.kind === 'other') return null
    if (entry.kind === 'dir') return { type: 'dir', path }
    if (entry.kind === 'link') return { type: 'link', path, target: entry.target }
    return { type: 'file', path, executable: entry.executable, ...(await this.putFile(join(dir, path))) }
  }

  async #write(entry: TreeEntry, target: string): Promise<void> {
    if (entry.type === 'dir') return
    if (entry.type === 'link') return symlink(entry.target, target)
    await this.#reading(entry.digest, () =>
      copyFile(this.#pathOf(entry.digest), target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL),
    )
    await chmod(target, entry.executable ? 0o755 : 0o644)
    const copied = await hashFile(target)
    if (copied.digest !== entry.digest)
      throw new ArtifactCorruptError(entry.digest, this.#pathOf(entry.digest), copied.digest)
  }

  async #reading<T>(digest: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') throw new ArtifactNotFoundError(digest)
      throw thrown
    }
  }
}

async function hashFile(path: string): Promise<StoredArtifact> {
  const hash = createHash('sha256')
  let sizeBytes = 0
  await pipeline(createReadStream(path, { highWaterMark: 256 * 1024 }), async (chunks) => {
    for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
      hash.update(chunk)
      sizeBytes += chunk.length
    }
  })
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes }
}

/**
 * Removes what was being written by processes that are gone, and puts back what they were removing. A pid that is used
 * again keeps its file for a day.
 */
function sweep(root: string, temporaryDir: string): void {
  for (const name of readdirSync(temporaryDir)) {
    const path = join(temporaryDir, name)
    const ageMs = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0)
    const ownerAlive = processStartTime(Number.parseInt(name, 10)) !== null
    const hex = name.split(REMOVING)[1]
    if (hex !== undefined) {
      if (!ownerAlive || Number.parseInt(name, 10) === process.pid)
        putBack(path, join(root, 'sha256', hex.slice(0, 2), hex))
    } else if (!ownerAlive || ageMs > TEMPORARY_MAX_AGE_MS) rmSync(path, { force: true })
  }
}

/** Whether it was wanted after all only its remover could have said: who looks next decides anew. */
function putBack(path: string, to: string): void {
  if (existsSync(to)) rmSync(path, { force: true })
  else renameSync(path, to)
}

function folderFor(root: string, entry: TreeEntry): string {
  return entry.type === 'dir' ? join(root, entry.path) : dirname(join(root, entry.path))
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  const worker = async () => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: PARALLEL_FILES }, worker))
}

const digestsOf = (entries: readonly TreeEntry[]) =>
  entries.flatMap((entry) => (entry.type === 'file' ? [entry.digest] : []))

const isRecent = ({ mtimeMs }: { mtimeMs: number }, unusedForMs: number): boolean => Date.now() - mtimeMs < unusedForMs

function nullIfMissing(thrown: unknown): null {
  if (errnoOf(thrown) === 'ENOENT') return null
  throw thrown
}

/** Whether a file system error concerns a path below `root`; a full disk does even where none is named (write). */
function isAbout(thrown: unknown, root: string): boolean {
  const { path, dest } = thrown as { path?: unknown; dest?: unknown }
  const named = [path, dest].filter((p) => typeof p === 'string')
  if (errnoOf(thrown) === 'ENOSPC' || errnoOf(thrown) === 'EDQUOT') return true
  return named.some((p) => p.startsWith(`${root}/`))
}
