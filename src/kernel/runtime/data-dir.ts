import { accessSync, closeSync, constants, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DataDirError } from './errors.ts'
import { errnoOf } from './system-error.ts'

/**
 * Makes the data directory (mode 0700) if it is not there, and proves that it can be written.
 * @throws DataDirError that says whether it is read-only, full, or not a directory
 */
export function prepareDataDir(dataDir: string): void {
  try {
    refuseReadOnly(dataDir)
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    accessSync(dataDir, constants.W_OK | constants.X_OK)
  } catch (thrown) {
    throw asDataDirError(thrown, dataDir)
  }
}

/** Asked of the nearest folder that is there, as a recursive mkdir says ENOENT where the file system is read-only. */
function refuseReadOnly(path: string): void {
  try {
    accessSync(path, constants.W_OK)
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' && dirname(path) !== path) return refuseReadOnly(dirname(path))
    if (errnoOf(thrown) === 'EROFS') throw thrown
  }
}

const reasons: Record<string, [why: string, fix: string]> = {
  EROFS: ['the file system is read-only', 'Mount it for writing, or choose another place with --data-dir.'],
  EACCES: ['permission denied', 'Give this user write access, or choose another place with --data-dir.'],
  EPERM: ['permission denied', 'Give this user write access, or choose another place with --data-dir.'],
  ENOSPC: ['the disk is full', 'Free some space on that file system; nothing that was acknowledged is lost.'],
  EDQUOT: ["this user's disk quota is used up", 'Free some space or raise the quota.'],
  ENOTDIR: ['a part of the path is a file', 'Choose another place with --data-dir.'],
  EEXIST: ['there is a file of that name', 'Move the file away, or choose another place with --data-dir.'],
  ENOENT: ['the path cannot be created', 'Create the folder above it, or choose another place with --data-dir.'],
  EMFILE: ['too many files are open', "Raise the limit (see 'ulimit -n')."],
}

/** A file system error as a DataDirError; anything else is handed back as it came. */
export function asDataDirError(thrown: unknown, path: string): unknown {
  const code = errnoOf(thrown)
  const reason = code === null ? undefined : reasons[code]
  return reason === undefined ? thrown : new DataDirError(path, `${reason[0]} (${code})`, reason[1], thrown)
}

/** A rename is durable only after its directory has been synced. */
export function syncDir(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
