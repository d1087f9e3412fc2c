import { existsSync } from 'node:fs'
import { readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isMissing } from './system-error.ts'

const REMOVING = '.removing'

/**
 * Removes environments that were neither built nor asked for within `unusedForMs` of real time. One is moved away first: who
 * asks for it from then on finds none and builds it anew; who asked just before is seen in its time, and it is put back.
 * Killed in between, the next call goes on.
 * @param inUse - names of folders that something which runs already is in; asked only where there is one to remove
 * @returns names of those that were removed: 32 hex digits of the digest
 */
export async function removeUnusedEnvironments(
  cacheDir: string,
  unusedForMs: number,
  inUse: () => Promise<ReadonlySet<string>>,
): Promise<string[]> {
  const removed: string[] = []
  let used: ReadonlySet<string> | null = null
  for (const entry of await readdir(cacheDir).catch(noneIfMissing)) {
    const name = entry.replace(REMOVING, '')
    const [dir, moved] = [join(cacheDir, name), join(cacheDir, `${name}${REMOVING}`)]
    if (!/^[0-9a-f]{32}$/.test(name)) continue
    if (entry === name) {
      if (!(await isUnused(dir, unusedForMs))) continue
      used ??= await inUse()
      if (used.has(name)) continue
      await rm(moved, { recursive: true, force: true })
      await rename(dir, moved)
    }
    if ((await isUnused(moved, unusedForMs)) || existsSync(dir)) {
      await rm(moved, { recursive: true, force: true })
      if (!existsSync(dir)) removed.push(name)
    } else await rename(moved, dir)
  }
  return removed
}

/** A ruin, whose building was cut off, counts from when that began: it is built anew where it is wanted. */
async function isUnused(dir: string, unusedForMs: number): Promise<boolean> {
  const complete = await stat(join(dir, 'complete')).catch(nullIfMissing)
  const { mtimeMs } = complete ?? (await stat(dir))
  return Date.now() - mtimeMs >= unusedForMs
}

function nullIfMissing(thrown: unknown): null {
  if (isMissing(thrown)) return null
  throw thrown
}

function noneIfMissing(thrown: unknown): string[] {
  if (isMissing(thrown)) return []
  throw thrown
}
