import type { Random } from '../kernel/stats/random.ts'
import { openStrictParser } from '../serving/front/http/strict-parser.ts'
import { openLlhttpParser } from './llhttp-parser.ts'
import { recordParser } from './parser-record.ts'
import type { ParserRecord, RecordedRequest } from './parser-record.ts'

/*
 * Streams of requests that were good until something was changed in them, and the question whether the strict parser
 * understood any of them where llhttp would not, or in another way. The same seed gives the same streams.
 */

const JSON_BODY =
  '{"id":"a","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2.5]}],"parameters":{"binary_data_output":false}}'

const infer = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`

const BASES = [
  'GET /v2/health/live HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n',
  'GET /v2/models/m HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n',
  infer('/v2/models/m/infer', 'hello'),
  infer('/v2/models/m/infer?y=1', JSON_BODY),
  'POST /x?y=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;q="z"\r\nabc\r\n0\r\nT: 1\r\n\r\n',
  'POST /x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello',
  'POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi',
  'HEAD http://a/v2 HTTP/1.1\r\nHost: a\r\n\r\n',
]

/** What smuggling is made of. */
const FRAGMENTS = [
  [
    'null',
    '[]',
    '{}',
    '[[',
    '1e999',
    '-1',
    '9007199254740993',
    'true',
    '"FP32"',
    '"BYTES"',
    '"\\ud800"',
    'NaN',
    '"shape":',
  ],
  ['\r\n', '\n', '\r', ' ', '\t', ':', ';', '0', '5', 'a', 'A', '\0', '\x7f', '\x80', '\xff', ',', '"', '\\', '%', '#'],
  ['Content-Length: 5\r\n', 'Content-Length: 0\r\n', 'content-length:5\r\n', 'Content-Length : 5\r\n'],
  [
    'Transfer-Encoding: chunked\r\n',
    'Transfer-Encoding: gzip\r\n',
    'Transfer-Encoding:\tchunked\r\n',
    ' chunked',
    'chunked',
  ],
  ['Connection: close\r\n', 'Connection: keep-alive\r\n', 'Connection: upgrade\r\n', 'Upgrade: h2c\r\n'],
  [
    'Host: b\r\n',
    'Host: \r\n',
    'X: y\r\n',
    'X:\r\n y\r\n',
    'Expect: 100-continue\r\n',
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/2.0',
  ],
  ['POST / HTTP/1.1\r\nHost: a\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\n'],
  [
    '0\r\n\r\n',
    '\r\n\r\n',
    '\r\n0\r\n',
    '5\r\nhello\r\n',
    '00000005\r\n',
    'ffffffffffffffff\r\n',
    '5;a="\\"\r\n',
    '0;a\r\n',
  ],
].flat()

/** One to three requests with up to three changes. */
export function mutatedStream(random: Random): Buffer {
  let text = ''
  for (let left = 1 + random.integer(3); left > 0; left -= 1) text += pick(BASES, random)
  for (let left = random.integer(4); left > 0; left -= 1) text = mutated(text, random)
  return Buffer.from(text, 'latin1')
}

/** What a request is about. */
export interface FuzzTarget {
  /** A request is sent to one of these, or to what is left of it after a change. */
  paths: readonly string[]
  /** Sent with one of these, or what is left of it after some changes. */
  bodies: readonly string[]
  /** With every request, Host among them, each with its line end. */
  headers: string
}

const HEADERS = [
  ['Inference-Header-Content-Length: 5\r\n', 'Inference-Header-Content-Length: -1\r\n', 'Content-Encoding: gzip\r\n'],
  [
    'Content-Encoding: deflate\r\n',
    'Accept-Encoding: gzip\r\n',
    'Content-Type: text/csv\r\n',
    'Authorization: Bearer x\r\n',
  ],
  [
    'Inference-Header-Content-Length: 99999999999999999999\r\n',
    'Traceparent: 00-1-2-3\r\n',
    'Accept: text/event-stream\r\n',
  ],
].flat()

/** A request that is good HTTP, with what it asks for changed up to six times. */
export function malformedRequest({ paths, bodies, headers }: FuzzTarget, random: Random): Buffer {
  let path = pick(paths, random)
  let body = pick(bodies, random)
  if (random.integer(4) === 0) path = mutated(path, random).replaceAll(/[^!$-;=?-Z_a-z~]/g, '')
  for (let left = random.integer(7); left > 0; left -= 1) body = mutated(body, random)
  const extra = random.integer(3) === 0 ? pick(HEADERS, random) : ''
  const method = random.integer(8) === 0 ? pick(['GET', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'], random) : 'POST'
  const target = path.startsWith('/') ? path : `/${path}`
  const head = `${method} ${target} HTTP/1.1\r\n${headers}${extra}`
  return Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n${body}`, 'latin1')
}

/** @returns up to five places in it, ascending */
export function randomCuts(length: number, random: Random): number[] {
  return Array.from({ length: random.integer(6) }, () => random.integer(length + 1)).toSorted((a, b) => a - b)
}

function mutated(text: string, random: Random): string {
  const at = random.integer(text.length + 1)
  switch (random.integer(5)) {
    case 0:
      return text.slice(0, at) + pick(FRAGMENTS, random) + text.slice(at)
    case 1:
      return text.slice(0, at) + text.slice(at + 1 + random.integer(4))
    case 2:
      return text.slice(0, at) + String.fromCharCode(random.integer(256)) + text.slice(at + 1)
    case 3: {
      const from = random.integer(text.length + 1)
      return text.slice(0, at) + text.slice(from, from + random.integer(80)) + text.slice(at)
    }
    default:
      return text.slice(0, lineAt(text, at)) + pick(FRAGMENTS, random) + text.slice(lineAt(text, at))
  }
}

/** The begin of the line that `at` is in. */
function lineAt(text: string, at: number): number {
  return text.lastIndexOf('\n', at) + 1
}

function pick(from: readonly string[], random: Random): string {
  return from[random.integer(from.length)] as string
}

/** @returns null, or in what way the strict parser takes what llhttp does not, or takes it otherwise */
export function disagreement(bytes: Buffer, cuts: number[]): string | null {
  const strict = recordParser(openStrictParser, bytes)
  const inParts = recordParser(openStrictParser, bytes, { cuts })
  if (textOf(strict) !== textOf(inParts))
    return `cut at ${cuts.join(' ')} it gives ${textOf(inParts)}, not ${textOf(strict)}`
  const oracle = recordParser(openLlhttpParser, bytes, { cuts })
  for (const [i, request] of strict.requests.entries()) {
    const other = oracle.requests[i]
    if (other === undefined)
      return `looser: llhttp does not take ${JSON.stringify(request)}: ${oracle.refusal?.reason ?? 'waits'}`
    if (requestText(request) !== requestText(other))
      return `another: ${requestText(request)}, llhttp: ${requestText(other)}`
  }
  if (strict.refusal !== null || strict.place === 'over') return null
  if (oracle.requests.length > strict.requests.length) return `llhttp has understood more: ${textOf(oracle)}`
  return oracle.refusal === null ? null : takesLater(bytes, strict.requests.length)
}

/** What may follow where llhttp has refused and the strict parser still waits: it must not end in a request. */
const ENDINGS = [
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\n\r\n\r\n',
  'a\r\n\r\n',
  ' HTTP/1.1\r\nHost: a\r\n\r\n',
  '0\r\n\r\n',
  '\r\n0\r\n\r\n',
  'x'.repeat(200),
]

function takesLater(bytes: Buffer, requests: number): string | null {
  for (const ending of ENDINGS) {
    const later = recordParser(openStrictParser, Buffer.concat([bytes, Buffer.from(ending)]))
    if (later.requests.length > requests) return `looser: with ${JSON.stringify(ending)} behind it, it is taken`
  }
  return null
}

function textOf({ requests, refusal }: ParserRecord): string {
  return [...requests.map(requestText), refusal === null ? 'no refusal' : 'refused'].join(' | ')
}

/** llhttp keeps the order of repeated names as well, but nothing depends on the order of the others. */
function requestText({ method, target, headers, body, keepAlive }: RecordedRequest): string {
  return JSON.stringify([method, target, headers.toSorted(([a], [b]) => (a < b ? -1 : 1)), body, keepAlive])
}
