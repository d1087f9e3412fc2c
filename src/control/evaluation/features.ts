import type { Signature, TensorSpec } from '../../kernel/model/signature.ts'
import { LabelError, SourceColumnError } from './errors.ts'

/**
 * The signature with every input's columns named. Where neither the configuration nor the ONNX file names the columns
 * of a single `[N, K]` input, they are the holdout's own, in order, without the label (and without the cluster column
 * where that makes the count right).
 * @throws SourceColumnError if the counts differ, or an input is no table at all
 */
export function nameColumns(
  signature: Signature,
  holdout: { columns: readonly string[]; label: string; cluster: string | null },
  who: string,
): Signature {
  const unnamed = signature.inputs.find(({ columns }) => columns === null)
  if (unnamed === undefined) return signature
  if (signature.inputs.length > 1 || unnamed.shape.length !== 2) throw noTable(unnamed, who)
  const width = unnamed.shape[1]!
  const withCluster = holdout.columns.filter((name) => name !== holdout.label)
  const without = withCluster.filter((name) => name !== holdout.cluster)
  const columns = width === -1 ? without : [without, withCluster].find((names) => names.length === width)
  if (columns === undefined || columns.length === 0) throw wrongCount(unnamed, without, who)
  return { ...signature, inputs: [{ ...unnamed, columns }] }
}

function wrongCount({ name, shape }: TensorSpec, columns: string[], who: string): SourceColumnError {
  return new SourceColumnError({
    message: `Input '${name}' of ${who} takes ${shape[1]} columns without naming them; besides the label the holdout has ${columns.length}: ${columns.join(', ')}.`,
    fix: `List the model's columns in order as 'features', or write the ONNX metadata property 'millrace.features'.`,
  })
}

function noTable({ name, shape }: TensorSpec, who: string): SourceColumnError {
  return new SourceColumnError({
    message: `Input '${name}' [${shape.join(', ')}] of ${who} can't be filled from the columns of a table.`,
    fix: 'Export a model with one input per column, or a single input [N, K].',
  })
}

/**
 * A model that is fed what it is to predict is perfect on every holdout, and of no use to anybody.
 * @throws LabelError
 */
export function refuseLabelAsInput(signature: Signature, label: string): void {
  const input = signature.inputs.find(({ columns }) => columns?.includes(label))
  if (input === undefined) return
  const where = input.name === label ? '' : ` (in '${input.name}')`
  throw new LabelError({
    message: `The model takes the label '${label}' as an input${where}: it would be judged by rows that tell it the answer, which callers don't have.`,
    fix: `Leave '${label}' out of the features in training.`,
  })
}

/** All columns that feed the model, each once. */
export function featuresOf(signature: Signature): string[] {
  return [...new Set(signature.inputs.flatMap(({ columns }) => columns ?? []))]
}
