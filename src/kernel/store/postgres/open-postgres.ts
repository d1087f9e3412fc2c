import { hostname } from 'node:os'
import { PostgresDialect } from 'kysely'
import type { Client, types } from 'pg'
import { messageOf } from '../../errors.ts'
import { ControlPlaneActiveError, StoreUnavailableError } from '../errors.ts'
import { createStore, type Store } from '../store.ts'
import { valueParsers } from '../value-parsers.ts'

export interface PostgresOptions {
  /** `postgresql://user:password@host:5432/database` */
  databaseUrl: string
  /**
   * The connection that held the lock is lost: another control plane may be active from now on, so this one must stop.
   * Called at most once, and not after `close`.
   */
  onLockLost?: (why: string) => void
  onWarning?: (text: string) => void
  /** How long to wait for a dying predecessor's lock. */
  lockWaitMs?: number
}

const CONNECTIONS_MAX = 8
const CONNECT_TIMEOUT_MS = 10_000
const STATEMENT_TIMEOUT_MS = 60_000
/** How often the lock's connection is tried, and how long its answer may take. */
const LOCK_CHECK_MS = 2_000
const LOCK_CHECK_TIMEOUT_MS = 5_000
/** Any number, as long as every Millrace uses the same. Advisory locks count per database. */
const LOCK_KEY = 7_236_041_955

/**
 * Opens PostgreSQL (15 or newer) and takes the lock of the one active control plane.
 * @throws StoreUnavailableError; ControlPlaneActiveError naming the holder
 */
export async function openPostgres(options: PostgresOptions): Promise<Store> {
  const { default: pg } = await import('pg')
  const connection = {
    connectionString: options.databaseUrl,
    application_name: `millrace ${hostname()} pid ${process.pid}`,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    types: { getTypeParser: typeParser(pg.types.getTypeParser) },
  }
  const lockClient = new pg.Client(connection)
  const lock = await holdLock(lockClient, options)
  const pool = new pg.Pool({ ...connection, max: CONNECTIONS_MAX, statement_timeout: STATEMENT_TIMEOUT_MS })
  const warn = options.onWarning ?? ((text: string) => process.emitWarning(text))
  pool.on('error', (error) => warn(`A database connection was lost: ${error.message}`))
  return createStore({ dialect: new PostgresDialect({ pool }), backend: 'postgres', release: lock.release })
}

async function holdLock(client: Client, options: PostgresOptions): Promise<{ release: () => Promise<void> }> {
  const where = describeUrl(options.databaseUrl)
  let onLost: (why: string) => void = () => {}
  // Before connecting: an 'error' event without a listener ends the process.
  client.on('error', (error) => onLost(error.message))
  client.on('end', () => onLost('the connection was closed'))
  try {
    await client.connect()
  } catch (thrown) {
    throw new StoreUnavailableError(where, thrown)
  }
  try {
    await acquire(client, where, options.lockWaitMs ?? 5_000)
  } catch (thrown) {
    await client.end()
    throw thrown
  }
  const check = watchConnection(client, (why) => onLost(why))
  onLost = (why) => {
    onLost = () => {}
    clearInterval(check)
    options.onLockLost?.(why)
  }
  return {
    async release() {
      onLost = () => {}
      clearInterval(check)
      await client.end()
    },
  }
}

async function acquire(client: Client, where: string, waitMs: number): Promise<void> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const { rows } = await client.query<{ held: boolean }>('select pg_try_advisory_lock($1) as held', [LOCK_KEY])
    if (rows[0]?.held === true) return
    if (performance.now() >= deadline) throw new ControlPlaneActiveError(where, await nameOfHolder(client))
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function nameOfHolder(client: Client): Promise<string | null> {
  const { rows } = await client.query<{ name: string }>(
    `select a.application_name || ', connected since ' || a.backend_start as name
     from pg_locks l join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.granted and l.objsubid = 1
       and l.database = (select oid from pg_database where datname = current_database())
       and (l.classid::bigint << 32 | l.objid::bigint) = $1`,
    [LOCK_KEY],
  )
  return rows[0]?.name ?? null
}

/** TCP alone can take a quarter of an hour to notice that the other side is gone. */
function watchConnection(client: Client, lost: (why: string) => void): NodeJS.Timeout {
  let answered = true
  let askedAt = performance.now()
  const check = setInterval(() => {
    if (!answered) {
      if (performance.now() - askedAt > LOCK_CHECK_TIMEOUT_MS) lost(`no answer for ${LOCK_CHECK_TIMEOUT_MS} ms`)
      return
    }
    answered = false
    askedAt = performance.now()
    client.query('select 1').then(
      () => (answered = true),
      (error: unknown) => lost(messageOf(error)),
    )
  }, LOCK_CHECK_MS)
  check.unref()
  return check
}

/** The URL without its password, for messages. */
export function describeUrl(databaseUrl: string): string {
  const url = URL.parse(databaseUrl)
  if (url === null) return '(MILLRACE_DATABASE_URL is not a URL)'
  const user = url.username === '' ? '' : `${url.username}@`
  return `${user}${url.host}${url.pathname}`
}

type GetTypeParser = typeof types.getTypeParser

function typeParser(fallback: GetTypeParser): GetTypeParser {
  const choose = (oid: number, format?: 'text' | 'binary') => {
    const own = format === 'binary' ? undefined : valueParsers[oid]
    return own ?? fallback(oid as Parameters<GetTypeParser>[0], format as 'text')
  }
  return choose as GetTypeParser
}
