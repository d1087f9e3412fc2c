import { sql } from 'kysely'
import type { Store } from '../kernel/store/store.ts'

/** Rows that scans have touched, by table. */
export type RowsRead = Record<string, number>

/**
 * What some work reads, as the database counts it: every row that a scan touched, whether an index found it or not. Says
 * what time would say, and the same on a busy machine. PGlite only, where nobody else reads meanwhile.
 */
export async function rowsReadBy(store: Store, work: () => Promise<unknown>): Promise<RowsRead> {
  const before = await rowsRead(store)
  await work()
  const after = await rowsRead(store)
  const read = Object.entries(after).map(([table, rows]) => [table, rows - (before[table] ?? 0)] as const)
  return Object.fromEntries(read.filter(([, rows]) => rows > 0))
}

export const totalOf = (read: RowsRead): number => Object.values(read).reduce((sum, rows) => sum + rows, 0)

async function rowsRead({ db }: Store): Promise<RowsRead> {
  await sql`select pg_stat_force_next_flush()`.execute(db)
  const { rows } = await sql<{ name: string; touched: number }>`
    select relname as name, seq_tup_read + coalesce(idx_tup_fetch, 0) as touched
    from pg_stat_user_tables where schemaname = 'public'`.execute(db)
  return Object.fromEntries(rows.map(({ name, touched }) => [name, Number(touched)]))
}
