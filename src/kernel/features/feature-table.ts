import { putValue } from '../model/columns.ts'
import type { Datatype } from '../model/signature.ts'
import { allocate } from '../model/tensor.ts'
import type { TensorData } from '../model/tensor.ts'
import { FeatureTableError } from './errors.ts'
import { keyName } from './feature-source.ts'
import type { DeclaredTable, MissingPolicy } from './feature-source.ts'

/** A table in memory, each column in the model's type: what a request is joined with. */
export interface FeatureTable {
  declared: DeclaredTable
  keyDatatype: Datatype
  rows: number
  /**
   * @returns the row, that of the values for an unknown key, or null where such a key is an error
   */
  rowOf(key: string): number | null
  /** One value a row, and behind them that of an unknown key. */
  column(name: string): TensorData
}

/** Fills a table block by block, and checks every value of it. */
export class FeatureTableBuilder {
  readonly #declared: DeclaredTable
  readonly #keyDatatype: Datatype
  readonly #rowByKey = new Map<string, number>()
  readonly #columns: { name: string; datatype: Datatype; data: TensorData }[]
  #rows = 0

  /** @param rows - how many will be added */
  constructor(declared: DeclaredTable, keyDatatype: Datatype, columns: Map<string, Datatype>, rows: number) {
    this.#declared = declared
    this.#keyDatatype = keyDatatype
    this.#columns = [...columns].map(([name, datatype]) => ({ name, datatype, data: allocate(datatype, rows + 1) }))
  }

  /**
   * @param block - the keys, then the columns in their order, one value a row
   * @throws FeatureTableError for a key that is missing or there twice, and for a value that the model can't take
   */
  add(block: readonly (readonly unknown[])[]): void {
    const [keys = [], ...columns] = block
    keys.forEach((value, i) => {
      const key = keyText(value)
      if (key === null) throw this.#unfit(`row ${this.#rows + i} has no key`, 'Leave such rows out.')
      if (this.#rowByKey.has(key))
        throw this.#unfit(
          `the key ${keyName(this.#declared.key)} = ${shown(key)} is there more than once`,
          'Publish one row per key.',
        )
      this.#rowByKey.set(key, this.#rows + i)
    })
    this.#columns.forEach((column, at) => {
      const { datatype, data } = column
      const values = columns[at]!
      for (let i = 0; i < values.length; i++) {
        if (!putValue(datatype, data, this.#rows + i, values[i]))
          throw this.#badValue(column, `key ${shown(keyText(keys[i])!)}`, values[i])
      }
    })
    this.#rows += keys.length
  }

  /** @throws FeatureTableError where a value for unknown keys does not fit */
  table(): FeatureTable {
    const { missing } = this.#declared
    const [rows, rowByKey] = [this.#rows, this.#rowByKey]
    for (const column of this.#columns) this.#putMissing(column, missing)
    const columns = new Map(this.#columns.map(({ name, data }) => [name, data]))
    const unknown = missing === 'error' ? null : rows
    return {
      declared: this.#declared,
      keyDatatype: this.#keyDatatype,
      rows,
      rowOf: (key) => rowByKey.get(key) ?? unknown,
      column: (name) => columns.get(name)!,
    }
  }

  #putMissing(column: { name: string; datatype: Datatype; data: TensorData }, missing: MissingPolicy): void {
    if (missing === 'error') return
    const value = missing === 'default' ? missingValue(column.datatype) : missing[column.name]
    if (value === undefined)
      throw this.#unfit(`'missing' has no value for '${column.name}'`, 'Give one for each of its columns.')
    if (!putValue(column.datatype, column.data, this.#rows, value)) throw this.#badValue(column, `'missing'`, value)
  }

  #badValue(
    { name, datatype }: { name: string; datatype: Datatype },
    where: string,
    value: unknown,
  ): FeatureTableError {
    const what = value === null || value === undefined ? 'is missing' : `is ${shown(value)}`
    return this.#unfit(
      `column '${name}' of ${where} ${what}, and the model takes ${datatype}`,
      `Fill or cast the column to ${datatype} in the step that writes the table.`,
    )
  }

  #unfit(why: string, fix: string): FeatureTableError {
    return new FeatureTableError(this.#declared.table, why, fix)
  }
}

/** Keys are compared as text, so that 42 is found whether it comes as a whole number, as text, or among numbers. */
export function keyText(value: unknown): string | null {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean' ? String(value) : null
}

/** What stands for a missing value where a type has nothing of the kind is its zero. */
function missingValue(datatype: Datatype): unknown {
  if (datatype === 'FP16' || datatype === 'FP32' || datatype === 'FP64') return null
  if (datatype === 'BYTES') return ''
  return datatype === 'BOOL' ? false : 0
}

const shown = (value: unknown): string => {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`
}
