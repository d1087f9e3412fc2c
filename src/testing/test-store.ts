import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, openAsBlob, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { PGliteDialect } from 'kysely'
import { describe } from 'vitest'
import { errnoOf } from '../kernel/runtime/system-error.ts'
import { migrate } from '../kernel/store/migrate.ts'
import { beginCanFail } from '../kernel/store/pglite/begin-can-fail.ts'
import { startParams } from '../kernel/store/pglite/open-pglite.ts'
import { openPostgres } from '../kernel/store/postgres/open-postgres.ts'
import { createStore, type Store } from '../kernel/store/store.ts'
import { valueParsers } from '../kernel/store/value-parsers.ts'

/**
 * A fresh, migrated store for one test: PGlite in memory. Close it at the end.
 * Creating a database takes seconds, so the first test leaves a migrated one in the temporary directory, and each
 * further one starts from it in some 0.3 s.
 */
export async function testStore(): Promise<Store> {
  const pglite = await PGlite.create({
    loadDataDir: await emptyDatabase(),
    startParams: startParams(PGlite.defaultStartParams, 'in-memory'),
    parsers: valueParsers,
  })
  const store = pgliteStore(pglite)
  await migrate(store.db)
  return store
}

/** A fresh database on the server of MILLRACE_TEST_POSTGRES_URL, dropped at close. */
export async function testPostgresStore(): Promise<Store> {
  const { databaseUrl, drop } = await testPostgresDatabase()
  const store = await openPostgres({ databaseUrl })
  await migrate(store.db)
  return {
    ...store,
    async close() {
      await store.close()
      await drop()
    },
  }
}

/** An empty database on the server of MILLRACE_TEST_POSTGRES_URL, whose user may create databases. */
export async function testPostgresDatabase(): Promise<{ databaseUrl: string; drop: () => Promise<void> }> {
  const server = process.env['MILLRACE_TEST_POSTGRES_URL']
  if (server === undefined) throw new Error('MILLRACE_TEST_POSTGRES_URL is not set.')
  const name = `millrace_test_${randomBytes(6).toString('hex')}`
  await onServer(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { databaseUrl: url.href, drop: () => onServer(server, `drop database ${name} with (force)`) }
}

const howToRunPostgres =
  'set MILLRACE_TEST_POSTGRES_URL=postgresql://user:password@host:5432/postgres to run (a user that may create databases)'

/** Runs the same tests on every backend. PostgreSQL's are skipped, with a line that says how to run them. */
export function describeEachStore(name: string, tests: (open: () => Promise<Store>) => void): void {
  const noServer = process.env['MILLRACE_TEST_POSTGRES_URL'] === undefined
  describe(`${name} (PGlite)`, () => {
    tests(testStore)
  })
  describe.skipIf(noServer)(`${name} (PostgreSQL${noServer ? `: ${howToRunPostgres}` : ''})`, () => {
    tests(testPostgresStore)
  })
}

function pgliteStore(pglite: PGlite): Store {
  const dialect = new PGliteDialect({ pglite: beginCanFail(pglite) })
  return createStore({ dialect, backend: 'pglite', release: async () => {} })
}

/** A dump of a migrated database, kept by the digest of what made it. */
async function emptyDatabase(): Promise<Blob> {
  const folder = join(tmpdir(), `millrace-test-${userInfo().uid}`)
  const path = join(folder, `${recipeDigest()}.tar`)
  try {
    return await openAsBlob(path)
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ENOENT' && errnoOf(thrown) !== 'ERR_INVALID_ARG_VALUE') throw thrown
  }
  const pglite = await PGlite.create({ startParams: startParams(PGlite.defaultStartParams, 'in-memory') })
  const store = pgliteStore(pglite)
  await migrate(store.db)
  const dump = await pglite.dumpDataDir('none')
  await store.close()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${process.pid}`
  writeFileSync(temporary, new Uint8Array(await dump.arrayBuffer()))
  renameSync(temporary, path)
  return dump
}

function recipeDigest(): string {
  const hash = createHash('sha256')
  const migrations = new URL('../kernel/store/migrations/', import.meta.url)
  for (const name of readdirSync(migrations).sort()) hash.update(readFileSync(new URL(name, migrations)))
  hash.update(readFileSync(createRequire(import.meta.url).resolve('@electric-sql/pglite')))
  return hash.digest('hex').slice(0, 16)
}

async function onServer(databaseUrl: string, statement: string): Promise<void> {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
