import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { messageOf } from '../errors.ts'
import type { LockedWish } from './environment-files.ts'
import { EnvironmentError } from './errors.ts'
import { runLogged } from './process/run-logged.ts'

export interface Interpreter {
  path: string
  /** As it says itself, e.g. `Python 3.11.7`, `v24.21.0`. */
  version: string
}

const VERSION_TIMEOUT_MS = 30_000

/**
 * The interpreter that an environment is made with. A version ("3.11", "24") is looked for among the usual names, a
 * name in PATH; a path is relative to the project.
 * @throws EnvironmentError with what was found instead
 */
export async function findInterpreter(wish: LockedWish, root: string): Promise<Interpreter> {
  const wanted = wish.kind === 'python' ? wish.python : wish.node
  if (/^\d+(\.\d+)*$/.test(wanted)) return ofVersion(wish.kind, wanted)
  const path = wanted.includes('/') ? resolve(root, wanted) : inPath(wanted)
  if (path !== null) return { path, version: await versionOf(wish.kind, path) }
  const fix = `Install it, or name another in 'environment.${wish.kind}'.`
  throw new EnvironmentError(`${wish.kind} environment`, `'${wanted}' is not in PATH`, fix)
}

/** Installations can be broken: a name that answers with an error is passed over like one of another version. */
async function ofVersion(kind: LockedWish['kind'], wanted: string): Promise<Interpreter> {
  const seen: string[] = []
  for (const path of candidates(kind, wanted)) {
    const version = await versionOf(kind, path).catch((error: unknown) => messageOf(error))
    if (isOfVersion(version, wanted)) return { path, version }
    seen.push(`${path}: ${version}`)
  }
  const found = seen.length === 0 ? 'PATH has none at all' : `found ${seen.join(', ')}`
  const title = kind === 'python' ? 'Python' : 'Node'
  const fix = `Install ${title} ${wanted} so that it is in PATH, or name another version in 'environment.${kind}'.`
  throw new EnvironmentError(`${kind} environment`, `there is no ${title} ${wanted}; ${found}`, fix)
}

/** The most exact name first; for Node the one that Millrace itself runs on. */
function candidates(kind: LockedWish['kind'], wanted: string): string[] {
  const [major, minor] = wanted.split('.')
  const exact = minor === undefined ? [] : [`python${major}.${minor}`]
  const names = kind === 'python' ? [...exact, `python${major}`, 'python'] : ['node', `node${major}`]
  const found = names.map(inPath).filter((path) => path !== null)
  return kind === 'node' ? [process.execPath, ...found] : found
}

/** "Python 3.11.7" is of "3" and of "3.11", and not of "3.1". */
function isOfVersion(said: string, wanted: string): boolean {
  const numbers = /^(?:Python |v)(\d+(?:\.\d+)*)/.exec(said)?.[1]
  return numbers !== undefined && `${numbers}.`.startsWith(`${wanted}.`)
}

function inPath(name: string): string | null {
  const folders = (process.env['PATH'] ?? '').split(':').filter((folder) => folder !== '')
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null
}

async function versionOf(kind: LockedWish['kind'], path: string): Promise<string> {
  try {
    const command = [path, '--version']
    const { code, lastLines } = await runLogged({
      command,
      cwd: '/',
      env: {},
      logPath: null,
      timeoutMs: VERSION_TIMEOUT_MS,
    })
    if (code === 0) return lastLines.trim()
    throw new Error(`exit status ${code}: ${lastLines}`)
  } catch (thrown) {
    const fix = `Name a working interpreter in 'environment.${kind}'.`
    throw new EnvironmentError(`${kind} environment`, `'${path} --version': ${messageOf(thrown)}`, fix)
  }
}
