import { join } from 'node:path'
import { quoteText } from './duckdb.ts'
import type { LakeFile } from './manifest.ts'

/** Files of one schema as a table, in this order, without what DuckDB would read out of their paths. */
export function parquetFiles(lakeDir: string, files: readonly LakeFile[]): string {
  const paths = files.map((file) => quoteText(join(lakeDir, file.path))).join(', ')
  return `read_parquet([${paths}], hive_partitioning = false)`
}
