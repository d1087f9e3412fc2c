import { plainText } from './text.ts'

/** Columns on a terminal: text left, numbers right, the widest shortened until the line fits. */

export interface Column<R> {
  title: string
  value: (row: R) => string
  /** Numbers are easier to compare at the right. */
  align?: 'left' | 'right'
  /** Styles a cell after it has been fitted. */
  style?: (text: string, row: R) => string
  /** A text to be read whole: where the line does not fit, it goes under its row, wrapped. */
  mayGoUnder?: boolean
}

const GAP = '  '
const NARROWEST = 8
const INDENT = '    '

/**
 * @param width - columns of the terminal; null: no limit, as for files and pipes
 * @returns lines without trailing spaces, the titles first
 */
export function table<R>(rows: R[], columns: Column<R>[], width: number | null): string[] {
  const under = width === null || fits(rows, columns, width) ? [] : columns.filter((column) => column.mayGoUnder)
  const [titles, ...lines] = grid(
    rows,
    columns.filter((column) => !under.includes(column)),
    width,
  )
  const below = (row: R) => under.flatMap((column) => wrapped(plainText(column.value(row)), width!))
  return [titles!, ...lines.flatMap((line, r) => [line, ...below(rows[r]!)])]
}

function fits<R>(rows: R[], columns: Column<R>[], width: number): boolean {
  const plain = columns.map((column) => ({ ...column, style: undefined }))
  return grid(rows, plain, null).every((line) => textWidth(line) <= width)
}

/** Lines of whole words, indented; none for an empty text. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ').filter((part) => part !== '')) {
    const last = lines.at(-1)
    const joined = `${last} ${word}`
    if (last !== undefined && textWidth(joined) <= width) lines[lines.length - 1] = joined
    else lines.push(INDENT + word)
  }
  return lines
}

function grid<R>(rows: R[], columns: Column<R>[], width: number | null): string[] {
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
    ...cells.map((texts, r) => line(texts, rows[r]!)),
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
