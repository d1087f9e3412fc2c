import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UpstreamError } from '../errors.ts'
import { ResponseParser } from './response-parser.ts'
import type { ParsedResponse } from './response-parser.ts'

const LIMIT = 1_000

function parse(text: string, pieces: number[] = []): ParsedResponse | null {
  const parser = new ResponseParser(LIMIT)
  const bytes = Buffer.from(text, 'latin1')
  let from = 0
  for (const length of [...pieces, bytes.length]) {
    if (from >= bytes.length) break
    const answer = parser.push(bytes.subarray(from, from + length))
    from += length
    if (answer !== null) return answer
  }
  return parser.end()
}

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
const byLength = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"a":"b\r\n"}'
const byChunks =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\n{"a"\r\n3\r\n:1}\r\n0\r\nTrailer: t\r\n\r\n'
const afterContinue = `HTTP/1.1 100 Continue\r\n\r\n${byLength}`
const untilEnd = 'HTTP/1.0 200 OK\r\n\r\n{"a":1}'

describe('responses of a replica', () => {
  it.each([
    ['by length', byLength, '{"a":"b\r\n"}', true],
    ['by chunks', byChunks, '{"a":1}', true],
    ['after 100 Continue', afterContinue, '{"a":"b\r\n"}', true],
    ['until the end', untilEnd, '{"a":1}', false],
    ['without a body', 'HTTP/1.1 204 No Content\r\n\r\n', '', true],
    ['with length 0', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n', '', false],
  ])('are read whole %s, however the bytes are cut', (_name, text, body, keepAlive) => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 }), (pieces) => {
        const answer = parse(text, pieces)
        expect(answer?.body.toString('latin1')).toBe(body)
        expect(answer?.keepAlive).toBe(keepAlive)
      }),
    )
  })

  it('follow each other on one connection', () => {
    const parser = new ResponseParser(LIMIT)
    expect(parser.push(Buffer.from(byLength))?.status).toBe(200)
    expect(parser.push(Buffer.from(byChunks))?.body.toString()).toBe('{"a":1}')
  })

  it('are put together from chunks of a byte each', () => {
    const bytes = 10_000 - 1 // with the last chunk, which is empty, as many as may be so small
    const parser = new ResponseParser(bytes)
    expect(parser.push(Buffer.from(CHUNKED))).toBeNull()
    const digits = Array.from({ length: bytes }, (_, i) => String(i % 10))
    const chunks = digits.map((digit) => `1\r\n${digit}\r\n`)
    expect(parser.push(Buffer.from(chunks.join('')))).toBeNull()
    expect(parser.push(Buffer.from('0\r\n\r\n'))?.body.toString()).toBe(digits.join(''))
  })

  it('break the connection with more chunks of a byte each than are borne, but not with larger ones', () => {
    const send = (chunk: string) => new ResponseParser(1_000_000).push(Buffer.from(CHUNKED + chunk.repeat(10_001)))
    expect(() => send('1\r\nx\r\n')).toThrow(expect.objectContaining({ fault: 'garbled' }))
    expect(send(`40\r\n${'x'.repeat(64)}\r\n`)).toBeNull()
  })

  it('are incomplete when the connection ends in the middle', () => {
    expect(parse(byLength.slice(0, -1))).toBeNull()
    expect(parse(byChunks.slice(0, -2))).toBeNull()
  })

  it.each([
    ['no HTTP', 'SSH-2.0-x\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200 OK\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
    ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['a bad chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
    ['a chunk longer than it says', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n'],
    ['a header line without colon', 'HTTP/1.1 200 OK\r\nhello\r\n\r\n'],
    ['a bare line feed in the head', 'HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n'],
    ['more than the limit', `HTTP/1.1 200 OK\r\nContent-Length: ${LIMIT + 1}\r\n\r\n`],
    [
      'more chunks than the limit',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${(LIMIT + 1).toString(16)}\r\n`,
    ],
    ['more than the limit without a length', `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(LIMIT + 1)}`],
    ['a second answer nobody asked for', `${byLength}${byLength}`],
    ['an endless head', `HTTP/1.1 200 OK\r\na: ${'x'.repeat(70_000)}`],
    ['an endless trailer', `${CHUNKED}0\r\n${'a: b\r\n'.repeat(20_000)}`],
    ['announcements without end', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(101)],
  ])('break the connection with %s', (_name, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ fault: 'garbled' }))
  })

  it('never fail in another way on arbitrary bytes', () => {
    const outcome = (text: string, pieces: number[]): unknown => {
      try {
        parse(text, pieces)
        return 'garbled or fine'
      } catch (error) {
        return error instanceof UpstreamError && error.fault === 'garbled' ? 'garbled or fine' : error
      }
    }
    fc.assert(
      fc.property(fc.string(), fc.array(fc.integer({ min: 1, max: 9 })), (noise, pieces) => {
        expect(outcome(`HTTP/1.1 200 OK\r\n${noise}`, pieces)).toBe('garbled or fine')
      }),
    )
  })
})
