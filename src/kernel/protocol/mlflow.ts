import type { Signature, TensorSpec } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { parseCsv } from './csv.ts'
import type { CsvField } from './csv.ts'
import type { EncodedBody } from './encoded-body.ts'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, isObject } from './json.ts'
import type { Json } from './json.ts'
import { canonicalRequest, parseTableJson, predictionsBody } from './predictions.ts'
import { inputsFromColumns, inputsFromRows, inputsFromTable, noRows, tableOfLists } from './table-inputs.ts'
import type { TableInput } from './table-inputs.ts'

/**
 * What MLflow's scoring server takes at `/invocations`, in terms of v2: JSON with exactly one of `dataframe_split`,
 * `dataframe_records`, `instances` and `inputs` (`params` and other keys are overlooked), or CSV with a header.
 * @see MLflow, "Deploy MLflow Model as a Local Inference Server"
 */
const FORMATS = ['dataframe_split', 'dataframe_records', 'instances', 'inputs'] as const

/**
 * @param contentType - the header as it came
 * @throws ProtocolError 415 for other types than JSON and CSV in UTF-8, 400 naming what is wrong
 */
export function mlflowToInfer(contentType: string | undefined, body: Uint8Array, signature: Signature): EncodedBody {
  const inputs = mediaType(contentType) === 'csv' ? inputsFromCsv(body, signature) : inputsFromJson(body, signature)
  return canonicalRequest(inputs, signature)
}

/** A v2 answer as `{"predictions": …}`. @throws ProtocolError 500 */
export function mlflowFromAnswer(answer: EncodedBody): Buffer {
  return predictionsBody(answer)
}

/** @param code - one of MLflow's, e.g. BAD_REQUEST */
export function mlflowErrorBody(message: string, code = 'BAD_REQUEST'): string {
  return JSON.stringify({ error_code: code, message })
}

function mediaType(header: string | undefined): 'json' | 'csv' {
  const [type = '', ...parameters] = (header ?? '').toLowerCase().split(';')
  const charset = parameters.map((text) => text.trim()).find((text) => text.startsWith('charset='))
  const isUtf8 = charset === undefined || /^charset="?(utf-?8|us-ascii)"?$/.test(charset)
  if (type.trim() === 'application/json' && isUtf8) return 'json'
  if (type.trim() === 'text/csv' && isUtf8) return 'csv'
  throw new ProtocolError(
    415,
    `Content-Type ${header === undefined ? 'is missing' : `'${header.slice(0, 100)}' is not supported`}: send application/json or text/csv, in UTF-8`,
  )
}

function inputsFromJson(body: Uint8Array, signature: Signature): Record<string, Tensor> {
  const json = parseTableJson(body, signature)
  const given = FORMATS.filter((format) => json[format] !== undefined)
  const [format] = given
  if (format === undefined || given.length > 1) {
    throw new ProtocolError(
      400,
      `The request must have exactly one of ${FORMATS.map((name) => `'${name}'`).join(', ')}, and has ${given.length === 0 ? 'none' : given.map((name) => `'${name}'`).join(' and ')}`,
    )
  }
  const value = json[format]
  if (format === 'inputs') return inputsFromColumns(value, signature)
  if (format === 'dataframe_split') return inputsFromSplit(value, signature)
  if (!Array.isArray(value)) throw new ProtocolError(400, `'${format}' must be a list of rows`)
  if (format === 'dataframe_records' && !value.every(isObject))
    throw new ProtocolError(400, `'dataframe_records' must be a list of objects with the columns by name`)
  return inputsFromRows(value, signature)
}

/** `{"columns": […], "data": [[…], …]}`; without columns they are the model's, in its order. `index` is overlooked. */
function inputsFromSplit(json: unknown, signature: Signature): Record<string, Tensor> {
  if (!isObject(json) || !Array.isArray(json.data))
    throw new ProtocolError(400, `'dataframe_split' must be an object with 'columns' and 'data', a list of rows`)
  const { columns, data } = json as Json & { data: unknown[] }
  if (columns === undefined || columns === null) return inputsFromRows(data, signature)
  if (!Array.isArray(columns)) throw new ProtocolError(400, `'columns' of 'dataframe_split' must be a list of names`)
  const names = columns.map(String)
  refuseDoubles(names)
  return inputsFromTable(tableOfLists(data, names), signature)
}

function refuseDoubles(names: readonly string[]): void {
  const known = new Set<string>()
  for (const name of names) {
    if (known.has(name)) throw new ProtocolError(400, `Column '${name}' is there twice`)
    known.add(name)
  }
}

const INVALID = (why: string, cause?: unknown): ProtocolError => new ProtocolError(400, `The request is ${why}`, cause)

function inputsFromCsv(body: Uint8Array, signature: Signature): Record<string, Tensor> {
  const [header, ...records] = parseCsv(decodeUtf8(body, INVALID))
  if (header === undefined) throw new ProtocolError(400, 'The CSV is empty: its first line names the columns')
  if (records.length === 0) throw noRows()
  const names = header.map((name) => name ?? '')
  refuseDoubles(names)
  const table = tableOfLists(records, names)
  const column: TableInput['column'] = (name, spec) =>
    table.column(name, spec)?.map((field) => csvValue(field as CsvField, spec))
  return inputsFromTable({ ...table, column }, signature)
}

/** As pandas reads them, from which these clients come. */
const MISSING = new Set(['', 'NA', 'N/A', 'NaN', 'nan', 'null', 'NULL', 'None'])
const INFINITE = /^\s*([+-]?)inf(inity)?\s*$/i

/** CSV has text only: what it means depends on the type that is wanted. */
function csvValue(field: CsvField, { datatype }: TensorSpec): unknown {
  if (datatype === 'BYTES') return field ?? ''
  if (field === null || !datatype.startsWith('FP')) return field
  if (MISSING.has(field.trim())) return null
  const infinite = INFINITE.exec(field)
  return infinite ? (infinite[1] === '-' ? -Infinity : Infinity) : field
}
