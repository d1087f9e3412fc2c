import type { Clock } from '../clock.ts'
import { halfToNumber } from '../model/float16.ts'
import type { Signature, TensorSpec } from '../model/signature.ts'
import { allocate } from '../model/tensor.ts'
import type { Tensor, TensorData } from '../model/tensor.ts'
import { ProtocolError } from '../protocol/inference.ts'
import type { BodyForm, InferRequest } from '../protocol/inference.ts'
import { parseCallerRequest } from './caller-request.ts'
import { keyName } from './feature-source.ts'
import type { PlacedTable } from './feature-source.ts'
import { keyText } from './feature-table.ts'
import type { FeatureTable } from './feature-table.ts'

export interface EnrichedRequest {
  /** With every input of the model. */
  request: InferRequest
  /** What the model gets, and the keys that led to it; null where the request said all of it itself. */
  fed: Record<string, Tensor> | null
}

/** A table with the time by which it is told to be stale. */
export interface TimedTable extends FeatureTable {
  asOfMs: PlacedTable['asOfMs']
}

/**
 * Reads requests and adds what the tables of a version give, row by row:
 *
 *   request ─▶ key ─▶ row of the table ─▶ its columns, between those of the request, in the model's order
 */
export class Enricher {
  /** Of the model, with what callers send. */
  readonly signature: Signature
  readonly #tables: readonly TimedTable[]
  readonly #plans: InputPlan[]
  readonly #clock: Pick<Clock, 'calendarMs'>

  /** @param signature - as readFeatureTables gives it, with `enriched` */
  constructor(signature: Signature, tables: readonly TimedTable[], clock: Pick<Clock, 'calendarMs'>) {
    this.signature = signature
    this.#tables = tables
    this.#plans = signature.inputs.map((spec) => planOf(spec, signature, tables))
    this.#clock = clock
  }

  /** @throws ProtocolError 400 for a request that is wrong or has a key that is unknown, 500 where a table is stale */
  read(body: Uint8Array | object, form?: BodyForm): EnrichedRequest {
    const { request, isWhole } = parseCallerRequest(body, this.signature, form)
    if (isWhole) return { request, fed: null }
    const keys = this.#tables.map((table) => this.#keysOf(table, request))
    const found = this.#tables.map((table, i) => this.#rowsOf(table, keys[i]!))
    const inputs: Record<string, Tensor> = {}
    for (const plan of this.#plans) inputs[plan.spec.name] = fill(plan, request, found)
    return { request: { ...request, inputs }, fed: { ...inputs, ...this.#keyTensors(keys) } }
  }

  /** As text, one a row. */
  #keysOf({ declared: { key, table } }: FeatureTable, { inputs, rows, parameters }: InferRequest): string[] {
    if ('parameter' in key) {
      const text = Object.hasOwn(parameters, key.parameter) ? keyText(parameters[key.parameter]) : null
      if (text === null)
        throw new ProtocolError(
          400,
          `Parameter '${key.parameter}' is missing: by it the row of the table '${table}' is found`,
        )
      return Array.from({ length: rows }, () => text)
    }
    const { name, at, width } = placeIn(this.signature.enriched!.asked, key.column)!
    const { datatype, data } = inputs[name]!
    return Array.from({ length: rows }, (_, row) => textOf(datatype, data, row * width + at))
  }

  #rowsOf(table: TimedTable, keys: readonly string[]): Int32Array {
    this.#refuseStale(table)
    const { declared } = table
    return Int32Array.from(keys, (key) => {
      const row = table.rowOf(key)
      if (row !== null) return row
      const what = JSON.stringify(key.length <= 100 ? key : `${key.slice(0, 100)}…`)
      throw new ProtocolError(400, `${keyName(declared.key)} ${what} is not in the table '${declared.table}'`)
    })
  }

  #refuseStale({ declared, asOfMs }: TimedTable): void {
    const { stalenessMs, stale, table } = declared
    if (stalenessMs === null || stale === 'use') return
    const ageMs = this.#clock.calendarMs() - asOfMs
    if (ageMs <= stalenessMs) return
    throw new ProtocolError(
      500,
      `The table '${table}' is stale: it is as of ${new Date(asOfMs).toISOString()}, ${hours(ageMs)} ago, and may be ${hours(stalenessMs)} old. Train a new version.`,
    )
  }

  /** Keys that are no columns of the model, in the types that the table has them in. */
  #keyTensors(keys: readonly string[][]): Record<string, Tensor> {
    const made: Record<string, Tensor> = {}
    for (const { name, datatype } of this.signature.enriched!.keys) {
      const texts = keys[this.#tables.findIndex(({ declared }) => keyName(declared.key) === name)]!
      const isWhole = datatype === 'INT64' && texts.every((text) => /^-?\d{1,18}$/.test(text))
      if (datatype === 'INT64' && !isWhole) continue
      const data = isWhole ? BigInt64Array.from(texts, BigInt) : texts
      made[name] = { datatype, shape: [texts.length], data }
    }
    return made
  }
}

/** Where each column of an input comes from: a table (by its place among them), or the request. */
interface InputPlan {
  spec: TensorSpec
  /** Null: the request has all of it. */
  columns: ({ table: number; data: TensorData } | { at: number })[] | null
  /** Columns that the request has of it. */
  askedWidth: number
}

function planOf(spec: TensorSpec, { enriched }: Signature, tables: readonly FeatureTable[]): InputPlan {
  const givenBy = (name: string) => tables.findIndex(({ declared }) => declared.columns.includes(name))
  if (spec.columns === null || spec.columns.every((name) => givenBy(name) < 0))
    return { spec, columns: null, askedWidth: 0 }
  const left = enriched!.asked.find(({ name }) => name === spec.name)?.columns ?? []
  const columns = spec.columns.map((name) => {
    const table = givenBy(name)
    return table < 0 ? { at: left.indexOf(name) } : { table, data: tables[table]!.column(name) }
  })
  return { spec, columns, askedWidth: left.length }
}

function fill({ spec, columns, askedWidth }: InputPlan, request: InferRequest, found: readonly Int32Array[]): Tensor {
  const sent = request.inputs[spec.name]
  if (columns === null) return sent!
  const { rows } = request
  const width = columns.length
  // One kind of array, whichever it is: both sides have the same type.
  const data = allocate(spec.datatype, rows * width) as Float64Array
  columns.forEach((column, at) => {
    const from = ('table' in column ? column.data : sent!.data) as Float64Array
    for (let row = 0; row < rows; row++)
      data[row * width + at] =
        'table' in column ? from[found[column.table]![row]!]! : from[row * askedWidth + column.at]!
  })
  return { datatype: spec.datatype, shape: [rows, ...(spec.shape.length > 1 ? [width] : [])], data }
}

function placeIn(specs: readonly TensorSpec[], column: string): { name: string; at: number; width: number } | null {
  for (const { name, columns } of specs) {
    const at = columns?.indexOf(column) ?? -1
    if (at >= 0) return { name, at, width: columns!.length }
  }
  return null
}

function textOf(datatype: Tensor['datatype'], data: TensorData, at: number): string {
  const value = data[at]!
  if (datatype === 'FP16') return String(halfToNumber(value as number))
  if (datatype === 'BOOL') return value === 1 ? 'true' : 'false'
  return String(value)
}

const hours = (ms: number): string =>
  ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`
