import { ModelNotServableError, ModelRunError } from './errors.ts'
import type { OnnxFacts, OnnxValue } from './onnx-file.ts'
import type { RunnableModel } from './runnable-model.ts'
import type { Signature, TensorSpec } from './signature.ts'
import { allocate, elementCount } from './tensor.ts'
import type { Tensor } from './tensor.ts'
import { CLASSES_PROPERTY, parseClasses } from './zip-map.ts'

/** Metadata property of an ONNX file: a JSON array with the names of the columns of its one input, in order. */
export const FEATURES_PROPERTY = 'millrace.features'

/**
 * The contract of a model: its tensors, and which columns of a table feed them.
 * One input per column (`[N]` or `[N, 1]`) is named by itself. A single input `[N, K]` is named by `features`, else by
 * the file's metadata property `millrace.features`, else not at all (`columns: null`).
 * @param features - names in order; ignored where every input is its own column and there are several
 * @throws ModelNotServableError if the names don't fit the width, or an input's number of axes is unknown
 */
export function signatureOf(
  facts: Pick<OnnxFacts, 'inputs' | 'outputs' | 'metadata'>,
  features: readonly string[] | null,
  path: string,
): Signature {
  const names = features ?? namesInFile(facts, path)
  const inputs = facts.inputs.map((input) => inputSpec(input, facts.inputs.length === 1 ? names : null, path))
  const classes = classesInFile(facts, path)
  return { inputs, outputs: facts.outputs.map((output) => outputSpec(output, classes, path)) }
}

function namesInFile(facts: Pick<OnnxFacts, 'metadata'>, path: string): string[] | null {
  const text = facts.metadata[FEATURES_PROPERTY]
  if (text === undefined) return null
  const names = parsed(text)
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names
  throw new ModelNotServableError({
    code: 'MR_MODEL_FEATURES',
    message: `Metadata property '${FEATURES_PROPERTY}' of ${path} is ${JSON.stringify(text.slice(0, 100))}, not a JSON array of names.`,
    fix: `Write it as json.dumps(["age", "income"]).`,
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null // the caller reports the text itself, which says more than the parser
  }
}

function inputSpec(input: OnnxValue, names: readonly string[] | null, path: string): TensorSpec {
  const { name, datatype } = input
  const shape = input.shape ?? shapeFromNames(input, names, path)
  const width = shape.length === 1 ? 1 : shape.length === 2 ? shape[1]! : null
  if (names === null || width === null) return { name, datatype, shape, columns: width === 1 ? [name] : null }
  if (width !== -1 && width !== names.length) throw wrongCount(name, width, names, path)
  refuseDoubles(names, path)
  return { name, datatype, shape, columns: [...names] }
}

function shapeFromNames(input: OnnxValue, names: readonly string[] | null, path: string): number[] {
  if (names) return [-1, names.length]
  throw new ModelNotServableError({
    code: 'MR_MODEL_SHAPE',
    message: `Input '${input.name}' of ${path} does not say how many axes it has.`,
    fix: `Declare its shape when exporting, e.g. FloatTensorType([None, 4]), or list the model's features.`,
  })
}

function wrongCount(input: string, width: number, names: readonly string[], path: string): ModelNotServableError {
  return new ModelNotServableError({
    code: 'MR_MODEL_FEATURES',
    message: `Input '${input}' of ${path} takes ${width} columns, but ${names.length} features are named: ${names.join(', ')}.`,
    fix: `Name exactly the ${width} columns that the model was trained on, in their order.`,
  })
}

function refuseDoubles(names: readonly string[], path: string): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return
  throw new ModelNotServableError({
    code: 'MR_MODEL_FEATURES',
    message: `Feature '${twice}' of ${path} is named twice.`,
    fix: 'Name each column once.',
  })
}

/**
 * Outputs of which the file does not say how many axes they have, as one row of zeros shows them: nobody else can tell
 * `[N]` from `[N, 3]`. Where the model refuses zeros, they stay as they were.
 * @throws whatever keeps the run from telling: anything but a refusal
 */
export async function withLearnedRanks(
  signature: Signature,
  unknown: readonly string[],
  run: RunnableModel['run'],
): Promise<Signature> {
  const answered = await run(zeros(signature)).catch((error: unknown) => {
    if (error instanceof ModelRunError) return null
    throw error
  })
  if (answered === null) return signature
  const outputs = signature.outputs.map((spec) => {
    const shape = answered[spec.name]?.shape
    if (!unknown.includes(spec.name) || spec.columns?.length !== 1 || shape === undefined || shape.length < 2)
      return spec
    const isColumn = shape.length === 2 && shape[1] === 1
    return isColumn ? { ...spec, shape: [-1, 1] } : { ...spec, shape: shape.map(() => -1), columns: null }
  })
  return { ...signature, outputs }
}

/** One row, every dynamic axis of size 1. */
function zeros({ inputs }: Signature): Record<string, Tensor> {
  const tensors = inputs.map(({ name, datatype, shape: open }) => {
    const shape = open.map((size) => (size === -1 ? 1 : size))
    return [name, { datatype, shape, data: allocate(datatype, elementCount(shape)) }] as const
  })
  return Object.fromEntries(tensors)
}

/** Class labels by output, as Millrace (or the trainer) has written them into the file. */
function classesInFile(facts: Pick<OnnxFacts, 'metadata'>, path: string): Record<string, string[]> {
  const text = facts.metadata[CLASSES_PROPERTY]
  if (text === undefined) return {}
  const classes = parseClasses(text)
  if (classes !== null) return classes
  throw new ModelNotServableError({
    code: 'MR_MODEL_FEATURES',
    message: `Metadata property '${CLASSES_PROPERTY}' of ${path} is ${JSON.stringify(text.slice(0, 100))}, not a JSON object with a list of class labels by output.`,
    fix: `Write it as json.dumps({"probabilities": ["no", "yes"]}), or leave it out.`,
  })
}

/** Converters often leave an output's shape out: rows are then all that is known. */
function outputSpec(output: OnnxValue, classes: Record<string, string[]>, path: string): TensorSpec {
  const { name, datatype } = output
  const labels = Object.hasOwn(classes, name) ? classes[name]! : null
  const shape = output.shape ?? (labels === null ? [-1] : [-1, labels.length])
  if (labels !== null) return { name, datatype, shape: labelledShape(name, shape, labels, path), columns: labels }
  const isColumn = shape.length === 1 || (shape.length === 2 && shape[1] === 1)
  return { name, datatype, shape, columns: isColumn ? [name] : null }
}

function labelledShape(name: string, shape: number[], labels: readonly string[], path: string): number[] {
  const width = shape.at(-1)
  if (shape.length === 2 && (width === labels.length || width === -1)) return [shape[0]!, labels.length]
  throw new ModelNotServableError({
    code: 'MR_MODEL_FEATURES',
    message: `Metadata property '${CLASSES_PROPERTY}' of ${path} names ${labels.length} classes for output '${name}', which is [${shape.join(', ')}].`,
    fix: 'Name one class per column of that output.',
  })
}
