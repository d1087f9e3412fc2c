import { columnsOf } from '../../kernel/lake/columns.ts'
import { quoteName } from '../../kernel/lake/duckdb.ts'
import type { LakeColumn } from '../../kernel/lake/manifest.ts'
import type { ScoreOutput, Signature } from '../../kernel/model/signature.ts'

/** Where a value of a model stands in the lake's files: an expression and its type. */
export interface LakeValue {
  sql: string
  /** DuckDB's, without `[]`. */
  type: string
}

/**
 * Where the columns of a version's inputs are. What the files lack (a signature without names is kept as a list) is
 * left out.
 * @param present - the columns of the files
 */
export function inputValues(signature: Signature, present: readonly LakeColumn[]): Map<string, LakeValue> {
  const values = new Map<string, LakeValue>()
  for (const [index, { columns, tensor }] of columnsOf(signature).inputs.entries()) {
    const names = signature.inputs[index]?.columns ?? []
    for (const [element, name] of names.entries()) {
      const column = columns.length === 1 ? columns[0] : columns[element]
      const value = find(present, column?.name) ?? inList(present, tensor, element)
      if (value !== null) values.set(name, value)
    }
  }
  return values
}

/** Where the score is; null where the files lack it. */
export function scoreValue(
  signature: Signature,
  { output, index }: ScoreOutput,
  present: readonly LakeColumn[],
): LakeValue | null {
  const tensor = columnsOf(signature).outputs.find((candidate) => candidate.tensor === output)
  if (tensor === undefined) return null
  const element = index ?? 0
  const list = tensor.columns[0]
  if (list?.element === null) return inList(present, list.name, element)
  return find(present, tensor.columns[element]?.name)
}

function find(present: readonly LakeColumn[], name: string | undefined): LakeValue | null {
  const column = present.find((candidate) => candidate.name === name)
  return column === undefined || column.type.endsWith('[]') ? null : { sql: quoteName(column.name), type: column.type }
}

function inList(present: readonly LakeColumn[], name: string, element: number): LakeValue | null {
  const column = present.find((candidate) => candidate.name === name)
  if (column === undefined || !column.type.endsWith('[]')) return null
  return { sql: `${quoteName(column.name)}[${element + 1}]`, type: column.type.slice(0, -2) }
}
