import type { Signature, TensorSpec } from '../model/signature.ts'
import { elementCount, MAX_RANK } from '../model/tensor.ts'
import type { Tensor } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, isObject, parseJson, parseKeepingDigits } from './json.ts'
import type { Json, Refusal } from './json.ts'
import { readRawTensor } from './raw-tensor.ts'
import { readParameters, refuseSharedMemory } from './request-parameters.ts'
import { allBinary, listNames, readRequestedOutputs } from './requested-outputs.ts'
import { isDatatype, readTensorBytes } from './tensor-bytes.ts'
import { INEXACT_INTEGER, valuesFromJson } from './tensor-from-json.ts'

export interface InferRequest {
  /** Echoed in the answer. */
  id: string | null
  /** One tensor per input of the model, in exactly its type. Binary ones may be views of the body. */
  inputs: Record<string, Tensor>
  /** Size of axis 0, equal in all inputs that have a dynamic one; 1 for a model without a batch axis. */
  rows: number
  /** Names asked for, in order; null for all. */
  outputs: string[] | null
  /** Outputs that are wanted as bytes. */
  binaryOutputs: ReadonlySet<string>
  /** How long the client waits, in microseconds; null without a limit. */
  timeoutMicros: number | null
  /** 1 is the highest, 0 the server's usual; null where it does not say. */
  priority: number | null
  parameters: Record<string, unknown>
}

export interface BodyForm {
  /** As in EncodedBody: null where the body is all JSON, 0 for a raw request. */
  jsonBytes?: number | null
  /** Of binary tensors, where the body is an object. */
  bytes?: Uint8Array
}

const ALL_JSON: BodyForm = {}
const NO_BYTES = new Uint8Array(0)

/**
 * Reads an infer request of the Open Inference Protocol v2: JSON, JSON and binary tensors, or one raw tensor.
 *
 * Unknown keys and null optionals are tolerated; `data` may be flat or nested; 64-bit integers are exact.
 * FP32 may be sent to an FP64 input: in JSON both are the same digits. Bytes must be of exactly the model's type.
 * @param body - the bytes as they came, or what JSON.parse made of them (then integers beyond 2^53 as bigint), or
 *   parseLargeRequest
 * @throws ProtocolError 400 naming the field
 * @see open-inference-protocol, inference_rest.md, "Inference Request JSON Object"; Triton, extension_binary_data.md
 */
export function parseInferRequest(
  body: Uint8Array | object,
  signature: Signature,
  { jsonBytes = null, bytes = NO_BYTES }: BodyForm = ALL_JSON,
): InferRequest {
  if (!(body instanceof Uint8Array)) return readRequest(body, signature, true, bytes)
  if (jsonBytes === 0) return readRawRequest(body, signature)
  if (jsonBytes === null) return readJson(body, signature, NO_BYTES)
  if (!(jsonBytes > 0 && jsonBytes <= body.length))
    throw new ProtocolError(400, `The JSON has ${jsonBytes} bytes by its header, but the body has ${body.length}`)
  return readJson(body.subarray(0, jsonBytes), signature, body.subarray(jsonBytes))
}

/** @param bytes - of the binary tensors */
function readJson(json: Uint8Array, signature: Signature, bytes: Uint8Array): InferRequest {
  const text = decodeUtf8(json, INVALID)
  try {
    return readRequest(parseJson(text, INVALID), signature, false, bytes)
  } catch (thrown) {
    if (thrown !== INEXACT_INTEGER) throw thrown
    return readRequest(parseKeepingDigits(text, INVALID), signature, true, bytes)
  }
}

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(400, `The request is ${why}`, cause)

function readRequest(json: unknown, signature: Signature, exact: boolean, bytes: Uint8Array): InferRequest {
  if (!isObject(json)) throw new ProtocolError(400, 'The request must be a JSON object')
  const id = json.id ?? null
  if (id !== null && typeof id !== 'string') throw new ProtocolError(400, `'id' must be a string`)
  const { all: parameters, timeoutMicros, priority, binaryOutput } = readParameters(json.parameters)
  const { names: outputs, binary: binaryOutputs } = readRequestedOutputs(json.outputs, binaryOutput, signature)
  const inputs = readInputs(json.inputs, signature, exact, bytes)
  const rows = commonRows(inputs, signature)
  return { id, inputs, rows, outputs, binaryOutputs, timeoutMicros, priority, parameters }
}

/** Bytes of one tensor and nothing else. All outputs are wanted as bytes: there is no place to say otherwise. */
function readRawRequest(body: Uint8Array, signature: Signature): InferRequest {
  const spec = signature.inputs[0]!
  if (signature.inputs.length !== 1) {
    throw new ProtocolError(
      400,
      `A raw request (Inference-Header-Content-Length: 0) is for models with one input; this one takes ${listNames(signature.inputs)}`,
    )
  }
  const inputs = { [spec.name]: readRawTensor(spec, body, refusalOf(spec)) }
  const { names: outputs, binary: binaryOutputs } = allBinary(signature)
  const rows = commonRows(inputs, signature)
  return { id: null, inputs, rows, outputs, binaryOutputs, timeoutMicros: null, priority: null, parameters: {} }
}

function readInputs(json: unknown, signature: Signature, exact: boolean, bytes: Uint8Array): Record<string, Tensor> {
  if (!Array.isArray(json) || json.length === 0)
    throw new ProtocolError(400, `'inputs' must be an array with the model's inputs: ${listNames(signature.inputs)}`)
  const inputs: Record<string, Tensor> = {}
  let at = 0
  for (const input of json) {
    const spec = inputSpec(input, signature, inputs)
    const size = binarySize(input, spec)
    inputs[spec.name] =
      size === null ? readTensor(input, spec, exact) : readBinaryTensor(input, spec, bytes, at, at + size)
    at += size ?? 0
  }
  if (at < bytes.length) throw leftOver(bytes.length - at)
  const missing = signature.inputs.find(({ name }) => !Object.hasOwn(inputs, name))
  if (missing)
    throw new ProtocolError(400, `Input '${missing.name}' is missing: the model takes ${listNames(signature.inputs)}`)
  return inputs
}

function leftOver(bytes: number): ProtocolError {
  return new ProtocolError(
    400,
    `${bytes} bytes follow the JSON that no input's 'binary_data_size' names (Inference-Header-Content-Length is the length of the JSON)`,
  )
}

function inputSpec(input: unknown, signature: Signature, known: Record<string, Tensor>): TensorSpec {
  if (!isObject(input) || typeof input.name !== 'string')
    throw new ProtocolError(400, `Each of 'inputs' must be an object with a 'name'`)
  const spec = specOf(signature, input.name)
  if (spec === undefined)
    throw new ProtocolError(400, `Unknown input '${input.name}': the model takes ${listNames(signature.inputs)}`)
  if (Object.hasOwn(known, spec.name)) throw new ProtocolError(400, `Input '${spec.name}' is given twice`)
  return spec
}

const byName = new WeakMap<Signature, Map<string, TensorSpec>>()

function specOf(signature: Signature, name: string): TensorSpec | undefined {
  let specs = byName.get(signature)
  if (!specs) byName.set(signature, (specs = new Map(signature.inputs.map((spec) => [spec.name, spec]))))
  return specs.get(name)
}

function readTensor(json: Json, spec: TensorSpec, exact: boolean): Tensor {
  checkDatatype(json.datatype, spec)
  const shape = readShape(json.shape, spec)
  const count = countOf(shape, spec)
  if (json.data === undefined || json.data === null)
    throw new ProtocolError(400, `Input '${spec.name}': 'data' is missing`)
  return {
    datatype: spec.datatype,
    shape,
    data: valuesFromJson(spec.name, spec.datatype, shape, count, json.data, exact),
  }
}

function countOf(shape: number[], spec: TensorSpec): number {
  const count = elementCount(shape)
  if (!Number.isSafeInteger(count))
    throw new ProtocolError(400, `Input '${spec.name}': shape [${shape.join(', ')}] has too many elements`)
  // Rows without values would cost no bytes, and be unlimited.
  if (count === 0 && shape[0]! > 0)
    throw new ProtocolError(400, `Input '${spec.name}': shape [${shape.join(', ')}] has rows without values`)
  return count
}

/** @returns null for an input in JSON; 0 is legal for one without values */
function binarySize(json: Json, spec: TensorSpec): number | null {
  const { parameters } = json
  if (parameters === undefined || parameters === null) return null
  const what = `Input '${spec.name}'`
  if (!isObject(parameters)) throw new ProtocolError(400, `${what}: 'parameters' must be an object`)
  refuseSharedMemory(parameters, what)
  const size = parameters.binary_data_size
  if (size === undefined || size === null) return null
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw new ProtocolError(400, `${what}: 'binary_data_size' must be a whole number of at least 0`)
  if (json.data !== undefined && json.data !== null)
    throw new ProtocolError(400, `${what} has both 'data' and 'binary_data_size': send one of them`)
  return size
}

function readBinaryTensor(json: Json, spec: TensorSpec, bytes: Uint8Array, from: number, to: number): Tensor {
  if (json.datatype !== spec.datatype) throw otherDatatype(json.datatype, spec)
  const shape = readShape(json.shape, spec)
  countOf(shape, spec)
  if (to > bytes.length) {
    throw new ProtocolError(
      400,
      `Input '${spec.name}': 'binary_data_size' is ${to - from}, but ${bytes.length - from} bytes are left behind the JSON (its length belongs into the header Inference-Header-Content-Length)`,
    )
  }
  return readTensorBytes(spec.datatype, shape, bytes.subarray(from, to), refusalOf(spec))
}

const refusalOf =
  ({ name }: TensorSpec): Refusal =>
  (why) =>
    new ProtocolError(400, `Input '${name}': ${why}`)

function checkDatatype(datatype: unknown, spec: TensorSpec): void {
  if (datatype === spec.datatype && datatype !== 'FP16') return
  if (datatype === 'FP16' || datatype === 'BF16' || spec.datatype === 'FP16') {
    throw new ProtocolError(
      400,
      `Input '${spec.name}': ${spec.datatype === 'FP16' ? 'FP16' : String(datatype)} can't be sent as JSON${spec.datatype === 'FP16' ? ', only as bytes (binary_data_size)' : ''}`,
    )
  }
  if (datatype !== 'FP32' || spec.datatype !== 'FP64') throw otherDatatype(datatype, spec)
}

function otherDatatype(datatype: unknown, spec: TensorSpec): ProtocolError {
  if (!isDatatype(datatype) && datatype !== 'BF16') {
    return new ProtocolError(
      400,
      `Input '${spec.name}': 'datatype' must be one of the protocol's, here ${spec.datatype}`,
    )
  }
  return new ProtocolError(400, `Input '${spec.name}': datatype is ${datatype}, but the model takes ${spec.datatype}`)
}

function readShape(json: unknown, spec: TensorSpec): number[] {
  if (!Array.isArray(json)) throw new ProtocolError(400, `Input '${spec.name}': 'shape' must be an array`)
  if (json.length !== spec.shape.length) {
    const given = json.length > MAX_RANK ? `${json.length} axes` : `shape [${json.join(', ')}]`
    throw new ProtocolError(400, `Input '${spec.name}': ${given}, but the model takes [${spec.shape.join(', ')}]`)
  }
  for (let axis = 0; axis < json.length; axis += 1) {
    const size: unknown = json[axis]
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
      throw new ProtocolError(
        400,
        `Input '${spec.name}': 'shape' must hold integers of at least 0, axis ${axis} is ${JSON.stringify(size) ?? 'missing'}`,
      )
    }
    if (spec.shape[axis] !== -1 && spec.shape[axis] !== size) {
      throw new ProtocolError(
        400,
        `Input '${spec.name}': shape [${json.join(', ')}], but the model takes [${spec.shape.join(', ')}]`,
      )
    }
  }
  return json as number[]
}

function commonRows(inputs: Record<string, Tensor>, signature: Signature): number {
  let rows = -1
  for (const { name, shape } of signature.inputs) {
    if (shape.length === 0) continue
    const size = inputs[name]!.shape[0]!
    if (rows === -1) rows = size
    else if (shape[0] === -1 && size !== rows)
      throw new ProtocolError(400, `Input '${name}' has ${size} rows, others have ${rows}`)
  }
  return rows === -1 ? 1 : rows
}
