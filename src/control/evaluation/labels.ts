import type { Task } from '../../kernel/model/signature.ts'
import { LabelError } from './errors.ts'

/** The truth of each row as numbers: for a binary task 1 and 0. */
export interface Labels {
  values: Float64Array
  /** The same as flags, for a binary task. */
  positive: Uint8Array | null
}

export interface LabelQuestion {
  column: string
  task: Task
  /** Value that counts as positive, compared as text; null: 1, true, yes. */
  positive: string | null
}

/**
 * Labels as they stand in the holdout, checked.
 * @param raw - one per row: number, bigint, boolean, text, null
 * @throws LabelError saying what is wrong, with values and counts
 */
export function readLabels(raw: readonly unknown[], question: LabelQuestion): Labels {
  refuseMissing(raw, question.column)
  if (question.task === 'regression') return { values: numbersOf(raw, question.column), positive: null }
  const positive = classesOf(raw, question)
  return { values: Float64Array.from(positive), positive }
}

function refuseMissing(raw: readonly unknown[], column: string): void {
  const missing = raw.filter((value) => value === null || value === undefined || Number.isNaN(value)).length
  if (missing === 0) return
  const first = raw.findIndex((value) => value === null || value === undefined || Number.isNaN(value))
  throw new LabelError({
    message: `Label '${column}' is missing in ${missing} of ${raw.length} rows of the holdout, first in row ${first}.`,
    fix: `Leave rows without a label out, e.g. WHERE "${column}" IS NOT NULL.`,
  })
}

function numbersOf(raw: readonly unknown[], column: string): Float64Array {
  const values = new Float64Array(raw.length)
  raw.forEach((value, row) => {
    const number = typeof value === 'string' && value.trim() === '' ? NaN : Number(value)
    if (!Number.isFinite(number) || typeof value === 'boolean') {
      throw new LabelError({
        message: `Label '${column}' is ${shown(value)} in row ${row} of the holdout, which is no number.`,
        fix: `Regression needs numbers: cast or clean the column, or declare task: 'binary'.`,
      })
    }
    values[row] = number
  })
  return values
}

const POSITIVE_BY_DEFAULT = new Set(['1', 'true', 'yes'])

/** More different labels than this are only counted. */
const SHOWN_LABELS = 8

/** Whether a label, as text, is the positive one. */
export const isPositiveLabel = (text: string, positive: string | null): boolean =>
  positive === null ? POSITIVE_BY_DEFAULT.has(text.toLowerCase()) : text === positive

function classesOf(raw: readonly unknown[], question: LabelQuestion): Uint8Array {
  const { column, positive } = question
  const isPositive = (text: string) => isPositiveLabel(text, positive)
  const seen = new Map<string, number>()
  const flags = Uint8Array.from(raw, (value) => {
    const text = String(value)
    seen.set(text, (seen.get(text) ?? 0) + 1)
    return isPositive(text) ? 1 : 0
  })
  const positives = flags.reduce((count, flag) => count + flag, 0)
  if (seen.size > 2 && positive === null) throw tooManyClasses(column, seen)
  if (positives === 0) throw noPositives(question, seen)
  if (positives === raw.length) {
    throw new LabelError({
      message: `Label '${column}' is positive in all ${raw.length} rows of the holdout (${listed(seen)}).`,
      fix: 'A holdout needs rows of both classes: widen it.',
    })
  }
  return flags
}

function tooManyClasses(column: string, seen: Map<string, number>): LabelError {
  return new LabelError({
    message: `Label '${column}' has ${seen.size} different values, a binary task has two: ${listed(seen)}.`,
    fix: `Say which one is positive with 'positive', or declare task: 'regression'.`,
  })
}

function noPositives({ column, positive }: LabelQuestion, seen: Map<string, number>): LabelError {
  const rule = positive === null ? `1, true or yes` : JSON.stringify(positive)
  return new LabelError({
    message: `No row of the holdout has ${rule} as its label '${column}'; it holds ${listed(seen)}.`,
    fix:
      seen.size === 1
        ? 'A holdout needs rows of both classes: widen it.'
        : `Say which value is positive: positive: ${JSON.stringify([...seen.keys()][0])}.`,
  })
}

function listed(seen: Map<string, number>): string {
  const some = [...seen].slice(0, SHOWN_LABELS).map(([text, rows]) => `${JSON.stringify(text)} (${rows} rows)`)
  return some.join(', ') + (seen.size > SHOWN_LABELS ? ` and ${seen.size - SHOWN_LABELS} more` : '')
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value)
}

/**
 * Numbers the clusters 0, 1, 2 … in order of first sight.
 * @throws LabelError where a row belongs to none
 */
export function readClusters(raw: readonly unknown[], column: string): { ofRow: Uint32Array; count: number } {
  const numbers = new Map<unknown, number>()
  const ofRow = Uint32Array.from(raw, (value, row) => {
    if (value === null || value === undefined) {
      throw new LabelError({
        message: `Cluster column '${column}' is missing in row ${row} of the holdout.`,
        fix: `Leave such rows out, e.g. WHERE "${column}" IS NOT NULL, or name another column as gate.cluster.`,
      })
    }
    const number = numbers.get(value) ?? numbers.size
    numbers.set(value, number)
    return number
  })
  return { ofRow, count: numbers.size }
}
