import { halfToNumber } from '../../kernel/model/float16.ts'
import type { ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { ScoreOutputError, ScoreValueError } from './errors.ts'
import { isPositiveLabel } from './labels.ts'

/** What is known of an output once the model has run: declared shapes may be open, these are real. */
type Outputs = Record<string, Tensor>

/** Probabilities in float32 may pass 1 by rounding; so much is held to be 1 (and 0) still. */
const PROBABILITY_SLACK = 1e-6

/**
 * Where the score is: the declared output, else the only one that can be it.
 * For a binary task `[N]` and `[N, 1]` are the probability itself, `[N, 2]` holds it at index 1 (at that of the positive
 * class where its labels are known) and is preferred where its name begins with or contains `prob`. For regression `[N]` and `[N, 1]`. Only floats are guessed.
 *
 * @param declared - `name`, or `name[2]` for an index along the last axis; null to guess
 * @param positiveAt - where an output whose class labels are known has the positive one; null: not known
 * @throws ScoreOutputError naming the candidates
 */
export function findScoreOutput(
  outputs: Outputs,
  task: Task,
  declared: string | null,
  model: string,
  positiveAt: PositiveAt = () => null,
): ScoreOutput {
  return declared === null
    ? guess(outputs, task, model, positiveAt)
    : readDeclared(outputs, task, declared, model, positiveAt)
}

export type PositiveAt = (output: string) => number | null

/** Class labels name the columns of an output. Pure. */
export function positiveColumn(signature: Signature, positive: string | null): PositiveAt {
  return (output) => {
    const labels = signature.outputs.find(({ name }) => name === output)?.columns ?? []
    const found = labels.flatMap((label, index) => (isPositiveLabel(label, positive) ? [index] : []))
    return labels.length > 1 && found.length === 1 ? found[0]! : null
  }
}

function guess(outputs: Outputs, task: Task, model: string, positiveAt: PositiveAt): ScoreOutput {
  const candidates = Object.entries(outputs).flatMap(([output, tensor]) => {
    if (!isFloat(tensor)) return []
    const index = scoreIndex(tensor, task, positiveAt(output))
    return index === undefined ? [] : [{ output, index }]
  })
  const named = task === 'binary' ? candidates.filter(({ output }) => /prob/i.test(output)) : []
  const [first, ...others] = named.length > 0 ? named : candidates
  if (first !== undefined && others.length === 0) return first
  const wanted = task === 'binary' ? 'floats of shape [N], [N, 1] or [N, 2]' : 'floats of shape [N] or [N, 1]'
  if (first === undefined) {
    throw new ScoreOutputError({
      message: `No output of ${model} can be the score of a ${task} task (${wanted}); it has ${list(outputs)}.`,
      fix: `Export the ${task === 'binary' ? 'probabilities' : 'predicted value'}, or name the output as 'scoreOutput'.`,
    })
  }
  throw new ScoreOutputError({
    message: `Several outputs of ${model} could be the score: ${[first, ...others].map(({ output }) => `'${output}'`).join(', ')}.`,
    fix: `Name one as the model's 'scoreOutput'.`,
  })
}

function readDeclared(
  outputs: Outputs,
  task: Task,
  declared: string,
  model: string,
  positiveAt: PositiveAt,
): ScoreOutput {
  const whole = Object.hasOwn(outputs, declared)
  const match = whole ? null : /^(.+)\[(\d+)\]$/.exec(declared)
  const output = match?.[1] ?? declared
  const tensor = Object.hasOwn(outputs, output) ? outputs[output] : undefined
  if (tensor === undefined) {
    throw new ScoreOutputError({
      message: `${model} has no output '${output}'; it has ${list(outputs)}.`,
      fix: `Set the model's 'scoreOutput' to one of them.`,
    })
  }
  if (!isNumeric(tensor)) throw notNumbers(output, tensor, model)
  const index = match === null ? scoreIndex(tensor, task, positiveAt(output)) : Number(match[2])
  if (index === undefined || (index !== null && index >= (tensor.shape.at(-1) ?? 0)) || tensor.shape.length > 2) {
    throw new ScoreOutputError({
      message: `'${declared}' of ${model} does not say where the score is: output '${output}' is ${describe(tensor)}.`,
      fix: `Say which column it is, e.g. scoreOutput: '${output}[1]'.`,
    })
  }
  return { output, index }
}

/** undefined: this shape does not tell. */
function scoreIndex({ shape }: Tensor, task: Task, positive: number | null): number | null | undefined {
  if (shape.length === 1 || (shape.length === 2 && shape[1] === 1)) return null
  if (task !== 'binary' || shape.length !== 2) return undefined
  if (positive !== null && positive < shape[1]!) return positive
  return shape[1] === 2 ? 1 : undefined
}

/**
 * The scores of one run, as numbers.
 * @param firstRow - row of the holdout at which this run began, for messages
 * @throws ScoreValueError naming the row, where a score is NaN, infinite or (binary) outside of [0, 1]
 */
export function readScores(
  outputs: Outputs,
  { output, index }: ScoreOutput,
  run: { task: Task; rows: number; firstRow: number; model: string },
): Float64Array {
  const tensor = outputs[output]
  if (tensor === undefined || !isNumeric(tensor)) throw notNumbers(output, tensor, run.model)
  const width = tensor.shape.length === 2 ? tensor.shape[1]! : 1
  if (tensor.shape[0] !== run.rows || tensor.data.length !== run.rows * width) {
    throw new ScoreOutputError({
      message: `Output '${output}' of ${run.model} is ${describe(tensor)} for ${run.rows} rows: it must have one score a row.`,
      fix: 'Export the model so that axis 0 of its output is the row.',
    })
  }
  const scores = new Float64Array(run.rows)
  for (let row = 0; row < run.rows; row++) {
    scores[row] = checked(numberAt(tensor, row * width + (index ?? 0)), run.firstRow + row, output, run)
  }
  return scores
}

function checked(score: number, row: number, output: string, { task, model }: { task: Task; model: string }): number {
  if (!Number.isFinite(score)) {
    throw new ScoreValueError({
      message: `Output '${output}' of ${model} is ${score} at row ${row} of the holdout.`,
      fix: `Look at that row's values: a missing one that the model can't take, or a value far outside of training.`,
    })
  }
  if (task === 'regression') return score
  if (score < -PROBABILITY_SLACK || score > 1 + PROBABILITY_SLACK) {
    throw new ScoreValueError({
      message: `Output '${output}' of ${model} is ${score} at row ${row} of the holdout, which is no probability.`,
      fix: `Export probabilities (a sigmoid or softmax over raw scores), or name another output as 'scoreOutput'.`,
    })
  }
  return Math.min(Math.max(score, 0), 1)
}

function numberAt({ datatype, data }: Tensor, at: number): number {
  const value = data[at]!
  return datatype === 'FP16' ? halfToNumber(value as number) : Number(value)
}

function isFloat({ datatype }: Tensor): boolean {
  return datatype === 'FP32' || datatype === 'FP64' || datatype === 'FP16'
}

function isNumeric({ datatype }: Tensor): boolean {
  return datatype !== 'BYTES' && datatype !== 'BOOL'
}

function notNumbers(output: string, tensor: Tensor | undefined, model: string): ScoreOutputError {
  return new ScoreOutputError({
    message: `Output '${output}' of ${model} is ${tensor ? describe(tensor) : 'missing'}, which holds no numbers.`,
    fix: `Name an output of numbers as the model's 'scoreOutput'.`,
  })
}

function describe({ datatype, shape }: Tensor): string {
  return `${datatype} [${shape.join(', ')}]`
}

function list(outputs: Outputs): string {
  const all = Object.entries(outputs).map(([name, tensor]) => `'${name}' ${describe(tensor)}`)
  return all.length === 0 ? 'none' : all.join(', ')
}
