import { putValue, tableToTensors } from '../model/columns.ts'
import { ColumnValueError } from '../model/errors.ts'
import type { Signature, TensorSpec } from '../model/signature.ts'
import { allocate, elementCount, MAX_RANK } from '../model/tensor.ts'
import type { Tensor } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { isObject } from './json.ts'
import { flatten, shown } from './tensor-from-json.ts'

/**
 * Rows and columns, as KServe v1 and MLflow send them, as the model's inputs.
 *
 * - An input that names its columns takes them by name, in its own order; an input without takes the column of its own
 *   name, whose values may be nested lists; a single `[N, K]` input that knows no names takes K columns in their order.
 * - Values are coerced to the model's type as those of a table are (`kernel/model/columns.ts`): null is a missing value,
 *   which only floats have.
 * - Columns that the model does not take are overlooked; those that it takes and are not there are a 400 naming them.
 */
export interface TableInput {
  rows: number
  /** Of all columns, in their order. */
  names: readonly string[]
  /** Values of a column, one per row, for an input; undefined where there is no such column. */
  column(name: string, spec: TensorSpec): readonly unknown[] | undefined
}

/** @throws ProtocolError 400 */
export function inputsFromTable(table: TableInput, signature: Signature): Record<string, Tensor> {
  if (table.rows === 0) throw noRows()
  const inputs: Record<string, Tensor> = {}
  const missing: string[] = []
  for (const spec of signature.inputs) {
    const tensor = inputFromTable(table, spec, signature.inputs.length === 1)
    if (tensor === null) missing.push(...missingColumns(table, spec))
    else inputs[spec.name] = tensor
  }
  if (missing.length > 0) throw missingError(missing, table.names)
  return inputs
}

function inputFromTable(table: TableInput, spec: TensorSpec, isOnly: boolean): Tensor | null {
  const named = spec.columns === null ? null : columnsOf(table, spec, spec.columns)
  if (named !== null) return tensorOfColumns(spec, spec.columns!, named, table.rows)
  const own = table.column(spec.name, spec)
  if (own !== undefined) return tensorOfNested(spec, own)
  const width = spec.shape[1]
  if (!isOnly || spec.columns !== null || spec.shape.length !== 2) return null
  if (width !== -1 && width !== table.names.length) throw wrongWidth(spec, table.names.length)
  const inOrder = columnsOf(table, spec, table.names)
  return inOrder === null ? null : tensorOfColumns(spec, table.names, inOrder, table.rows)
}

/** @returns null where one is missing */
function columnsOf(table: TableInput, spec: TensorSpec, names: readonly string[]): (readonly unknown[])[] | null {
  const columns: (readonly unknown[])[] = []
  for (const name of names) {
    const values = table.column(name, spec)
    if (values === undefined) return null
    columns.push(values)
  }
  return columns
}

function tensorOfColumns(
  spec: TensorSpec,
  names: readonly string[],
  columns: (readonly unknown[])[],
  rows: number,
): Tensor {
  // A column of its own may also be a list of lists of one value: `[N, 1]`, as per-column models take it.
  if (names.length === 1) return tensorOfNested(spec, columns[0]!)
  const table = Object.fromEntries(names.map((name, index) => [name, columns[index]!]))
  try {
    const one = { inputs: [{ ...spec, columns: [...names] }], outputs: [] }
    return tableToTensors(one, table, 0, rows)[spec.name]!
  } catch (error) {
    if (error instanceof ColumnValueError) throw new ProtocolError(400, error.message, error)
    throw error
  }
}

function missingColumns(table: TableInput, spec: TensorSpec): string[] {
  return spec.columns?.filter((name) => table.column(name, spec) === undefined) ?? [spec.name]
}

/** So many names are shown in an error. */
const NAMES_SHOWN = 40

function missingError(missing: readonly string[], present: readonly string[]): ProtocolError {
  const list = (names: readonly string[]) =>
    names
      .slice(0, NAMES_SHOWN)
      .map((name) => `'${name.slice(0, 80)}'`)
      .join(', ') + (names.length > NAMES_SHOWN ? ', …' : '')
  const there = present.length === 0 ? 'it has none' : `it has ${list(present)}`
  return new ProtocolError(400, `The request lacks the columns ${list(missing)}, which the model takes; ${there}`)
}

function wrongWidth(spec: TensorSpec, width: number): ProtocolError {
  return new ProtocolError(
    400,
    `Input '${spec.name}' takes ${spec.shape[1]} columns and names none, so they are taken in their order; the request has ${width}`,
  )
}

export function noRows(): ProtocolError {
  return new ProtocolError(400, 'The request has no rows')
}

/**
 * Rows, each a list, an object or a single value:
 * objects by the names of inputs and columns; lists and single values for a model with one input, or with one column
 * for each of a list's values, in the signature's order.
 * @throws ProtocolError 400
 */
export function inputsFromRows(rows: readonly unknown[], signature: Signature): Record<string, Tensor> {
  if (rows.length === 0) throw noRows()
  if (isRecord(rows[0])) return inputsFromRecords(rows, signature)
  const odd = rows.findIndex(isRecord)
  if (odd >= 0) throw new ProtocolError(400, `Row ${odd} is an object, row 0 is not: send all rows in one form`)
  const only = signature.inputs[0]!
  if (signature.inputs.length === 1) return { [only.name]: tensorOfNested(only, rows) }
  return inputsFromTable(tableOfLists(rows, columnNames(signature)), signature)
}

/** @returns all columns of the model in order @throws ProtocolError 400 where not every input has some */
function columnNames(signature: Signature): string[] {
  return signature.inputs.flatMap(({ name, columns }) => {
    if (columns !== null) return columns
    throw new ProtocolError(
      400,
      `The model has ${signature.inputs.length} inputs, and '${name}' names no columns: send each row as an object with the inputs by name`,
    )
  })
}

/** @throws ProtocolError 400 where a row is no list of as many values as there are names */
export function tableOfLists(rows: readonly unknown[], names: readonly string[]): TableInput {
  rows.forEach((row, index) => {
    if (Array.isArray(row) && row.length === names.length) return
    const given = Array.isArray(row) ? `${row.length} values` : shown(row)
    throw new ProtocolError(400, `Row ${index} is ${given}, but there are ${names.length} columns`)
  })
  const places = new Map(names.map((name, place) => [name, place]))
  return {
    rows: rows.length,
    names,
    column: (name) => {
      const place = places.get(name)
      return place === undefined ? undefined : rows.map((row) => (row as unknown[])[place])
    },
  }
}

function inputsFromRecords(rows: readonly unknown[], signature: Signature): Record<string, Tensor> {
  const odd = rows.findIndex((row) => !isRecord(row))
  if (odd >= 0) throw new ProtocolError(400, `Row ${odd} is ${shown(rows[odd])}, but row 0 is an object`)
  const records = rows as Record<string, unknown>[]
  const first = records[0]!
  const column = (name: string): unknown[] | undefined => {
    if (!Object.hasOwn(first, name)) return undefined
    return records.map((record, row) => {
      if (Object.hasOwn(record, name)) return record[name]
      throw new ProtocolError(400, `Row ${row} lacks the column '${name}'; send null for a missing value`)
    })
  }
  return inputsFromTable({ rows: rows.length, names: Object.keys(first), column }, signature)
}

/**
 * Columns by the names of inputs or columns, each with a value per row; or, for a model with one input, the rows
 * themselves.
 * @throws ProtocolError 400
 */
export function inputsFromColumns(json: unknown, signature: Signature): Record<string, Tensor> {
  if (Array.isArray(json)) return inputsFromRows(json, signature)
  if (!isObject(json)) throw new ProtocolError(400, `'inputs' must be a list of rows, or an object with lists by name`)
  const names = Object.keys(json)
  const lengths = names.map((name) => {
    const values = json[name]
    if (Array.isArray(values)) return values.length
    throw new ProtocolError(400, `'${name}' of 'inputs' is ${shown(values)}, not a list with a value per row`)
  })
  const odd = lengths.findIndex((length) => length !== lengths[0])
  if (odd >= 0)
    throw new ProtocolError(400, `'${names[odd]}' has ${lengths[odd]} rows, but '${names[0]}' has ${lengths[0]}`)
  const column = (name: string) => (Object.hasOwn(json, name) ? (json[name] as unknown[]) : undefined)
  return inputsFromTable({ rows: lengths[0] ?? 0, names, column }, signature)
}

/** Bytes in JSON, by the convention of v1: `{"b64": "…"}` stands for a value, not for a row. */
const isBase64 = (value: unknown): value is { b64: string } =>
  isObject(value) && typeof value.b64 === 'string' && Object.keys(value).length === 1

const isRecord = (value: unknown): boolean => isObject(value) && !isBase64(value)

/** One item per row, nested as the input's shape says; axes of size 1 may be left out or added. */
function tensorOfNested(spec: TensorSpec, rows: readonly unknown[]): Tensor {
  const given = shapeOf(rows)
  const shape = fitted(spec.shape, given)
  if (shape === null) {
    throw new ProtocolError(
      400,
      `Input '${spec.name}': shape [${given.join(', ')}], but the model takes [${spec.shape.join(', ')}]`,
    )
  }
  const count = elementCount(given)
  const values = given.length === 1 ? rows : flatten(spec.name, given, count, rows as unknown[])
  const data = allocate(spec.datatype, count)
  for (let at = 0; at < count; at += 1) {
    const value = isBase64(values[at]) ? textOf(values[at] as { b64: string }) : values[at]
    if (!putValue(spec.datatype, data, at, value)) throw badValue(spec, Math.floor((at * rows.length) / count), value)
  }
  return { datatype: spec.datatype, shape, data }
}

/** By the first items; whether all are alike is seen when they are flattened. */
function shapeOf(rows: readonly unknown[]): number[] {
  const shape = [rows.length]
  for (let item = rows[0]; Array.isArray(item) && shape.length <= MAX_RANK; item = item[0]) shape.push(item.length)
  return shape
}

function fitted(spec: readonly number[], given: readonly number[]): number[] | null {
  const fits = (size: number, axis: number, sizes: readonly number[]) => size === -1 || size === sizes[axis]
  if (spec.length === given.length && spec.every((size, axis) => fits(size, axis, given))) return [...given]
  if (spec.length === 0) return elementCount(given) === 1 ? [] : null
  if (!fits(spec[0]!, 0, given)) return null
  const sizes = given.slice(1).filter((size) => size !== 1)
  const wanted = spec.slice(1).filter((size) => size !== 1)
  if (wanted.length !== sizes.length || !wanted.every((size, axis) => fits(size, axis, sizes))) return null
  let next = 0
  return [given[0]!, ...spec.slice(1).map((size) => (size === 1 ? 1 : sizes[next++]!))]
}

function textOf({ b64 }: { b64: string }): string | Uint8Array {
  const bytes = Buffer.from(b64, 'base64')
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : bytes // not text: no input can hold it, which is said with its place
}

function badValue(spec: TensorSpec, row: number, value: unknown): ProtocolError {
  const what = value === null || value === undefined ? 'a missing value' : shown(value)
  return new ProtocolError(400, `Input '${spec.name}', row ${row}: ${what} can't be ${spec.datatype}`)
}
