import { activeFreezes } from '../../../control/release/freeze-store.ts'
import type { Services } from './services.ts'

/** What keeps a model from releasing by itself, for lists of models and the status. */
export async function freezeBlockers({ context }: Services, model: string) {
  return (await activeFreezes(context.store.db, model)).map((f) => ({
    what: 'frozen',
    why: `automatic release is frozen since ${new Date(f.createdAtMs).toISOString().slice(0, 16)}Z (${f.id}): ${f.why.replace(/\.$/, '')}.`,
    fix: `Ends by ${f.unfreezes}.`,
  }))
}
