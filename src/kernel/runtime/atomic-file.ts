import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { syncDir } from './data-dir.ts'
import { errnoOf } from './system-error.ts'

/**
 * Writes a whole file so that a reader sees the old content or the new, never a part, also after a crash.
 * @param durable - false leaves out the fsyncs: for what means nothing after a power cut (process records)
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
    throw thrown
  }
  if (durable) syncDir(dirname(path))
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
