import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { parseCallerRequest } from '../../kernel/features/caller-request.ts'
import type { Signature, TensorSpec } from '../../kernel/model/signature.ts'
import { allocate, elementCount, FLOAT32_LIMIT, INTEGER_BOUNDS } from '../../kernel/model/tensor.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { encodeInferAnswer, isLargeAnswer, largeAnswer, ProtocolError } from '../../kernel/protocol/inference.ts'
import type { EncodedBody, InferRequest } from '../../kernel/protocol/inference.ts'
import type { InferCall } from '../front/data-plane.ts'
import { processTurns } from '../front/in-turns.ts'
import { readInTurns } from './read-request.ts'
import { mainDeployment } from './routing-table.ts'
import type { TableEndpoint } from './routing-table.ts'

export type ConstantAnswer =
  | ({ kind: 'answer' } & EncodedBody)
  /** The request is at fault. */
  | { kind: 'malformed'; why: string }
  /** The constant doesn't fit the model: then there is no fallback. */
  | { kind: 'unfit'; why: string }
  /** Nobody waits for it any more. */
  | { kind: 'given-up' }

type Constant = number | string | boolean

/** More values, or characters of text, than this in one output are refused: it is made while others wait. */
const VALUES_MAX = 1_000_000
const TEXT_MAX = 64_000_000

/** How requests and answers of an endpoint are read while no version answers: as its main version would. */
export function fallbackSignature(entry: TableEndpoint): Signature | null {
  return (mainDeployment(entry) ?? entry.route.deployments.at(-1))?.signature ?? null
}

/**
 * What a v2 server would answer whose model gives always the same: each output of the model that has a constant (and,
 * where the request asks for some, is asked for), one value per row, as JSON or bytes.
 * @param asked - the request as it came
 */
export async function constantAnswer(
  { model }: EndpointRoute,
  signature: Signature,
  constants: Record<string, Constant>,
  asked: Asked,
): Promise<ConstantAnswer> {
  const request = await parse(asked, signature)
  if (typeof request === 'string') return { kind: 'malformed', why: request }
  if (request === null) return GIVEN_UP
  const outputs: Record<string, Tensor> = {}
  for (const spec of signature.outputs) {
    const constant = Object.hasOwn(constants, spec.name) ? constants[spec.name] : undefined
    if (constant === undefined || request.outputs?.includes(spec.name) === false) continue
    const tensor = constantTensor(spec, request.rows, constant)
    if (typeof tensor === 'string') return { kind: 'unfit', why: tensor }
    outputs[spec.name] = tensor
  }
  if (Object.keys(outputs).length === 0)
    return { kind: 'unfit', why: `the model has no output of the names that have a constant` }
  const response = { modelName: model, modelVersion: '', id: request.id, outputs }
  if (!isLargeAnswer(outputs, request.binaryOutputs))
    return { kind: 'answer', ...encodeInferAnswer(response, request.binaryOutputs) }
  const { cancellation } = asked
  const steps = largeAnswer(response, request.binaryOutputs)
  const made = await processTurns.run(steps, () => cancellation.reason === null)
  return made === null ? GIVEN_UP : { kind: 'answer', ...made }
}

type Asked = Pick<InferCall, 'body' | 'jsonBytes' | 'cancellation'>
const GIVEN_UP = { kind: 'given-up' } as const

/** @returns what is wrong, as text; null where it was given up meanwhile */
async function parse(asked: Asked, signature: Signature): Promise<InferRequest | string | null> {
  try {
    const read = await readInTurns(asked, signature)
    return read === null ? null : parseCallerRequest(read.body, signature, read.form).request
  } catch (error) {
    if (error instanceof ProtocolError) return error.message
    throw error
  }
}

/** @returns what is wrong, as text */
function constantTensor(spec: TensorSpec, rows: number, constant: Constant): Tensor | string {
  const { name, datatype } = spec
  const shape = spec.shape.map((size, axis) => (size >= 0 ? size : axis === 0 ? rows : 1))
  const count = elementCount(shape)
  if (count > VALUES_MAX || count * String(constant).length > TEXT_MAX)
    return `output '${name}' would have ${count} values, more than a constant answer may`
  const value = valueOf(datatype, constant)
  if (value === null)
    return `the constant of output '${name}' is ${JSON.stringify(constant)}, which is no value of type ${datatype}`
  const data = allocate(datatype, count)
  ;(data as (typeof value)[]).fill(value)
  return { datatype, shape, data }
}

function valueOf(datatype: Tensor['datatype'], constant: Constant): number | bigint | string | null {
  if (datatype === 'BYTES') return String(constant)
  const number = typeof constant === 'boolean' ? Number(constant) : constant
  if (typeof number === 'string' || datatype === 'FP16') return null // FP16 can't be sent as JSON
  if (datatype === 'BOOL') return number === 0 || number === 1 ? number : null
  if (datatype === 'FP64') return number
  if (datatype === 'FP32') return Math.abs(number) < FLOAT32_LIMIT ? number : null
  const bounds = INTEGER_BOUNDS[datatype]
  if (bounds === undefined || !Number.isSafeInteger(number)) return null
  const integer = BigInt(number)
  if (integer < bounds[0] || integer > bounds[1]) return null
  return datatype === 'INT64' || datatype === 'UINT64' ? integer : number
}
