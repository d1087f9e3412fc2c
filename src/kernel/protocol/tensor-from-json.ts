import type { Datatype } from '../model/signature.ts'
import { allocate, FLOAT32_LIMIT, INTEGER_BOUNDS, MAX_RANK } from '../model/tensor.ts'
import type { TensorData } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'

/** Thrown where JSON.parse has rounded an integer: the caller parses again, keeping the digits. */
export const INEXACT_INTEGER = Symbol('inexact integer')

/**
 * The values of one tensor, flat or nested as `shape` says, checked and stored in the model's type.
 * @param exact - true when integers beyond 2^53 arrive as bigint already
 * @throws ProtocolError 400 naming the input; INEXACT_INTEGER
 */
export function valuesFromJson(
  input: string,
  datatype: Datatype,
  shape: readonly number[],
  count: number,
  json: unknown,
  exact: boolean,
): TensorData {
  if (!Array.isArray(json)) return storedBefore(input, count, json)
  const flat = Array.isArray(json[0]) ? flatten(input, shape, count, json) : json
  if (flat.length !== count) {
    throw new ProtocolError(
      400,
      `Input '${input}': shape [${shape.join(', ')}] takes ${count} values, but 'data' has ${flat.length}`,
    )
  }
  const data = allocate(datatype, count)
  storeValues(input, datatype, flat, data, exact)
  return data
}

/** In place of a list: values of a large request, which were checked and stored while it was read. */
export class StoredValues {
  readonly data: TensorData

  constructor(data: TensorData) {
    this.data = data
  }
}

function storedBefore(input: string, count: number, json: unknown): TensorData {
  if (json instanceof StoredValues && json.data.length === count) return json.data
  throw new ProtocolError(400, `Input '${input}': 'data' must be an array`)
}

/**
 * Checks values and stores them from `data[0]` on.
 * @param before - how many of the tensor's values lie before these
 * @throws ProtocolError 400 naming the input and the value; INEXACT_INTEGER
 */
export function storeValues(
  input: string,
  datatype: Datatype,
  values: readonly unknown[],
  data: TensorData,
  exact: boolean,
  before = 0,
): void {
  const bad = FILLERS[datatype](values, data, exact)
  if (bad < 0) return
  throw new ProtocolError(
    400,
    `Input '${input}': value ${before + bad} is ${shown(values[bad])}, which is not ${EXPECTED[datatype]}`,
  )
}

/**
 * The values of nested lists in order. Iterative, so that no request can exhaust the stack; nesting must follow the
 * shape exactly.
 * @throws ProtocolError 400 naming the input
 */
export function flatten(input: string, shape: readonly number[], count: number, json: unknown[]): unknown[] {
  let level = json
  for (let axis = 0; axis < shape.length; axis += 1) {
    const size = shape[axis]!
    const wanted = axis === 0 ? size : level.length
    if (axis === 0 && level.length !== wanted) throw mismatch(input, shape, `axis 0 has ${level.length} items`)
    if (axis + 1 === shape.length) break
    const next: unknown[] = []
    for (const item of level) {
      if (!Array.isArray(item) || item.length !== shape[axis + 1]) {
        throw mismatch(
          input,
          shape,
          Array.isArray(item) ? `axis ${axis + 1} has ${item.length} items` : 'it is nested unevenly',
        )
      }
      if (next.length + item.length > count) throw mismatch(input, shape, 'there are more values')
      for (const value of item) next.push(value)
    }
    level = next
  }
  if (level.some(Array.isArray))
    throw mismatch(input, shape, `it is nested deeper than ${shape.length} (at most ${MAX_RANK} axes)`)
  return level
}

function mismatch(input: string, shape: readonly number[], why: string): ProtocolError {
  return new ProtocolError(400, `Input '${input}' does not have the shape [${shape.join(', ')}]: ${why}`)
}

/** Stores the values; gives the index of the first that can't be stored, −1 if all could. */
type Filler = (values: readonly unknown[], data: TensorData, exact: boolean) => number

const FILLERS: Record<Datatype, Filler> = {
  FP32: floatFiller(FLOAT32_LIMIT),
  FP64: floatFiller(Infinity),
  FP16: () => 0,
  INT8: integerFiller('INT8'),
  INT16: integerFiller('INT16'),
  INT32: integerFiller('INT32'),
  UINT8: integerFiller('UINT8'),
  UINT16: integerFiller('UINT16'),
  UINT32: integerFiller('UINT32'),
  INT64: bigIntegerFiller('INT64'),
  UINT64: bigIntegerFiller('UINT64'),
  BOOL: (values, data) => {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i]
      if (value !== true && value !== false && value !== 0 && value !== 1) return i
      ;(data as Uint8Array)[i] = value ? 1 : 0
    }
    return -1
  },
  BYTES: (values, data) => {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i]
      // The runtime ends a string at its first NUL, and knows only well-formed UTF-8.
      if (typeof value !== 'string' || value.includes('\0') || !value.isWellFormed()) return i
      ;(data as string[])[i] = value
    }
    return -1
  },
}

function floatFiller(limit: number): Filler {
  return (values, data) => {
    const out = data as Float64Array
    for (let i = 0; i < values.length; i += 1) {
      const raw = values[i]
      const value = typeof raw === 'bigint' ? Number(raw) : raw
      if (typeof value !== 'number' || value >= limit || value <= -limit) return i
      out[i] = value
    }
    return -1
  }
}

function integerFiller(datatype: Datatype): Filler {
  const [min, max] = INTEGER_BOUNDS[datatype]!.map(Number) as [number, number]
  return (values, data) => {
    const out = data as Int32Array
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i]
      if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) return i
      out[i] = value
    }
    return -1
  }
}

function bigIntegerFiller(datatype: Datatype): Filler {
  const [min, max] = INTEGER_BOUNDS[datatype]!
  return (values, data, exact) => {
    const out = data as BigInt64Array
    for (let i = 0; i < values.length; i += 1) {
      const raw = values[i]
      if (typeof raw !== 'bigint' && !Number.isInteger(raw)) return i
      if (!exact && !Number.isSafeInteger(raw)) throw INEXACT_INTEGER
      const value = BigInt(raw as number | bigint)
      if (value < min || value > max) return i
      out[i] = value
    }
    return -1
  }
}

const EXPECTED: Record<Datatype, string> = {
  FP16: 'possible in JSON for FP16',
  FP32: 'a number that FP32 can hold',
  FP64: 'a number that FP64 can hold',
  INT8: 'an integer from -128 to 127 (INT8)',
  INT16: 'an integer from -32768 to 32767 (INT16)',
  INT32: 'an integer from -2147483648 to 2147483647 (INT32)',
  INT64: 'an integer that INT64 can hold',
  UINT8: 'an integer from 0 to 255 (UINT8)',
  UINT16: 'an integer from 0 to 65535 (UINT16)',
  UINT32: 'an integer from 0 to 4294967295 (UINT32)',
  UINT64: 'an integer that UINT64 can hold',
  BOOL: 'true or false (BOOL)',
  BYTES: 'a string of valid Unicode without NUL (BYTES)',
}

/** A value as an error shows it, cut short. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 40 ? `${JSON.stringify(value.slice(0, 40))}…` : JSON.stringify(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
