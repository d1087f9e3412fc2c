import { DOUBLE, DuckDBDataChunk, INTEGER } from '@duckdb/node-api'
import { quoteText } from '../../kernel/lake/duckdb.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'

/** What is kept of every row of the holdout, in its order. */
export interface RowLosses {
  label: Float64Array
  score: Float64Array
  loss: Float64Array
  constantLoss: Float64Array
  /** null without a champion: the columns are then NULL. */
  championScore: Float64Array | null
  championLoss: Float64Array | null
}

/** Rows that DuckDB takes at once, its vector size. */
const ROWS_PER_CHUNK = 2048

/** Writes `row` (from 0), `label`, `score`, `loss`, `constant_loss`, `champion_score`, `champion_loss` as Parquet. */
export async function writeLosses(connection: DuckDBConnection, path: string, losses: RowLosses): Promise<void> {
  const { label, score, loss, constantLoss, championScore, championLoss } = losses
  const columns = [label, score, loss, constantLoss, championScore, championLoss]
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE row_losses ("row" INTEGER, label DOUBLE, score DOUBLE, loss DOUBLE,
     constant_loss DOUBLE, champion_score DOUBLE, champion_loss DOUBLE)`,
  )
  const appender = await connection.createAppender('row_losses')
  for (let from = 0; from < label.length; from += ROWS_PER_CHUNK) {
    const rows = Math.min(ROWS_PER_CHUNK, label.length - from)
    const chunk = DuckDBDataChunk.create([INTEGER, ...columns.map(() => DOUBLE)], rows)
    chunk.setColumnValues(
      0,
      Array.from({ length: rows }, (_, i) => from + i),
    )
    columns.forEach((values, i) => {
      const part = Array.from({ length: rows }, (_, row) => values?.[from + row] ?? null)
      chunk.setColumnValues(i + 1, part)
    })
    appender.appendDataChunk(chunk)
  }
  appender.closeSync()
  await connection.run(`COPY (SELECT * FROM row_losses) TO ${quoteText(path)} (FORMAT parquet, COMPRESSION zstd)`)
  await connection.run('DROP TABLE row_losses')
}
