import type { Tensor } from '../model/tensor.ts'
import { TensorList } from './encoded-body.ts'
import type { EncodedBody } from './encoded-body.ts'
import { jsonString } from './json.ts'
import { tensorToJson } from './tensor-to-json.ts'

export interface InferResponse {
  modelName: string
  /** The concrete one, whatever was asked for. */
  modelVersion: string
  /** The request's; left out where it had none. */
  id: string | null
  outputs: Record<string, Tensor>
}

const NOTHING: ReadonlySet<string> = new Set()

/**
 * The body of a 200.
 * @param binaryOutputs - those that go as bytes behind the JSON, as the request wants them; the others as JSON, where
 *   NaN and infinite values are null
 * @throws ProtocolError 400 if an output that goes as JSON is FP16
 */
export function encodeInferAnswer(answer: InferResponse, binaryOutputs: ReadonlySet<string> = NOTHING): EncodedBody {
  if (binaryOutputs.size === 0) return { body: Buffer.from(encodeInferResponse(answer)), jsonBytes: null }
  const { outputs } = answer
  const list = new TensorList()
  for (const name in outputs) {
    if (binaryOutputs.has(name)) list.addBinary(name, outputs[name]!)
    else list.addJson(name, outputs[name]!)
  }
  return list.body(answerJson(answer, list.json))
}

/** The JSON body of a 200. @throws ProtocolError 400 if an output is FP16 */
export function encodeInferResponse(answer: InferResponse): string {
  return answerJson(answer, tensorsToJson(answer.outputs))
}

function answerJson(answer: InferResponse, outputs: string): string {
  return `${answerHead(answer)}${outputs}]}`
}

/** The JSON up to its outputs, which `]}` is to follow. */
export function answerHead({ modelName, modelVersion, id }: InferResponse): string {
  const head = `{"model_name":${jsonString(modelName)},"model_version":${jsonString(modelVersion)}`
  return `${head}${id === null ? '' : `,"id":${jsonString(id)}`},"outputs":[`
}

export function tensorsToJson(tensors: Record<string, Tensor>): string {
  let text = ''
  for (const name in tensors) text += (text === '' ? '' : ',') + tensorToJson(name, tensors[name]!)
  return text
}
