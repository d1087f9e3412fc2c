import type { Tensor } from '../model/tensor.ts'
import { roomBehind, TensorList } from './encoded-body.ts'
import type { EncodedBody } from './encoded-body.ts'
import { tensorsToJson } from './infer-response.ts'
import { jsonTensor } from './large-answer.ts'
import type { Steps } from './steps.ts'
import { tensorHead } from './tensor-to-json.ts'

export interface RequestToEncode {
  id?: string | null
  inputs: Record<string, Tensor>
  /** All where it is left out. */
  outputs?: readonly string[] | null
}

/**
 * The JSON body of an infer request, for Millrace's own callers (golden rows, `millrace predict`).
 * @throws ProtocolError 400 if an input is FP16
 */
export function encodeInferRequest(request: RequestToEncode): string {
  return `{${idJson(request.id)}"inputs":[${tensorsToJson(request.inputs)}]${outputsJson(request)}}`
}

/** The same in steps of about a millisecond. @throws ProtocolError 400 if an input is FP16 */
export function* largeInferRequest(request: RequestToEncode): Steps<Buffer> {
  const json = [Buffer.from(`{${idJson(request.id)}"inputs":[`)]
  let comma = ''
  for (const name in request.inputs) {
    const tensor = request.inputs[name]!
    yield* jsonTensor(comma + tensorHead(name, tensor), name, tensor, json)
    comma = ','
  }
  json.push(Buffer.from(`]${outputsJson(request)}}`))
  return Buffer.concat(json)
}

function outputsJson({ outputs }: RequestToEncode): string {
  return outputs ? `,"outputs":${JSON.stringify(outputs.map((name) => ({ name })))}` : ''
}

export interface RequestForm {
  /** `all`: every input goes as bytes; `needed`: only those that JSON can't carry (FP16, NaN, infinite values). */
  binaryInputs: 'all' | 'needed'
  /** Outputs that are wanted as bytes; single ones must be among `outputs`. */
  binaryOutputs?: 'all' | ReadonlySet<string>
  /** Of the request: `timeout`, `priority`, whatever the model server knows. */
  parameters?: Readonly<Record<string, unknown>>
}

/** The same as JSON and bytes, for what speaks another protocol with its client. */
export function encodeInferRequestBody(request: RequestToEncode, form: RequestForm): EncodedBody {
  const list = new TensorList()
  for (const name in request.inputs) {
    const tensor = request.inputs[name]!
    if (form.binaryInputs === 'all' || !isJson(tensor)) list.addBinary(name, tensor)
    else list.addJson(name, tensor)
  }
  return list.body(requestJson(request, list.json, form))
}

/** One input as its bytes came: any type of the protocol, BF16 too. */
export interface InputBytes {
  name: string
  datatype: string
  shape: readonly number[]
  bytes: Uint8Array
}

/** The same from inputs whose bytes are at hand: they are copied once, and not looked at. */
export function encodeRequestOfBytes(
  request: Omit<RequestToEncode, 'inputs'> & { inputs: readonly InputBytes[] },
  form: Omit<RequestForm, 'binaryInputs'>,
): EncodedBody {
  let size = 0
  const inputs = request.inputs.map(({ name, datatype, shape, bytes }) => {
    size += bytes.length
    return JSON.stringify({ name, datatype, shape, parameters: { binary_data_size: bytes.length } })
  })
  const { body, jsonBytes } = roomBehind(requestJson(request, inputs.join(','), form), size)
  let at = jsonBytes
  for (const { bytes } of request.inputs) {
    body.set(bytes, at)
    at += bytes.length
  }
  return { body, jsonBytes }
}

function requestJson(
  { id, outputs }: Omit<RequestToEncode, 'inputs'>,
  inputs: string,
  { binaryOutputs, parameters }: Omit<RequestForm, 'binaryInputs'>,
): string {
  const all = binaryOutputs === 'all' ? { ...parameters, binary_data_output: true } : parameters
  const wanted = outputs?.map((name) =>
    binaryOutputs instanceof Set && binaryOutputs.has(name) ? { name, parameters: { binary_data: true } } : { name },
  )
  const rest = `${wanted ? `,"outputs":${JSON.stringify(wanted)}` : ''}${all ? `,"parameters":${JSON.stringify(all)}` : ''}`
  return `{${idJson(id)}"inputs":[${inputs}]${rest}}`
}

const idJson = (id: string | null | undefined): string =>
  id === undefined || id === null ? '' : `"id":${JSON.stringify(id)},`

function isJson({ datatype, data }: Tensor): boolean {
  if (datatype === 'FP16') return false
  return !(data instanceof Float32Array || data instanceof Float64Array) || data.every(Number.isFinite)
}
