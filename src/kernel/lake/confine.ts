import { readdir } from 'node:fs/promises'
import { dirname, extname, join, relative, sep } from 'node:path'
import { quoteText, type DuckDBConnection } from './duckdb.ts'
import { LakeQueryError } from './errors.ts'

/**
 * From here on SQL on this connection reads the lake and what lies in the project's folder, and nothing else: no other
 * file of the machine, no network, no extension, no database to attach; and it can't change that. The data directory's
 * other content stays closed too: process records have tokens in them.
 *
 * DuckDB compares names before it looks where they are searched for, hence those from the project's folder on beside the
 * whole ones. A symbolic link in that folder is the user's word that what it leads to belongs to the project.
 *
 * @see DuckDB's documentation, "Securing DuckDB": allowed_directories, enable_external_access, lock_configuration
 */
export async function confine(connection: DuckDBConnection, root: string, lakeDir: string): Promise<void> {
  const entries = await openEntries(root, lakeDir)
  const inside = entries.flatMap((entry) => [entry, join(root, entry)])
  // A pattern is compared as if it were a file; what it finds is then looked at one by one.
  const patterns = [...new Set(entries.map((entry) => `*${extname(entry)}`))]
  await connection.run(`SET allowed_paths = ${textList([...inside, ...patterns])}`)
  await connection.run(`SET allowed_directories = ${textList([lakeDir, ...inside])}`)
  await connection.run('SET enable_external_access = false')
  await connection.run('SET lock_configuration = true')
}

/** Of the project's folder and, where the data directory lies in one of its folders, of those down to it. */
async function openEntries(root: string, lakeDir: string): Promise<string[]> {
  const dataDir = relative(root, dirname(lakeDir))
  const isInside = dataDir !== '' && dataDir !== '..' && !dataDir.startsWith(`..${sep}`)
  const way = isInside ? dataDir.split(sep) : []
  const found: string[] = []
  for (let depth = 0; depth < Math.max(1, way.length); depth++) {
    const folder = join(...way.slice(0, depth), '.')
    for (const name of await readdir(join(root, folder))) if (name !== way[depth]) found.push(join(folder, name))
  }
  return found
}

const textList = (texts: readonly string[]): string => `[${texts.map(quoteText).join(', ')}]::VARCHAR[]`

const REFUSED = /Cannot access (?:file|directory) "([^"]*)" - file system operations are disabled/

/** The path that `confine` kept it from; null: it was something else. */
export const outsidePath = (message: string): string | null => REFUSED.exec(message)?.[1] ?? null

export function notReadable(path: string, cause: unknown): LakeQueryError {
  const fix = `Put the file, or a link to it, in the project's folder and name it from there: FROM 'data/x.csv'.`
  return new LakeQueryError(`A query reads the lake and the project's own files: not '${path}'.`, cause, fix)
}
