import { createHash } from 'node:crypto'
import { constants, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { errnoOf } from '../kernel/runtime/system-error.ts'

/**
 * Gives a data directory the embedded database that its first start would make, which takes seconds of work: the first
 * call leaves one in the temporary directory, the others copy it. Nothing is done where there is a database already.
 */
export async function prepareDatabase(dataDir: string): Promise<void> {
  const target = join(dataDir, 'db')
  if (existsSync(target)) return
  const made = await madeDatabase()
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  await cp(made, target, { recursive: true, mode: constants.COPYFILE_FICLONE, preserveTimestamps: true })
}

async function madeDatabase(): Promise<string> {
  const folder = join(tmpdir(), `millrace-test-${userInfo().uid}`)
  const path = join(folder, `db-${recipeDigest()}`)
  if (existsSync(path)) return path
  const { openStore } = await import('../kernel/store/open-store.ts')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const own = mkdtempSync(join(folder, 'making-'))
  try {
    await (await openStore({ dataDir: own })).close()
    renameSync(join(own, 'db'), path)
  } catch (thrown) {
    // Somebody else was faster.
    if (errnoOf(thrown) !== 'ENOTEMPTY' && errnoOf(thrown) !== 'EEXIST') throw thrown
  } finally {
    rmSync(own, { recursive: true, force: true })
  }
  return path
}

/** Of all that decides how a database looks. */
function recipeDigest(): string {
  const hash = createHash('sha256')
  for (const folder of ['../kernel/store/migrations/', '../kernel/store/pglite/']) {
    const from = new URL(folder, import.meta.url)
    for (const name of readdirSync(from).sort()) hash.update(readFileSync(new URL(name, from)))
  }
  hash.update(readFileSync(createRequire(import.meta.url).resolve('@electric-sql/pglite')))
  return hash.digest('hex').slice(0, 16)
}
