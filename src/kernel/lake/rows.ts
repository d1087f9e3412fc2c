import { createHash } from 'node:crypto'
import type { PredictionRecord } from '../contract/prediction.ts'
import { putValue } from '../model/columns.ts'
import type { Datatype } from '../model/signature.ts'
import { allocate, sliceRows } from '../model/tensor.ts'
import type { Tensor } from '../model/tensor.ts'
import { tensorBytes } from '../protocol/tensor-bytes.ts'
import { LIST_VALUES_MAX } from './columns.ts'
import type { SchemaColumns, TensorColumn, TensorColumns } from './columns.ts'
import { MalformedRecordError } from './errors.ts'
import { answerTensors, preparedTensors, preview, requestTensors } from './wire-tensors.ts'
import type { WireTensor } from './wire-tensors.ts'

/** A value of a tensor as DuckDB takes it: 64-bit integers as bigint. */
export type Cell = number | bigint | boolean | string | null

/** One prediction as columns: `cells[c][r]` for the tensor columns in the schema's order, all of length `rows`. */
export interface PredictionRows {
  rows: number
  cells: (Cell | Cell[])[][]
}

/**
 * Reads the request and answer as they went over the wire, the same from JSON and from bytes: NaN and infinite values
 * are null. A failed prediction (status other than 200) gives nulls for the outputs, and for the inputs too where the
 * request itself was the fault.
 * @throws MalformedRecordError if an answered request can't be read by its own schema
 */
export function rowsOf(record: PredictionRecord, schema: SchemaColumns): PredictionRows {
  if (record.status === 200) {
    const inputs = answeredInputs(record, schema)
    const outputs = answerTensors(record, schema)
    if (inputs[0]?.shape[0] === 0) return { rows: 0, cells: noCells(schema) }
    const rows = batchRows(inputs)
    const prepared = tensorCells(schema.prepared, preparedTensors(record, schema), rows)
    const given = [...tensorCells(schema.inputs, inputs, rows), ...tensorCells(schema.outputs, outputs, rows)]
    return { rows, cells: [...given, ...prepared] }
  }
  const nothing = noTensors(schema, 1)
  try {
    const inputs = requestTensors(record, schema)
    const rows = batchRows(inputs)
    return { rows, cells: [...tensorCells(schema.inputs, inputs, rows), ...noTensors(schema, rows)] }
  } catch (error) {
    if (!(error instanceof MalformedRecordError)) throw error
    return { rows: 1, cells: [...tensorCells(schema.inputs, [], 1), ...nothing] }
  }
}

/** A constant stands in for a model that would have been fed more than the request says: what it lacks is null. */
function answeredInputs(record: PredictionRecord, schema: SchemaColumns): WireTensor[] {
  const inputs = requestTensors(record, schema)
  if (!schema.isEnriched || record.fed !== undefined || inputs.length === 0) return inputs
  const rows = inputs[0]!.shape[0] ?? 0
  const isCut = ({ name, data }: WireTensor) => {
    const { elements } = schema.inputs.find(({ tensor }) => tensor === name) ?? { elements: null }
    return elements !== null && data.length !== elements * rows
  }
  return inputs.map((input) => (isCut(input) ? { ...input, name: '' } : input))
}

/** Of an answered request that had no rows: legal, and a prediction all the same. */
function noCells({ inputs, outputs, prepared }: SchemaColumns): Cell[][] {
  return [...inputs, ...outputs, ...prepared].flatMap(({ columns }) => columns.map(() => []))
}

/** Of a prediction that came to nothing. */
function noTensors({ outputs, prepared }: SchemaColumns, rows: number): (Cell | Cell[])[][] {
  return tensorCells([...outputs, ...prepared], [], rows)
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

function columnCells(
  spec: TensorColumns,
  tensor: WireTensor,
  element: TensorColumn['element'],
  rows: number,
): (Cell | Cell[])[] {
  const perRow = tensor.data.length / rows
  const fits = spec.elements === null ? Number.isInteger(perRow) : perRow === spec.elements
  if (!fits) throw new MalformedRecordError(`${tensor.data.length} values of '${spec.tensor}' for ${rows} rows`)
  const isTooLong = spec.elements === null && perRow > LIST_VALUES_MAX
  if (element === 'digest') return isTooLong ? rowDigests(spec, tensor, rows) : Array<null>(rows).fill(null)
  if (isTooLong) return Array<null>(rows).fill(null)
  const convert = converterOf(spec.datatype)
  const column: (Cell | Cell[])[] = []
  for (let row = 0; row < rows; row++) {
    if (element !== null) column.push(convertCell(convert, tensor.data[row * perRow + element], spec))
    else column.push(listCell(convert, tensor.data, row * perRow, (row + 1) * perRow, spec))
  }
  return column
}

function listCell(convert: Converter, data: ArrayLike<unknown>, from: number, to: number, spec: TensorColumns): Cell[] {
  const cells: Cell[] = []
  for (let at = from; at < to; at++) cells.push(convertCell(convert, data[at], spec))
  return cells
}

/** `sha256:<hex> FP32[224,224,3]` of each row, over its values as bytes (little-endian, row-major): also of JSON. */
function rowDigests(spec: TensorColumns, wire: WireTensor, rows: number): string[] {
  const tensor = wire.binary ?? tensorOfJson(spec, wire)
  const form = `${tensor.datatype}[${wire.shape.slice(1).join(',')}]`
  return Array.from({ length: rows }, (_, row) => {
    const bytes = tensorBytes(sliceRows({ ...tensor, shape: [rows] }, row, row + 1))
    return `sha256:${createHash('sha256').update(bytes).digest('hex')} ${form}`
  })
}

function tensorOfJson(spec: TensorColumns, wire: WireTensor): Tensor {
  const data = allocate(spec.datatype, wire.data.length)
  for (let at = 0; at < wire.data.length; at++) {
    if (!putValue(spec.datatype, data, at, wire.data[at]))
      throw new MalformedRecordError(`${preview(wire.data[at])} in '${spec.tensor}' is no ${spec.datatype}`)
  }
  return { datatype: spec.datatype, shape: wire.shape, data }
}

function batchRows(inputs: WireTensor[]): number {
  const first = inputs[0]
  if (first === undefined) throw new MalformedRecordError('a request without inputs')
  const rows = first.shape[0]
  if (rows === undefined || !Number.isSafeInteger(rows) || rows < 1)
    throw new MalformedRecordError(`'${first.name}' has the shape [${first.shape.join(', ')}]`)
  // A refused request may say any number of rows: each that counts has a value.
  if (rows > first.data.length)
    throw new MalformedRecordError(`'${first.name}' has ${first.data.length} values for ${rows} rows`)
  return rows
}

type Converter = (value: unknown) => Cell | undefined

function convertCell(convert: Converter, value: unknown, spec: TensorColumns): Cell {
  if (value === null) return null
  const cell = convert(value)
  if (cell === undefined) throw new MalformedRecordError(`${preview(value)} in '${spec.tensor}' is no ${spec.datatype}`)
  return cell
}

/** JSON has one kind of number and the server has accepted this one: what matters is that it fits the column. */
function converterOf(datatype: Datatype): Converter {
  switch (datatype) {
    case 'FP16':
    case 'FP32':
    case 'FP64':
      // What is no number is null in JSON, and so it is where bytes could say more.
      return (value) => {
        if (typeof value === 'number') return Number.isFinite(value) ? value : null
        return typeof value === 'bigint' ? Number(value) : undefined
      }
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
