import { elementCount, MAX_RANK } from '../../../kernel/model/tensor.ts'
import type { Tensor } from '../../../kernel/model/tensor.ts'
import { messageOf } from '../../../kernel/errors.ts'
import { isDatatype } from '../../../kernel/protocol/inference.ts'
import { valuesFromJson } from '../../../kernel/protocol/tensor-from-json.ts'

/** A module that returns more is at fault, and must not be the end of the gateway. */
const VALUES_MAX = 10_000_000
const OUTPUTS_MAX = 1_024

/**
 * What a user's module returned as `outputs`, as tensors: `{ score: { datatype: 'FP32', shape: [1], data: [0.5] } }`.
 * @returns what is wrong, as text
 */
export function moduleOutputs(returned: unknown): Record<string, Tensor> | string {
  if (typeof returned !== 'object' || returned === null || Array.isArray(returned))
    return 'it must return { outputs: { name: { datatype, shape, data } } }'
  const entries = Object.entries(returned)
  if (entries.length === 0) return 'it returned no outputs'
  if (entries.length > OUTPUTS_MAX) return `it returned ${entries.length} outputs, more than ${OUTPUTS_MAX}`
  const outputs: Record<string, Tensor> = {}
  for (const [name, value] of entries) {
    const tensor = tensorOf(name, value)
    if (typeof tensor === 'string') return `output '${name}': ${tensor}`
    outputs[name] = tensor
  }
  return outputs
}

function tensorOf(name: string, value: unknown): Tensor | string {
  if (name === '__proto__') return 'no output can be named so'
  if (typeof value !== 'object' || value === null) return 'it must be { datatype, shape, data }'
  const { datatype, shape, data } = value as Record<string, unknown>
  if (!isDatatype(datatype) || datatype === 'FP16') return `datatype is ${JSON.stringify(datatype) ?? 'missing'}`
  if (!isShape(shape)) return `shape must be a list of at most ${MAX_RANK} whole numbers`
  if (!Array.isArray(data)) return 'data must be a list'
  const count = elementCount(shape)
  if (count > VALUES_MAX || data.length !== count)
    return `it has ${data.length} values for the shape [${shape.join(', ')}]`
  try {
    return { datatype, shape, data: valuesFromJson(name, datatype, shape, count, data.map(asJson), true) }
  } catch (error) {
    return messageOf(error)
  }
}

/** Typed arrays hold what JSON writes otherwise. */
function asJson(value: unknown): unknown {
  return value === null || (typeof value === 'number' && !Number.isFinite(value)) ? Number.NaN : value
}

function isShape(shape: unknown): shape is number[] {
  return (
    Array.isArray(shape) && shape.length <= MAX_RANK && shape.every((size) => Number.isSafeInteger(size) && size >= 0)
  )
}
