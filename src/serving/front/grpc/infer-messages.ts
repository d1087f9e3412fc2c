import { encodeRequestOfBytes, parseAnswerBytes, ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { EncodedBody, InputBytes } from '../../../kernel/protocol/inference.ts'
import { contentBytes } from './tensor-contents.ts'
import type { InferParameter, ModelInferRequest, ModelInferResponse } from './messages.ts'

/**
 * An infer request as the data plane takes it. Bytes of raw inputs are copied once and not looked at; typed contents
 * become bytes. Every output is asked for as bytes, since clients read only those.
 * @param limitBytes - of the body
 * @throws ProtocolError 400, 413
 */
export function bodyOfRequest(request: ModelInferRequest, limitBytes: number): EncodedBody {
  const { id, inputs, outputs } = request
  const parameters = plainParameters(request.parameters)
  const isRaw = request.raw_input_contents.length > 0
  const given = isRaw ? rawInputs(request) : inputs.map((input) => typedInput(input, limitBytes))
  refuseTooLarge(given, limitBytes)
  return encodeRequestOfBytes(
    {
      id: id === '' ? null : id,
      inputs: given,
      outputs: outputs.length === 0 ? null : outputs.map(({ name }) => name),
    },
    { binaryOutputs: 'all', parameters },
  )
}

function refuseTooLarge(inputs: readonly InputBytes[], limitBytes: number): void {
  const bytes = inputs.reduce((sum, input) => sum + input.bytes.length, 0)
  if (bytes > limitBytes)
    throw new ProtocolError(413, `The request has ${bytes} bytes, more than the limit of ${limitBytes}`)
}

function rawInputs({ model_name, inputs, raw_input_contents }: ModelInferRequest): InputBytes[] {
  const typed = inputs.find(({ contents }) => contents.length > 0)
  if (typed !== undefined) {
    throw new ProtocolError(
      400,
      `contents field must not be specified when using raw_input_contents for '${typed.name}' for model '${model_name}'`,
    )
  }
  if (inputs.length !== raw_input_contents.length) {
    throw new ProtocolError(
      400,
      `${inputs.length} inputs for model '${model_name}', but ${raw_input_contents.length} raw_input_contents`,
    )
  }
  return inputs.map(({ name, datatype, shape }, i) => ({
    name,
    datatype,
    shape: shape.map(Number),
    bytes: raw_input_contents[i]!,
  }))
}

function typedInput(
  { name, datatype, shape, contents }: ModelInferRequest['inputs'][number],
  limitBytes: number,
): InputBytes {
  return { name, datatype, shape: shape.map(Number), bytes: contentBytes(name, datatype, contents, limitBytes) }
}

/** As the REST protocol has them; integers that JSON can't carry exactly are refused. */
function plainParameters(parameters: Record<string, InferParameter>): Record<string, unknown> {
  const plain: Record<string, unknown> = {}
  for (const name in parameters) plain[name] = plainValue(name, parameters[name]!)
  return plain
}

function plainValue(name: string, parameter: InferParameter): unknown {
  const { bool_param, int64_param, uint64_param, string_param, double_param } = parameter
  const integer = int64_param ?? uint64_param
  if (integer === undefined) return bool_param ?? string_param ?? double_param ?? null
  const value = Number(integer)
  if (Number.isSafeInteger(value)) return value
  throw new ProtocolError(400, `Parameter '${name}' is ${integer}: integers beyond 2^53 can't be kept exactly`)
}

/** @throws ProtocolError 500 where the answer can't be read: then the server is at fault */
export function responseOf(answer: EncodedBody): ModelInferResponse {
  const { modelName, modelVersion, id, outputs } = parseAnswerBytes(answer)
  const named = Object.entries(outputs)
  return {
    model_name: modelName,
    model_version: modelVersion,
    id: id ?? '',
    parameters: {},
    outputs: named.map(([name, { datatype, shape }]) => ({ name, datatype, shape })),
    raw_output_contents: named.map(([, { bytes }]) => bytes),
  }
}
