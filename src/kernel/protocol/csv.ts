import { ProtocolError } from './errors.ts'

/** A field without quotes and without characters is a missing value: null. */
export type CsvField = string | null

/**
 * Comma-separated values: lines end in CRLF, LF or CR; a field in quotes may hold commas, line ends and doubled quotes.
 * Empty lines are left out.
 * @throws ProtocolError 400 naming the line
 * @see RFC 4180, section 2
 */
export function parseCsv(text: string): CsvField[][] {
  const records: CsvField[][] = []
  let record: CsvField[] = []
  let at = text.startsWith('\uFEFF') ? 1 : 0
  while (at < text.length) {
    const field = text[at] === '"' ? quotedField(text, at, records.length) : plainField(text, at)
    record.push(field.value)
    at = field.end
    if (text[at] === ',') {
      at += 1
      if (at < text.length) continue
      record.push(null)
    }
    if (record.length > 1 || record[0] !== null) records.push(record)
    record = []
    at += text.startsWith('\r\n', at) ? 2 : 1
  }
  return records
}

interface Field {
  value: CsvField
  /** Of what follows: a comma, a line end or nothing. */
  end: number
}

const FIELD_END = /[,\r\n]/g

function plainField(text: string, from: number): Field {
  FIELD_END.lastIndex = from
  const end = FIELD_END.exec(text)?.index ?? text.length
  return { value: end === from ? null : text.slice(from, end), end }
}

function quotedField(text: string, from: number, record: number): Field {
  let value = ''
  let at = from + 1
  for (;;) {
    const quote = text.indexOf('"', at)
    if (quote < 0) throw new ProtocolError(400, `Record ${record} of the CSV has a quote that is not closed`)
    value += text.slice(at, quote)
    at = quote + 1
    if (text[at] !== '"') break
    value += '"'
    at += 1
  }
  if (at < text.length && !',\r\n'.includes(text[at]!))
    throw new ProtocolError(400, `Record ${record} of the CSV goes on behind a closing quote`)
  return { value, end: at }
}
