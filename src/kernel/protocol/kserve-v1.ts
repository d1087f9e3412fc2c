import type { Signature } from '../model/signature.ts'
import type { EncodedBody } from './encoded-body.ts'
import { ProtocolError } from './errors.ts'
import { canonicalRequest, parseTableJson, predictionsBody } from './predictions.ts'
import { inputsFromColumns, inputsFromRows } from './table-inputs.ts'

/**
 * KServe's protocol v1, in terms of v2: a list of rows, `instances`, or columns by name, `inputs`. Errors have the
 * body of v2's.
 * @see kserve, "V1 Inference Protocol"
 */

export const V1_ALIVE = '{"status":"alive"}'

export function v1Models(names: readonly string[]): string {
  return JSON.stringify({ models: names })
}

export function v1ModelReady(name: string): string {
  return JSON.stringify({ name, ready: true })
}

/**
 * The body of `POST /v1/models/M:predict` as a v2 request.
 *
 * `instances`: one item per row: a list nested as the input is, a single value for `[N]` and `[N, 1]`, or an object
 * with values by the names of inputs or columns. `inputs`: the same by columns: an object of lists, or the whole tensor
 * of a model with one input. Other keys are overlooked.
 * @throws ProtocolError 400
 */
export function v1ToInfer(body: Uint8Array, signature: Signature): EncodedBody {
  const { instances, inputs } = parseTableJson(body, signature)
  if ((instances === undefined) === (inputs === undefined))
    throw new ProtocolError(400, `The request must have either 'instances' or 'inputs'`)
  if (inputs !== undefined) return canonicalRequest(inputsFromColumns(inputs, signature), signature)
  if (!Array.isArray(instances)) throw new ProtocolError(400, `'instances' must be a list of rows`)
  return canonicalRequest(inputsFromRows(instances, signature), signature)
}

/** A v2 answer as `{"predictions": …}`. @throws ProtocolError 500 */
export function v1FromAnswer(answer: EncodedBody): Buffer {
  return predictionsBody(answer)
}
