import type { PredictionRecord } from '../contract/prediction.ts'
import { messageOf } from '../errors.ts'
import { halfToNumber } from '../model/float16.ts'
import type { Tensor } from '../model/tensor.ts'
import { leavesOf } from '../protocol/json.ts'
import { readRawTensor } from '../protocol/raw-tensor.ts'
import { isDatatype, readTensorBytes } from '../protocol/tensor-bytes.ts'
import type { SchemaColumns } from './columns.ts'
import { MalformedRecordError } from './errors.ts'

/** A tensor as it went over the wire. Values are those of JSON, but truth from bytes is 1 and 0, and NaN itself. */
export interface WireTensor {
  name: string
  shape: number[]
  /** Flat, row-major. */
  data: ArrayLike<unknown>
  /** What came as bytes; null for JSON. */
  binary: Tensor | null
  /** How many they were. */
  binaryBytes: number
}

/** The inputs: as they were sent, with what tables added to them. @throws MalformedRecordError */
export function requestTensors(record: PredictionRecord, schema: SchemaColumns): WireTensor[] {
  if (record.fed !== undefined && schema.isEnriched)
    return wireTensors('inputs', record.fed, record.fedJsonBytes ?? null, schema.has64BitIntegers)
  if (record.requestJsonBytes === 0) return [rawTensor(record.request, schema)]
  return wireTensors('inputs', record.request, record.requestJsonBytes ?? null, schema.has64BitIntegers)
}

/** What a preparing step made of the inputs; nothing where it was not asked. @throws MalformedRecordError */
export function preparedTensors(record: PredictionRecord, schema: SchemaColumns): WireTensor[] {
  if (record.fed === undefined || schema.prepared.length === 0) return []
  return wireTensors('inputs', record.fed, record.fedJsonBytes ?? null, schema.has64BitIntegers)
}

/** @throws MalformedRecordError */
export function answerTensors(record: PredictionRecord, schema: SchemaColumns): WireTensor[] {
  return wireTensors('outputs', record.response, record.responseJsonBytes ?? null, schema.has64BitIntegers)
}

/** The signature says what the bytes of a raw request are. */
function rawTensor(bytes: Uint8Array, { inputs }: SchemaColumns): WireTensor {
  const spec = inputs[0]
  if (spec === undefined || inputs.length > 1)
    throw new MalformedRecordError(`a raw request for a model with ${inputs.length} inputs`)
  const { tensor: name, datatype, shape } = spec
  return binaryTensor(name, readRawTensor({ name, datatype, shape, columns: null }, bytes, malformed), bytes.length)
}

const malformed = (why: string): MalformedRecordError => new MalformedRecordError(why)

function wireTensors(
  key: 'inputs' | 'outputs',
  body: Uint8Array,
  jsonBytes: number | null,
  exact: boolean,
): WireTensor[] {
  let at = jsonBytes ?? body.length
  if (at > body.length) throw new MalformedRecordError(`${body.length} bytes, of which ${at} are JSON`)
  const parsed = parseJson(body.subarray(0, at), exact) as Record<string, unknown> | null
  const list = parsed?.[key]
  if (!Array.isArray(list)) throw new MalformedRecordError(`no '${key}' in the body`)
  const tensors = list.map((json: WireJson | null) => {
    const tensor = wireTensor(json ?? {}, key, body, at)
    at += tensor.binaryBytes
    return tensor
  })
  if (at < body.length) throw new MalformedRecordError(`${body.length - at} bytes behind '${key}' left over`)
  return tensors
}

interface WireJson {
  name?: unknown
  shape?: unknown
  datatype?: unknown
  data?: unknown
  parameters?: { binary_data_size?: unknown } | null
}

function wireTensor(
  { name, shape, datatype, data, parameters }: WireJson,
  key: string,
  body: Uint8Array,
  at: number,
): WireTensor {
  const size = parameters?.binary_data_size ?? null
  if (typeof name !== 'string' || !Array.isArray(shape) || (size === null && !Array.isArray(data)))
    throw new MalformedRecordError(`a tensor of '${key}' lacks name, shape or data`)
  if (size === null) {
    const list = data as unknown[]
    return { name, shape, data: Array.isArray(list[0]) ? leavesOf(list) : list, binary: null, binaryBytes: 0 }
  }
  if (!isDatatype(datatype) || !shape.every(isSize) || !isSize(size) || at + size > body.length)
    throw new MalformedRecordError(`'${name}' of '${key}' has no ${preview(size)} bytes of a known type and shape`)
  return binaryTensor(name, readTensorBytes(datatype, shape, body.subarray(at, at + size), malformed), size)
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function binaryTensor(name: string, binary: Tensor, binaryBytes: number): WireTensor {
  const { datatype, shape, data } = binary
  const values = datatype === 'FP16' ? Float32Array.from(data as Uint16Array, halfToNumber) : data
  return { name, shape, data: values, binary, binaryBytes }
}

const LONG_INTEGER = /(?<![.\d])\d{16}/
/** Of 64 bits. A refused request may hold numbers of millions of digits, which take minutes to convert. */
const WIDEST_INTEGER = /^-?\d{1,20}$/

/** Integers beyond 2^53 keep every digit where the schema has 64-bit integers. */
function parseJson(body: Uint8Array, exact: boolean): unknown {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  try {
    return exact && LONG_INTEGER.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text)
  } catch (error) {
    throw new MalformedRecordError(`bad JSON: ${messageOf(error)}`)
  }
}

function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source
  if (typeof value !== 'number' || source === undefined || Number.isSafeInteger(value)) return value
  return WIDEST_INTEGER.test(source) ? BigInt(source) : value
}

/** A value as an error shows it, cut short. What is nested is not written out: it may be nested beyond measure. */
export function preview(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? typeof value)
  return text.length <= 40 ? text : `${text.slice(0, 40)}…`
}
