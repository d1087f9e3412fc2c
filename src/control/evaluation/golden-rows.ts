import type { ScoreOutput } from '../../kernel/model/signature.ts'
import { sliceRows } from '../../kernel/model/tensor.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { encodeInferRequest } from '../../kernel/protocol/inference.ts'
import type { AnsweredTensor } from '../../kernel/protocol/inference.ts'
import type { RunBlock } from './model-runner.ts'

/** Rows of the holdout with the answers that the evaluation saw: what a server must answer before it gets traffic. */
export interface GoldenFile {
  format: 1
  scoreOutput: ScoreOutput
  rows: GoldenRow[]
  /** Why there are none (or fewer than asked for); null where there are enough. */
  why: string | null
}

export interface GoldenRow {
  /** Row of the holdout. */
  row: number
  /** Body of the v2 infer request in JSON, one row, to be sent as it is. */
  request: string
  /** Outputs of that row; integers beyond 2^53 as text, NaN and infinite values as null. */
  outputs: Record<string, GoldenTensor>
}

export interface GoldenTensor extends Omit<AnsweredTensor, 'data'> {
  data: (number | string | boolean | null)[]
}

export interface GoldenPicker {
  offer(block: RunBlock): void
  file(scoreOutput: ScoreOutput): GoldenFile
}

/**
 * Picks rows that lie evenly over the holdout. A row with a missing number is passed over for the next one: JSON has
 * no NaN, so no client could send it either.
 */
export function goldenPicker(wanted: number, holdoutRows: number): GoldenPicker {
  const rows: GoldenRow[] = []
  const step = holdoutRows / Math.min(wanted, holdoutRows)
  let next = 0
  let unsendable: string | null = null

  function offer(block: RunBlock): void {
    unsendable ??= whyUnsendable(block)
    if (unsendable !== null) return
    for (let i = 0; i < block.rows && rows.length < wanted; i++) {
      const row = block.firstRow + i
      if (row < Math.floor(next) || !isComplete(block, i)) continue
      rows.push(goldenRow(block, i))
      next = Math.max(next + step, row + 1)
    }
  }

  function file(scoreOutput: ScoreOutput): GoldenFile {
    const few = rows.length < Math.min(wanted, holdoutRows) ? `only ${rows.length} rows have no missing number` : null
    return { format: 1, scoreOutput, rows, why: unsendable ?? few }
  }

  return { offer, file }
}

function whyUnsendable({ inputs, outputs, rows, fixedRows }: RunBlock): string | null {
  const half = Object.entries({ ...inputs, ...outputs }).find(([, { datatype }]) => datatype === 'FP16')
  if (half) return `'${half[0]}' is FP16, which JSON can't carry`
  if (fixedRows !== null && fixedRows !== 1) return `the model takes ${fixedRows} rows at a time, not one`
  const whole = Object.entries(outputs).find(([, { shape }]) => shape[0] !== rows)
  return whole ? `output '${whole[0]}' does not have one answer per row` : null
}

function isComplete({ inputs, rows }: RunBlock, row: number): boolean {
  return Object.values(inputs).every(({ data }) => {
    if (!(data instanceof Float32Array || data instanceof Float64Array)) return true
    const width = data.length / rows
    return data.subarray(row * width, (row + 1) * width).every(Number.isFinite)
  })
}

function goldenRow(block: RunBlock, row: number): GoldenRow {
  const oneRow = (tensors: Record<string, Tensor>) =>
    Object.entries(tensors).map(([name, tensor]) => [name, sliceRows(tensor, row, row + 1)] as const)
  return {
    row: block.firstRow + row,
    request: encodeInferRequest({ inputs: Object.fromEntries(oneRow(block.inputs)) }),
    outputs: Object.fromEntries(oneRow(block.outputs).map(([name, tensor]) => [name, toJson(tensor)])),
  }
}

function toJson({ datatype, shape, data }: Tensor): GoldenTensor {
  return { datatype, shape, data: Array.from(data as ArrayLike<unknown>, (value) => plain(value, datatype)) }
}

function plain(value: unknown, datatype: string): number | string | boolean | null {
  if (datatype === 'BOOL') return value === 1
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  return String(value)
}

/**
 * How an answer differs from what the evaluation saw; null where it does not.
 * @param tolerance - for floats, absolute up to 1 and relative above; everything else must be equal
 */
export function goldenMismatch(
  golden: GoldenRow,
  answered: Record<string, AnsweredTensor>,
  tolerance: number,
): string | null {
  for (const [name, expected] of Object.entries(golden.outputs)) {
    const got = answered[name]
    if (got === undefined) return `row ${golden.row}: output '${name}' is missing`
    if (got.datatype !== expected.datatype || got.data.length !== expected.data.length) {
      return `row ${golden.row}: output '${name}' is ${got.datatype} with ${got.data.length} values, expected ${expected.datatype} with ${expected.data.length}`
    }
    const at = expected.data.findIndex((value, i) => !isClose(value, got.data[i]!, tolerance))
    if (at >= 0) return `row ${golden.row}: output '${name}' is ${got.data[at]}, expected ${expected.data[at]}`
  }
  return null
}

function isClose(
  expected: GoldenTensor['data'][number],
  got: AnsweredTensor['data'][number],
  tolerance: number,
): boolean {
  if (typeof expected === 'number' && (typeof got === 'number' || typeof got === 'bigint')) {
    return Math.abs(expected - Number(got)) <= tolerance * Math.max(1, Math.abs(expected))
  }
  return expected === (typeof got === 'bigint' ? String(got) : got)
}
