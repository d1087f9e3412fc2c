import type { LakeColumn } from './manifest.ts'

const INTEGERS = ['UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT', 'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT']
const FLOATS = ['FLOAT', 'DOUBLE']

/**
 * Versions of a model may disagree on a column's type; the view gives it one that holds all: the widest of its kind
 * among numbers (text and numbers together become text, so do lists of different kinds).
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
  if (types.every((type) => INTEGERS.includes(type))) return types.includes('UBIGINT') ? 'HUGEINT' : 'BIGINT'
  if (types.every((type) => INTEGERS.includes(type) || FLOATS.includes(type))) return 'DOUBLE'
  return 'VARCHAR'
}
