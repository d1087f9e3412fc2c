import { STATUS_CODES } from 'node:http'
import type { Answer } from '../answer.ts'
import { AnswerHeaderError } from './errors.ts'

/** How an answer's end is told to the client. */
export type Framing = 'length' | 'chunked' | 'until-close'

/**
 * Status line and headers, with the empty line. Framing and connection are the front's to say: what the answer says of
 * them is left out.
 * @param idleSeconds - how long the connection is kept for another request; null: it is closed after this answer
 * @throws AnswerHeaderError where a header would break the answer apart
 */
export function headOf(answer: Answer, framing: Framing, idleSeconds: number | null, date: string): string {
  const { status, headers, body } = answer
  let head = STATUS_LINES.get(status) ?? `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    if (NOT_VALUE.test(value)) throw new AnswerHeaderError(name)
    if (isShown(name)) head += `${name}: ${value}\r\n`
  }
  if (hasBody(status)) head += framingLine(framing, body.length)
  head += `Date: ${date}\r\n`
  if (idleSeconds === null) return `${head}Connection: close\r\n\r\n`
  return `${head}Connection: keep-alive\r\nKeep-Alive: timeout=${idleSeconds}\r\n\r\n`
}

function framingLine(framing: Framing, bytes: number): string {
  if (framing === 'length') return `Content-Length: ${bytes}\r\n`
  return framing === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : ''
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const NOT_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const STATUS_LINES = new Map(
  Object.entries(STATUS_CODES).map(([status, text]) => [Number(status), `HTTP/1.1 ${status} ${text}\r\n`]),
)

const NAMES_MAX = 100
const shown = new Map<string, boolean>()

/** Whether an answer's header goes to the client; nearly all have names that were seen before. @throws AnswerHeaderError */
function isShown(name: string): boolean {
  const known = shown.get(name)
  if (known !== undefined) return known
  if (!NAME.test(name)) throw new AnswerHeaderError(name)
  const isOurs = !isFrontsOwn(name)
  if (shown.size < NAMES_MAX) shown.set(name, isOurs)
  return isOurs
}

function isFrontsOwn(name: string): boolean {
  switch (name.length) {
    case 4:
      return name.toLowerCase() === 'date'
    case 10: {
      const lower = name.toLowerCase()
      return lower === 'connection' || lower === 'keep-alive'
    }
    case 14:
      return name.toLowerCase() === 'content-length'
    case 17:
      return name.toLowerCase() === 'transfer-encoding'
    default:
      return false
  }
}

/** The others may not have a length either. @see RFC 9110, 6.4.1 and 8.6 */
export function hasBody(status: number): boolean {
  return status !== 204 && status !== 304 && status >= 200
}
