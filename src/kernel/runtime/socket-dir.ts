import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, realpathSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { errnoOf } from './system-error.ts'
import { SocketDirError } from './errors.ts'

/** Linux takes 107 bytes, macOS 103; the longest name in the directory needs its share. */
const SOCKET_PATH_BYTES_MAX = 103
const SOCKET_NAME_BYTES_MAX = 32

/**
 * The directory for this data directory's unix sockets, created with mode 0700. It is short, since socket paths are
 * limited to about a hundred bytes, and the same for everyone who names the same data directory.
 * @throws SocketDirError where it belongs to somebody else or the path is too long
 */
export function socketDir(dataDir: string, env: NodeJS.ProcessEnv = process.env): string {
  const base = join(env['XDG_RUNTIME_DIR'] || tmpdir(), `millrace-${userInfo().uid}`)
  const dir = join(base, instanceOf(dataDir))
  const tooLong = Buffer.byteLength(dir) + 1 + SOCKET_NAME_BYTES_MAX > SOCKET_PATH_BYTES_MAX
  if (tooLong) throw new SocketDirError(dir, 'the path is too long', 'Set XDG_RUNTIME_DIR or TMPDIR to a shorter one.')
  own(base)
  own(dir)
  return dir
}

/** 12 hex digits that stand for a data directory: sockets, and the mark in its processes' environment. */
export function instanceOf(dataDir: string): string {
  return createHash('sha256').update(realPathOf(dataDir)).digest('hex').slice(0, 12)
}

/** A data directory that is not there yet has no real path; its own is the best there is. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path)
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ENOENT') throw thrown
    return resolve(path)
  }
}

/** In a directory that others may write to (/tmp), somebody else could have made it first. */
function own(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const stats = lstatSync(dir)
  const fix = 'Remove it, or set XDG_RUNTIME_DIR to a directory of your own.'
  if (!stats.isDirectory()) throw new SocketDirError(dir, 'it is not a directory', fix)
  if (stats.uid !== userInfo().uid) throw new SocketDirError(dir, `it belongs to user ${stats.uid}`, fix)
  if ((stats.mode & 0o077) !== 0) chmodSync(dir, 0o700)
}
