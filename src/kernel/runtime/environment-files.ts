import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { EnvironmentError } from './errors.ts'

/**
 * Where a step runs: in the environment that Millrace has (`inherit`), or in one that is built from a lock file, once
 * for each lock, and kept under `<cacheDir>/<digest>/`:
 *
 *   venv/ or node_modules/   built in place, since a virtual environment can't be moved
 *   complete                 written last: without it the folder is a ruin and is built anew
 *   build.log                of the last build
 *   lock                     held by who builds
 */
/** `python` and `node` are versions ("3.11", "24"), names in PATH, or paths. */
export type EnvironmentWish =
  | { kind: 'inherit' }
  | { kind: 'python'; python: string; lock: string }
  | { kind: 'node'; node: string; lock: string }

export type LockedWish = Exclude<EnvironmentWish, { kind: 'inherit' }>

/** Changes when the way of building does, so that what an older Millrace has built is not taken for the new. */
const RECIPE = 1

/**
 * What an environment is made of: kind, interpreter as it answers `--version`, platform, and the lock's bytes (for Node
 * with the package.json beside it, which npm compares).
 */
export function environmentDigest(wish: LockedWish, root: string, interpreterVersion: string): string {
  const hash = createHash('sha256')
  const platform = `${process.platform} ${process.arch}`
  hash.update(JSON.stringify([RECIPE, wish.kind, interpreterVersion, platform]))
  for (const path of filesOf(wish, root)) hash.update('\0').update(readLock(wish, path))
  return `sha256:${hash.digest('hex')}`
}

export function lockPath(wish: LockedWish, root: string): string {
  return resolve(root, wish.lock)
}

function filesOf(wish: LockedWish, root: string): string[] {
  const lock = lockPath(wish, root)
  return wish.kind === 'node' ? [lock, packageJsonBeside(lock)] : [lock]
}

export function packageJsonBeside(lock: string): string {
  return join(lock, '..', 'package.json')
}

function readLock(wish: LockedWish, path: string): Buffer {
  if (existsSync(path)) return readFileSync(path)
  const made = wish.kind === 'node' ? "'npm install'" : "'pip freeze > requirements.lock'"
  const fix = `Create it (for example with ${made}), or correct 'lock' in the configuration.`
  throw new EnvironmentError(`${wish.kind} environment`, `there is no file '${path}'`, fix)
}
