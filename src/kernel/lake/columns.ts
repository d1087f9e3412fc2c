import { createHash } from 'node:crypto'
import type { Datatype, Signature, TensorSpec } from '../model/signature.ts'
import { elementCount } from '../model/tensor.ts'
import type { LakeColumn } from './manifest.ts'

/** Columns that every prediction file begins with. `AT` is a keyword in DuckDB, hence `predicted_at`. */
export const META_COLUMNS: readonly LakeColumn[] = [
  { name: 'prediction_id', type: 'VARCHAR' },
  { name: 'row', type: 'INTEGER' },
  { name: 'predicted_at', type: 'TIMESTAMP' },
  { name: 'endpoint', type: 'VARCHAR' },
  { name: 'model', type: 'VARCHAR' },
  { name: 'version', type: 'VARCHAR' },
  { name: 'origin', type: 'VARCHAR' },
  { name: 'caller', type: 'VARCHAR' },
  { name: 'latency_ms', type: 'DOUBLE' },
  { name: 'status', type: 'INTEGER' },
  { name: 'trial', type: 'VARCHAR' },
  { name: 'shadow_of', type: 'VARCHAR' },
  { name: 'absent', type: 'VARCHAR' },
]

/** How many of them files had before there were gathers, and before there were trials: the rest is null for those. */
const META_COLUMNS_BEFORE = [META_COLUMNS.length - 1, META_COLUMNS.length - 3] as const

export const LABEL_FILE_COLUMNS: readonly LakeColumn[] = [
  { name: 'prediction_id', type: 'VARCHAR' },
  { name: 'row', type: 'INTEGER' },
  { name: 'label_text', type: 'VARCHAR' },
  { name: 'label_number', type: 'DOUBLE' },
  { name: 'labelled_at', type: 'TIMESTAMP' },
  { name: 'arrival', type: 'BIGINT' },
]

/** Added by the views when they join labels; a tensor can't have these names either. */
export const LABEL_VIEW_COLUMNS = ['label', 'label_text', 'labelled_at'] as const

/** One column that a tensor fills. */
export interface TensorColumn extends LakeColumn {
  datatype: Datatype
  /** Which of a row's elements; null: all of them, as a list; 'digest': what stands for a list that is too long. */
  element: number | null | 'digest'
}

/**
 * Rows of a tensor that is no table (images, embeddings) are lists of up to so many values: of a longer one the lake
 * keeps digest, type and shape. One megabyte of image a row would make the log useless for what it is there for.
 */
export const LIST_VALUES_MAX = 4_096

export interface TensorColumns {
  tensor: string
  datatype: Datatype
  /** The signature's: -1 is dynamic. */
  shape: number[]
  /** Elements per row that the columns need; null where any number is fine (lists). */
  elements: number | null
  columns: TensorColumn[]
}

export interface SchemaColumns {
  /** Twelve hex digits over names and types: files with the same digest can be read as one. */
  digest: string
  columns: LakeColumn[]
  inputs: TensorColumns[]
  outputs: TensorColumns[]
  /** What a preparing step made of the inputs; empty: the model was fed the inputs. */
  prepared: TensorColumns[]
  /** 64-bit integers can exceed what a JavaScript number holds. */
  has64BitIntegers: boolean
  /** A request has less than the model was fed. */
  isEnriched: boolean
}

/** Probabilities of more classes than this are kept as a list: nobody reads a thousand columns by name. */
const CLASS_COLUMNS_MAX = 100

/**
 * The lake's columns for a signature: one per column of a table-like tensor, one scalar for `[N]` and `[N, 1]`, else
 * one list, and where that may be longer than LIST_VALUES_MAX `<tensor>_digest`, null unless it is. Names are the
 * signature's; of an output with several columns, which are class labels, `<output>_<class>`. A name that is taken
 * (compared without case, as SQL does) gets `input_` or `output_` before it, and if that is taken as well `_2`, `_3`, …
 * behind; one that SQL can't write, `unnamed` for none and U+FFFD for each U+0000. Keys by which tables were asked for more come behind the inputs. What a preparing step made of the inputs comes
 * last, each name with `fed_` before it: the plain names are of what was sent, which is what such a model is trained,
 * measured and watched by.
 */
export function columnsOf(signature: Signature): SchemaColumns {
  const taken = new Set([...META_COLUMNS.map((column) => column.name), ...LABEL_VIEW_COLUMNS])
  const fed = [...signature.inputs, ...(signature.enriched?.keys ?? [])]
  const inputs = fed.map((spec) => tensorColumns(spec, 'input_', taken))
  const outputs = signature.outputs.map((spec) => tensorColumns(withOutputNames(spec), 'output_', taken))
  const prepared = (signature.prepared?.fed ?? []).map((spec) => fedColumns(spec, taken))
  const all = [...inputs, ...outputs, ...prepared]
  const spread = all.flatMap((tensor) => tensor.columns.map(({ name, type }) => ({ name, type })))
  const columns = [...META_COLUMNS, ...spread]
  const digest = createHash('sha256').update(JSON.stringify(columns)).digest('hex').slice(0, 12)
  const has64BitIntegers = all.some(({ datatype }) => datatype === 'INT64' || datatype === 'UINT64')
  return { digest, columns, inputs, outputs, prepared, has64BitIntegers, isEnriched: signature.enriched !== undefined }
}

/**
 * The META_COLUMNS that files of this schema hold: older ones lack the last, and what has their names in them came from
 * the model.
 */
export function metaColumnsOf(columns: readonly LakeColumn[]): readonly LakeColumn[] {
  const isSame = ({ name, type }: LakeColumn, at: number) => columns[at]?.name === name && columns[at]?.type === type
  if (META_COLUMNS.every(isSame)) return META_COLUMNS
  const [beforeGathers, beforeTrials] = META_COLUMNS_BEFORE
  const older = META_COLUMNS.slice(0, beforeGathers)
  return older.every(isSame) ? older : META_COLUMNS.slice(0, beforeTrials)
}

/** Whether files of this schema say which trial a request took part in. */
export function hasTrials(columns: readonly LakeColumn[]): boolean {
  return metaColumnsOf(columns).some(({ name }) => name === 'trial')
}

function withOutputNames(spec: TensorSpec): TensorSpec {
  const { name, columns } = spec
  if (columns === null || (columns.length === 1 && columns[0] === name)) return spec
  return { ...spec, columns: columns.length > CLASS_COLUMNS_MAX ? null : columns.map((label) => `${name}_${label}`) }
}

function fedColumns(spec: TensorSpec, taken: Set<string>): TensorColumns {
  const columns = spec.columns?.map((name) => FED + name) ?? null
  return { ...tensorColumns({ ...spec, name: FED + spec.name, columns }, FED, taken), tensor: spec.name }
}

const FED = 'fed_'

function tensorColumns(spec: TensorSpec, prefix: string, taken: Set<string>): TensorColumns {
  const { name: tensor, datatype, shape } = spec
  const type = SQL_TYPES[datatype]
  const names = spec.columns ?? (isScalarPerRow(spec.shape) ? [tensor] : null)
  if (names === null) {
    const columns: TensorColumn[] = [
      { name: freeName(tensor, prefix, taken), type: `${type}[]`, datatype, element: null },
    ]
    if (mayBeTooLong(shape)) {
      const name = freeName(`${tensor}_digest`, prefix, taken)
      columns.push({ name, type: 'VARCHAR', datatype, element: 'digest' })
    }
    return { tensor, datatype, shape, elements: null, columns }
  }
  const columns = names.map((name, element) => ({ name: freeName(name, prefix, taken), type, datatype, element }))
  return { tensor, datatype, shape, elements: names.length, columns }
}

function mayBeTooLong(shape: number[]): boolean {
  const row = shape.slice(1)
  return row.includes(-1) || elementCount(row) > LIST_VALUES_MAX
}

/** `[N]` and `[N, 1]`; a dynamic axis after the first may hold anything. */
function isScalarPerRow(shape: number[]): boolean {
  return shape.slice(1).every((size) => size === 1)
}

function freeName(given: string, prefix: string, taken: Set<string>): string {
  const wanted = given.replaceAll('\0', '\uFFFD') || NAMELESS
  let name = taken.has(wanted.toLowerCase()) ? prefix + wanted : wanted
  for (let n = 2; taken.has(name.toLowerCase()); n++) name = `${prefix}${wanted}_${n}`
  taken.add(name.toLowerCase())
  return name
}

/** SQL has no empty names, but tables do: the index that pandas writes into a CSV. */
const NAMELESS = 'unnamed'

const SQL_TYPES: Record<Datatype, string> = {
  BOOL: 'BOOLEAN',
  UINT8: 'UTINYINT',
  UINT16: 'USMALLINT',
  UINT32: 'UINTEGER',
  UINT64: 'UBIGINT',
  INT8: 'TINYINT',
  INT16: 'SMALLINT',
  INT32: 'INTEGER',
  INT64: 'BIGINT',
  FP16: 'FLOAT',
  FP32: 'FLOAT',
  FP64: 'DOUBLE',
  BYTES: 'VARCHAR',
}
