import type { Datatype } from '../model/signature.ts'
import { elementCount } from '../model/tensor.ts'
import type { Tensor } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, isObject, parseJson, parseKeepingDigits } from './json.ts'
import { tensorToJson } from './tensor-to-json.ts'

export interface InferResponse {
  modelName: string
  /** The concrete one, whatever was asked for. */
  modelVersion: string
  /** The request's; left out where it had none. */
  id: string | null
  outputs: Record<string, Tensor>
}

/** The JSON body of a 200. @throws ProtocolError 400 if an output is FP16 */
export function encodeInferResponse({ modelName, modelVersion, id, outputs }: InferResponse): string {
  const head = `{"model_name":${JSON.stringify(modelName)},"model_version":${JSON.stringify(modelVersion)}`
  return `${head}${id === null ? '' : `,"id":${JSON.stringify(id)}`},"outputs":[${tensorsToJson(outputs)}]}`
}

/** The JSON body of an infer request, for Millrace's own callers (golden rows, `millrace predict`). */
export function encodeInferRequest(request: {
  id?: string
  inputs: Record<string, Tensor>
  outputs?: string[]
}): string {
  const id = request.id === undefined ? '' : `"id":${JSON.stringify(request.id)},`
  const outputs = request.outputs ? `,"outputs":${JSON.stringify(request.outputs.map((name) => ({ name })))}` : ''
  return `{${id}"inputs":[${tensorsToJson(request.inputs)}]${outputs}}`
}

function tensorsToJson(tensors: Record<string, Tensor>): string {
  let text = ''
  for (const name in tensors) text += (text === '' ? '' : ',') + tensorToJson(name, tensors[name]!)
  return text
}

/** One output as it stands in an answer. Null stands for NaN and infinite values; integers beyond 2^53 are bigint. */
export interface AnsweredTensor {
  datatype: Datatype
  shape: number[]
  data: (number | bigint | string | boolean | null)[]
}

/**
 * Reads the JSON body of a 200, as Millrace's own callers and the lake need it.
 * @throws ProtocolError 500 if it is not one: then the server is at fault
 */
export function parseInferResponse(
  body: Uint8Array,
): Omit<InferResponse, 'outputs'> & { outputs: Record<string, AnsweredTensor> } {
  const json = parseAnswer(body)
  const outputs: Record<string, AnsweredTensor> = {}
  for (const { name, datatype, shape, data } of json.outputs) {
    if (data.length !== elementCount(shape))
      throw new ProtocolError(
        500,
        `Output '${name}' of the answer has ${data.length} values for shape [${shape.join(', ')}]`,
      )
    outputs[name] = { datatype, shape, data }
  }
  return { modelName: json.model_name, modelVersion: json.model_version ?? '', id: json.id ?? null, outputs }
}

interface AnswerJson {
  model_name: string
  model_version?: string | null
  id?: string | null
  outputs: (AnsweredTensor & { name: string })[]
}

function parseAnswer(body: Uint8Array): AnswerJson {
  const text = decodeUtf8(body, INVALID)
  const answer = checkedAnswer(parseJson(text, INVALID))
  return answer.outputs.some(hasLostDigits) ? checkedAnswer(parseKeepingDigits(text, INVALID)) : answer
}

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(500, `The answer is ${why}`, cause)

function checkedAnswer(json: unknown): AnswerJson {
  if (isObject(json) && Array.isArray(json.outputs) && json.outputs.every(isTensor))
    return json as unknown as AnswerJson
  throw new ProtocolError(500, "The answer has no 'outputs' with 'name', 'shape' and 'data'")
}

const isTensor = (json: unknown): boolean =>
  isObject(json) && typeof json.name === 'string' && Array.isArray(json.shape) && Array.isArray(json.data)

const hasLostDigits = ({ datatype, data }: AnsweredTensor): boolean =>
  (datatype === 'INT64' || datatype === 'UINT64') && data.some((value) => !Number.isSafeInteger(value))
