/**
 * Python's `json.dumps` writes what JSON has no word for as `NaN`, `Infinity` and `-Infinity`, and MLflow's own client
 * sends data frames so.
 * @returns the same text with `null` for NaN, which in a table is a missing value, and numbers too large to be finite
 */
export function strictJson(text: string): string {
  return PYTHON_NUMBER.test(text) ? replaced(text) : text
}

const PYTHON_NUMBER = /NaN|Infinity/

const REPLACEMENTS: Record<string, string> = { NaN: 'null', Infinity: '1e999' }

/** One pass; strings are skipped whole. */
function replaced(text: string): string {
  const token = /"|NaN|Infinity/g
  let strict = ''
  let done = 0
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[0] === '"') token.lastIndex = stringEnd(text, match.index)
    else {
      strict += text.slice(done, match.index) + REPLACEMENTS[match[0]]
      done = token.lastIndex
    }
  }
  return strict + text.slice(done)
}

/** Behind the closing quote of the string that begins at `from`. */
function stringEnd(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    const char = text[at]
    if (char === '"') return at + 1
    if (char === '\\') at += 1
  }
  return text.length
}
