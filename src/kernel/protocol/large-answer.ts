import type { Tensor } from '../model/tensor.ts'
import { alignedBytes } from './encoded-body.ts'
import type { EncodedBody } from './encoded-body.ts'
import { answerHead } from './infer-response.ts'
import type { InferResponse } from './infer-response.ts'
import type { Steps } from './steps.ts'
import { tensorByteSize, writeTensorBytes } from './tensor-bytes.ts'
import { tensorHead, valuesToJson } from './tensor-to-json.ts'

/** From so many values in JSON on an answer is written in steps: less takes a few milliseconds, and costs least at once. */
export const LARGE_ANSWER_VALUES = 16 * 1024

export function isLargeAnswer(outputs: Record<string, Tensor>, binaryOutputs: ReadonlySet<string>): boolean {
  let values = 0
  for (const name in outputs) if (!binaryOutputs.has(name)) values += outputs[name]!.data.length
  return values >= LARGE_ANSWER_VALUES
}

/** Values that are written at once: about half a millisecond. */
const PART_VALUES = 4 * 1024

/**
 * The body of a 200, as encodeInferAnswer makes it, in steps of about a millisecond.
 * @yields after each step
 * @throws ProtocolError 400 if an output that goes as JSON is FP16
 */
export function* largeAnswer(answer: InferResponse, binaryOutputs: ReadonlySet<string>): Steps<EncodedBody> {
  const { outputs } = answer
  const json: Buffer[] = [Buffer.from(answerHead(answer))]
  const binary: Tensor[] = []
  let comma = ''
  for (const name in outputs) {
    const tensor = outputs[name]!
    const head = comma + tensorHead(name, tensor)
    comma = ','
    if (binaryOutputs.has(name)) {
      binary.push(tensor)
      json.push(Buffer.from(`${head},"parameters":{"binary_data_size":${tensorByteSize(tensor)}}}`))
    } else yield* jsonTensor(head, name, tensor, json)
  }
  json.push(Buffer.from(']}'))
  return bodyOf(json, binary)
}

/**
 * One tensor with its values, as tensorToJson writes it.
 * @param head - as tensorHead makes it
 * @param json - to which it is added
 */
export function* jsonTensor(head: string, name: string, tensor: Tensor, json: Buffer[]): Steps<void> {
  json.push(Buffer.from(`${head},"data":[`))
  yield* values(name, tensor, json)
  json.push(Buffer.from(']}'))
}

function* values(name: string, { datatype, shape, data }: Tensor, json: Buffer[]): Steps<void> {
  for (let from = 0; from < data.length; from += PART_VALUES) {
    const part = Array.isArray(data) ? data.slice(from, from + PART_VALUES) : data.subarray(from, from + PART_VALUES)
    const text = valuesToJson(name, { datatype, shape, data: part })
    json.push(Buffer.from(from === 0 ? text : `,${text}`))
    yield
  }
}

function bodyOf(json: readonly Buffer[], binary: readonly Tensor[]): EncodedBody {
  if (binary.length === 0) return { body: Buffer.concat(json), jsonBytes: null }
  const written = json.reduce((sum, { length }) => sum + length, 0)
  const jsonBytes = alignedBytes(written)
  const size = binary.reduce((sum, tensor) => sum + tensorByteSize(tensor), jsonBytes)
  const body = Buffer.concat(json, size)
  body.fill(0x20, written, jsonBytes)
  let at = jsonBytes
  for (const tensor of binary) at = writeTensorBytes(body, at, tensor)
  return { body, jsonBytes }
}
