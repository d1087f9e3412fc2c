import { open, stat } from 'node:fs/promises'
import type { DuckDBAppender, DuckDBType, DuckDBValue } from '@duckdb/node-api'
import {
  BIGINT,
  BOOLEAN,
  DOUBLE,
  DuckDBDataChunk,
  DuckDBTimestampValue,
  FLOAT,
  INTEGER,
  LIST,
  listValue,
  SMALLINT,
  TIMESTAMP,
  TINYINT,
  UBIGINT,
  UINTEGER,
  USMALLINT,
  UTINYINT,
  VARCHAR,
} from '@duckdb/node-api'
import type { DuckDBConnection } from './duckdb.ts'
import { quoteName, quoteText } from './duckdb.ts'
import type { LakeColumn } from './manifest.ts'
import type { Cell } from './rows.ts'

/** DuckDB's own unit: a data chunk holds no more. */
const CHUNK_ROWS = 2_048
/** Rows with long lists are handed over earlier: until then they lie in memory twice. */
const CHUNK_LIST_VALUES = 1_000_000

/**
 * Collects rows column by column and writes them as one Parquet file. Text that repeats from row to row (`coded`
 * columns) is handed over as numbers and put back by DuckDB: each text costs a call into it otherwise, which made
 * such columns half of the ingest's time.
 */
export class ParquetWriter {
  private readonly connection: DuckDBConnection
  private readonly table: string
  private readonly columns: readonly LakeColumn[]
  private readonly types: DuckDBType[]
  /** Per column: text → code, null where the column is not coded. */
  private readonly codes: (Map<string, number> | null)[]
  private readonly buffers: DuckDBValue[][]
  private readonly appender: DuckDBAppender
  private buffered = 0
  private bufferedListValues = 0
  rows = 0

  private constructor(
    connection: DuckDBConnection,
    table: string,
    columns: readonly LakeColumn[],
    coded: readonly boolean[],
    appender: DuckDBAppender,
  ) {
    this.connection = connection
    this.table = table
    this.columns = columns
    this.types = columns.map(({ type }, index) => (coded[index] ? UINTEGER : duckType(type)))
    this.codes = coded.map((isCoded) => (isCoded ? new Map<string, number>() : null))
    this.buffers = columns.map(() => [])
    this.appender = appender
  }

  /** @param repeating - names of text columns with few different values; filled with one value per `add` */
  static async open(
    connection: DuckDBConnection,
    table: string,
    columns: readonly LakeColumn[],
    repeating: ReadonlySet<string> = new Set(),
  ): Promise<ParquetWriter> {
    const coded = columns.map(({ name }) => repeating.has(name))
    const list = columns.map(({ name, type }, index) => `${quoteName(name)} ${coded[index] ? 'UINTEGER' : type}`)
    await connection.run(`CREATE TABLE ${quoteName(table)} (${list.join(', ')})`)
    return new ParquetWriter(connection, table, columns, coded, await connection.createAppender(table))
  }

  /** `rows` rows; each column a list of that length, or one value for all of them. */
  add(rows: number, columns: readonly (ColumnValues | { same: DuckDBValue })[]): void {
    for (const [index, buffer] of this.buffers.entries()) {
      const column = columns[index]!
      if (Array.isArray(column)) for (const cell of column) buffer.push(Array.isArray(cell) ? this.listOf(cell) : cell)
      else {
        const value = this.codeOf(index, (column as { same: DuckDBValue }).same)
        for (let row = 0; row < rows; row++) buffer.push(value)
      }
    }
    this.rows += rows
    this.buffered += rows
    if (this.buffered >= CHUNK_ROWS || this.bufferedListValues >= CHUNK_LIST_VALUES)
      this.flush(this.bufferedListValues >= CHUNK_LIST_VALUES ? 1 : CHUNK_ROWS)
  }

  /** Writes the file and makes its content durable (its folder is the caller's business). Returns its size in bytes. */
  async finish(path: string): Promise<number> {
    this.flush(1)
    this.appender.closeSync()
    await copyToParquet(this.connection, `SELECT ${this.selection()} FROM ${quoteName(this.table)}`, path)
    await this.connection.run(`DROP TABLE ${quoteName(this.table)}`)
    return (await stat(path)).size
  }

  private listOf(cells: readonly Cell[]): DuckDBValue {
    this.bufferedListValues += cells.length
    return listValue(cells)
  }

  private codeOf(index: number, value: DuckDBValue): DuckDBValue {
    const codes = this.codes[index]
    if (!codes || typeof value !== 'string') return value
    const known = codes.get(value)
    if (known !== undefined) return known
    codes.set(value, codes.size + 1)
    return codes.size
  }

  /** The columns as they go into the file, codes turned back into text. */
  private selection(): string {
    return this.columns
      .map(({ name }, index) => {
        const codes = this.codes[index]
        if (!codes) return quoteName(name)
        return `(${textList([...codes.keys()])})[${quoteName(name)}] AS ${quoteName(name)}`
      })
      .join(', ')
  }

  /** Hands over full chunks as long as at least `least` rows wait. */
  private flush(least: number): void {
    let from = 0
    while (this.buffered - from >= least && this.buffered > from) {
      const count = Math.min(CHUNK_ROWS, this.buffered - from)
      const chunk = DuckDBDataChunk.create(this.types, count)
      for (const [index, buffer] of this.buffers.entries())
        chunk.setColumnValues(index, buffer.slice(from, from + count))
      this.appender.appendDataChunk(chunk)
      from += count
    }
    for (const buffer of this.buffers) buffer.splice(0, from)
    this.buffered -= from
    if (this.buffered === 0) this.bufferedListValues = 0
  }
}

export type ColumnValues = readonly (Cell | Cell[])[]

export async function copyToParquet(connection: DuckDBConnection, query: string, path: string): Promise<void> {
  await connection.run(`COPY (${query}\n) TO ${quoteText(path)} (FORMAT parquet, COMPRESSION zstd)`)
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** TIMESTAMP without a zone, in UTC. */
export function timestampOf(atMs: number): DuckDBTimestampValue {
  return new DuckDBTimestampValue(BigInt(Math.trunc(atMs)) * 1000n)
}

function textList(texts: string[]): string {
  return `[${texts.map(quoteText).join(', ')}]::VARCHAR[]`
}

const TYPES: Record<string, DuckDBType> = {
  VARCHAR,
  INTEGER,
  BIGINT,
  DOUBLE,
  FLOAT,
  BOOLEAN,
  TIMESTAMP,
  TINYINT,
  SMALLINT,
  UTINYINT,
  USMALLINT,
  UINTEGER,
  UBIGINT,
}

function duckType(type: string): DuckDBType {
  if (type.endsWith('[]')) return LIST(duckType(type.slice(0, -2)))
  const known = TYPES[type]
  if (known === undefined) throw new TypeError(`No column type ${type}.`)
  return known
}
