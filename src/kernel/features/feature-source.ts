/** How a row of a table is found: by a column that callers send, or by a parameter of the request, for all its rows. */
export type TableKey = { column: string } | { parameter: string }

/**
 * What a row gets whose key the table does not have: `error` refuses the request, `default` gives what stands for a
 * missing value (NaN, 0, false, empty text), an object one value for each column.
 */
export type MissingPolicy = 'error' | 'default' | Record<string, number | string | boolean>

/** A table that a model declares: it comes with each version, and gives some of the model's columns at serving time. */
export interface DeclaredTable {
  /** Path of the Parquet file beside the model: inside of MILLRACE_MODEL_DIR. */
  table: string
  key: TableKey
  /** Of the model, which have the same names in the table. */
  columns: string[]
  /** The table is stale when the calendar is so far beyond its as-of. Null: never. */
  stalenessMs: number | null
  missing: MissingPolicy
  /** What a stale table does to a request. */
  stale: 'error' | 'use'
}

/** The same where it lies. */
export interface PlacedTable extends DeclaredTable {
  path: string
  /** `sha256:<hex>` of the file. */
  digest: string
  /** Calendar time as of which its values hold: that of the run that made it. */
  asOfMs: number
}

/** Where the rows, or bytes, of a table end: it is held in memory by every replica. */
export const TABLE_ROWS_MAX = 1_000_000
export const TABLE_BYTES_MAX = 256 * 1024 * 1024
export const TABLE_COLUMNS_MAX = 256
/** Tables of one version. */
export const TABLES_MAX = 16

export const keyName = (key: TableKey): string => ('column' in key ? key.column : key.parameter)
