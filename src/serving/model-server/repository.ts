import { reasonOf } from '../../kernel/errors.ts'
import { ProtocolError, unknownModel } from '../../kernel/protocol/inference.ts'
import { withoutFolders } from '../front/error-text.ts'
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
  /** Makes the file that is loaded for `path`, where that needs changes. */
  prepare?: (path: string) => Promise<PreparedFile>
}

export interface PreparedFile {
  path: string
  /** Nobody loads from it any more; until then a process may be started from it again. */
  discard: () => void
}

const unchanged = async (path: string): Promise<PreparedFile> => ({ path, discard: () => undefined })

/**
 * Models that are loaded from files, and by clients' wish: what is on disk is looked at when somebody asks for it.
 * One load or unload at a time; each is safe to repeat.
 */
export class FileRepository implements ModelRepository {
  readonly #options: SourceOptions
  /** As they were when loaded: model, then version. */
  readonly #stamps = new Map<string, Map<string, string>>()
  /** What was made for them. */
  readonly #prepared = new Map<string, Map<string, PreparedFile>>()
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
        throw new ProtocolError(400, `failed to load '${model}': ${withoutFolders(reasonOf(error))}`, error)
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
      await this.#load(model, version, await prepare(path), features)
      stamps.set(version, stamp)
      this.#unloaded.delete(model)
    }
    for (const version of models.versionsOf(model)) {
      if (wanted.some((kept) => kept.version === version)) continue
      stamps.delete(version)
      await this.#unload(model, version)
    }
  }

  async #drop(model: string): Promise<void> {
    this.#stamps.delete(model)
    const versions = this.#options.models.versionsOf(model)
    await Promise.all(versions.map((version) => this.#unload(model, version)))
  }

  async #load(model: string, version: string, file: PreparedFile, features: string[] | null): Promise<void> {
    try {
      await this.#options.models.load({ model, version, path: file.path, digest: null, features })
    } catch (error) {
      file.discard()
      throw error
    }
    this.#keep(model, version, file)
  }

  async #unload(model: string, version: string): Promise<void> {
    await this.#options.models.unload(model, version)
    this.#keep(model, version, null)
  }

  /** In place of what was made for that version before. */
  #keep(model: string, version: string, file: PreparedFile | null): void {
    const files = this.#prepared.get(model) ?? new Map<string, PreparedFile>()
    files.get(version)?.discard()
    if (file === null) files.delete(version)
    else files.set(version, file)
    if (files.size === 0) this.#prepared.delete(model)
    else this.#prepared.set(model, files)
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
