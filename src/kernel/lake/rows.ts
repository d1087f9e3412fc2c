import type { PredictionRecord } from '../contract/prediction.ts'
import { messageOf } from '../errors.ts'
import type { Datatype } from '../model/signature.ts'
import type { SchemaColumns, TensorColumns } from './columns.ts'
import { MalformedRecordError } from './errors.ts'

/** A value of a tensor as DuckDB takes it: 64-bit integers as bigint. */
export type Cell = number | bigint | boolean | string | null

/** One prediction as columns: `cells[c][r]` for the tensor columns in the schema's order, all of length `rows`. */
export interface PredictionRows {
  rows: number
  cells: (Cell | Cell[])[][]
}

interface WireTensor {
  name: string
  shape: number[]
  data: unknown[]
}

/**
 * Reads the request and answer as they went over the wire. A failed prediction (status other than 200) gives nulls
 * for the outputs, and for the inputs too where the request itself was the fault.
 * @throws MalformedRecordError if an answered request can't be read by its own schema
 */
export function rowsOf(record: PredictionRecord, schema: SchemaColumns): PredictionRows {
  const exact = schema.has64BitIntegers
  if (record.status === 200) {
    const inputs = wireTensors(record.request, 'inputs', exact)
    const rows = batchRows(inputs)
    const outputs = wireTensors(record.response, 'outputs', exact)
    return { rows, cells: [...tensorCells(schema.inputs, inputs, rows), ...tensorCells(schema.outputs, outputs, rows)] }
  }
  const nothing = tensorCells(schema.outputs, [], 1)
  try {
    const inputs = wireTensors(record.request, 'inputs', exact)
    const rows = batchRows(inputs)
    return { rows, cells: [...tensorCells(schema.inputs, inputs, rows), ...tensorCells(schema.outputs, [], rows)] }
  } catch (error) {
    if (!(error instanceof MalformedRecordError)) throw error
    return { rows: 1, cells: [...tensorCells(schema.inputs, [], 1), ...nothing] }
  }
}

function tensorCells(specs: TensorColumns[], wire: WireTensor[], rows: number): (Cell | Cell[])[][] {
  const cells: (Cell | Cell[])[][] = []
  for (const spec of specs) {
    const tensor = wire.find((candidate) => candidate.name === spec.tensor)
    for (const { element } of spec.columns) {
      cells.push(tensor === undefined ? Array<null>(rows).fill(null) : columnCells(spec, tensor, element, rows))
    }
  }
  return cells
}

function columnCells(spec: TensorColumns, tensor: WireTensor, element: number | null, rows: number): (Cell | Cell[])[] {
  const perRow = tensor.data.length / rows
  const fits = spec.elements === null ? Number.isInteger(perRow) : perRow === spec.elements
  if (!fits) throw new MalformedRecordError(`${tensor.data.length} values of '${spec.tensor}' for ${rows} rows`)
  const convert = converterOf(spec.datatype)
  const column: (Cell | Cell[])[] = []
  for (let row = 0; row < rows; row++) {
    if (element !== null) column.push(convertCell(convert, tensor.data[row * perRow + element], spec))
    else
      column.push(tensor.data.slice(row * perRow, (row + 1) * perRow).map((value) => convertCell(convert, value, spec)))
  }
  return column
}

function batchRows(inputs: WireTensor[]): number {
  const first = inputs[0]
  if (first === undefined) throw new MalformedRecordError('a request without inputs')
  const rows = first.shape[0]
  if (rows === undefined || !Number.isSafeInteger(rows) || rows < 1)
    throw new MalformedRecordError(`'${first.name}' has the shape [${first.shape.join(', ')}]`)
  return rows
}

function wireTensors(body: Uint8Array, key: 'inputs' | 'outputs', exact: boolean): WireTensor[] {
  const parsed = parseJson(body, exact) as Record<string, unknown> | null
  const list = parsed?.[key]
  if (!Array.isArray(list)) throw new MalformedRecordError(`no '${key}' in the body`)
  return list.map((tensor: Partial<WireTensor> | null) => {
    const { name, shape, data } = tensor ?? {}
    if (typeof name !== 'string' || !Array.isArray(shape) || !Array.isArray(data))
      throw new MalformedRecordError(`a tensor of '${key}' lacks name, shape or data`)
    return { name, shape, data: Array.isArray(data[0]) ? (data.flat(Infinity) as unknown[]) : data }
  })
}

const LONG_INTEGER = /(?<![.\d])\d{16}/

/** Integers beyond 2^53 keep every digit where the schema has 64-bit integers. */
function parseJson(body: Uint8Array, exact: boolean): unknown {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  try {
    return exact && LONG_INTEGER.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text)
  } catch (error) {
    throw new MalformedRecordError(`bad JSON: ${messageOf(error)}`)
  }
}

function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source
  if (typeof value !== 'number' || source === undefined || Number.isSafeInteger(value)) return value
  return /^-?\d+$/.test(source) ? BigInt(source) : value
}

type Converter = (value: unknown) => Cell | undefined

function convertCell(convert: Converter, value: unknown, spec: TensorColumns): Cell {
  if (value === null) return null
  const cell = convert(value)
  if (cell === undefined) throw new MalformedRecordError(`${preview(value)} in '${spec.tensor}' is no ${spec.datatype}`)
  return cell
}

function preview(value: unknown): string {
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? typeof value)
  return text.length <= 40 ? text : `${text.slice(0, 40)}…`
}

/** JSON has one kind of number and the server has accepted this one: what matters is that it fits the column. */
function converterOf(datatype: Datatype): Converter {
  switch (datatype) {
    case 'FP16':
    case 'FP32':
    case 'FP64':
      return (value) => (typeof value === 'number' ? value : typeof value === 'bigint' ? Number(value) : undefined)
    case 'BYTES':
      return (value) => (typeof value === 'string' ? value : undefined)
    case 'BOOL':
      return (value) => (typeof value === 'boolean' ? value : value === 0 || value === 1 ? value === 1 : undefined)
    case 'INT64':
      return wideInteger(-(2n ** 63n), 2n ** 63n - 1n)
    case 'UINT64':
      return wideInteger(0n, 2n ** 64n - 1n)
    case 'INT8':
      return integer(-(2 ** 7), 2 ** 7 - 1)
    case 'INT16':
      return integer(-(2 ** 15), 2 ** 15 - 1)
    case 'INT32':
      return integer(-(2 ** 31), 2 ** 31 - 1)
    case 'UINT8':
      return integer(0, 2 ** 8 - 1)
    case 'UINT16':
      return integer(0, 2 ** 16 - 1)
    case 'UINT32':
      return integer(0, 2 ** 32 - 1)
  }
}

function integer(min: number, max: number): Converter {
  return (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined
}

function wideInteger(min: bigint, max: bigint): Converter {
  return (value) => {
    if (typeof value === 'number' ? !Number.isInteger(value) : typeof value !== 'bigint') return undefined
    const wide = BigInt(value as number | bigint)
    return wide >= min && wide <= max ? wide : undefined
  }
}
