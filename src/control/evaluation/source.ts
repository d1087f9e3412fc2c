import { isAbsolute, join } from 'node:path'
import type { DataSource } from '../../config/project.ts'
import { messageOf } from '../../kernel/errors.ts'
import { quoteName, quoteText, timestampLiteral } from '../../kernel/lake/duckdb.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { SourceColumnError, SourceError } from './errors.ts'

/** What a source is called in messages: `holdout`, `training rows`. */
export interface NamedSource {
  name: string
  source: DataSource
  /** Relative file paths start here. */
  root: string
}

/** Makes `getvariable('as_of')` the calendar time of the run, so that a query can be asked again later. */
export async function setAsOf(connection: DuckDBConnection, asOfMs: number): Promise<void> {
  await connection.run(`SET VARIABLE as_of = ${timestampLiteral(asOfMs)}`)
}

/**
 * Writes the rows of a source to one Parquet file, in the order that the source gives them: everything after reads
 * this file, so that all models see the very same rows and the artifact is what was measured on.
 * With a connection of one thread and the seed, the same data and query give the same file, byte for byte.
 * @throws SourceError if it is missing, can't be read, or holds no rows
 */
export async function materialise(
  connection: DuckDBConnection,
  from: NamedSource,
  target: string,
  seed: number,
): Promise<number> {
  const query = queryOf(from)
  try {
    await connection.run(`SELECT setseed(${(Math.abs(seed) % 1_000_003) / 1_000_003})`)
    await connection.run(`COPY (\n${query}\n) TO ${quoteText(target)} (FORMAT parquet, COMPRESSION zstd)`)
  } catch (cause) {
    throw sourceError(from, cause)
  }
  return countRows(connection, from, parquet(target))
}

async function countRows(connection: DuckDBConnection, from: NamedSource, relation: string): Promise<number> {
  const reader = await connection.runAndReadAll(`SELECT count(*) FROM ${relation}`)
  const rows = Number(reader.getRows()[0]![0])
  if (rows > 0) return rows
  throw new SourceError({
    code: 'MR_SOURCE_EMPTY',
    message: `The ${from.name} ${describe(from.source)} holds no rows.`,
    fix:
      from.source.kind === 'sql' ? 'Widen the query; try it with `millrace lake query`.' : 'Write rows into the file.',
  })
}

/** The Parquet file as SQL reads it. */
export function parquet(path: string): string {
  return `read_parquet(${quoteText(escapeGlob(path))})`
}

/** The source as a query. @throws SourceError for a file that is neither Parquet nor CSV */
export function queryOf({ name, source, root }: NamedSource): string {
  if (source.kind === 'sql') return `FROM query(${quoteText(source.sql)})`
  const path = isAbsolute(source.path) ? source.path : join(escapeGlob(root), source.path)
  if (/\.parquet$/i.test(path)) return `SELECT * FROM read_parquet(${quoteText(path)}, union_by_name = true)`
  if (/\.(csv|tsv)(\.gz|\.zst)?$/i.test(path)) return `SELECT * FROM read_csv(${quoteText(path)}, union_by_name = true)`
  throw new SourceError({
    code: 'MR_SOURCE_FORMAT',
    message: `The ${name} '${source.path}' is neither Parquet nor CSV by its ending.`,
    fix: 'Name a file that ends in .parquet, .csv, .tsv or .csv.gz, or use { sql } with a reader of your choice.',
  })
}

function escapeGlob(path: string): string {
  return path.replaceAll(/[[*?]/g, '[$&]')
}

/** DuckDB tells a missing file from a broken one by text alone. */
export function sourceError(from: NamedSource, cause: unknown): SourceError {
  const text = messageOf(cause).replaceAll(/\s+/g, ' ').trim()
  const what = describe(from.source)
  if (/No files found|No such file|does not exist.*file|Could not open file/i.test(text)) {
    return new SourceError({
      code: 'MR_SOURCE_MISSING',
      message: `The ${from.name} ${what} is not there: ${text}`,
      fix: `Check the path; it is relative to ${from.root}.`,
      cause,
    })
  }
  return new SourceError({
    code: 'MR_SOURCE_QUERY',
    message: `The ${from.name} ${what} can't be read: ${text.slice(0, 600)}`,
    fix: from.source.kind === 'sql' ? 'Correct the SQL; try it with `millrace lake query`.' : 'Write the file again.',
    cause,
  })
}

function describe(source: DataSource): string {
  return source.kind === 'file'
    ? `'${source.path}'`
    : `query "${source.sql.replaceAll(/\s+/g, ' ').trim().slice(0, 80)}"`
}

export interface SourceColumn {
  name: string
  /** DuckDB's type, e.g. `DOUBLE`, `DECIMAL(18,3)`. */
  type: string
}

/** The columns of a relation, in order. */
export async function columnsOf(connection: DuckDBConnection, relation: string): Promise<SourceColumn[]> {
  const reader = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${relation}`)
  return reader.getRows().map(([name, type]) => ({ name: String(name), type: String(type) }))
}

/** @throws SourceColumnError naming every column that is missing, and all that are there */
export function requireColumns(
  wanted: readonly string[],
  present: readonly SourceColumn[],
  who: string,
  where: string,
): void {
  const missing = wanted.filter((name) => !present.some((column) => column.name === name))
  if (missing.length === 0) return
  const otherCase = missing.flatMap((name) =>
    present.filter((column) => column.name.toLowerCase() === name.toLowerCase()),
  )
  const names = missing.map((name) => `'${name}'`).join(', ')
  throw new SourceColumnError({
    message: `${who} needs column ${names}, which the ${where} lacks; it has ${present.map(({ name }) => name).join(', ')}.`,
    fix:
      otherCase.length > 0
        ? `Names are compared exactly: it has '${otherCase[0]!.name}'.`
        : `Add it to the ${where}, under the name that training used.`,
  })
}

const READ_AS_IS = /^(U?TINYINT|U?SMALLINT|U?INTEGER|U?BIGINT|U?HUGEINT|FLOAT|DOUBLE|BOOLEAN|VARCHAR)$/

/**
 * SQL expression that reads a column as number, bigint, boolean or text.
 * @throws SourceColumnError for dates, times and nested values, which no model input takes
 */
export function readableColumn({ name, type }: SourceColumn, where: string): string {
  if (READ_AS_IS.test(type)) return quoteName(name)
  if (type.startsWith('DECIMAL')) return `CAST(${quoteName(name)} AS DOUBLE)`
  if (type.startsWith('ENUM') || type === 'UUID') return `CAST(${quoteName(name)} AS VARCHAR)`
  const isTime = /^(DATE|TIME|INTERVAL)/.test(type)
  throw new SourceColumnError({
    message: `Column '${name}' of the ${where} is ${type}, which no model input can take.`,
    fix: isTime
      ? `Turn it into a number in training and here alike, e.g. epoch(${quoteName(name)}) or hour(${quoteName(name)}).`
      : `Turn it into numbers or text in training and here alike.`,
  })
}

/** Rows of some columns, block by block (2,048 rows or fewer), in the order of the relation. */
export async function* readBlocks(
  connection: DuckDBConnection,
  relation: string,
  expressions: readonly string[],
): AsyncGenerator<unknown[][]> {
  const result = await connection.stream(`SELECT ${expressions.join(', ')} FROM ${relation}`)
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return
    yield chunk.getColumns()
  }
}

/** A whole column. */
export async function readColumn(
  connection: DuckDBConnection,
  relation: string,
  expression: string,
): Promise<unknown[]> {
  const values: unknown[] = []
  for await (const [block] of readBlocks(connection, relation, [expression])) values.push(...block!)
  return values
}
