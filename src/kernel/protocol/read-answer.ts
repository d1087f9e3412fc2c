import { halfToNumber } from '../model/float16.ts'
import type { Datatype } from '../model/signature.ts'
import { elementCount } from '../model/tensor.ts'
import type { Tensor } from '../model/tensor.ts'
import type { EncodedBody } from './encoded-body.ts'
import { ProtocolError } from './errors.ts'
import type { BodyForm } from './infer-request.ts'
import type { InferResponse } from './infer-response.ts'
import { decodeUtf8, isObject, leavesOf, parseJson, parseKeepingDigits } from './json.ts'
import type { Json } from './json.ts'
import { isDatatype, readTensorBytes, tensorBytes } from './tensor-bytes.ts'
import { valuesFromJson } from './tensor-from-json.ts'

/** One output as it stands in an answer. Null stands for NaN and infinite values; integers beyond 2^53 are bigint. */
export interface AnsweredTensor {
  datatype: Datatype
  shape: number[]
  data: (number | bigint | string | boolean | null)[]
}

type Answer<Output> = Omit<InferResponse, 'outputs'> & { outputs: Record<string, Output> }

/**
 * Reads the body of a 200 as plain values, the same ones whether an output came as JSON or as bytes.
 * @throws ProtocolError 500 if it is not one: then the server is at fault
 */
export function parseInferResponse(body: Uint8Array, { jsonBytes = null }: BodyForm = {}): Answer<AnsweredTensor> {
  return readAnswer(body, jsonBytes, ({ name, datatype, shape, data, bytes }) => ({
    datatype,
    shape,
    data: bytes === null ? flat(name, shape, data) : plainValues(readTensorBytes(datatype, shape, bytes, of(name))),
  }))
}

/**
 * Reads the body of a 200 as tensors, for whoever computes with them. A null among JSON's floats becomes NaN.
 * Those that came as bytes may be views of the body.
 * @throws ProtocolError 500
 */
export function parseAnswerTensors(body: Uint8Array, { jsonBytes = null }: BodyForm = {}): Answer<Tensor> {
  return readAnswer(body, jsonBytes, ({ name, datatype, shape, data, bytes }) =>
    bytes === null
      ? tensorOf(name, datatype, shape, flat(name, shape, data))
      : readTensorBytes(datatype, shape, bytes, of(name)),
  )
}

/** An output as bytes, whatever it came as. */
export interface AnsweredBytes {
  datatype: Datatype
  shape: number[]
  /** A view of the body where the output came as bytes; then they are as they came, unread. */
  bytes: Buffer
}

/** Reads the body of a 200 as bytes, for protocols that carry those. @throws ProtocolError 500 */
export function parseAnswerBytes({ body, jsonBytes }: EncodedBody): Answer<AnsweredBytes> {
  return readAnswer(body, jsonBytes, ({ name, datatype, shape, data, bytes }) => ({
    datatype,
    shape,
    bytes:
      bytes === null
        ? tensorBytes(tensorOf(name, datatype, shape, flat(name, shape, data)))
        : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  }))
}

/** An output as the JSON names it: with its data, or with its bytes. */
interface WireOutput {
  name: string
  datatype: Datatype
  shape: number[]
  data: unknown[]
  bytes: Uint8Array | null
}

function readAnswer<Output>(
  body: Uint8Array,
  jsonBytes: number | null,
  read: (output: WireOutput) => Output,
): Answer<Output> {
  const headBytes = jsonBytes ?? body.length
  if (!(headBytes >= 0 && headBytes <= body.length))
    throw new ProtocolError(500, `The answer's JSON has ${headBytes} bytes by its header, but there are ${body.length}`)
  const json = parseAnswer(body.subarray(0, headBytes))
  const outputs: Record<string, Output> = {}
  let at = headBytes
  for (const output of json.outputs as Json[]) {
    const wire = wireOutput(output, body, at)
    at += wire.bytes?.length ?? 0
    outputs[wire.name] = read(wire)
  }
  if (at < body.length)
    throw new ProtocolError(500, `The answer has ${body.length - at} bytes that belong to none of its outputs`)
  return { modelName: textOf(json.model_name), modelVersion: textOf(json.model_version), id: idOf(json.id), outputs }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const idOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)

function parseAnswer(head: Uint8Array): Json {
  const text = decodeUtf8(head, INVALID)
  const answer = checkedAnswer(parseJson(text, INVALID))
  return (answer.outputs as Json[]).some(hasLostDigits) ? checkedAnswer(parseKeepingDigits(text, INVALID)) : answer
}

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(500, `The answer is ${why}`, cause)

function checkedAnswer(json: unknown): Json {
  if (isObject(json) && Array.isArray(json.outputs) && json.outputs.every(isObject)) return json
  throw new ProtocolError(500, "The answer has no 'outputs' with 'name', 'shape' and 'data'")
}

const hasLostDigits = ({ datatype, data }: Json): boolean =>
  (datatype === 'INT64' || datatype === 'UINT64') &&
  Array.isArray(data) &&
  leavesOf(data).some((value) => !Number.isSafeInteger(value))

function wireOutput(json: Json, body: Uint8Array, at: number): WireOutput {
  const { name, datatype, shape, data, parameters } = json
  const size = isObject(parameters) ? (parameters.binary_data_size ?? null) : null
  if (typeof name !== 'string' || !isDatatype(datatype) || !isShape(shape) || (size === null && !Array.isArray(data)))
    throw new ProtocolError(500, "The answer has no 'outputs' with 'name', 'datatype', 'shape' and 'data'")
  if (name === '__proto__') throw new ProtocolError(500, `An output of the answer is named '${name}'`) // no key of an object
  if (size === null) return { name, datatype, shape, data: data as unknown[], bytes: null }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || at + size > body.length)
    throw of(name)(`${body.length - at} bytes are left, 'binary_data_size' is ${JSON.stringify(size)}`)
  return { name, datatype, shape, data: [], bytes: body.subarray(at, at + size) }
}

const isShape = (json: unknown): json is number[] =>
  Array.isArray(json) && json.every((size) => Number.isSafeInteger(size) && size >= 0)

const of =
  (name: string) =>
  (why: string): ProtocolError =>
    new ProtocolError(500, `Output '${name}' of the answer: ${why}`)

/** Other servers may nest their data. */
function flat(name: string, shape: number[], data: unknown[]): AnsweredTensor['data'] {
  const values = leavesOf(data)
  if (values.length !== elementCount(shape))
    throw new ProtocolError(
      500,
      `Output '${name}' of the answer has ${values.length} values for shape [${shape.join(', ')}]`,
    )
  return values as AnsweredTensor['data']
}

function tensorOf(name: string, datatype: Datatype, shape: number[], values: unknown[]): Tensor {
  const isFloat = datatype === 'FP32' || datatype === 'FP64'
  const known = isFloat ? values.map((value) => (value === null ? Number.NaN : value)) : values
  try {
    return { datatype, shape, data: valuesFromJson(name, datatype, shape, known.length, known, true) }
  } catch (cause) {
    throw new ProtocolError(500, `The answer is not of its own types: ${(cause as Error).message}`, cause)
  }
}

/** As JSON would have them. */
function plainValues({ datatype, data }: Tensor): AnsweredTensor['data'] {
  switch (datatype) {
    case 'BYTES':
      return data as string[]
    case 'BOOL':
      return Array.from(data as Uint8Array, (byte) => byte === 1)
    case 'FP16':
      return Array.from(data as Uint16Array, (bits) => finite(halfToNumber(bits)))
    case 'FP32':
    case 'FP64':
      return Array.from(data as Float64Array, finite)
    case 'INT64':
    case 'UINT64':
      return Array.from(data as BigInt64Array, (value) => (isSafe(value) ? Number(value) : value))
    case 'INT8':
    case 'INT16':
    case 'INT32':
    case 'UINT8':
    case 'UINT16':
    case 'UINT32':
      return Array.from(data as Int32Array)
  }
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
const isSafe = (value: bigint): boolean => Number.isSafeInteger(Number(value))
