import { readdir, stat } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { ConfigAmbiguousError, ConfigNotFoundError, ConfigUnreadableError } from './errors.ts'

export const configNames = [
  'millrace.config.ts',
  'millrace.config.mts',
  'millrace.config.js',
  'millrace.config.mjs',
  'millrace.yaml',
  'millrace.yml',
] as const

export const codeEndings = ['.ts', '.mts', '.js', '.mjs'] as const
export const yamlEndings = ['.yaml', '.yml'] as const

/**
 * The configuration file, absolute: the named one, else the only one in the folder.
 * @param configPath - a file, or a folder to look in; relative to `cwd`
 * @throws ConfigNotFoundError, ConfigAmbiguousError, ConfigUnreadableError
 */
export async function findConfig(cwd: string, configPath?: string): Promise<string> {
  const named = resolve(cwd, configPath ?? '.')
  const found = await stat(named).catch((error: unknown) => nullIfAbsent(named, error))
  if (found?.isDirectory()) return findIn(named)
  const endings: readonly string[] = [...codeEndings, ...yamlEndings]
  if (found === null || !endings.includes(extname(named))) throw new ConfigNotFoundError(named, configNames)
  return named
}

/** Only what is surely not there is absent: a folder that may not be entered tells so. */
function nullIfAbsent(path: string, error: unknown): null {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (code === 'ENOENT' || code === 'ENOTDIR') return null
  throw error instanceof Error ? new ConfigUnreadableError(path, error) : error
}

async function findIn(folder: string): Promise<string> {
  const there = await readdir(folder)
  const found = configNames.filter((name) => there.includes(name))
  if (found.length > 1) throw new ConfigAmbiguousError(folder, found)
  if (found[0] === undefined) throw new ConfigNotFoundError(folder, configNames)
  return join(folder, found[0])
}
