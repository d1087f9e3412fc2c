import { systemClock } from '../../kernel/clock.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { ProtocolError, unknownModel } from '../../kernel/protocol/inference.ts'
import { batcherLimits } from './batcher.ts'
import type { BatcherLimits } from './batcher.ts'
import { loadModel } from './loaded-model.ts'
import type { LoadedModel, LoadOrder } from './loaded-model.ts'

/**
 * The versions that one process holds, and where each stands:
 *
 *   loading ──▶ ready ──▶ (unloaded)
 *      └──────▶ failed, with why
 */
export type VersionState =
  | { kind: 'loading'; order: LoadOrder }
  | { kind: 'ready'; order: LoadOrder; loaded: LoadedModel }
  | { kind: 'failed'; order: LoadOrder; why: string; error: unknown }

export interface ModelServer {
  /** Verify, load, warm up. Loading a version again with the same digest changes nothing; a failed load keeps the old. */
  load(order: LoadOrder): Promise<LoadedModel>
  /** Forgets a version and frees its memory. The caller has seen to it that no request goes there. */
  unload(model: string, version: string): Promise<void>
  /** The version asked for, or the newest that is ready. @throws ProtocolError 404 unknown, 503 not ready */
  find(model: string, version: string | null): LoadedModel
  versionsOf(model: string): string[]
  states(): VersionState[]
  /** True when there is something and all of it is ready. */
  readonly isReady: boolean
  close(): Promise<void>
}

export function createModelServer(options: { limits?: Partial<BatcherLimits>; clock?: Clock } = {}): ModelServer {
  return new Versions({ ...batcherLimits, ...options.limits }, options.clock ?? systemClock)
}

class Versions implements ModelServer {
  readonly #models = new Map<string, Map<string, VersionState>>()
  readonly #limits: BatcherLimits
  readonly #clock: Clock

  constructor(limits: BatcherLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  async load(order: LoadOrder): Promise<LoadedModel> {
    const before = this.#models.get(order.model)?.get(order.version)
    if (before?.kind === 'ready' && order.digest !== null && before.loaded.digest === order.digest) return before.loaded
    if (before?.kind !== 'ready') this.#set({ kind: 'loading', order })
    try {
      const loaded = await loadModel(order, this.#limits, this.#clock)
      this.#set({ kind: 'ready', order, loaded })
      if (before?.kind === 'ready') await before.loaded.close()
      return loaded
    } catch (error) {
      if (before?.kind !== 'ready') this.#set({ kind: 'failed', order, why: messageOf(error), error })
      throw error
    }
  }

  async unload(model: string, version: string): Promise<void> {
    const state = this.#models.get(model)?.get(version)
    this.#models.get(model)?.delete(version)
    if (this.#models.get(model)?.size === 0) this.#models.delete(model)
    if (state?.kind === 'ready') await state.loaded.close()
  }

  find(model: string, version: string | null): LoadedModel {
    const versions = this.#models.get(model)
    if (versions === undefined) throw unknownModel(model)
    const state = version === null ? newest(versions) : versions.get(version)
    if (state === undefined) throw unknownModel(model, version)
    if (state.kind === 'ready') return state.loaded
    const why = state.kind === 'loading' ? 'it is being loaded' : state.why
    throw new ProtocolError(503, `Model '${model}' version '${state.order.version}' is not ready: ${why}`)
  }

  versionsOf(model: string): string[] {
    return [...(this.#models.get(model)?.keys() ?? [])]
  }

  states(): VersionState[] {
    return [...this.#models.values()].flatMap((versions) => [...versions.values()])
  }

  get isReady(): boolean {
    const states = this.states()
    return states.length > 0 && states.every(({ kind }) => kind === 'ready')
  }

  async close(): Promise<void> {
    const states = this.states()
    this.#models.clear()
    for (const state of states) if (state.kind === 'ready') await state.loaded.close()
  }

  #set(state: VersionState): void {
    const { model, version } = state.order
    const versions = this.#models.get(model) ?? new Map<string, VersionState>()
    versions.set(version, state)
    this.#models.set(model, versions)
  }
}

/** The ready one with the highest number (versions count 1, 2, 3 …); without a ready one, the last that was ordered. */
function newest(versions: Map<string, VersionState>): VersionState | undefined {
  const states = [...versions.values()]
  const ready = states.filter(({ kind }) => kind === 'ready')
  return ready.length === 0 ? states.at(-1) : ready.reduce((a, b) => (compareVersions(a, b) > 0 ? a : b))
}

function compareVersions(a: VersionState, b: VersionState): number {
  return a.order.version.localeCompare(b.order.version, 'en', { numeric: true })
}
