import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../kernel/stats/random.ts'
import { httpCases } from '../../../testing/http-cases.ts'
import { disagreement, mutatedStream, randomCuts } from '../../../testing/http-fuzz.ts'
import { openLlhttpParser } from '../../../testing/llhttp-parser.ts'
import { recordParser, summaryOf } from '../../../testing/parser-record.ts'
import type { OpenParser } from './parser.ts'
import { openStrictParser } from './strict-parser.ts'

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')
const strict = (text: string, options = {}) => recordParser(openStrictParser, bytesOf(text), options)

describe('RFC 9112', () => {
  it.each(httpCases)('$says', ({ bytes, gives }) => {
    expect(summaryOf(strict(bytes))).toEqual(gives)
  })

  it('is kept however the bytes are cut into parts', () => {
    for (const { says, bytes } of httpCases) {
      const whole = summaryOf(strict(bytes))
      const everyByte = Array.from(bytes, (_, at) => at)
      expect([says, summaryOf(strict(bytes, { cuts: everyByte }))]).toEqual([says, whole])
      for (let cut = 1; cut < Math.min(bytes.length, 400); cut += 1) {
        expect([says, cut, summaryOf(strict(bytes, { cuts: [cut] }))]).toEqual([says, cut, whole])
      }
    }
  }, 120_000)

  it('is kept where the parser is held after each request', () => {
    for (const { says, bytes, gives } of httpCases) {
      expect([says, summaryOf(strict(bytes, { held: true }))]).toEqual([says, gives])
      expect([says, summaryOf(strict(bytes, { held: true, cuts: [bytes.length >> 1] }))]).toEqual([says, gives])
    }
  })
})

describe('the oracle', () => {
  const refusedOr = (open: OpenParser, text: string, options: { cuts?: number[]; held?: boolean } = {}) =>
    summaryOf(recordParser(open, bytesOf(text), options)).map((line) => (typeof line === 'number' ? 400 : line))

  it.each(httpCases.filter(({ laxElsewhere }) => laxElsewhere === undefined))('agrees that $says', ({ bytes }) => {
    expect(refusedOr(openLlhttpParser, bytes)).toEqual(refusedOr(openStrictParser, bytes))
    const everyByte = Array.from(bytes, (_, at) => at)
    expect(refusedOr(openLlhttpParser, bytes, { cuts: everyByte })).toEqual(refusedOr(openStrictParser, bytes))
    expect(refusedOr(openLlhttpParser, bytes, { held: true })).toEqual(refusedOr(openStrictParser, bytes))
  })

  it.each(httpCases.filter(({ laxElsewhere }) => laxElsewhere !== undefined))(
    'takes more where $says: $laxElsewhere',
    ({ bytes }) => {
      expect(refusedOr(openLlhttpParser, bytes)).not.toEqual(refusedOr(openStrictParser, bytes))
    },
  )
})

describe('heads that are like the one before', () => {
  const head = (tag: string) => `POST /m HTTP/1.1\r\nHost: a\r\nX-Tag: ${tag}\r\nContent-Length: 2\r\n\r\n{}`

  it('are read as those that are not, wherever the bytes are cut', () => {
    const text = ['1', '1', '1', '2', '2', '1', '11', '1'].map(head).join('') + `\r\n${head('1')}${head('1')}`
    const { requests } = strict(text)
    expect(requests.map(({ headers }) => new Map(headers as [string, string][]).get('x-tag'))).toEqual([
      '1',
      '1',
      '1',
      '2',
      '2',
      '1',
      '11',
      '1',
      '1',
      '1',
    ])
    const whole = summaryOf(strict(text))
    for (let cut = 1; cut < text.length; cut += 1) expect(summaryOf(strict(text, { cuts: [cut] }))).toEqual(whole)
  })
})

describe('what a head becomes', () => {
  it('names in lower case, repeated ones joined, values without the blanks around them', () => {
    const { requests } = strict('GET / HTTP/1.1\r\nHOST: a\r\nX-Tag:  b \r\nx-tag: c\r\nX-Empty:\r\n\r\n')
    expect(requests[0]?.headers).toEqual([
      ['host', 'a'],
      ['x-tag', 'b, c'],
      ['x-empty', ''],
    ])
  })

  it('a map without a prototype, whatever the names', () => {
    const { requests } = strict('GET / HTTP/1.1\r\nHost: a\r\n__proto__: x\r\nconstructor: y\r\n\r\n')
    expect(requests[0]?.headers.slice(1)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
    let hasPrototype = true
    const parser = openStrictParser(
      { headBytes: 1_000, headers: 10 },
      {
        onHead: ({ headers }) => void (hasPrototype = 'toString' in headers),
        onBody: () => undefined,
        onEnd: () => 'go on',
        onRefusal: () => undefined,
      },
    )
    parser.push(bytesOf('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))
    expect(hasPrototype).toBe(false)
  })

  it('the authority of an absolute target instead of the Host', () => {
    const { requests } = strict('GET http://b:80/x HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(requests[0]?.headers).toEqual([['host', 'b:80']])
  })

  it('an expectation, which HTTP/1.0 has not', () => {
    const expects = (version: string) =>
      strict(`POST / HTTP/${version}\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx`).requests[0]
        ?.expectsContinue
    expect([expects('1.1'), expects('1.0')]).toEqual([true, false])
  })

  it('the same again where a head is repeated, and another where one byte differs', () => {
    const head = (name: string): string => `POST /${name} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n${name}`
    expect(summaryOf(strict(['a', 'a', 'b', 'a'].map(head).join('')))).toEqual(
      ['a', 'a', 'b', 'a'].map((name) => `POST /${name} ${name}`),
    )
  })
})

describe('the place of a parser', () => {
  it.each([
    ['between', ''],
    ['between', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['head', 'G'],
    ['head', '\r'],
    ['body', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx'],
    ['body', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n'],
    ['over', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
    ['over', 'nonsense\r\n\r\n'],
  ])('is %j behind %j', (place, text) => {
    expect(strict(text).place).toBe(place)
  })
})

describe('the limits of a parser', () => {
  const limits = { headBytes: 60, headers: 2 }
  const head = (fields: string): string => `GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`

  it('count the bytes of a head without its empty line', () => {
    const fits = `X: ${'y'.repeat(limits.headBytes - 'GET / HTTP/1.1\r\nHost: a\r\nX: '.length)}\r\n`
    expect(summaryOf(strict(head(fits), { limits }))).toEqual(['GET /'])
    const refused = strict(head(fits.replace('X', 'XX')), { limits })
    expect(refused.refusal).toMatchObject({
      status: 431,
      reason: 'The request head is larger than the limit of 60 bytes.',
    })
  })

  it('count the fields', () => {
    expect(summaryOf(strict(head('A: b\r\n'), { limits }))).toEqual(['GET /'])
    expect(strict(head('A: b\r\nC: d\r\n'), { limits }).refusal).toMatchObject({
      status: 431,
      reason: 'The request has more than 2 headers.',
    })
  })

  it.each([
    ['blanks within a list', `GET / HTTP/1.1\r\nHost: a\r\nConnection: a${' '.repeat(16_000)}b\r\n\r\n`],
    ['zeros', `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${'0'.repeat(16_000)}\r\n\r\n`],
    ['an authority', `GET http://${'a'.repeat(16_000)}@ HTTP/1.1\r\nHost: a\r\n\r\n`],
    ['a Host', `GET / HTTP/1.1\r\nHost: ${'a%41'.repeat(4_000)}/\r\n\r\n`],
    ['a coding', `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ${'a, '.repeat(5_000)}\r\n\r\n`],
    ['an extension', `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5${';a="b"'.repeat(165)};\r\n`],
  ])('keep %s of any length from costing more than its bytes', (_what, text) => {
    strict(text)
    const beganMs = performance.now()
    for (let turn = 0; turn < 20; turn += 1) strict(text)
    expect((performance.now() - beganMs) / 20).toBeLessThan(20)
  })

  it('let a client that sends one byte a chunk send many of them', () => {
    const text = `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(50_000)}0\r\n\r\n`
    expect(strict(text).requests[0]?.body.length).toBe(50_000)
  })
})

describe('streams that were changed at random', () => {
  it('are never taken where llhttp refuses them, nor understood in another way, nor differently when cut', () => {
    const random = seededRandom(20260)
    const wrong: string[] = []
    let taken = 0
    for (let n = 0; n < 20_000; n += 1) {
      const bytes = mutatedStream(random)
      const why = disagreement(bytes, randomCuts(bytes.length, random))
      if (why !== null) wrong.push(`${JSON.stringify(bytes.toString('latin1'))}: ${why}`)
      if (summaryOf(recordParser(openStrictParser, bytes)).some((line) => typeof line === 'string')) taken += 1
    }
    expect(wrong.slice(0, 5)).toEqual([])
    expect(taken).toBeGreaterThan(5_000) // else the changes would leave nothing to disagree on
  }, 120_000)
})
