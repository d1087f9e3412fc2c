import { openDuckDB, quoteText } from '../kernel/lake/duckdb.ts'

/** Writes the rows of a SELECT as a Parquet file. */
export async function writeTable(path: string, sql: string): Promise<void> {
  const database = await openDuckDB({ threads: 1 })
  try {
    await database.connection.run(`COPY (${sql}) TO ${quoteText(path)} (FORMAT parquet)`)
  } finally {
    await database.close()
  }
}
