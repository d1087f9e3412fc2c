import { ProtocolError } from './errors.ts'
import { decodeUtf8, isObject, parseJson } from './json.ts'
import { flag } from './request-parameters.ts'

/** One version of a model, as the model repository extension lists it. */
export interface RepositoryEntry {
  name: string
  version: string
  state: 'READY' | 'UNAVAILABLE' | 'LOADING' | 'UNLOADING' | 'UNKNOWN'
  /** Empty where there is nothing to say. */
  reason: string
}

/** @see Triton, extension_model_repository.md */
export function repositoryIndex(entries: readonly RepositoryEntry[]): string {
  return JSON.stringify(entries.map(({ name, version, state, reason }) => ({ name, version, state, reason })))
}

/**
 * What `POST /v2/repository/index` asks for; it may come without a body.
 * @returns true where only what is ready is to be listed
 * @throws ProtocolError 400
 */
export function readIndexRequest(body: Uint8Array): boolean {
  if (body.length === 0) return false
  const json = parseJson(decodeUtf8(body, INVALID), INVALID)
  if (!isObject(json)) throw new ProtocolError(400, 'The request must be a JSON object')
  return flag(json.ready, `'ready'`) ?? false
}

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(400, `The request is ${why}`, cause)
