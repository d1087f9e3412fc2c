import { describe, expect, it } from 'vitest'
import type { Answer } from '../answer.ts'
import { headOf } from './answer-bytes.ts'

const DATE = 'Thu, 01 Jan 2026 00:00:00 GMT'
const answer = (status: number, headers: string[] = []): Answer => ({ status, headers, body: Buffer.from('body') })
const linesOf = (head: string): string[] => head.split('\r\n')

describe('the head of an answer', () => {
  it('has status, headers, length, date, and for how long the connection is kept', () => {
    expect(linesOf(headOf(answer(200, ['X-A', '1', 'X-B', '']), 'length', 75, DATE))).toEqual([
      'HTTP/1.1 200 OK',
      'X-A: 1',
      'X-B: ',
      'Content-Length: 4',
      `Date: ${DATE}`,
      'Connection: keep-alive',
      'Keep-Alive: timeout=75',
      '',
      '',
    ])
  })

  it('says that the connection is closed', () => {
    expect(headOf(answer(200), 'length', null, DATE)).toMatch(/\r\nConnection: close\r\n\r\n$/)
  })

  it.each([
    [200, 'chunked', /^Transfer-Encoding: chunked$/m, /^Content-Length/m],
    [200, 'until-close', /^Date/m, /^Content-Length|^Transfer-Encoding/m],
    [204, 'length', /^Date/m, /^Content-Length|^Transfer-Encoding/m],
    [204, 'chunked', /^Date/m, /^Content-Length|^Transfer-Encoding/m],
    [304, 'chunked', /^Date/m, /^Content-Length|^Transfer-Encoding/m],
  ] as const)('with status %i, framed by %s, says what it must and no more', (status, framing, has, hasNot) => {
    const head = headOf(answer(status), framing, 75, DATE)
    expect(head).toMatch(has)
    expect(head).not.toMatch(hasNot)
  })

  it('names a status that has no words yet', () => {
    expect(headOf(answer(599), 'length', 75, DATE)).toMatch(/^HTTP\/1\.1 599 Unknown\r\n/)
  })

  it.each([
    ['X', 'a\r\nSet-Cookie: b'],
    ['X', 'a\nb'],
    ['X', 'a\0'],
    ['X', '€'],
    ['X: y', 'a'],
    ['', 'a'],
  ])('refuses the header %j with the value %j', (name, value) => {
    expect(() => headOf(answer(200, [name, value]), 'length', 75, DATE)).toThrow(/can't be sent over HTTP/)
  })

  it('leaves out what is not the answer’s to say, in whatever case', () => {
    const theirs = ['CONTENT-length', '9', 'connection', 'x', 'Keep-Alive', 'x', 'transfer-Encoding', 'x', 'date', 'x']
    expect(headOf(answer(200, theirs), 'length', 75, DATE)).toBe(headOf(answer(200), 'length', 75, DATE))
  })
})
