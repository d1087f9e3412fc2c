import { cp, lstat, mkdir, mkdtemp, readdir, readlink, rm, symlink } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { dirname, join, matchesGlob, relative, resolve } from 'node:path'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import { staysInside } from '../../kernel/artifacts/tree.ts'
import { messageOf, MillraceError } from '../../kernel/errors.ts'
import { asDataDirError } from '../../kernel/runtime/data-dir.ts'
import { errnoOf, isMissing } from '../../kernel/runtime/system-error.ts'

/** Larger files are data, not code: they are linked where a step runs, and not kept. */
const CODE_FILE_MAX_BYTES = 5 * 1024 * 1024
const SNAPSHOT_MAX_FILES = 20_000
const FULL: ReadonlySet<string | null> = new Set(['ENOSPC', 'EDQUOT'])
const alwaysLeftOut = ['.git', '.millrace', 'node_modules', '.venv', 'venv', '__pycache__', '.ipynb_checkpoints']

export class CodeUnreadableError extends MillraceError {
  constructor(root: string, cause: unknown) {
    super({
      code: 'MR_CODE_UNREADABLE',
      kind: 'invalid',
      message: `The project's folder '${root}' can't be read: ${messageOf(cause)}.`,
      fix: "Make its files readable, leave what need not be read out with snapshotIgnore, or, where the folder has moved, run 'millrace apply' in the new one.",
      cause,
    })
  }
}

export interface CodeSource {
  root: string
  /** Globs, relative to the root. */
  ignore: string[]
  /** Never part of the code, also where it lies inside the root. */
  dataDir: string
}

export interface CodeSnapshot {
  digest: string
  files: number
  /** Paths under the root that are linked, not copied, because they are large. */
  linked: string[]
}

/**
 * Keeps the project's folder as an artifact, so that every attempt and resume of a run works on the same code.
 * @throws CodeUnreadableError; DataDirError where there is no room for it
 */
export async function snapshotCode(source: CodeSource, artifacts: Artifacts): Promise<CodeSnapshot> {
  const tempDir = join(source.dataDir, 'tmp')
  await mkdir(tempDir, { recursive: true })
  const copy = await mkdtemp(join(tempDir, 'snapshot-'))
  try {
    const found = await copyCode(source, copy)
    const { digest } = await artifacts.putDir(copy, { ignore: [] })
    return { digest, files: found.files.length, linked: found.linked }
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

/**
 * A fresh working copy for one attempt. What the snapshot leaves out (large files, ignored folders, packages installed
 * beside the project) is linked from the project's folder, so that relative paths work as they do there. Code that was
 * written since is not.
 */
export async function checkOutCode(
  code: CodeSource & { digest: string; nodeModules: string | null },
  target: string,
  artifacts: Artifacts,
): Promise<void> {
  await artifacts.materialiseDir(code.digest, target)
  if (code.nodeModules !== null) await symlink(code.nodeModules, join(target, 'node_modules'))
  const { entries } = await artifacts.readTree(code.digest)
  await linkLeftOut(code, target, entries.length >= SNAPSHOT_MAX_FILES)
  const packages = nearestNodeModules(code.root)
  if (packages !== null && (await isNotThere(join(target, 'node_modules'))))
    await symlink(packages, join(target, 'node_modules'))
}

/** @param all - the snapshot was full: whatever is missing was left out */
async function linkLeftOut(source: CodeSource, target: string, all: boolean): Promise<void> {
  const walk = async (from: string, to: string): Promise<void> => {
    for (const entry of await readdir(from, { withFileTypes: true })) {
      if (entry.name === '.git' || entry.name === '.millrace') continue
      const [path, there] = [join(from, entry.name), join(to, entry.name)]
      if (path === resolve(source.dataDir)) continue
      const missing = await isNotThere(there)
      if (missing && (all || entry.isDirectory() || isLeftOut(source, path) || (await isData(source.root, path))))
        await symlink(path, there)
      else if (!missing && entry.isDirectory() && (await lstat(there)).isDirectory()) await walk(path, there)
    }
  }
  await walk(source.root, target)
}

async function copyCode(source: CodeSource, copy: string): Promise<{ files: string[]; linked: string[] }> {
  const files: string[] = []
  const linked: string[] = []
  const walk = async (dir: string): Promise<void> => {
    const entries = await readdir(dir, { withFileTypes: true })
    // An empty folder is somewhere to write: it must be the attempt's own.
    if (entries.length === 0) await mkdir(join(copy, relative(source.root, dir)), { recursive: true })
    for (const entry of entries) {
      const path = join(dir, entry.name)
      const name = relative(source.root, path)
      if (isLeftOut(source, path)) continue
      if (entry.isDirectory()) await walk(path)
      else if (files.length >= SNAPSHOT_MAX_FILES || (await isData(source.root, path))) linked.push(name)
      else {
        await mkdir(dirname(join(copy, name)), { recursive: true })
        await cp(path, join(copy, name), { verbatimSymlinks: true })
        files.push(name)
      }
    }
  }
  try {
    await walk(source.root)
  } catch (error) {
    // The copy lies in the data directory: where a disk is full, it is that one.
    if (FULL.has(errnoOf(error))) throw asDataDirError(error, source.dataDir)
    throw new CodeUnreadableError(source.root, error)
  }
  return { files: files.sort(), linked }
}

function isLeftOut({ root, ignore, dataDir }: CodeSource, path: string): boolean {
  const name = relative(root, path)
  const last = name.slice(name.lastIndexOf('/') + 1)
  return path === resolve(dataDir) || alwaysLeftOut.includes(last) || ignore.some((glob) => matchesGlob(name, glob))
}

/** Not code: what is large, a link that leads outside, or no file at all. */
async function isData(root: string, path: string): Promise<boolean> {
  const found = await lstat(path)
  if (found.isSymbolicLink()) return !staysInside(relative(root, path), await readlink(path))
  return !found.isFile() || found.size > CODE_FILE_MAX_BYTES
}

async function isNotThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return false
  } catch (error) {
    if (isMissing(error)) return true
    throw error
  }
}

function nearestNodeModules(root: string): string | null {
  for (let dir = root; ; dir = dirname(dir)) {
    const candidate = join(dir, 'node_modules')
    if (existsSync(candidate)) return candidate
    if (dirname(dir) === dir) return null
  }
}
