import { DatabaseSync } from 'node:sqlite'

/** Held until `release()` or the end of the process, however it ends. */
export interface ProcessLock {
  release(): void
}

const SQLITE_BUSY = 5

/**
 * A lock on a file that dies with its process: SQLite's exclusive transaction, which is an fcntl lock that no crash
 * can leave behind (a pid file would need guessing whether that pid is still the same process).
 * @returns null where another process, or another holder in this one, has it
 * @throws what SQLite throws if the file can't be opened at all
 */
export function tryLock(path: string): ProcessLock | null {
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA busy_timeout = 0')
    // Nothing is ever written, so no journal file needs to lie about.
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return null
    throw error
  }
  return { release: () => database.close() }
}
