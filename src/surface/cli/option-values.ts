import { durationMs, sizeBytes } from '../../config/units.ts'
import { UsageError } from './errors.ts'
import { duration } from './text.ts'

/* Values of options, with errors that name the option, the value and an example. */

/** For options that may be given more than once. */
export const repeated = (value: string, before: string[] = []): string[] => [...before, value]

/** @param minMs - shorter ones are refused */
export function parseDuration(option: string, text: string, minMs = 0): number {
  const ms = durationMs(text)
  if (ms === null || ms <= 0)
    throw new UsageError(
      `${option} must be a duration${ms === null ? '' : ' longer than nothing'}, not '${text}'.`,
      `Write for example ${option} 30s, 15m or 2h.`,
    )
  if (ms < minMs)
    throw new UsageError(`${option} must be ${duration(minMs)} at least, not '${text}'.`, 'Give a longer one.')
  return ms
}

/** `64MB` → 64000000, as in the configuration. */
export function parseSize(option: string, text: string, range: { min: string; max: string }): number {
  const [min, max] = [sizeBytes(range.min)!, sizeBytes(range.max)!]
  const bytes = sizeBytes(text)
  if (bytes === null || bytes < min || bytes > max)
    throw new UsageError(
      `${option} must be a size from ${range.min} to ${range.max}, not '${text}'.`,
      `Write for example ${option} 64MB, or 64MiB.`,
    )
  return bytes
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
  const params = new Map<string, string | number | boolean>()
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) throw new UsageError(`--param must be name=value, not '${pair}'.`, 'Write for example --param depth=6.')
    const name = pair.slice(0, at)
    if (params.has(name))
      throw new UsageError(
        `--param ${name} is given twice: ${params.get(name)} and ${pair.slice(at + 1)}.`,
        'Give it once.',
      )
    params.set(name, scalar(pair.slice(at + 1)))
  }
  return Object.fromEntries(params)
}

function scalar(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  // What a number can't hold stays text, as it was written: more than 1.8e308, or whole and beyond 2^53.
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) {
    const value = Number(text)
    const isHeld = Number.isFinite(value) && (!/^-?\d+$/.test(text) || Number.isSafeInteger(value))
    return isHeld ? value : text
  }
  const quoted = /^"(.*)"$/.exec(text)
  return quoted === null ? text : quoted[1]!
}
