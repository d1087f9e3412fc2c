import { stripVTControlCharacters } from 'node:util'

import { plainText } from './text.ts'

/** Columns on a terminal: text left, numbers right; where a line is too long, first what is least missed goes. */

export interface Column<R> {
  title: string
  value: (row: R) => string
  /** Numbers are easier to compare at the right. */
  align?: 'left' | 'right'
  /** Styles a cell after it has been fitted. */
  style?: (text: string, row: R) => string
  /** What rows have in common: where the line does not fit, it is said once, above those of a kind. */
  group?: boolean
  /** A text to be read whole: where the line does not fit, it goes under its row, wrapped. */
  mayGoUnder?: boolean
  /** Left out where the line does not fit even so, the last of them first. */
  spare?: boolean
}

const GAP = '  '
const NARROWEST = 8
const INDENT = '    '

/**
 * Of a line that is too long, in this order and only as far as needed: columns without any value are left out, rows are
 * grouped, texts go under their rows, spare columns are left out, and the widest are shortened.
 * @param width - columns of the terminal; null: no limit, as for files and pipes
 * @returns lines without trailing spaces, the titles first
 */
export function table<R>(rows: R[], columns: Column<R>[], width: number | null): string[] {
  if (width === null || fits(rows, columns, width)) return grid(rows, columns, null).flat()
  const filled = columns.filter((column, c) => c === 0 || rows.some((row) => !/^–?$/.test(column.value(row))))
  if (fits(rows, filled, width)) return grid(rows, filled, null).flat()
  const group = filled.find((column) => column.group)
  const below = filled.filter((column) => column !== group)
  const under = below.filter((column) => column.mayGoUnder)
  if (group !== undefined && fits(rows, below, width)) return lay(rows, group, [], below, width)
  const shown = below.filter((column) => !under.includes(column))
  return lay(rows, group, under, withoutSpare(rows, shown, width), width)
}

/** @param group - a line with its value above the rows, wherever it is another than above */
function lay<R>(
  rows: R[],
  group: Column<R> | undefined,
  under: Column<R>[],
  columns: Column<R>[],
  width: number,
): string[] {
  const [titles, lines] = grid(rows, columns, width)
  const nameOf = (row: R | undefined) => (row === undefined ? null : plainText(group?.value(row) ?? ''))
  const heading = (r: number) =>
    group === undefined || nameOf(rows[r]) === nameOf(rows[r - 1]) ? [] : [`${nameOf(rows[r])}:`]
  const below = (row: R) => under.flatMap((column) => wrapText(plainText(column.value(row)), width, INDENT, INDENT))
  return [titles, ...lines.flatMap((line, r) => [...heading(r), line, ...below(rows[r]!)])]
}

function withoutSpare<R>(rows: R[], columns: Column<R>[], width: number): Column<R>[] {
  let shown = columns
  while (!fits(rows, shown, width)) {
    const last = shown.findLast((column) => column.spare)
    if (last === undefined) break
    shown = shown.filter((column) => column !== last)
  }
  return shown
}

/**
 * Lines of whole words that fit, styles not counted; a word that is longer than a line has one for itself.
 * @param first - before the first line
 * @param rest - before all others
 */
export function wrapText(text: string, width: number, first: string, rest: string): string[] {
  const lines: string[] = []
  for (const [, gap, word] of text.matchAll(/( *)([^ ]+)/g)) {
    const last = lines.at(-1)
    const joined = `${last}${gap}${word}`
    if (last !== undefined && textWidth(stripVTControlCharacters(joined)) <= width) lines[lines.length - 1] = joined
    else lines.push(`${last === undefined ? first : rest}${word}`)
  }
  return lines
}

function fits<R>(rows: R[], columns: Column<R>[], width: number): boolean {
  const plain = columns.map((column) => ({ ...column, style: undefined }))
  return grid(rows, plain, null)
    .flat()
    .every((line) => textWidth(line) <= width)
}

/** The titles, and a line for each row. */
type Grid = [titles: string, lines: string[]]

function grid<R>(rows: R[], columns: Column<R>[], width: number | null): Grid {
  const cells = rows.map((row) => columns.map((column) => plainText(column.value(row))))
  const natural = columns.map((column, c) =>
    Math.max(textWidth(column.title), ...cells.map((line) => textWidth(line[c]!))),
  )
  const widths = width === null ? natural : fit(natural, width - GAP.length * (columns.length - 1))
  const line = (texts: string[], row: R | null) =>
    texts
      .map((text, c) => {
        const column = columns[c]!
        const padded = pad(shorten(text, widths[c]!), widths[c]!, column.align ?? 'left')
        return row === null || column.style === undefined ? padded : column.style(padded, row)
      })
      .join(GAP)
      .trimEnd()
  return [
    line(
      columns.map((c) => c.title),
      null,
    ),
    cells.map((texts, r) => line(texts, rows[r]!)),
  ]
}

/** Takes from the widest column, one cell at a time, until the sum fits or all are at their narrowest. */
function fit(natural: number[], limit: number): number[] {
  const widths = [...natural]
  for (let over = widths.reduce((a, b) => a + b, 0) - limit; over > 0; over--) {
    const widest = widths.indexOf(Math.max(...widths))
    if (widths[widest]! <= NARROWEST) break
    widths[widest]!--
  }
  return widths
}

function shorten(text: string, width: number): string {
  return textWidth(text) <= width ? text : `${cutTo(text, width - 1)}…`
}

/** As much of the text as fits. */
export function cutTo(text: string, width: number): string {
  let short = ''
  let used = 0
  for (const character of text) {
    used += textWidth(character)
    if (used > width) break
    short += character
  }
  return short
}

function pad(text: string, width: number, align: 'left' | 'right'): string {
  const spaces = ' '.repeat(Math.max(0, width - textWidth(text)))
  return align === 'right' ? spaces + text : text + spaces
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]|[\u{20000}-\u{3fffd}]/u
const COMBINING = /\p{Mark}|\u200d/u

/** Cells that a text takes: CJK and emoji two, combining marks none. */
export function textWidth(text: string): number {
  let width = 0
  for (const character of text) width += COMBINING.test(character) ? 0 : WIDE.test(character) ? 2 : 1
  return width
}
