import { sql, type Kysely } from 'kysely'
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
  if (await isUpToDate(db)) return []
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error, results = [] } = await migrator.migrateToLatest()
  const failed = results.find((result) => result.status === 'Error')
  if (error !== undefined || failed !== undefined) throw new MigrationError(failed?.migrationName ?? null, error)
  return results.map((result) => result.migrationName)
}

/** By one look at the list of what has run: the migrator first reads the whole catalogue, which every start would pay. */
async function isUpToDate(db: Kysely<Database>): Promise<boolean> {
  const { rows: found } = await sql<{
    there: boolean
  }>`select to_regclass('kysely_migration') is not null as there`.execute(db)
  if (found[0]?.there !== true) return false
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db)
  const ran = rows.map(({ name }) => name).sort()
  const wanted = Object.keys(migrations).sort()
  return ran.length === wanted.length && ran.every((name, i) => name === wanted[i])
}
