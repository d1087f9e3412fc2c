import { rmSync } from 'node:fs'
import type * as sqlite from 'node:sqlite'
import { asDataDirError } from './data-dir.ts'
import { DataDirError } from './errors.ts'
import { readIfThere, writeFileAtomic } from './atomic-file.ts'
import { isSameProcessAlive, ownIdentity, type ProcessIdentity } from './process-identity.ts'

/**
 * A lock that dies with its process, also by SIGKILL: an exclusive SQLite transaction on an otherwise empty file,
 * held open. SQLite knows each platform's file locks; Node has none of its own.
 * Beside it, `<path>.holder` says who holds it: only for messages, never for deciding.
 */
export interface ProcessLock {
  release(): void
}

export type LockAttempt = { kind: 'held'; lock: ProcessLock } | { kind: 'busy'; holder: LockHolder | null }

export interface LockHolder extends ProcessIdentity {
  sinceMs: number
}

/** @throws DataDirError where the lock file can't be made */
export async function tryProcessLock(path: string): Promise<LockAttempt> {
  const { DatabaseSync } = await loadSqlite()
  let database: sqlite.DatabaseSync | null = null
  try {
    database = new DatabaseSync(path)
    database.exec('pragma busy_timeout = 0; begin exclusive')
  } catch (thrown) {
    database?.close()
    if (sqliteCode(thrown) === SQLITE_BUSY) return { kind: 'busy', holder: await readHolder(path) }
    throw asLockError(thrown, path)
  }
  const held = database
  try {
    writeFileAtomic(`${path}.holder`, JSON.stringify({ ...ownIdentity(), sinceMs: Date.now() }), { durable: false })
  } catch (thrown) {
    // Whoever gets an error has no lock to release.
    held.close()
    throw asDataDirError(thrown, path)
  }
  return {
    kind: 'held',
    lock: {
      release() {
        rmSync(`${path}.holder`, { force: true })
        held.close()
      },
    },
  }
}

const SQLITE_BUSY = 5
const SQLITE_READONLY = 8
const SQLITE_FULL = 13
const SQLITE_CANTOPEN = 14

function sqliteCode(thrown: unknown): number | null {
  if (!(thrown instanceof Error) || !('errcode' in thrown) || typeof thrown.errcode !== 'number') return null
  return thrown.errcode & 0xff
}

function asLockError(thrown: unknown, path: string): unknown {
  const code = sqliteCode(thrown)
  if (code === SQLITE_CANTOPEN || code === SQLITE_READONLY) {
    const fix = 'Give this user write access to the folder, or choose another place with --data-dir.'
    return new DataDirError(path, 'the lock file cannot be written', fix, thrown)
  }
  if (code === SQLITE_FULL) return new DataDirError(path, 'the disk is full', 'Free some space.', thrown)
  return thrown
}

/** The holder writes its name just after it has got the lock: look again for a moment. */
async function readHolder(path: string): Promise<LockHolder | null> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const holder = parseHolder(readIfThere(`${path}.holder`))
    if (holder !== null && isSameProcessAlive(holder)) return holder
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return null
}

function parseHolder(text: string | null): LockHolder | null {
  try {
    const holder = JSON.parse(text ?? 'null') as Partial<LockHolder> | null
    return Number.isInteger(holder?.pid) && typeof holder?.startTime === 'string' ? (holder as LockHolder) : null
  } catch {
    return null // it only serves a message
  }
}

/** Node 22 warns that its SQLite is experimental: true, but nothing for people who run a lock. */
async function loadSqlite(): Promise<typeof sqlite> {
  const original = Object.getOwnPropertyDescriptor(process, 'emitWarning')
  const { emitWarning } = process as { emitWarning: (...args: unknown[]) => void }
  const quiet = (...args: unknown[]) => (String(args[0]).includes('SQLite') ? undefined : emitWarning(...args))
  Object.defineProperty(process, 'emitWarning', { ...original, value: quiet })
  try {
    return await import('node:sqlite')
  } finally {
    if (original !== undefined) Object.defineProperty(process, 'emitWarning', original)
  }
}
