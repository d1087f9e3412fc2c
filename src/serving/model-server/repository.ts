import { reasonOf } from '../../kernel/errors.ts'
import { ProtocolError, unknownModel } from '../../kernel/protocol/inference.ts'
import type { ModelRepository, RepositoryEntry } from '../front/data-plane.ts'
import type { FoundVersion } from './model-folder.ts'
import type { ModelServer, VersionState } from './model-server.ts'

/** Of a server whose models are not for clients to choose. */
export function fixedRepository(models: ModelServer): ModelRepository {
  const refuse = (what: string) => async (): Promise<void> => {
    throw new ProtocolError(400, `Models are not ${what} by clients here: this server is told by the control plane`)
  }
  return {
    index: (onlyReady) => indexOf(models.states(), onlyReady),
    load: refuse('loaded'),
    unload: refuse('unloaded'),
  }
}

/** @see Triton Inference Server, protocol extension "model repository", index */
export function indexOf(states: readonly VersionState[], onlyReady: boolean): RepositoryEntry[] {
  const entries = states.map(entryOf)
  return onlyReady ? entries.filter(({ state }) => state === 'READY') : entries
}

function entryOf(state: VersionState): RepositoryEntry {
  const { model: name, version } = state.order
  switch (state.kind) {
    case 'loading':
      return { name, version, state: 'LOADING', reason: '' }
    case 'unloading':
      return { name, version, state: 'UNLOADING', reason: '' }
    case 'failed':
      return { name, version, state: 'UNAVAILABLE', reason: state.why }
    case 'ready':
      return { name, version, state: 'READY', reason: '' }
  }
}

/** Loads and unloads that wait for each other; more are refused. */
const WAITING_MAX = 64

export interface SourceOptions {
  models: ModelServer
  /** All there is to serve, by name, the newest version first; asked anew at every load. */
  find(): Promise<Map<string, FoundVersion[]>>
  findOne(model: string): Promise<FoundVersion[]>
  /** The newest so many versions of a model are served. */
  versions: number
  features: string[] | null
  /** @returns the file that is loaded for `path`, where that needs changes */
  prepare?: (path: string) => Promise<string>
}

const unchanged = async (path: string): Promise<string> => path

/**
 * Models that are loaded from files, and by clients' wish: what is on disk is looked at when somebody asks for it.
 * One load or unload at a time; each is safe to repeat.
 */
export class FileRepository implements ModelRepository {
  readonly #options: SourceOptions
  /** As they were when loaded: model, then version. */
  readonly #stamps = new Map<string, Map<string, string>>()
  /** What was seen on disk and is not loaded. */
  readonly #unloaded = new Map<string, string[]>()
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor(options: SourceOptions) {
    this.#options = options
  }

  index(onlyReady: boolean): RepositoryEntry[] {
    const entries = indexOf(this.#options.models.states(), onlyReady)
    if (onlyReady) return entries
    for (const [name, versions] of this.#unloaded)
      for (const version of versions) entries.push({ name, version, state: 'UNAVAILABLE', reason: 'unloaded' })
    return entries
  }

  /** Brings a model to what is on disk: new and changed versions are loaded, then what is too old or gone is unloaded. */
  load(model: string): Promise<void> {
    return this.#inTurn(async () => {
      const found = await this.#options.findOne(model)
      if (found.length === 0) throw unknownModel(model)
      try {
        await this.#bring(model, found)
      } catch (error) {
        throw new ProtocolError(400, `failed to load '${model}': ${reasonOf(error)}`, error)
      }
    })
  }

  unload(model: string): Promise<void> {
    return this.#inTurn(async () => {
      const versions = this.#options.models.versionsOf(model)
      if (versions.length === 0 && !this.#unloaded.has(model)) throw unknownModel(model)
      await this.#drop(model)
      if (versions.length > 0) this.#unloaded.set(model, versions)
    })
  }

  /** Loads all there is. @throws as loading the first that can't be */
  loadAll(): Promise<void> {
    return this.#inTurn(async () => {
      for (const [model, found] of await this.#options.find()) await this.#bring(model, found)
    })
  }

  /**
   * Follows the files: as `load` for each model that clients have not unloaded; those whose files are gone are unloaded.
   * @param onError - told of models that can't be brought up to date; they are served on as they are
   */
  refresh(onError: (model: string, error: unknown) => void): Promise<void> {
    return this.#inTurn(async () => {
      const found = await this.#options.find()
      for (const [model, versions] of found) {
        if (this.#unloaded.has(model)) continue
        await this.#bring(model, versions).catch((error: unknown) => onError(model, error))
      }
      for (const model of this.#options.models.names()) if (!found.has(model)) await this.#drop(model)
      for (const model of this.#unloaded.keys()) if (!found.has(model)) this.#unloaded.delete(model)
    })
  }

  async #bring(model: string, found: readonly FoundVersion[]): Promise<void> {
    const { models, versions, features, prepare = unchanged } = this.#options
    const wanted = found.slice(0, versions)
    const stamps = this.#stamps.get(model) ?? new Map<string, string>()
    this.#stamps.set(model, stamps)
    for (const { version, path, stamp } of wanted) {
      if (stamps.get(version) === stamp) continue
      await models.load({ model, version, path: await prepare(path), digest: null, features })
      stamps.set(version, stamp)
      this.#unloaded.delete(model)
    }
    for (const version of models.versionsOf(model)) {
      if (wanted.some((kept) => kept.version === version)) continue
      stamps.delete(version)
      await models.unload(model, version)
    }
  }

  async #drop(model: string): Promise<void> {
    const { models } = this.#options
    this.#stamps.delete(model)
    await Promise.all(models.versionsOf(model).map((version) => models.unload(model, version)))
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    if (this.#waiting >= WAITING_MAX)
      return Promise.reject(new ProtocolError(503, `${WAITING_MAX} loads and unloads wait already`))
    this.#waiting += 1
    const turn = this.#last.then(act).finally(() => (this.#waiting -= 1))
    this.#last = turn.catch(() => undefined) // whoever asked is told; the next one has its turn all the same
    return turn
  }
}
