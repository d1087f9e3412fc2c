import { Framing, isHost, takesNoTab } from './framing.ts'
import { notHttp, Refusal } from './parser.ts'
import type { ParsedHead } from './parser.ts'

/*
 * One head, from its text to what it says:
 *
 *   POST /v2/models/m/infer HTTP/1.1      method, target, version     RFC 9112, 3
 *   Host: a                               fields                      RFC 9112, 5
 *   Content-Length: 5                     framing of the body         RFC 9112, 6
 *
 * Refusals are 4xx, also where RFC 9110 suggests 501 or 505: a 5xx of ours means that the server failed.
 */

/** RFC 9110, 5.6.2. */
const TOKEN = tableOf("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
/** RFC 3986, without `#`, which no request target has. */
const TARGET = tableOf("-._~:/?[]@!$&'()*+,;=%0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
/** Of field values: RFC 9110, 5.5; no control character but the tab. */
const VALUE = new Uint8Array(256).map((_, code) => (code === 0x09 || (code >= 0x20 && code !== 0x7f) ? 1 : 0))

const CR = 0x0d
const LF = 0x0a
const COLON = 0x3a
const SPACE = 0x20
const TAB = 0x09

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'])
const METHOD_BYTES_MAX = 32

/** Lower case of the names that clients send with every request, found without making a new string. */
const COMMON_NAMES = new Map(
  [
    'Host',
    'Content-Length',
    'Content-Type',
    'Content-Encoding',
    'Accept',
    'Accept-Encoding',
    'Connection',
    'User-Agent',
    'Authorization',
    'Inference-Header-Content-Length',
    'Traceparent',
  ].flatMap((name) => [
    [name, name.toLowerCase()],
    [name.toLowerCase(), name.toLowerCase()],
  ]),
)

type Fields = Record<string, string | undefined>
/** Objects without a prototype that V8 still gives a shape, unlike those of Object.create(null). */
const FieldMap = function FieldMap() {} as unknown as new () => Fields
FieldMap.prototype = Object.create(null)

/** @param text - request line and fields, without the empty line at the end; every character is one byte */
export function parseHead(text: string, headersMax: number): ParsedHead | Refusal {
  const line = parseRequestLine(text)
  return line instanceof Refusal ? line : parseFields(text, line, headersMax)
}

interface RequestLine {
  method: string
  target: string
  /** Of an absolute-form target, which counts instead of the Host field; else null. */
  authority: string | null
  minor: 0 | 1
  /** Where the fields begin. */
  end: number
}

function parseRequestLine(text: string): RequestLine | Refusal {
  const space = endOf(TOKEN, text, 0)
  if (space === 0 || text.charCodeAt(space) !== SPACE) return notHttp('the request line has no method')
  const method = text.slice(0, space)
  const targetEnd = endOf(TARGET, text, space + 1)
  const raw = text.slice(space + 1, targetEnd)
  if (raw === '' || text.charCodeAt(targetEnd) !== SPACE) return notHttp('the request target')
  const minor = minorVersion(text, targetEnd + 1)
  if (minor instanceof Refusal) return minor
  if (space > METHOD_BYTES_MAX || !METHODS.has(method)) {
    return new Refusal(400, `The method ${method.slice(0, METHOD_BYTES_MAX)} is not served here.`)
  }
  const end = targetEnd + 'HTTP/1.1'.length + 3
  if (raw.charCodeAt(0) === 0x2f) return { method, target: raw, authority: null, minor, end }
  if (raw === '*' && method === 'OPTIONS') return { method, target: raw, authority: null, minor, end }
  return absoluteForm(raw, method, minor, end)
}

/** @see RFC 9112, 2.3 and 2.6 */
function minorVersion(text: string, at: number): 0 | 1 | Refusal {
  const lineEnd = text.indexOf('\r', at)
  const version = lineEnd < 0 ? text.slice(at) : text.slice(at, lineEnd)
  if (lineEnd >= 0 && text.charCodeAt(lineEnd + 1) !== LF) return notHttp('a carriage return without a line feed')
  if (version === 'HTTP/1.1') return 1
  if (version === 'HTTP/1.0') return 0
  if (version === 'HTTP/2.0') return new Refusal(400, 'HTTP/2 is not spoken on this port: use HTTP/1.1.')
  if (/^HTTP\/\d\.\d$/.test(version)) return new Refusal(400, `${version} is not spoken here: use HTTP/1.1.`)
  return notHttp('the version in the request line')
}

/** A server must take it; what counts of it is the path. User names in it are refused. @see RFC 9112, 3.2.2 */
const ABSOLUTE = /^https?:\/\/([^/?]+)(.*)$/i

function absoluteForm(raw: string, method: string, minor: 0 | 1, end: number): RequestLine | Refusal {
  const parts = ABSOLUTE.exec(raw)
  const authority = parts?.[1] ?? ''
  if (authority === '' || !isHost(authority)) return notHttp('the request target')
  const rest = parts?.[2] ?? ''
  return { method, target: rest.startsWith('/') ? rest : `/${rest}`, authority, minor, end }
}

function parseFields(text: string, line: RequestLine, headersMax: number): ParsedHead | Refusal {
  const headers = new FieldMap()
  const framing = new Framing(line.minor)
  let count = 0
  for (let at = line.end; at < text.length;) {
    const colon = endOf(TOKEN, text, at)
    if (colon === at || text.charCodeAt(colon) !== COLON) return badName(text, at, colon)
    const name = nameOf(text.slice(at, colon))
    let start = colon + 1
    while (isBlank(text.charCodeAt(start))) start += 1
    const lineEnd = endOf(VALUE, text, start)
    if (lineEnd < text.length && !(text.charCodeAt(lineEnd) === CR && text.charCodeAt(lineEnd + 1) === LF)) {
      return notHttp(`the value of the header '${shortened(name)}'`)
    }
    let end = lineEnd
    while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
    count += 1
    if (count > headersMax) return new Refusal(431, `The request has more than ${headersMax} headers.`)
    const value = text.slice(start, end)
    if (takesNoTab(name) && text.slice(start, lineEnd).includes('\t')) return notHttp(`a tab in '${name}'`)
    const refusal = framing.take(name, value)
    if (refusal !== null) return refusal
    const before = headers[name]
    headers[name] = before === undefined ? value : `${before}, ${value}`
    at = lineEnd + 2
  }
  if (line.authority !== null) headers['host'] = line.authority
  const { method, target, minor } = line
  const { keepAlive, bodyBytes, expectsContinue } = framing
  return framing.check() ?? { method, target, headers, minor, keepAlive, bodyBytes, expectsContinue }
}

function badName(text: string, at: number, end: number): Refusal {
  const first = text.charCodeAt(at)
  if (isBlank(first)) return notHttp('a header line that begins with white space')
  if (isBlank(text.charCodeAt(end))) return notHttp('white space before the colon of a header')
  return notHttp('the name of a header')
}

function nameOf(raw: string): string {
  return COMMON_NAMES.get(raw) ?? raw.toLowerCase()
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB
}

/** The first place at or behind `at` whose character isn't in the table. */
function endOf(table: Uint8Array, text: string, at: number): number {
  let end = at
  while (end < text.length && table[text.charCodeAt(end)] === 1) end += 1
  return end
}

/** What must be known before a body is read may not come behind it. @see RFC 9110, 6.5.1 */
const NEVER_BEHIND = new Set([
  'authorization',
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'expect',
  'host',
  'inference-header-content-length',
  'te',
  'trailer',
  'transfer-encoding',
])

/** Whether a line of a trailer is a field that may be there: its value is dropped. @see RFC 9112, 7.1.2 */
export function isTrailerField(line: string): boolean {
  const colon = endOf(TOKEN, line, 0)
  if (colon === 0 || line.charCodeAt(colon) !== COLON || endOf(VALUE, line, colon + 1) !== line.length) return false
  return !NEVER_BEHIND.has(nameOf(line.slice(0, colon)))
}

export function canBeginRequest(byte: number): boolean {
  return TOKEN[byte] === 1
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

function tableOf(characters: string): Uint8Array {
  const table = new Uint8Array(256)
  for (const character of characters) table[character.charCodeAt(0)] = 1
  return table
}
