import type { Kysely } from 'kysely'
import { Migrator } from 'kysely/migration'
import { MigrationError } from './errors.ts'
import { migrations } from './migrations/index.ts'
import type { Database } from './schema.ts'

/**
 * Brings the tables up to date, each migration once, all in one transaction.
 * @returns names of those that ran now
 * @throws MigrationError, also when the database was written by a newer Millrace
 */
export async function migrate(db: Kysely<Database>): Promise<string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error, results = [] } = await migrator.migrateToLatest()
  const failed = results.find((result) => result.status === 'Error')
  if (error !== undefined || failed !== undefined) throw new MigrationError(failed?.migrationName ?? null, error)
  return results.map((result) => result.migrationName)
}
