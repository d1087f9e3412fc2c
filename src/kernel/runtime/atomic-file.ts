import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { syncDir } from './data-dir.ts'
import { errnoOf } from './system-error.ts'

/**
 * Writes a whole file so that a reader sees the old content or the new, never a part, also after a crash.
 * @param durable - false leaves out the fsyncs: for what means nothing after a power cut (process records). Where the
 *   disk is full such a file takes the place that the one before it has, if that is large enough: text is filled up
 *   with spaces, which JSON allows
 */
export function writeFileAtomic(path: string, content: string, { durable = true, mode = 0o600 } = {}): void {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    const fd = openSync(temporary, 'w', mode)
    try {
      writeSync(fd, content)
      if (durable) fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (thrown) {
    rmSync(temporary, { force: true })
    if (durable || errnoOf(thrown) !== 'ENOSPC' || !writeInPlace(path, content)) throw thrown
  }
  if (durable) syncDir(dirname(path))
}

const STAT_BLOCK_BYTES = 512

/** One write over what is there, for which nothing has to be allocated. @returns false: it does not fit, or failed */
function writeInPlace(path: string, content: string): boolean {
  try {
    const fd = openSync(path, 'r+')
    try {
      const { size, blocks } = fstatSync(fd)
      const bytes = Buffer.from(content)
      if (bytes.length > blocks * STAT_BLOCK_BYTES) return false
      const filled = Buffer.alloc(Math.max(size, bytes.length), ' ')
      bytes.copy(filled)
      return writeSync(fd, filled, 0, filled.length, 0) === filled.length
    } finally {
      closeSync(fd)
    }
  } catch {
    return false // the caller says why it was tried
  }
}

/** The file's text, null where there is none. Other errors are thrown. */
export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return null
    throw thrown
  }
}
