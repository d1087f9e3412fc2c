import { AsyncLocalStorage } from 'node:async_hooks'
import { Kysely, sql, type ConnectionProvider, type Dialect, type Transaction } from 'kysely'
import { NestedTransactionError, StoreContendedError } from './errors.ts'
import type { Database } from './schema.ts'

/**
 * The control plane's database. The same SQL runs on PGlite and on PostgreSQL; values arrive as the same types
 * (bigint and numeric as number, JSON parsed).
 */
export interface Store {
  /** For single statements. Refused inside `transaction`, where it would wait for itself. */
  db: Kysely<Database>
  /**
   * All of `work` or nothing of it, as if no other transaction ran at that time (serializable). `work` may run again
   * when the database undoes it, so it holds SQL only: no files, no messages, no waiting for anything else.
   * @throws StoreContendedError after TRANSACTION_ATTEMPTS
   */
  transaction<T>(work: (tx: Transaction<Database>) => Promise<T>): Promise<T>
  /**
   * Counts what the tables hold, by which the database chooses between scans and indexes. PostgreSQL does it by itself; the
   * embedded one has nobody to do it, and would read whole tables. Takes tenths of a second.
   */
  refreshStatistics(): Promise<void>
  close(): Promise<void>
  backend: 'pglite' | 'postgres'
}

export const TRANSACTION_ATTEMPTS = 10
const RETRY_WAIT_MS_MAX = 250

interface StoreParts {
  dialect: Dialect
  backend: Store['backend']
  /** What is to be given back after the last query: locks, connections of one's own. */
  release: () => Promise<void>
}

export function createStore({ dialect, backend, release }: StoreParts): Store {
  const inTransaction = new AsyncLocalStorage<{ open: boolean }>()
  const { db, destroy } = guardedKysely(dialect, () => inTransaction.getStore()?.open === true)
  const attempt = <T>(work: (tx: Transaction<Database>) => Promise<T>) =>
    db
      .transaction()
      .setIsolationLevel('serializable')
      .execute(async (tx) => {
        const scope = { open: true }
        return inTransaction.run(scope, () => work(tx)).finally(() => (scope.open = false))
      })
  return {
    db,
    backend,
    transaction: (work) => withRetries(() => attempt(work)),
    async refreshStatistics() {
      if (backend === 'pglite') await sql`analyze`.execute(db)
    },
    async close() {
      await destroy()
      await release()
    },
  }
}

/** Kysely whose connections are refused while `refuse()` says so; a transaction's own queries don't ask for one. */
function guardedKysely(
  dialect: Dialect,
  refuse: () => boolean,
): { db: Kysely<Database>; destroy: () => Promise<void> } {
  const driver = dialect.createDriver()
  const plain = new Kysely<Database>({ dialect: { ...methodsOf(dialect), createDriver: () => driver } })
  const provider: ConnectionProvider = {
    provideConnection(consumer, options) {
      if (refuse()) return Promise.reject(new NestedTransactionError())
      return plain.getExecutor().provideConnection(consumer, options)
    },
  }
  const executor = plain.getExecutor().withConnectionProvider(provider)
  const db = new Kysely<Database>({ config: { dialect }, dialect, driver, executor })
  return { db, destroy: () => plain.destroy() }
}

function methodsOf(dialect: Dialect): Dialect {
  return {
    createAdapter: () => dialect.createAdapter(),
    createDriver: () => dialect.createDriver(),
    createIntrospector: (db) => dialect.createIntrospector(db),
    createQueryCompiler: () => dialect.createQueryCompiler(),
  }
}

async function withRetries<T>(attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt()
    } catch (thrown) {
      if (!isUndoneByOthers(thrown)) throw thrown
      if (count === TRANSACTION_ATTEMPTS) throw new StoreContendedError(count, thrown)
    }
    const waitMs = Math.min(RETRY_WAIT_MS_MAX, 2 ** count) * (0.5 + Math.random())
    await new Promise((resolve) => setTimeout(resolve, waitMs))
  }
}

/** serialization_failure and deadlock_detected: the only ones after which nothing is known to have been written. */
export function isUndoneByOthers(thrown: unknown): boolean {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return false
  return thrown.code === '40001' || thrown.code === '40P01'
}
