/**
 * An output as the docs show it, without what differs from run to run: numbers, times, ids and column widths.
 * A line `…` in the expected text stands for any lines, and `…` within a line for any text.
 */
export function matchesOutput(actual: string, expected: string): boolean {
  const pattern = lines(expected)
    .map((line) => (line === '…' ? '(?:.*\\n)*?' : `${escaped(line)}\\n`))
    .join('')
  return new RegExp(`^${pattern}$`).test(`${lines(actual).join('\n')}\n`)
}

function lines(text: string): string[] {
  const all = text.split('\n').map(maskLine)
  return all.filter((line) => line !== '')
}

const MASKS: [RegExp, string][] = [
  [/sha256:[0-9a-f]{64}/g, 'DIGEST'],
  [/\b0[0-9a-hjkmnp-tv-z]{25}\b/g, 'ID'],
  [/\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?Z?/g, 'TIME'],
  [/\b\d\d:\d\d:\d\dZ/g, 'TIME'],
  [/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/g, 'TIME'],
  [/\b\d+(\.\d+)? ?(ms|s|m|h|d|days)\b( \d+(\.\d+)? ?(ms|s|m|h)\b)?/g, '#'],
  [/[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?/g, '#'],
  [/\s+/g, ' '],
]

function maskLine(line: string): string {
  return MASKS.reduce((text, [pattern, mask]) => text.replace(pattern, mask), line).trim()
}

const escaped = (line: string) => line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('…', '.*')
