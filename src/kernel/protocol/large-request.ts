import type { Datatype, Signature } from '../model/signature.ts'
import { elementCount, MAX_RANK } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import type { BodyForm } from './infer-request.ts'
import { isObject, parseJson } from './json.ts'
import type { Json } from './json.ts'
import { outlineOf } from './json-outline.ts'
import type { Outline } from './json-outline.ts'
import { valuesOfList } from './list-values.ts'
import { StoredValues } from './tensor-from-json.ts'

/** From so much JSON on it is read in steps: less takes a few milliseconds, and costs least at once. */
export const LARGE_JSON_BYTES = 256 * 1024

export function isLargeJson(body: Uint8Array, jsonBytes: number | null): boolean {
  const bytes = jsonBytes ?? body.length
  return bytes >= LARGE_JSON_BYTES && bytes <= body.length
}

/** For parseInferRequest. */
export interface LargeRequest {
  /** The request's JSON, with StoredValues as the data of its inputs. */
  json: object
  form: BodyForm
}

/**
 * The JSON of a large request, read in steps of about a millisecond, with the values of its tensors stored in the
 * model's types as they are read: plain parsing makes each of them a value of its own first, which takes many times the
 * memory, and holds up everything else meanwhile. Names, shapes and types are left to parseInferRequest.
 * @yields after each step
 * @throws ProtocolError 400 naming the input, 413 where too much is said beside the tensors' data
 */
export function* parseLargeRequest(
  body: Uint8Array,
  signature: Signature,
  { jsonBytes = null }: BodyForm,
): Generator<undefined, LargeRequest, undefined> {
  const all = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const head = all.subarray(0, jsonBytes ?? all.length)
  const outline = yield* outlineOf(head)
  const json = parseJson(outline.text, INVALID)
  if (!isObject(json)) throw new ProtocolError(400, 'The request must be a JSON object')
  if (Array.isArray(json.inputs))
    for (const input of json.inputs)
      if (isObject(input) && Array.isArray(input.data)) input.data = yield* dataOf(input, head, outline, signature)
  return { json, form: { bytes: all.subarray(head.length) } }
}

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(400, `The request is ${why}`, cause)

/** @returns an empty list where the input is refused for something else than its data */
function* dataOf(
  { name, datatype, shape, data }: Json,
  json: Buffer,
  { lists }: Outline,
  signature: Signature,
): Generator<undefined, StoredValues | [], undefined> {
  // Callers may send what the model is fed, or what tables find that by.
  const spec = [...signature.inputs, ...(signature.enriched?.asked ?? [])].find((one) => one.name === name)
  const range = lists[(data as number[])[0]!]
  if (spec === undefined || range === undefined || !isSentAs(datatype, spec.datatype) || !isShape(shape)) return []
  const count = elementCount(shape)
  if (!Number.isSafeInteger(count)) return []
  const { name: input, datatype: wanted } = spec
  return new StoredValues(yield* valuesOfList(json, range, { input, datatype: wanted, shape, count }))
}

/** In JSON, FP32 and FP64 are the same digits; FP16 has none. */
function isSentAs(datatype: unknown, wanted: Datatype): boolean {
  if (wanted === 'FP16') return false
  return datatype === wanted || (datatype === 'FP32' && wanted === 'FP64')
}

function isShape(shape: unknown): shape is number[] {
  return (
    Array.isArray(shape) && shape.length <= MAX_RANK && shape.every((size) => Number.isSafeInteger(size) && size >= 0)
  )
}
