import { ColumnValueError } from './errors.ts'
import { numberToHalf } from './float16.ts'
import type { Datatype, Signature, TensorSpec } from './signature.ts'
import { allocate, FLOAT32_LIMIT, INTEGER_BOUNDS } from './tensor.ts'
import type { Tensor, TensorData } from './tensor.ts'

/** Columns by name, each with one value per row, as a database or a CSV reader gives them. */
export type Table = Record<string, ArrayLike<unknown>>

/**
 * Rows of a table as the model's inputs, each value coerced to the model's type.
 *
 * Floats take numbers, bigints, booleans, numeric text, and null as NaN (a missing value); integers the same without
 * null and without loss; BOOL also 0 and 1; BYTES take text, and numbers and booleans as text.
 * @param from - first row, from 0
 * @param to - row after the last
 * @returns one tensor per input, `[rows]` or `[rows, columns]`
 * @throws ColumnValueError naming column and row, for what can't be coerced, is missing or out of range
 */
export function tableToTensors(signature: Signature, table: Table, from: number, to: number): Record<string, Tensor> {
  const inputs: Record<string, Tensor> = {}
  for (const spec of signature.inputs) inputs[spec.name] = columnsToTensor(spec, table, from, to)
  return inputs
}

function columnsToTensor(spec: TensorSpec, table: Table, from: number, to: number): Tensor {
  const names = spec.columns
  if (names === null) throw unnamed(spec)
  const rows = to - from
  if (spec.shape[0] !== -1 && spec.shape[0] !== rows) throw fixedBatch(spec, rows)
  const data = allocate(spec.datatype, rows * names.length)
  const put = WRITERS[spec.datatype]
  names.forEach((name, offset) => {
    const values = columnOf(table, name, spec, to)
    for (let row = from, at = offset; row < to; row += 1, at += names.length) {
      if (!put(data, at, values[row])) throw badValue(spec, name, row, values[row])
    }
  })
  return { datatype: spec.datatype, shape: spec.shape.length === 1 ? [rows] : [rows, names.length], data }
}

function columnOf(table: Table, name: string, spec: TensorSpec, to: number): ArrayLike<unknown> {
  const values = Object.hasOwn(table, name) ? table[name] : undefined
  if (values === undefined) throw missingColumn(spec, name, Object.keys(table))
  if (values.length < to) {
    throw new ColumnValueError(
      name,
      values.length,
      `Column '${name}' ends at row ${values.length}; ${to} rows are needed.`,
      'Give every column as many values.',
    )
  }
  return values
}

/** Puts one value at its place, coerced as in a table; false if it can't be this type. */
export function putValue(datatype: Datatype, data: TensorData, at: number, value: unknown): boolean {
  return WRITERS[datatype](data, at, value)
}

/** Puts one value at its place; false if it can't be this type. */
type Writer = (data: TensorData, at: number, value: unknown) => boolean

const WRITERS: Record<Datatype, Writer> = {
  FP32: floatWriter(FLOAT32_LIMIT),
  FP64: floatWriter(Infinity),
  FP16: (data, at, value) => {
    const number = toNumber(value)
    if (number === undefined || (Number.isFinite(number) && Math.abs(number) >= 65_520)) return false
    ;(data as Uint16Array)[at] = numberToHalf(number)
    return true
  },
  INT8: integerWriter('INT8'),
  INT16: integerWriter('INT16'),
  INT32: integerWriter('INT32'),
  UINT8: integerWriter('UINT8'),
  UINT16: integerWriter('UINT16'),
  UINT32: integerWriter('UINT32'),
  INT64: bigIntegerWriter('INT64'),
  UINT64: bigIntegerWriter('UINT64'),
  BOOL: (data, at, value) => {
    const truth = toBoolean(value)
    if (truth === undefined) return false
    ;(data as Uint8Array)[at] = truth ? 1 : 0
    return true
  },
  BYTES: (data, at, value) => {
    const text = toText(value)
    if (text === undefined) return false
    ;(data as string[])[at] = text
    return true
  },
}

/** @param limit - finite values of at least this size would become infinite */
function floatWriter(limit: number): Writer {
  return (data, at, value) => {
    const number = typeof value === 'number' ? value : toNumber(value)
    if (number === undefined || (Number.isFinite(number) && Math.abs(number) >= limit)) return false
    ;(data as Float64Array)[at] = number
    return true
  }
}

function integerWriter(datatype: Datatype): Writer {
  const [min, max] = INTEGER_BOUNDS[datatype]!.map(Number) as [number, number]
  return (data, at, value) => {
    const number = typeof value === 'number' ? value : toNumber(value)
    if (number === undefined || !Number.isInteger(number) || number < min || number > max) return false
    ;(data as Int32Array)[at] = number
    return true
  }
}

function bigIntegerWriter(datatype: Datatype): Writer {
  const [min, max] = INTEGER_BOUNDS[datatype]!
  return (data, at, value) => {
    const integer = toBigInt(value)
    if (integer === undefined || integer < min || integer > max) return false
    ;(data as BigInt64Array)[at] = integer
    return true
  }
}

const DECIMAL = /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/

function toNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  if (typeof value === 'boolean') return value ? 1 : 0
  if (typeof value === 'string') return DECIMAL.test(value) ? Number(value) : undefined
  return value === null ? NaN : undefined
}

function toBigInt(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value
  if (typeof value === 'string' && /^\s*[+-]?\d{1,20}\s*$/.test(value)) return BigInt(value.trim().replace(/^\+/, ''))
  const number = toNumber(value)
  return Number.isInteger(number) ? BigInt(number!) : undefined
}

function toBoolean(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value
  if (value === 1 || value === 1n) return true
  if (value === 0 || value === 0n) return false
  if (typeof value !== 'string') return undefined
  const text = value.trim().toLowerCase()
  return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined
}

/** The runtime ends a string at its first NUL, and knows only well-formed UTF-8: both are refused, never cut. */
function toText(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string' || value.includes('\0') || !value.isWellFormed()) return undefined
  return value
}

function badValue(spec: TensorSpec, column: string, row: number, value: unknown): ColumnValueError {
  const missing = value === null || value === undefined
  return new ColumnValueError(
    column,
    row,
    `Column '${column}', row ${row}: ${missing ? 'a missing value' : shown(value)} can't be ${spec.datatype}, which input '${spec.name}' takes.`,
    missing ? `Fill it before, e.g. coalesce("${column}", …) in SQL.` : `Clean or cast the column to ${spec.datatype}.`,
  )
}

function shown(value: unknown): string {
  if (typeof value === 'string') return `the text ${JSON.stringify(value.slice(0, 60))}`
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return `the ${typeof value} ${value}`
  return `a value of type ${Object.prototype.toString.call(value).slice(8, -1)}`
}

function missingColumn(spec: TensorSpec, name: string, present: string[]): ColumnValueError {
  return new ColumnValueError(
    name,
    null,
    `Column '${name}', which input '${spec.name}' takes, is not there; the columns are: ${present.slice(0, 40).join(', ')}.`,
    'Use the same column names for training and here.',
  )
}

function unnamed(spec: TensorSpec): ColumnValueError {
  return new ColumnValueError(
    spec.name,
    null,
    `Input '${spec.name}' [${spec.shape.join(', ')}] does not say which columns feed it.`,
    `List them as the model's 'features', or write the ONNX metadata property 'millrace.features'.`,
  )
}

function fixedBatch(spec: TensorSpec, rows: number): ColumnValueError {
  return new ColumnValueError(
    spec.name,
    null,
    `Input '${spec.name}' takes exactly ${spec.shape[0]} rows at a time, not ${rows}.`,
    'Export the model with a dynamic first axis, e.g. FloatTensorType([None, 4]).',
  )
}
