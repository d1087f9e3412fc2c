import { chmodSync, existsSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { PGlite } from '@electric-sql/pglite'
import { PGliteDialect } from 'kysely'
import { MillraceError } from '../../errors.ts'
import { asDataDirError, prepareDataDir, syncDir } from '../../runtime/data-dir.ts'
import { errnoOf } from '../../runtime/system-error.ts'
import { tryProcessLock } from '../../runtime/process-lock.ts'
import { syncTree } from '../../runtime/sync-tree.ts'
import { StoreDamagedError, StoreLockedError } from '../errors.ts'
import { createStore, type Store } from '../store.ts'
import { valueParsers } from '../value-parsers.ts'
import { beginCanFail } from './begin-can-fail.ts'

/** A segment of its log, and what else it writes as it starts. */
const START_BYTES = 20 * 1024 * 1024

export interface PGliteOptions {
  /** The database's directory, e.g. `.millrace/db`; the lock lies beside it as `db.lock`. */
  directory: string
  /** Told once when the database is created, which takes some seconds. */
  onProgress?: (text: string) => void
}

/**
 * Opens the embedded database with both guards: a real fsync (see durable-node-fs.ts), and a lock that dies with this
 * process, since two processes on one directory lose committed rows silently.
 * @throws StoreLockedError naming the process that has it open; DataDirError; StoreDamagedError
 */
export async function openPGlite({ directory, onProgress }: PGliteOptions): Promise<Store> {
  prepareDataDir(dirname(directory))
  const attempt = await tryProcessLock(`${directory}.lock`)
  if (attempt.kind === 'busy') throw new StoreLockedError(directory, attempt.holder)
  try {
    if (!existsSync(join(directory, 'PG_VERSION'))) await createDatabase(directory, onProgress)
    // Its files may be written by everybody who can reach them, whatever the umask.
    chmodSync(directory, 0o700)
    const pglite = await startPGlite(directory)
    return createStore({
      dialect: new PGliteDialect({ pglite: beginCanFail(pglite) }),
      backend: 'pglite',
      release: async () => attempt.lock.release(),
    })
  } catch (thrown) {
    attempt.lock.release()
    throw whyNotOpened(thrown, directory)
  }
}

/**
 * Beside its place and then renamed, so that a crash half-way leaves nothing that looks like a database.
 * The lock is held: leftovers of such crashes can be removed.
 */
async function createDatabase(directory: string, onProgress?: (text: string) => void): Promise<void> {
  onProgress?.('Creating the database (first start only, some seconds)')
  const parent = dirname(directory)
  const prefix = `${basename(directory)}.creating-`
  for (const name of readdirSync(parent)) {
    if (name.startsWith(prefix)) rmSync(join(parent, name), { recursive: true })
  }
  const temporary = join(parent, `${prefix}${process.pid}`)
  try {
    await initialise(temporary)
    renameSync(temporary, directory)
    syncDir(parent)
  } catch (thrown) {
    rmSync(temporary, { recursive: true, force: true })
    throw thrown
  }
}

/** PGlite's WebAssembly speaks of files in its own error type, with WASI's numbers. */
function whyNotOpened(thrown: unknown, directory: string): unknown {
  if (thrown instanceof MillraceError) return thrown
  const { name, errno } = thrown as { name?: unknown; errno?: unknown }
  const wasi: Record<string, string> = { 2: 'EACCES', 19: 'EDQUOT', 51: 'ENOSPC', 63: 'EPERM', 69: 'EROFS' }
  const code = (name === 'ErrnoError' ? wasi[String(errno)] : errnoOf(thrown)) ?? codeOfFullDisk(directory)
  const known = asDataDirError({ code, cause: thrown }, directory)
  return known instanceof MillraceError ? known : new StoreDamagedError(directory, thrown)
}

/** PostgreSQL writes as it starts; where it can't, its build for WebAssembly says no more than that it was aborted. */
function codeOfFullDisk(directory: string): string | undefined {
  const { bavail, bsize } = statfsSync(dirname(directory))
  return bavail * bsize < START_BYTES ? 'ENOSPC' : undefined
}

async function startPGlite(directory: string): Promise<PGlite> {
  const [{ PGlite }, { DurableNodeFS }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('./durable-node-fs.ts'),
  ])
  return PGlite.create({
    fs: new DurableNodeFS(directory),
    startParams: startParams(PGlite.defaultStartParams, 'durable'),
    parsers: valueParsers,
  })
}

/** Without fsyncs, which would take most of the time; the finished tree is synced as a whole. */
async function initialise(directory: string): Promise<void> {
  const [{ PGlite }, { NodeFS }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('@electric-sql/pglite/nodefs'),
  ])
  const startParameters = startParams(PGlite.defaultStartParams, 'in-memory')
  const pglite = await PGlite.create({ fs: new NodeFS(directory), startParams: startParameters })
  await pglite.close()
  await syncTree(directory)
}

/**
 * PGlite's own parameters turn fsync off (`-F`). wal_sync_method must be `fsync`: the platform's default, fdatasync,
 * is a no-op in its build. The small buffers halve its memory. What it reads is in the page cache: pages in any order cost
 * hardly more than one after the other.
 */
export function startParams(defaults: readonly string[], durability: 'durable' | 'in-memory'): string[] {
  const small = [...defaults, '-c', 'shared_buffers=16MB', '-c', 'random_page_cost=1.1']
  if (durability === 'in-memory') return small
  return [...small.filter((param) => param !== '-F'), '-c', 'fsync=on', '-c', 'wal_sync_method=fsync']
}
