import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import { decodeUtf8, isObject, parseJson } from '../../../kernel/protocol/json.ts'

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(400, `The request is ${why}`, cause)

/**
 * A request to load may bring a configuration, or files, of its own. That is another matter than loading what is there,
 * and is not supported. The body may be empty.
 * @throws ProtocolError 400
 * @see Triton, extension_model_repository.md, "Load"
 */
export function checkLoadRequest(body: Buffer): void {
  if (body.length === 0) return
  const json = parseJson(decodeUtf8(body, INVALID), INVALID)
  if (!isObject(json)) throw new ProtocolError(400, 'The request must be a JSON object')
  const given = isObject(json.parameters) ? Object.keys(json.parameters) : []
  const named = given.find((name) => name === 'config' || name.startsWith('file:'))
  if (named === undefined) return
  throw new ProtocolError(400, `Parameter '${named.slice(0, 60)}' is not supported: a model is loaded as it is stored`)
}
