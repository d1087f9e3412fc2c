import { fixedRows } from '../../kernel/model/batch-axis.ts'
import { tableToTensors } from '../../kernel/model/columns.ts'
import { ColumnValueError } from '../../kernel/model/errors.ts'
import type { RunnableModel } from '../../kernel/model/runnable-model.ts'
import type { ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import { sliceRows } from '../../kernel/model/tensor.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { SourceValueError } from './errors.ts'
import { findScoreOutput, positiveColumn, readScores } from './score-output.ts'

/** Rows that one run takes: large enough to cost little per row, small enough to stay in cache. */
export const ROWS_PER_RUN = 1024

/** Rows of the holdout that were run, with all that went in and came out. */
export interface RunBlock {
  /** Row of the holdout that is row 0 here. */
  firstRow: number
  rows: number
  /** Rows that the model takes at a time; null: any number. */
  fixedRows: number | null
  inputs: Record<string, Tensor>
  outputs: Record<string, Tensor>
  scores: Float64Array
}

/** Columns by name, one value per row. */
export type Block = Record<string, unknown[]>

/** One model over the blocks of a holdout; where the score is becomes known with the first run. */
export interface ModelRunner {
  readonly signature: Signature
  /** null before the first block */
  readonly scoreOutput: ScoreOutput | null
  /** @throws SourceValueError, ScoreOutputError, ScoreValueError, ModelRunError */
  run(block: Block, rows: number, firstRow: number): AsyncGenerator<RunBlock>
}

/**
 * @param options.signature - with every column named
 * @param options.who - `the model` or `the champion late-flight@3`, for messages
 */
export function modelRunner(
  model: RunnableModel,
  options: {
    signature: Signature
    task: Task
    /** The label that counts as positive; null or absent: the usual ones. */
    positive?: string | null
    scoreOutput: ScoreOutput | string | null
    who: string
  },
): ModelRunner {
  const { signature, task, who } = options
  const size = fixedRows(signature)
  const positiveAt = positiveColumn(signature, options.positive ?? null)
  const declared = options.scoreOutput
  let scoreOutput = typeof declared === 'object' ? declared : null
  return {
    signature,
    get scoreOutput() {
      return scoreOutput
    },
    async *run(block, rows, firstRow) {
      for (let from = 0; from < rows; from += size ?? ROWS_PER_RUN) {
        const to = Math.min(from + (size ?? ROWS_PER_RUN), rows)
        const inputs = toInputs(
          signature,
          padded(block, rows, from, size),
          from,
          size === null ? to : from + size,
          firstRow,
          who,
        )
        const answered = await model.run(inputs)
        const outputs = cut(answered, to - from, size)
        scoreOutput ??= findScoreOutput(outputs, task, typeof declared === 'string' ? declared : null, who, positiveAt)
        const scores = readScores(outputs, scoreOutput, {
          task,
          rows: to - from,
          firstRow: firstRow + from,
          model: who,
        })
        yield { firstRow: firstRow + from, rows: to - from, fixedRows: size, inputs, outputs, scores }
      }
    },
  }
}

/** A model that takes exactly `size` rows gets the last row again until they are as many. */
function padded(block: Block, rows: number, from: number, size: number | null): Block {
  const lacking = size === null ? 0 : from + size - rows
  if (lacking <= 0) return block
  const extend = (values: unknown[]) => [...values, ...Array.from({ length: lacking }, () => values[rows - 1])]
  return Object.fromEntries(Object.entries(block).map(([name, values]) => [name, extend(values)]))
}

function cut(outputs: Record<string, Tensor>, rows: number, size: number | null): Record<string, Tensor> {
  if (size === null || size === rows) return outputs
  const cutOne = (tensor: Tensor) => (tensor.shape[0] === size ? sliceRows(tensor, 0, rows) : tensor)
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, cutOne(tensor)]))
}

function toInputs(signature: Signature, block: Block, from: number, to: number, firstRow: number, who: string) {
  try {
    return tableToTensors(signature, block, from, to)
  } catch (cause) {
    if (!(cause instanceof ColumnValueError) || cause.row === null) throw cause
    throw badValue(signature, cause, block[cause.column]?.[cause.row], firstRow + cause.row, who)
  }
}

/** The row as the holdout counts it, not as the block does. */
function badValue(signature: Signature, cause: ColumnValueError, value: unknown, row: number, who: string) {
  const input = signature.inputs.find(({ columns }) => columns?.includes(cause.column))
  const missing = value === null || value === undefined
  return new SourceValueError({
    message: `Column '${cause.column}' is ${missing ? 'missing' : shown(value)} in row ${row} of the holdout, but input '${input?.name}' of ${who} takes ${input?.datatype}.`,
    fix: cause.fix ?? 'Clean the column.',
    cause,
  })
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value)
}
