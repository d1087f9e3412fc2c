import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import { LakeRootError } from './errors.ts'

export type { DuckDBConnection } from '@duckdb/node-api'

export interface DuckDBOptions {
  /**
   * Folder against which relative paths in SQL are resolved; the working directory where it is not given. DuckDB looks
   * in the working directory first even so: a job should run in `root`.
   */
  root?: string
  threads?: number
  /** What DuckDB may hold in memory before it spills to `tempDir`. */
  memoryLimitMb?: number
  /** Where it spills; removed by `close()`. */
  tempDir?: string
  /** How much it may spill. DuckDB itself would take nine tenths of what is free, under the feet of the prediction log. */
  tempLimitMb?: number
}

export interface OpenDuckDB {
  connection: DuckDBConnection
  close(): Promise<void>
}

const TEMP_LIMIT_MB = 20_000
let opened = 0

/**
 * A private in-memory DuckDB for one job. It never downloads an extension, nor loads one that somebody has installed (a
 * lake must work offline and the same everywhere), counts time in UTC, and keeps to limits of memory and of disk so that a
 * job can't starve the servers beside it.
 * @throws LakeRootError if `root` has a comma and is not the working directory
 */
export async function openDuckDB(options: DuckDBOptions = {}): Promise<OpenDuckDB> {
  const { root } = options
  if (root?.includes(',') && root !== process.cwd()) throw new LakeRootError(root)
  const tempDir = options.tempDir ?? join(tmpdir(), `millrace-duckdb-${process.pid}-${++opened}`)
  const instance = await DuckDBInstance.create(':memory:', {
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    threads: String(options.threads ?? 2),
    memory_limit: `${options.memoryLimitMb ?? 512}MB`,
    temp_directory: tempDir,
    max_temp_directory_size: `${options.tempLimitMb ?? TEMP_LIMIT_MB}MB`,
  })
  const connection = await instance.connect()
  await connection.run(`SET TimeZone = 'UTC'`)
  if (options.root !== undefined && options.root !== process.cwd())
    await connection.run(`SET file_search_path = ${quoteText(options.root)}`)
  return {
    connection,
    async close() {
      connection.closeSync()
      instance.closeSync()
      await rm(tempDir, { recursive: true, force: true })
    },
  }
}

/** A name as SQL reads it, whatever is in it: `a"b` becomes `"a""b"`. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A text literal: `it's` becomes `'it''s'`. The parser takes U+0000 for the end of the SQL, so that is put in by a function. */
export function quoteText(text: string): string {
  if (text.includes('\0')) return `(${text.split('\0').map(quoteText).join(' || chr(0) || ')})`
  return `'${text.replaceAll("'", "''")}'`
}

/** `TIMESTAMP` literal (UTC, milliseconds kept). */
export function timestampLiteral(atMs: number): string {
  return `TIMESTAMP ${quoteText(new Date(atMs).toISOString().replace('T', ' ').replace('Z', ''))}`
}
