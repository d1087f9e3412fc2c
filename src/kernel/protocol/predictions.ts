import type { Signature } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { encodeInferRequestBody } from './encode-infer-request.ts'
import type { EncodedBody } from './encoded-body.ts'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, isObject, parseJson, parseKeepingDigits } from './json.ts'
import type { Json } from './json.ts'
import { strictJson } from './python-json.ts'
import { parseInferResponse } from './read-answer.ts'
import type { AnsweredTensor } from './read-answer.ts'

/** What KServe v1 and MLflow have in common: a JSON object in, `{"predictions": …}` out. */

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(400, `The request is ${why}`, cause)

const LONG_INTEGER = /(?<![.\d])\d{16}/

/**
 * A request's JSON, also as Python writes it. Integers beyond 2^53 are bigint where the model has inputs that can tell
 * them apart.
 * @throws ProtocolError 400
 */
export function parseTableJson(body: Uint8Array, signature: Signature): Json {
  const text = strictJson(decodeUtf8(body, INVALID))
  const isExact = signature.inputs.some(({ datatype }) => EXACT.has(datatype)) && LONG_INTEGER.test(text)
  const json = isExact ? parseKeepingDigits(text, INVALID) : parseJson(text, INVALID)
  if (!isObject(json)) throw new ProtocolError(400, 'The request must be a JSON object')
  return json
}

const EXACT = new Set(['INT64', 'UINT64', 'BYTES'])

/** As JSON wherever JSON can carry it, so that any v2 server understands; FP16 goes and comes as bytes. */
export function canonicalRequest(inputs: Record<string, Tensor>, signature: Signature): EncodedBody {
  const half = signature.outputs.filter(({ datatype }) => datatype === 'FP16').map(({ name }) => name)
  if (half.length === 0) return encodeInferRequestBody({ inputs }, { binaryInputs: 'needed' })
  const outputs = signature.outputs.map(({ name }) => name)
  return encodeInferRequestBody({ inputs, outputs }, { binaryInputs: 'needed', binaryOutputs: new Set(half) })
}

/**
 * `{"predictions": …}`: of one output its rows, nested as its shape is; of several a list of objects, one a row; where
 * outputs differ in their rows, one object with each of them whole.
 * @throws ProtocolError 500 if the answer is none
 */
export function predictionsBody({ body, jsonBytes }: EncodedBody): Buffer {
  const outputs = Object.entries(parseInferResponse(body, { jsonBytes }).outputs)
  return Buffer.from(`{"predictions":${predictions(outputs)}}`)
}

function predictions(outputs: [string, AnsweredTensor][]): string {
  const [first] = outputs
  if (first === undefined) return '[]'
  const [, { shape }] = first
  if (outputs.length === 1) return shape.length === 0 ? `[${nested(first[1])}]` : nested(first[1])
  const rows = shape[0]
  const isByRow = rows !== undefined && outputs.every(([, tensor]) => tensor.shape[0] === rows)
  if (!isByRow) return `{${outputs.map(([name, tensor]) => `${JSON.stringify(name)}:${nested(tensor)}`).join(',')}}`
  const columns = outputs.map(([name, tensor]) => ({ key: JSON.stringify(name), texts: rowTexts(tensor, rows) }))
  return `[${Array.from({ length: rows }, (_, row) => objectText(columns, row)).join(',')}]`
}

const objectText = (columns: { key: string; texts: string[] }[], row: number): string =>
  `{${columns.map(({ key, texts }) => `${key}:${texts[row]}`).join(',')}}`

function nested(tensor: AnsweredTensor): string {
  const { shape } = tensor
  if (shape.length === 0) return text(tensor.data[0])
  return `[${rowTexts(tensor, shape[0]!).join(',')}]`
}

/** Each row as JSON: axes are closed from the innermost out. */
function rowTexts({ shape, data }: AnsweredTensor, rows: number): string[] {
  let texts = data.map(text)
  for (let axis = shape.length - 1; axis > 0; axis -= 1)
    texts = grouped(texts, shape[axis]!, lengthTo(shape, axis, rows))
  return texts
}

const lengthTo = (shape: readonly number[], axis: number, rows: number): number =>
  shape.slice(1, axis).reduce((product, size) => product * size, rows)

function grouped(texts: readonly string[], size: number, count: number): string[] {
  return Array.from({ length: count }, (_, group) => `[${texts.slice(group * size, (group + 1) * size).join(',')}]`)
}

/** All digits of 64-bit integers. */
function text(value: AnsweredTensor['data'][number] | undefined): string {
  return typeof value === 'bigint' ? String(value) : JSON.stringify(value ?? null)
}
