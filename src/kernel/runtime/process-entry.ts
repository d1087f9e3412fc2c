import { existsSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SpawnError } from './errors.ts'

/**
 * The file of a process, e.g. `processes/job`: its TypeScript where Millrace runs from its source, the built file where
 * it was bundled, in which case this module may lie in any folder of the package.
 */
export function processEntry(name: string, from: string = import.meta.url): string {
  const here = fileURLToPath(from)
  const file = join('processes', `${name}${extname(here)}`)
  let dir = dirname(here)
  for (let level = 0; level < LEVELS_MAX; level++, dir = dirname(dir)) {
    const candidate = join(dir, file)
    if (existsSync(candidate)) return candidate
  }
  throw new SpawnError(file, `there is no such file above '${dirname(here)}'`)
}

const LEVELS_MAX = 5
