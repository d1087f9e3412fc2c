import type { LakeColumn } from './manifest.ts'

const INTEGERS = ['UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT', 'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT']
const FLOATS = ['FLOAT', 'DOUBLE']

/**
 * Versions of a model may disagree on a column's type; the view gives it one that holds all: the widest of its kind
 * among numbers, and the same for what lists hold. Text and numbers together become text, so do numbers and lists. Whole
 * numbers beyond 2^53 lose their last digits where another version has fractions.
 * @returns type by lower-case column name, for those columns only on which the schemas differ
 */
export function unifyTypes(schemas: readonly (readonly LakeColumn[])[]): Map<string, string> {
  const seen = new Map<string, Set<string>>()
  for (const { name, type } of schemas.flat()) {
    const types = seen.get(name.toLowerCase())
    if (types) types.add(type)
    else seen.set(name.toLowerCase(), new Set([type]))
  }
  const unified = new Map<string, string>()
  for (const [name, types] of seen) if (types.size > 1) unified.set(name, widest([...types]))
  return unified
}

function widest(types: string[]): string {
  if (types.every((type) => type.endsWith('[]'))) return `${widest(types.map((type) => type.slice(0, -2)))}[]`
  if (types.every((type) => INTEGERS.includes(type))) return types.includes('UBIGINT') ? 'HUGEINT' : 'BIGINT'
  if (types.every((type) => INTEGERS.includes(type) || FLOATS.includes(type))) return 'DOUBLE'
  return 'VARCHAR'
}
