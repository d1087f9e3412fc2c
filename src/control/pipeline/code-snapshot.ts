import { cp, lstat, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { dirname, join, matchesGlob, relative } from 'node:path'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'

/** Larger files are data, not code: they are linked where a step runs, and not kept. */
const CODE_FILE_MAX_BYTES = 5 * 1024 * 1024
const SNAPSHOT_MAX_FILES = 20_000
const alwaysLeftOut = ['.git', '.millrace', 'node_modules', '.venv', 'venv', '__pycache__', '.ipynb_checkpoints']

export interface CodeSnapshot {
  digest: string
  files: number
  /** Paths under the root that are linked, not copied, because they are large. */
  linked: string[]
}

/** Keeps the project's folder as an artifact, so that every attempt and resume of a run works on the same code. */
export async function snapshotCode(
  root: string,
  ignore: string[],
  artifacts: Artifacts,
  tempDir: string,
): Promise<CodeSnapshot> {
  await mkdir(tempDir, { recursive: true })
  const copy = await mkdtemp(join(tempDir, 'snapshot-'))
  try {
    const found = await listCode(root, ignore)
    for (const path of found.files) await copyInto(root, copy, path)
    const { digest } = await artifacts.putDir(copy, { ignore: [] })
    return { digest, files: found.files.length, linked: found.linked }
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

/**
 * A fresh working copy for one attempt. What the snapshot leaves out (large files, ignored folders, packages installed
 * beside the project) is linked from the project's folder, so that relative paths work as they do there.
 */
export async function checkOutCode(
  code: { digest: string; root: string; nodeModules: string | null },
  target: string,
  artifacts: Artifacts,
): Promise<void> {
  await artifacts.materialiseDir(code.digest, target)
  if (code.nodeModules !== null) await symlink(code.nodeModules, join(target, 'node_modules'))
  await linkMissing(code.root, target)
  const packages = nearestNodeModules(code.root)
  if (packages !== null && !existsSync(join(target, 'node_modules'))) await symlink(packages, join(target, 'node_modules'))
}

/** Links what is in `from` and not in `to`; goes down into folders that exist on both sides. */
async function linkMissing(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (entry.name === '.git' || entry.name === '.millrace') continue
    const target = join(to, entry.name)
    const there = await lstat(target).catch(() => null)
    if (there === null) await symlink(join(from, entry.name), target)
    else if (there.isDirectory() && entry.isDirectory()) await linkMissing(join(from, entry.name), target)
  }
}

async function listCode(root: string, ignore: string[]): Promise<{ files: string[]; linked: string[] }> {
  const files: string[] = []
  const linked: string[] = []
  const walk = async (dir: string): Promise<void> => {
    for (const entry of await readdir(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name)
      const name = relative(root, path)
      if (alwaysLeftOut.includes(entry.name) || ignore.some((glob) => matchesGlob(name, glob))) continue
      if (entry.isDirectory()) await walk(path)
      if (!entry.isFile()) continue
      const { size } = await lstat(path)
      if (size > CODE_FILE_MAX_BYTES || files.length >= SNAPSHOT_MAX_FILES) linked.push(name)
      else files.push(name)
    }
  }
  await walk(root)
  return { files: files.sort(), linked }
}

async function copyInto(root: string, copy: string, path: string): Promise<void> {
  const target = join(copy, path)
  await mkdir(dirname(target), { recursive: true })
  await cp(join(root, path), target)
}

function nearestNodeModules(root: string): string | null {
  for (let dir = root; ; dir = dirname(dir)) {
    const candidate = join(dir, 'node_modules')
    if (existsSync(candidate)) return candidate
    if (dirname(dir) === dir) return null
  }
}
