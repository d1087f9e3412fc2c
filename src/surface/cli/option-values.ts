import { durationMs } from '../../config/units.ts'
import { UsageError } from './errors.ts'

/* Values of options, with errors that name the option, the value and an example. */

/** For options that may be given more than once. */
export const repeated = (value: string, before: string[] = []): string[] => [...before, value]

export function parseDuration(option: string, text: string): number {
  const ms = durationMs(text)
  if (ms === null || ms <= 0)
    throw new UsageError(`${option} must be a duration, not '${text}'.`, `Write for example ${option} 30s, 15m or 2h.`)
  return ms
}

export function parseInteger(option: string, text: string, range: { min?: number; max?: number } = {}): number {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = range
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) {
    const bounds = range.min === undefined ? '' : ` from ${min}${range.max === undefined ? '' : ` to ${max}`}`
    throw new UsageError(
      `${option} must be a whole number${bounds}, not '${text}'.`,
      `Write for example ${option} ${Math.max(min, 1)}.`,
    )
  }
  return value
}

export const parsePort = (option: string, text: string): number => parseInteger(option, text, { min: 0, max: 65_535 })

const ISO_TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d))?$/

/** Dates alone are midnight UTC; times need a zone. @returns ms since 1970 */
export function parseTime(option: string, text: string): number {
  const ms = ISO_TIME.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms))
    throw new UsageError(
      `${option} must be a time with its zone, not '${text}'.`,
      `Write for example ${option} 2001-03-01T06:00:00Z, or 2001-03-01 for midnight UTC.`,
    )
  return ms
}

/** `depth=6` → 6, `fast=true` → true, `name=x` and `zip="01"` → text. */
export function parseParams(pairs: string[]): Record<string, string | number | boolean> | undefined {
  if (pairs.length === 0) return undefined
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1)
        throw new UsageError(`--param must be name=value, not '${pair}'.`, 'Write for example --param depth=6.')
      return [pair.slice(0, at), scalar(pair.slice(at + 1))]
    }),
  )
}

function scalar(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return Number(text)
  const quoted = /^"(.*)"$/.exec(text)
  return quoted === null ? text : quoted[1]!
}
