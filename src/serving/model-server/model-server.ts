import { systemClock } from '../../kernel/clock.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { ProtocolError, unknownModel } from '../../kernel/protocol/inference.ts'
import { withoutFolders } from '../front/error-text.ts'
import { batcherLimits } from './batcher.ts'
import type { BatcherLimits } from './batcher.ts'
import { loadModel } from './loaded-model.ts'
import type { LoadedModel, LoadOrder, LoadSettings, TellModel } from './loaded-model.ts'
import type { Isolate } from './decide-isolation.ts'

/**
 * The versions that one process holds, and where each stands:
 *
 *   loading ──▶ ready ──▶ unloading (answers what it has) ──▶ (gone)
 *      └──────▶ failed, with why
 */
export type VersionState =
  | { kind: 'loading'; order: LoadOrder }
  | { kind: 'ready'; order: LoadOrder; loaded: LoadedModel }
  | { kind: 'unloading'; order: LoadOrder }
  /** `why`: as clients may read it. */
  | { kind: 'failed'; order: LoadOrder; why: string; error: unknown }

export interface ModelServer {
  /**
   * Verify, load, warm up. Loading a version again with the same digest changes nothing; a failed load keeps the old;
   * the old one answers until the new one is ready, and then what it has.
   */
  load(order: LoadOrder): Promise<LoadedModel>
  /** Nothing new goes to the version; what is under way is answered, within limits; then its memory is freed. */
  unload(model: string, version: string): Promise<void>
  /** The version asked for, or the newest that is ready. @throws ProtocolError 404 unknown, 503 not ready */
  find(model: string, version: string | null): LoadedModel
  names(): string[]
  versionsOf(model: string): string[]
  states(): VersionState[]
  /** Null when there is something and each model has a version that can compute. */
  readonly notReadyWhy: string | null
  readonly isReady: boolean
  /** Everything, at once: fronts have drained before. */
  close(): Promise<void>
}

export interface ModelServerOptions {
  limits?: Partial<BatcherLimits>
  clock?: Clock
  isolate?: Isolate
  /** How long requests that are under way are waited for when a version is unloaded or replaced. */
  closeMs?: number
  tell?: TellModel
}

const CLOSE_MS = 20_000

export function createModelServer(options: ModelServerOptions = {}): ModelServer {
  return new Versions({
    limits: { ...batcherLimits, ...options.limits },
    clock: options.clock ?? systemClock,
    isolate: options.isolate ?? 'auto',
    closeMs: options.closeMs ?? CLOSE_MS,
    tell: options.tell ?? (() => undefined),
  })
}

/** @see ModelServer */
interface Model {
  versions: Map<string, VersionState>
  /** What answers where no version is named: kept here because that is asked for every request. */
  newest: VersionState | undefined
}

class Versions implements ModelServer {
  readonly #models = new Map<string, Model>()
  readonly #settings: LoadSettings

  constructor(settings: LoadSettings) {
    this.#settings = settings
  }

  async load(order: LoadOrder): Promise<LoadedModel> {
    const before = this.#models.get(order.model)?.versions.get(order.version)
    if (before?.kind === 'ready' && order.digest !== null && before.loaded.digest === order.digest) return before.loaded
    if (before?.kind !== 'ready') this.#set({ kind: 'loading', order })
    try {
      const othersAreServed = this.states().some(({ kind }) => kind === 'ready')
      const loaded = await loadModel(order, this.#settings, othersAreServed)
      this.#set({ kind: 'ready', order, loaded })
      if (before?.kind === 'ready') await before.loaded.close()
      return loaded
    } catch (error) {
      if (before?.kind !== 'ready') this.#set({ kind: 'failed', order, why: withoutFolders(messageOf(error)), error })
      throw error
    }
  }

  async unload(model: string, version: string): Promise<void> {
    const state = this.#models.get(model)?.versions.get(version)
    if (state === undefined || state.kind === 'unloading') return
    if (state.kind === 'ready') {
      this.#set({ kind: 'unloading', order: state.order })
      await state.loaded.close()
    }
    this.#delete(model, version)
  }

  find(model: string, version: string | null): LoadedModel {
    const entry = this.#models.get(model)
    if (entry === undefined) throw unknownModel(model)
    const state = version === null ? entry.newest : entry.versions.get(version)
    if (state === undefined) throw unknownModel(model, version)
    if (state.kind === 'ready') return state.loaded
    throw new ProtocolError(503, `Model '${model}' version '${state.order.version}' is not ready: ${whyNot(state)}`)
  }

  names(): string[] {
    return [...this.#models.keys()]
  }

  versionsOf(model: string): string[] {
    return [...(this.#models.get(model)?.versions.keys() ?? [])]
  }

  states(): VersionState[] {
    return [...this.#models.values()].flatMap(({ versions }) => [...versions.values()])
  }

  get isReady(): boolean {
    return this.notReadyWhy === null
  }

  get notReadyWhy(): string | null {
    if (this.#models.size === 0) return 'no model is loaded'
    for (const [name, { newest }] of this.#models) {
      if (newest?.kind !== 'ready') return `model '${name}': ${newest === undefined ? 'no version' : whyNot(newest)}`
      if (newest.loaded.downWhy !== null) return `model '${name}': its process is down: ${newest.loaded.downWhy}`
    }
    return null
  }

  async close(): Promise<void> {
    const states = this.states()
    this.#models.clear()
    await Promise.all(states.flatMap((state) => (state.kind === 'ready' ? [state.loaded.close(0)] : [])))
  }

  #set(state: VersionState): void {
    const { model, version } = state.order
    const versions = this.#models.get(model)?.versions ?? new Map<string, VersionState>()
    versions.set(version, state)
    this.#models.set(model, { versions, newest: newestOf(versions) })
  }

  #delete(model: string, version: string): void {
    const versions = this.#models.get(model)?.versions
    versions?.delete(version)
    if (versions === undefined || versions.size === 0) this.#models.delete(model)
    else this.#models.set(model, { versions, newest: newestOf(versions) })
  }
}

function whyNot(state: VersionState): string {
  switch (state.kind) {
    case 'loading':
      return 'it is being loaded'
    case 'unloading':
      return 'it is being unloaded'
    case 'failed':
      return state.why
    case 'ready':
      return 'it is ready'
  }
}

/** The ready one with the highest number (versions count 1, 2, 3 …); without a ready one, the last that was ordered. */
function newestOf(versions: Map<string, VersionState>): VersionState | undefined {
  const states = [...versions.values()]
  const ready = states.filter(({ kind }) => kind === 'ready')
  return ready.length === 0 ? states.at(-1) : ready.reduce((a, b) => (compareVersions(a, b) > 0 ? a : b))
}

function compareVersions(a: VersionState, b: VersionState): number {
  return a.order.version.localeCompare(b.order.version, 'en', { numeric: true })
}
