import { rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StatementType } from '@duckdb/node-api'
import type { Origin } from '../contract/prediction.ts'
import { MillraceError, messageOf } from '../errors.ts'
import type { DuckDBResult } from '@duckdb/node-api'
import { confine, notReadable, outsidePath } from './confine.ts'
import type { DuckDBConnection } from './duckdb.ts'
import { openDuckDB, quoteText, timestampLiteral } from './duckdb.ts'
import { makeDir, syncDir } from './durable-files.ts'
import { LakeQueryError, LakeQueryTimeoutError } from './errors.ts'
import type { JsonValue } from './json-value.ts'
import { jsonValue } from './json-value.ts'
import { copyToParquet } from './parquet-writer.ts'
import { createLakeViews } from './views.ts'

export interface LakeSqlInput {
  lakeDir: string
  /** The project's folder: relative paths in the SQL start there. */
  root: string
  /** One SELECT (or FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE) over the lake's views and files. */
  sql: string
  /** `getvariable('as_of')`, a TIMESTAMP. */
  asOfMs: number
  /** Reads the lake as of this manifest; the newest where it is not given. */
  manifest?: number
  origins?: Origin[]
  timeoutMs?: number
  memoryLimitMb?: number
  threads?: number
}

export interface QueryResult {
  columns: { name: string; type: string }[]
  rows: JsonValue[][]
  /** There were more rows than the limit. */
  truncated: boolean
  manifest: number
  elapsedMs: number
}

export interface MaterialisedSql {
  manifest: number
  rows: number
  bytes: number
}

const QUERY_DEFAULTS = { limitRows: 1_000, timeoutMs: 60_000, memoryLimitMb: 512, threads: 2 }
const MATERIALISE_TIMEOUT_MS = 30 * 60_000
const QUERY_TEMP_LIMIT_MB = 2_000
/** Of an answer, as JSON: it passes through the control plane. */
const ANSWER_CHARACTERS_MAX = 32 * 1024 * 1024

/**
 * Answers whoever asks, so it is confined to the lake and the project's files (see confine.ts), to limits of time, memory,
 * disk and rows, and to an answer of 32 MB.
 * @throws LakeQueryError with DuckDB's words if the SQL is wrong, is not one reading statement, or asks for other files
 * @throws LakeQueryTimeoutError
 */
export async function runQueryJob(input: LakeSqlInput & { limitRows?: number }): Promise<QueryResult> {
  const startedMs = performance.now()
  const limitRows = input.limitRows ?? QUERY_DEFAULTS.limitRows
  const limits = { timeoutMs: input.timeoutMs ?? QUERY_DEFAULTS.timeoutMs, isConfined: true }
  return await withLake(input, limits, async (connection, manifest) => {
    const result = await connection.stream(input.sql)
    const columns = result.columnNames().map((name, index) => ({ name, type: String(result.columnType(index)) }))
    const found = await firstRows(result, limitRows)
    return { columns, ...found, manifest, elapsedMs: Math.round(performance.now() - startedMs) }
  })
}

/** Chunk by chunk, so that what is too much is never all in memory. */
async function firstRows(result: DuckDBResult, limitRows: number): Promise<Pick<QueryResult, 'rows' | 'truncated'>> {
  const rows: JsonValue[][] = []
  let characters = 0
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return { rows, truncated: false }
    for (let row = 0; row < chunk.rowCount; row++) {
      if (rows.length === limitRows) return { rows, truncated: true }
      const values = chunk.getRowValues(row).map(jsonValue)
      characters += JSON.stringify(values).length
      if (characters > ANSWER_CHARACTERS_MAX) throw tooMuch(rows.length)
      rows.push(values)
    }
  }
}

function tooMuch(rows: number): LakeQueryError {
  const megabytes = ANSWER_CHARACTERS_MAX / 1024 / 1024
  const fix = 'Select fewer columns or rows, or let a step read them: its inputs may be any size.'
  return new LakeQueryError(`The answer exceeds ${megabytes} MB after ${rows} rows.`, undefined, fix)
}

/**
 * Writes the result as a Parquet file: complete and durable under its name, or not there.
 * @returns the manifest it was read at, which together with the SQL and `asOfMs` says what the file holds
 */
export async function materialiseSql(input: LakeSqlInput & { outPath: string }): Promise<MaterialisedSql> {
  const temporary = `${input.outPath}.tmp`
  await makeDir(dirname(input.outPath))
  try {
    const limits = { timeoutMs: input.timeoutMs ?? MATERIALISE_TIMEOUT_MS, isConfined: false }
    return await withLake(input, limits, async (connection, manifest) => {
      await copyToParquet(connection, `FROM query(${quoteText(input.sql)})`, temporary)
      const counted = await connection.runAndReadAll(
        `SELECT count(*)::DOUBLE FROM read_parquet(${quoteText(temporary)})`,
      )
      await rename(temporary, input.outPath)
      await syncDir(dirname(input.outPath))
      return { manifest, rows: Number(counted.getRows()[0]?.[0]), bytes: (await stat(input.outPath)).size }
    })
  } finally {
    await rm(temporary, { force: true })
  }
}

async function withLake<T>(
  input: LakeSqlInput,
  { timeoutMs, isConfined }: { timeoutMs: number; isConfined: boolean },
  work: (connection: DuckDBConnection, manifest: number) => Promise<T>,
): Promise<T> {
  const { memoryLimitMb, threads } = { ...QUERY_DEFAULTS, ...input }
  const tempLimitMb = isConfined ? QUERY_TEMP_LIMIT_MB : undefined
  const database = await openDuckDB({ root: input.root, memoryLimitMb, threads, tempLimitMb })
  const { connection } = database
  const deadline = interruptAfter(connection, timeoutMs)
  try {
    const { manifest, origins } = input
    const lake = await createLakeViews(connection, input.lakeDir, { manifest, origins })
    await connection.run(`SET VARIABLE as_of = ${timestampLiteral(input.asOfMs)}`)
    if (isConfined) await confine(connection, input.root, input.lakeDir)
    await assertReads(connection, input.sql)
    return await work(connection, lake.manifest)
  } catch (error) {
    if (deadline.isOver) throw new LakeQueryTimeoutError(timeoutMs)
    throw error instanceof MillraceError ? error : asQueryError(error)
  } finally {
    deadline.clear()
    await database.close()
  }
}

const INTERRUPT_AGAIN_MS = 100

/** Again and again: DuckDB forgets an interruption that comes between two statements, and would run the next to its end. */
function interruptAfter(connection: DuckDBConnection, timeoutMs: number): { readonly isOver: boolean; clear(): void } {
  let isOver = false
  let timer = setTimeout(function stop() {
    isOver = true
    connection.interrupt()
    timer = setTimeout(stop, INTERRUPT_AGAIN_MS)
  }, timeoutMs)
  return {
    get isOver() {
      return isOver
    },
    clear: () => clearTimeout(timer),
  }
}

/** The parser says what kind a statement is, so no list of forbidden words is needed. */
async function assertReads(connection: DuckDBConnection, sql: string): Promise<void> {
  if (sql.trim() === '') throw new LakeQueryError('The SQL is empty.')
  const statements = await connection.extractStatements(sql).catch((error: unknown) => {
    // What the binding says to a text of comments alone.
    if (messageOf(error) === 'Error in native callback') throw new LakeQueryError('The SQL holds no statement.', error)
    throw error
  })
  if (statements.count !== 1)
    throw new LakeQueryError(
      `One statement is needed, not ${statements.count}. (PIVOT needs its values: ON column IN (…).)`,
    )
  const { statementType } = await statements.prepare(0)
  if (statementType !== StatementType.SELECT)
    throw new LakeQueryError(`The lake is read only: ${StatementType[statementType]} is not SELECT.`)
}

function asQueryError(error: unknown): LakeQueryError {
  const message = messageOf(error)
  const outside = outsidePath(message)
  return outside === null ? new LakeQueryError(trimMessage(message), error) : notReadable(outside, error)
}

/** DuckDB's message without its pointer at the statement's text where that is long. */
function trimMessage(message: string): string {
  const [head = '', ...rest] = message.split('\n\n')
  const text = rest.length === 0 ? head : `${head}\n${rest.join('\n')}`
  return text.length <= 1_000 ? text.trim() : `${text.slice(0, 1_000).trim()}…`
}
