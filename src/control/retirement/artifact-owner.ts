import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { readIfThere, writeFileAtomic } from '../../kernel/runtime/atomic-file.ts'
import type { ControlContext } from '../control-context.ts'

const OWNER = 'artifactsOwner'

/**
 * Whether the artifacts of this data directory are those of this store: the file `artifacts/store` has its id. With
 * another database, or one that was emptied, everything would look as if nothing were made of it. The first to ask makes
 * them belong together, the store first.
 * @returns why they don't belong together; null where they do
 */
export async function notOurArtifacts({ store, dataDir }: Pick<ControlContext, 'store' | 'dataDir'>) {
  const path = join(dataDir, 'artifacts', 'store')
  const written = readIfThere(path)?.trim() ?? null
  const { db } = store
  const asked = db.selectFrom('setting').select('value').where('key', '=', OWNER)
  if (written === null)
    await db
      .insertInto('setting')
      .values({ key: OWNER, value: JSON.stringify(randomUUID()) })
      .onConflict((conflict) => conflict.column('key').doNothing())
      .execute()
  const own = (await asked.executeTakeFirst())?.value as string | undefined
  if (written === null) writeFileAtomic(path, `${own!}\n`)
  else if (written !== own)
    return `the artifacts belong to another database; where this one is right, remove the file '${path}'`
  return null
}
