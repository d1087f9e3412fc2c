import type { Freeze } from '../../../control/release/freeze.ts'
import { endFreeze, requestFreeze } from '../../../control/release/freeze-requests.ts'
import { findFreeze, listFreezes } from '../../../control/release/freeze-store.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { FreezeView } from '../retirement-schemas.ts'
import { declaredModel } from './models.ts'
import type { Services } from './services.ts'

class NotFrozenError extends MillraceError {
  constructor(model: string) {
    super({
      code: 'MR_NOT_FROZEN',
      kind: 'conflict',
      message: `Automatic release of '${model}' is not frozen.`,
      fix: `Run 'millrace models' to see what keeps a model from releasing by itself.`,
    })
  }
}

export const freezeHandlers = (services: Services): HandlerGroup<'freezes'> => ({
  async list({ model, limit }) {
    return (await listFreezes(services.context.store.db, { model, limit })).map(freezeView)
  },
  async create({ model, why, by }) {
    const { store, clock } = services.context
    const { endpoint, name } = declaredModel(services, model, true)
    const unfreezes = `'millrace unfreeze ${name}'`
    const id = await store.transaction((tx) =>
      requestFreeze(tx, clock, { model: name, endpoint, kind: 'person', why, unfreezes, by }),
    )
    services.context.wake('release')
    return freezeView((await findFreeze(store.db, id))!)
  },
  async end({ model, why, by }) {
    const { store, clock } = services.context
    const { name } = declaredModel(services, model, true)
    const ended = await store.transaction((tx) => endFreeze(tx, clock, { model: name, by, why }))
    if (ended.length === 0) throw new NotFrozenError(name)
    services.context.wake('release')
    return Promise.all(ended.map(async (id) => freezeView((await findFreeze(store.db, id))!)))
  },
})

export function freezeView(freeze: Freeze): FreezeView {
  const { id, model, endpoint, kind, status, why, unfreezes, createdBy, createdAtMs, endedAtMs, endedBy } = freeze
  const endedWhy = freeze.endedWhy === null ? null : `${endedBy}: ${freeze.endedWhy}`
  return { id, model, endpoint, kind, status, why, unfreezes, by: createdBy, createdAtMs, endedAtMs, endedWhy }
}
