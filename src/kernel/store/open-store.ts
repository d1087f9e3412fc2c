import { join } from 'node:path'
import { migrate } from './migrate.ts'
import { openPGlite } from './pglite/open-pglite.ts'
import { openPostgres } from './postgres/open-postgres.ts'
import type { Store } from './store.ts'

export interface OpenStoreOptions {
  dataDir: string
  /** PostgreSQL instead of the embedded database. */
  databaseUrl?: string
  onProgress?: (text: string) => void
  /** PostgreSQL only: this control plane is no longer the only one allowed to write, and must stop. */
  onLockLost?: (why: string) => void
  onWarning?: (text: string) => void
}

/**
 * Opens the control plane's database, alone, with tables up to date.
 * @throws StoreLockedError, ControlPlaneActiveError, StoreUnavailableError, MigrationError, DataDirError
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  const { dataDir, databaseUrl, onProgress } = options
  const store =
    databaseUrl === undefined
      ? await openPGlite({ directory: join(dataDir, 'db'), onProgress })
      : await openPostgres({ databaseUrl, onLockLost: options.onLockLost, onWarning: options.onWarning })
  try {
    const ran = await migrate(store.db)
    if (ran.length > 0) onProgress?.(`Database tables are up to date (${ran.join(', ')})`)
    return store
  } catch (thrown) {
    await store.close()
    throw thrown
  }
}
