import type { Path } from './schema-tree.ts'

export interface NotPlain {
  path: Path
  /** `a function`, `a Date`, `a circular reference`, … */
  what: string
}

const DEPTH_MAX = 50
export const CIRCULAR = 'a circular reference'

/**
 * Values that a revision can't hold: it is kept as JSON, and a function or a date would come back as nothing or as
 * something else. Fields that are undefined count as not written.
 */
export function notPlainIn(value: unknown, path: Path = [], above: readonly object[] = []): NotPlain[] {
  const what = notPlain(value)
  if (what !== null) return [{ path, what }]
  if (typeof value !== 'object' || value === null) return []
  if (above.includes(value)) return [{ path, what: CIRCULAR }]
  if (above.length >= DEPTH_MAX) return [{ path, what: `nested more than ${DEPTH_MAX} deep` }]
  const isList = Array.isArray(value)
  return Object.entries(value)
    .filter(([, inner]) => isList || inner !== undefined)
    .flatMap(([key, inner]) => notPlainIn(inner, [...path, isList ? Number(key) : key], [...above, value]))
}

function notPlain(value: unknown): string | null {
  if (typeof value === 'number') return Number.isFinite(value) ? null : String(value)
  if (typeof value === 'bigint') return 'a bigint'
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (value === undefined) return 'undefined'
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null
  if (prototype === null || prototype === Object.prototype) return null
  return `a ${prototype.constructor?.name ?? 'class instance'}`
}
