import type { Datatype, Signature, TensorSpec } from '../model/signature.ts'
import { elementCount, MAX_RANK } from '../model/tensor.ts'
import type { Tensor } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, isObject, parseJson, parseKeepingDigits } from './json.ts'
import type { Json } from './json.ts'
import { INEXACT_INTEGER, valuesFromJson } from './tensor-from-json.ts'

export interface InferRequest {
  /** Echoed in the answer. */
  id: string | null
  /** One tensor per input of the model, in exactly its type. */
  inputs: Record<string, Tensor>
  /** Size of axis 0, equal in all inputs that have a dynamic one; 1 for a model without a batch axis. */
  rows: number
  /** Names asked for, in order; null for all. */
  outputs: string[] | null
  parameters: Record<string, unknown>
}

/**
 * Reads an infer request of the Open Inference Protocol v2 in JSON.
 *
 * Unknown keys and null optionals are tolerated; `data` may be flat or nested; 64-bit integers are exact.
 * FP32 may be sent to an FP64 input: in JSON both are the same digits.
 * @param body - the bytes as they came, or what JSON.parse made of them (then integers beyond 2^53 as bigint)
 * @throws ProtocolError 400 naming the field
 * @see open-inference-protocol, inference_rest.md, "Inference Request JSON Object"
 */
export function parseInferRequest(body: Uint8Array | object, signature: Signature): InferRequest {
  if (!(body instanceof Uint8Array)) return readRequest(body, signature, true)
  const text = decodeUtf8(body, INVALID)
  try {
    return readRequest(parseJson(text, INVALID), signature, false)
  } catch (thrown) {
    if (thrown !== INEXACT_INTEGER) throw thrown
    return readRequest(parseKeepingDigits(text, INVALID), signature, true)
  }
}

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(400, `The request is ${why}`, cause)

function readRequest(json: unknown, signature: Signature, exact: boolean): InferRequest {
  if (!isObject(json)) throw new ProtocolError(400, 'The request must be a JSON object')
  const id = json.id ?? null
  if (id !== null && typeof id !== 'string') throw new ProtocolError(400, `'id' must be a string`)
  const parameters = readParameters(json.parameters)
  const outputs = readOutputs(json.outputs ?? null, signature)
  const inputs = readInputs(json.inputs, signature, exact)
  return { id, inputs, rows: commonRows(inputs, signature), outputs, parameters }
}

const NO_PARAMETERS: Json = Object.freeze({})

function readParameters(json: unknown): Json {
  if (json === undefined || json === null) return NO_PARAMETERS
  if (!isObject(json)) throw new ProtocolError(400, `'parameters' must be an object`)
  const { sequence_id, sequence_start, sequence_end, timeout } = json
  if (sequence_id || sequence_start || sequence_end) {
    throw new ProtocolError(
      400,
      'Sequences are not supported: send requests without sequence_id, sequence_start and sequence_end',
    )
  }
  if (timeout !== undefined && timeout !== null && !(typeof timeout === 'number' && timeout >= 0)) {
    throw new ProtocolError(400, `Parameter 'timeout' must be a number of microseconds`)
  }
  return json
}

function readOutputs(json: unknown, signature: Signature): string[] | null {
  if (json === null) return null
  if (!Array.isArray(json)) throw new ProtocolError(400, `'outputs' must be an array`)
  const names = json.map((output: unknown) => {
    if (!isObject(output) || typeof output.name !== 'string')
      throw new ProtocolError(400, `Each of 'outputs' must be an object with a 'name'`)
    return output.name
  })
  const unknown = names.find((name) => !signature.outputs.some((spec) => spec.name === name))
  if (unknown !== undefined) {
    throw new ProtocolError(400, `Unknown output '${unknown}': the model has ${list(signature.outputs)}`)
  }
  return names.length === 0 ? null : [...new Set(names)]
}

const list = (specs: readonly TensorSpec[]): string => specs.map(({ name }) => `'${name}'`).join(', ')

function readInputs(json: unknown, signature: Signature, exact: boolean): Record<string, Tensor> {
  if (!Array.isArray(json) || json.length === 0)
    throw new ProtocolError(400, `'inputs' must be an array with the model's inputs: ${list(signature.inputs)}`)
  const inputs: Record<string, Tensor> = {}
  for (const input of json) {
    if (!isObject(input) || typeof input.name !== 'string')
      throw new ProtocolError(400, `Each of 'inputs' must be an object with a 'name'`)
    const spec = specOf(signature, input.name)
    if (spec === undefined)
      throw new ProtocolError(400, `Unknown input '${input.name}': the model takes ${list(signature.inputs)}`)
    if (Object.hasOwn(inputs, spec.name)) throw new ProtocolError(400, `Input '${spec.name}' is given twice`)
    inputs[spec.name] = readTensor(input, spec, exact)
  }
  const missing = signature.inputs.find(({ name }) => !Object.hasOwn(inputs, name))
  if (missing)
    throw new ProtocolError(400, `Input '${missing.name}' is missing: the model takes ${list(signature.inputs)}`)
  return inputs
}

const byName = new WeakMap<Signature, Map<string, TensorSpec>>()

function specOf(signature: Signature, name: string): TensorSpec | undefined {
  let specs = byName.get(signature)
  if (!specs) byName.set(signature, (specs = new Map(signature.inputs.map((spec) => [spec.name, spec]))))
  return specs.get(name)
}

function readTensor(json: Json, spec: TensorSpec, exact: boolean): Tensor {
  refuseBinary(json, spec)
  checkDatatype(json.datatype, spec)
  const shape = readShape(json.shape, spec)
  const count = elementCount(shape)
  if (!Number.isSafeInteger(count))
    throw new ProtocolError(400, `Input '${spec.name}': shape [${shape.join(', ')}] has too many elements`)
  // Rows without values would cost no bytes, and be unlimited.
  if (count === 0 && shape[0]! > 0)
    throw new ProtocolError(400, `Input '${spec.name}': shape [${shape.join(', ')}] has rows without values`)
  if (json.data === undefined || json.data === null)
    throw new ProtocolError(400, `Input '${spec.name}': 'data' is missing`)
  return {
    datatype: spec.datatype,
    shape,
    data: valuesFromJson(spec.name, spec.datatype, shape, count, json.data, exact),
  }
}

function refuseBinary(json: Json, spec: TensorSpec): void {
  const { parameters } = json
  if (parameters === undefined || parameters === null) return
  if (!isObject(parameters)) throw new ProtocolError(400, `Input '${spec.name}': 'parameters' must be an object`)
  if (parameters.binary_data_size === undefined || parameters.binary_data_size === null) return
  throw new ProtocolError(
    400,
    `Input '${spec.name}': binary tensors are not supported yet; send 'data' as JSON (tritonclient: set_data_from_numpy(…, binary_data=False))`,
  )
}

const JSON_DATATYPES = new Set<unknown>([
  'BOOL',
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'FP32',
  'FP64',
  'BYTES',
] satisfies Datatype[])

function checkDatatype(datatype: unknown, spec: TensorSpec): void {
  if (datatype === spec.datatype && datatype !== 'FP16') return
  if (datatype === 'FP16' || datatype === 'BF16' || spec.datatype === 'FP16') {
    throw new ProtocolError(
      400,
      `Input '${spec.name}': ${spec.datatype === 'FP16' ? 'FP16' : String(datatype)} can't be sent as JSON`,
    )
  }
  if (!JSON_DATATYPES.has(datatype)) {
    throw new ProtocolError(
      400,
      `Input '${spec.name}': 'datatype' must be one of the protocol's, here ${spec.datatype}`,
    )
  }
  if (datatype === 'FP32' && spec.datatype === 'FP64') return
  throw new ProtocolError(
    400,
    `Input '${spec.name}': datatype is ${String(datatype)}, but the model takes ${spec.datatype}`,
  )
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
