import type { Datatype, Signature } from '../model/signature.ts'
import { elementCount, FLOAT32_LIMIT, INTEGER_BOUNDS, MAX_RANK } from '../model/tensor.ts'
import type { EncodedBody } from './encoded-body.ts'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, isObject, parseJson } from './json.ts'
import type { Json, Refusal } from './json.ts'
import { outlineOf } from './json-outline.ts'
import type { ListRange, Outline } from './json-outline.ts'
import { misshapen } from './owed-answer.ts'
import type { OwedAnswer } from './owed-answer.ts'
import type { Steps } from './steps.ts'
import { isDatatype, readTensorBytes } from './tensor-bytes.ts'
import { shown } from './tensor-from-json.ts'

/**
 * Whether the 200 of a server of someone else's is what clients, the log and whoever combines answers can rely on: JSON
 * as a whole, every output that is owed, as many rows as the request has and values as its shape says, each of its type.
 * Types and outputs that differ from what the server has declared are let through: many do, and each says what it is.
 * @yields after every so many bytes, so that others may have a turn
 * @returns what is wrong, naming the output; null: nothing
 */
export function* faultInAnswer(answer: EncodedBody, signature: Signature, owed: OwedAnswer): Steps<string | null> {
  try {
    yield* check(answer, signature, owed)
    return null
  } catch (error) {
    if (error instanceof ProtocolError) return error.message
    throw error
  }
}

const fault = (why: string, cause?: unknown): ProtocolError => new ProtocolError(500, why, cause)
const notJson = (why: string, cause?: unknown): ProtocolError => fault(`the answer is ${why}`, cause)

function* check({ body, jsonBytes }: EncodedBody, signature: Signature, owed: OwedAnswer): Steps<void> {
  const head = body.subarray(0, jsonBytes ?? body.length)
  const outline = yield* outlineOf(head, undefined, 'outputs')
  const json = parseJson(outline.text, notJson)
  if (!isObject(json) || !Array.isArray(json.outputs)) throw fault(`the answer has no list of 'outputs'`)
  const seen = new Set<string>()
  let at = head.length
  for (const output of json.outputs as unknown[]) {
    const told = toldOf(output)
    if (seen.has(told.name)) throw fault(`output '${told.name}' is there twice`)
    seen.add(told.name)
    const spec = signature.outputs.find(({ name }) => name === told.name)
    const why = spec === undefined ? null : misshapen(spec, told.shape, owed.rows)
    if (why !== null) throw fault(why)
    if (told.bytes === null) yield* checkValues(head, told, outline)
    else checkBytes(body.subarray(at, at + told.bytes), told)
    at += told.bytes ?? 0
  }
  if (at < body.length) throw fault(`${body.length - at} bytes of the answer belong to none of its outputs`)
  const missing = owed.outputs.find((name) => !seen.has(name))
  if (missing !== undefined) throw fault(`output '${missing}' is missing`)
}

/** One output as the JSON names it. */
interface Told {
  name: string
  datatype: Datatype
  shape: number[]
  /** Product of `shape`. */
  count: number
  /** How many follow the JSON for it; null: its values are in the JSON. */
  bytes: number | null
  data: unknown
}

function toldOf(output: unknown): Told {
  if (!isObject(output) || typeof output.name !== 'string') throw fault(`one of its outputs has no 'name'`)
  const { name, datatype, shape, data, parameters } = output as Json & { name: string }
  if (name === '__proto__') throw fault(`an output can't be named '${name}'`)
  if (!isDatatype(datatype)) throw fault(`output '${name}' has the datatype ${shown(datatype)}`)
  if (!isShape(shape)) throw fault(`output '${name}' has no 'shape' that is one`)
  const size = isObject(parameters) ? (parameters.binary_data_size ?? null) : null
  if (size !== null && (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0))
    throw fault(`output '${name}' has a 'binary_data_size' of ${shown(size)}`)
  if (size === null && !Array.isArray(data)) throw fault(`output '${name}' has no 'data'`)
  return { name, datatype, shape, count: elementCount(shape), bytes: size, data }
}

const isShape = (shape: unknown): shape is number[] =>
  Array.isArray(shape) && shape.length <= MAX_RANK && shape.every((size) => Number.isSafeInteger(size) && size >= 0)

function checkBytes(bytes: Buffer, { name, datatype, shape, bytes: said }: Told): void {
  if (bytes.length < said!) throw fault(`output '${name}' has ${bytes.length} bytes, and says that it has ${said}`)
  readTensorBytes(datatype, shape, bytes, (why) => fault(`output '${name}': ${why}`))
}

function* checkValues(head: Buffer, told: Told, { lists }: Outline): Steps<void> {
  const { name, datatype, shape, count, data } = told
  const range = lists[(data as number[])[0]!]
  if (range === undefined) throw fault(`output '${name}' has no 'data'`)
  if (count === 0 && NO_VALUES.test(head.toString('latin1', range.from, range.to))) return
  const isFit = FITS[datatype]
  let values = 0
  for (const part of partsOf(head, range, name)) {
    const bad = part.findIndex((value) => !isFit(value))
    if (bad >= 0)
      throw fault(`value ${values + bad} of output '${name}' is ${shown(part[bad])}, which is not ${datatype}`)
    values += part.length
    yield
  }
  if (values !== count)
    throw fault(`output '${name}' has ${values} values, and its shape [${shape.join(', ')}] takes ${count}`)
}

/** Lists of nothing, as deep as they like. */
const NO_VALUES = /^[\s[\],]*$/

/** JSON that is parsed at once: about half a millisecond. */
const PART_BYTES = 64 * 1024
const [QUOTE, BACKSLASH, COMMA, OPEN, CLOSE, SPACE] = [0x22, 0x5c, 0x2c, 0x5b, 0x5d, 0x20] as const

/**
 * The values of a list, or of lists within it, as one flat list after the other:
 *
 *   [[1,2],[3,4]]  ─▶  " 1,2 , 3,4 "  ─▶  [1, 2, 3, 4]
 */
function* partsOf(json: Buffer, { from, to }: ListRange, name: string): Generator<unknown[], void, undefined> {
  const refusal = (why: string, cause?: unknown): ProtocolError => fault(`'data' of output '${name}' is ${why}`, cause)
  const end = to - 1
  let depth = 0
  for (let at = from + 1; at <= end;) {
    const { cut, brackets } = partAt(json, at, end)
    for (const bracket of brackets) {
      depth += json[bracket] === OPEN ? 1 : -1
      if (depth < 0) throw refusal('not valid JSON: it ends early')
    }
    const values = flatList(withoutBrackets(json, at, cut, brackets), refusal)
    if (values.length === 0 && at > from + 1) throw refusal('not valid JSON: a value is missing')
    yield values
    at = cut + 1
  }
  if (depth > 0) throw refusal('not valid JSON: it does not end')
}

/** Up to a comma behind so many bytes, with the brackets in between; what is text is passed over. */
function partAt(json: Buffer, from: number, end: number): { cut: number; brackets: number[] } {
  const brackets: number[] = []
  let isInText = false
  let at = from
  for (; at < end; at += 1) {
    const byte = json[at]!
    if (isInText) {
      if (byte === BACKSLASH) at += 1
      else if (byte === QUOTE) isInText = false
    } else if (byte === QUOTE) isInText = true
    else if (byte === OPEN || byte === CLOSE) brackets.push(at)
    else if (byte === COMMA && at - from >= PART_BYTES) break
  }
  return { cut: Math.min(at, end), brackets }
}

function withoutBrackets(json: Buffer, from: number, cut: number, brackets: readonly number[]): Buffer {
  const part = json.subarray(from, cut)
  if (brackets.length === 0) return part
  const copy = Buffer.from(part)
  for (const bracket of brackets) copy[bracket - from] = SPACE
  return copy
}

const IN_QUOTES = /"(?:[^"\\]|\\.)*"/g
const NO_JSON_NUMBER = /-?(?:NaN|Infinity)/

function flatList(bytes: Buffer, refusal: Refusal): unknown[] {
  const text = decodeUtf8(bytes, refusal)
  try {
    return JSON.parse(`[${text}]`) as unknown[]
  } catch (cause) {
    const [number] = NO_JSON_NUMBER.exec(text.replace(IN_QUOTES, '')) ?? []
    if (number === undefined) throw refusal(`not valid JSON: ${(cause as Error).message}`, cause)
    throw refusal(`not valid JSON: it holds ${number}, which JSON can't carry (null stands for it)`, cause)
  }
}

/** Whether a value of JSON is one of the type. */
const FITS: Record<Datatype, (value: unknown) => boolean> = {
  BOOL: (value) => typeof value === 'boolean' || value === 0 || value === 1,
  BYTES: (value) => typeof value === 'string',
  FP16: (value) => value === null || typeof value === 'number',
  FP32: floatBelow(FLOAT32_LIMIT),
  FP64: floatBelow(Infinity),
  INT8: integerOf('INT8'),
  INT16: integerOf('INT16'),
  INT32: integerOf('INT32'),
  INT64: integerOf('INT64'),
  UINT8: integerOf('UINT8'),
  UINT16: integerOf('UINT16'),
  UINT32: integerOf('UINT32'),
  UINT64: integerOf('UINT64'),
}

/** null stands for NaN. */
function floatBelow(limit: number): (value: unknown) => boolean {
  return (value) => value === null || (typeof value === 'number' && Math.abs(value) < limit)
}

/** Digits beyond 2^53 are not compared: of 64 bits the bounds are met as far as doubles tell. */
function integerOf(datatype: Datatype): (value: unknown) => boolean {
  const [min, max] = INTEGER_BOUNDS[datatype]!.map(Number) as [number, number]
  return (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max
}
