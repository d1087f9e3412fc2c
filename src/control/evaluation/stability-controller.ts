import type { ModelConfig } from '../../config/project.ts'
import type { ControlContext } from '../control-context.ts'
import { endFreeze, requestFreeze } from '../release/freeze-requests.ts'
import { listFreezes } from '../release/freeze-store.ts'
import { decideStability } from './decide-stability.ts'
import { lastRuns, lastVerdicts } from './stability-store.ts'

const GUARD = 'stability guard'
/** A model's own freeze is among the newest so many of any kind, or over. */
const FREEZES_SEEN = 100

/** Freezes automatic release of a model whose runs or evaluations are not steady, and lifts it once they are again. */
export class StabilityController {
  readonly #context: ControlContext

  constructor(context: ControlContext) {
    this.#context = context
  }

  async look(): Promise<void> {
    for (const model of this.#context.project()?.project.models ?? []) await this.#lookAt(model)
  }

  async #lookAt(model: ModelConfig): Promise<void> {
    const { store, clock, log } = this.#context
    const freezes = await listFreezes(store.db, { model: model.name, limit: FREEZES_SEEN })
    const mine = freezes.filter(({ kind, createdBy }) => kind === 'stability' && createdBy === GUARD)
    const active = mine.find(({ status }) => status === 'active') ?? null
    // What a person has lifted is not imposed again for what they knew of.
    const sinceMs = active === null ? Math.max(0, ...mine.map(({ endedAtMs }) => endedAtMs ?? 0)) : 0
    const decision = decideStability({
      runs: await lastRuns(store.db, model.name, sinceMs),
      evaluations: await lastVerdicts(store.db, model.name, sinceMs),
      isFrozen: active !== null,
    })
    if (decision.kind === 'none') return
    const { kind, why } = decision
    await store.transaction<unknown>((tx) =>
      kind === 'freeze'
        ? requestFreeze(tx, clock, {
            model: model.name,
            endpoint: model.endpoint,
            kind: 'stability',
            why,
            unfreezes: decision.unfreezes,
            by: GUARD,
          })
        : endFreeze(tx, clock, { id: active!.id, by: GUARD, why }),
    )
    log.warn({ model: model.name, why }, kind === 'freeze' ? 'automatic release is frozen' : 'a freeze has ended')
    this.#context.wake('release')
  }
}
