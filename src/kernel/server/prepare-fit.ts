import { fixedRows } from '../model/batch-axis.ts'
import type { Signature, TensorSpec } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { PrepareAnswerError, PrepareFitError } from './errors.ts'

/**
 * What callers send to a preparing step and get from the model behind it: the step's inputs, the model's outputs. Where
 * either takes a fixed number of rows, both do. Pure.
 * @param step - what the step says of itself
 * @throws PrepareFitError where what the step gives is not what the model takes, with every difference
 */
export function preparedSignature(step: Signature, model: Signature): Signature {
  const misfits = [...step.inputs.flatMap(unsendable), ...rowMisfits(step, model), ...tensorMisfits(step, model)]
  if (misfits.length > 0) throw new PrepareFitError(misfits.slice(0, MISFITS_SHOWN), model.inputs.map(text).join(', '))
  const rows = fixedRows(model)
  const inputs = rows === null ? step.inputs : step.inputs.map((spec) => withRows(spec, rows))
  return { inputs, outputs: model.outputs, prepared: { fed: model.inputs } }
}

const MISFITS_SHOWN = 8

function unsendable({ name, datatype }: TensorSpec): string[] {
  return datatype === 'FP16' ? [`its input '${name}' is FP16, and it is asked in JSON, which has none`] : []
}

/** `[-1, 2]` becomes `[1, 2]` before a model that takes one row at a time. */
function withRows(spec: TensorSpec, rows: number): TensorSpec {
  return spec.shape[0] === -1 ? { ...spec, shape: [rows, ...spec.shape.slice(1)] } : spec
}

function rowMisfits(step: Signature, model: Signature): string[] {
  const [asked, taken] = [fixedRows(step), fixedRows(model)]
  if (asked === null || taken === null || asked === taken) return []
  return [`it takes ${asked} rows at a time, and the model ${taken}`]
}

function tensorMisfits({ outputs }: Signature, { inputs }: Signature): string[] {
  const lacking = inputs.flatMap((wanted) => {
    const given = outputs.find(({ name }) => name === wanted.name)
    if (given === undefined) return [`the model takes ${text(wanted)}, which is none of its outputs`]
    if (given.datatype !== wanted.datatype)
      return [`its output '${given.name}' is ${given.datatype}, and the model takes ${wanted.datatype}`]
    if (!isMet(given.shape, wanted.shape))
      return [
        `its output '${given.name}' is [${given.shape.join(', ')}], and the model takes [${wanted.shape.join(', ')}]`,
      ]
    return []
  })
  const left = outputs.filter(({ name }) => !inputs.some((wanted) => wanted.name === name))
  return [...lacking, ...left.map((given) => `its output ${text(given)} is no input of the model`)]
}

const text = ({ name, datatype, shape }: TensorSpec): string => `'${name}' ${datatype}[${shape.join(', ')}]`

/** What is open on one side is settled by each answer. */
const isMet = (given: readonly number[], wanted: readonly number[]): boolean =>
  given.length === wanted.length &&
  given.every((size, axis) => size === wanted[axis] || size === -1 || wanted[axis] === -1)

/**
 * The tensors of one answer as the model takes them, in its order. Pure.
 * @param answered - the step's outputs
 * @param rows - those that it was asked for
 * @throws PrepareAnswerError where they are not what the model takes, or not as many rows
 */
export function fedTensors(
  answered: Readonly<Record<string, Tensor>>,
  { inputs }: Signature,
  rows: number,
): Record<string, Tensor> {
  const extra = Object.keys(answered).find((name) => !inputs.some((spec) => spec.name === name))
  if (extra !== undefined) throw misfit(`it answered '${extra}', which is no input of the model`)
  const fed: Record<string, Tensor> = {}
  for (const spec of inputs) {
    const tensor = Object.hasOwn(answered, spec.name) ? answered[spec.name]! : null
    if (tensor === null) throw misfit(`it did not answer '${spec.name}', which the model takes`)
    refuseUnlike(spec, tensor, rows)
    fed[spec.name] = tensor
  }
  return fed
}

function refuseUnlike({ name, datatype, shape: wanted }: TensorSpec, tensor: Tensor, rows: number): void {
  const { shape } = tensor
  if (tensor.datatype !== datatype) throw misfit(`its '${name}' is ${tensor.datatype}, and the model takes ${datatype}`)
  if (shape.length > 0 && shape[0] !== rows)
    throw misfit(`it answered ${shape[0]} rows of '${name}' where ${rows} were asked`)
  if (!isMet(shape, wanted))
    throw misfit(`its '${name}' is [${shape.join(', ')}], and the model takes [${wanted.join(', ')}]`)
}

const misfit = (why: string): PrepareAnswerError => new PrepareAnswerError(why, true)
