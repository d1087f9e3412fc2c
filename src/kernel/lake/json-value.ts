import type { DuckDBValue } from '@duckdb/node-api'
import {
  DuckDBArrayValue,
  DuckDBBlobValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBUnionValue,
} from '@duckdb/node-api'

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue }

/**
 * A value of DuckDB as JSON holds it without loss: whole numbers beyond 2^53 and decimals as text, times in ISO 8601
 * (UTC, as many digits as they need), NaN and infinities as text, blobs in base64, maps as lists of `[key, value]`.
 */
export function jsonValue(value: DuckDBValue): JsonValue {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (typeof value === 'bigint') return isSafe(value) ? Number(value) : String(value)
  if (value instanceof DuckDBTimestampValue || value instanceof DuckDBTimestampTZValue) return isoTime(value)
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) return value.items.map(jsonValue)
  if (value instanceof DuckDBMapValue)
    return value.entries.map(({ key, value: held }) => [jsonValue(key), jsonValue(held)])
  if (value instanceof DuckDBUnionValue) return jsonValue(value.value)
  if (value instanceof DuckDBDecimalValue) return value.toString()
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString('base64')
  if (value instanceof DuckDBStructValue)
    return Object.fromEntries(Object.entries(value.entries).map(([name, held]) => [name, jsonValue(held)]))
  // Dates, times, intervals, UUIDs and bits: DuckDB's own text is ISO for those that have one.
  return String(value)
}

function isSafe(value: bigint): boolean {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
}

/** Outside the years that JavaScript's dates hold, DuckDB's text (`infinity`, for one). */
function isoTime(value: DuckDBTimestampValue | DuckDBTimestampTZValue): string {
  const ms = Number(value.micros / 1000n)
  const rest = Number(value.micros % 1000n)
  if (Math.abs(ms) > 8.64e15) return String(value)
  if (rest === 0) return new Date(ms).toISOString()
  const floor = rest < 0 ? ms - 1 : ms
  return new Date(floor).toISOString().replace('Z', `${String(rest < 0 ? rest + 1000 : rest).padStart(3, '0')}Z`)
}
