import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FRAME_KIND } from '../../kernel/contract/frames.ts'
import { FrameError } from './errors.ts'
import { FrameReader } from './frame-reader.ts'
import {
  answerHeadBytes,
  headersText,
  readAnswer,
  readHeaders,
  readRequest,
  RepeatedText,
  requestHeadBytes,
  TEXT_BYTES_MAX,
  writeAnswerHead,
  writeHead,
  writeRequestHead,
} from './frames.ts'

const SEED = 20_261_123

interface Seen {
  id: number
  kind: number
  payload: Buffer
}

/** Cuts `bytes` into pieces of these lengths, the last one as long as it needs to be. */
function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  let from = 0
  for (const length of lengths) {
    if (from >= bytes.length) break
    pieces.push(bytes.subarray(from, from + length))
    from += length
  }
  if (from < bytes.length) pieces.push(bytes.subarray(from))
  return pieces
}

/** Copies each piece, as a socket would, so that nothing is found by reading on in memory. */
function readAll(pieces: readonly Buffer[], accepts: (id: number) => boolean = () => true): Seen[] {
  const seen: Seen[] = []
  const reader = new FrameReader({
    accepts: (id) => accepts(id),
    frame: (id, kind, payload) => seen.push({ id, kind, payload: Buffer.from(payload) }),
  })
  for (const piece of pieces) reader.push(Buffer.from(piece))
  return seen
}

function frame(id: number, kind: number, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + payload.length)
  payload.copy(bytes, writeHead(bytes, 0, id, kind, bytes.length))
  return bytes
}

const anyFrame = fc.record({
  id: fc.integer({ min: 0, max: 0xffff_ffff }),
  kind: fc.integer({ min: 0, max: 255 }),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
})
const lengths = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 200 })

describe('frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), lengths, (frames, pieces) => {
        const bytes = Buffer.concat(frames.map(({ id, kind, payload }) => frame(id, kind, payload)))
        expect(readAll(cut(bytes, pieces))).toEqual(frames)
      }),
      { seed: SEED, numRuns: 500 },
    )
  })

  it('that are not wanted are read over, and the others are not touched by it', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), lengths, (frames, pieces) => {
        const bytes = Buffer.concat(frames.map(({ id, kind, payload }) => frame(id, kind, payload)))
        const wanted = (id: number): boolean => id % 2 === 0
        expect(readAll(cut(bytes, pieces), wanted)).toEqual(frames.filter(({ id }) => wanted(id)))
      }),
      { seed: SEED, numRuns: 300 },
    )
  })

  it('that are damaged end in a FrameError or in frames, never in anything else', () => {
    const outcome = (pieces: readonly Buffer[]): string => {
      try {
        for (const { kind, payload } of readAll(pieces)) {
          if (kind === FRAME_KIND.request) readHeaders(readRequest(payload).headers)
          else if (kind === FRAME_KIND.answer) readHeaders(readAnswer(payload).headers)
        }
        return 'read'
      } catch (error) {
        return error instanceof FrameError ? 'read' : String(error)
      }
    }
    const damage = fc.array(fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) }), { maxLength: 8 })
    fc.assert(
      fc.property(fc.array(anyExchange, { minLength: 1, maxLength: 4 }), damage, lengths, (exchanges, changes, at) => {
        const bytes = Buffer.concat(exchanges.map(encode))
        for (const change of changes) bytes[change.at % bytes.length] = change.to
        expect(outcome(cut(bytes, at))).toBe('read')
      }),
      { seed: SEED, numRuns: 2_000 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), lengths, (noise, at) => {
        expect(outcome(cut(Buffer.from(noise), at))).toBe('read')
      }),
      { seed: SEED, numRuns: 1_000 },
    )
  })

  it.each([
    ['shorter than its own head', 4],
    ['longer than any may be', FRAME_BYTES_MAX + 1],
  ])('that say to be %s are not believed', (_name, length) => {
    const bytes = frame(1, 2, Buffer.alloc(0))
    bytes.writeUInt32LE(length, 0)
    expect(() => readAll([bytes])).toThrow(FrameError)
  })

  it('of many megabytes are put together once', () => {
    const payload = Buffer.alloc(5_000_000, 7)
    const bytes = Buffer.concat([frame(9, 1, payload), frame(10, 3, Buffer.alloc(0))])
    const seen = readAll(
      cut(
        bytes,
        Array.from({ length: 100 }, () => 65_536),
      ),
    )
    expect(seen.map(({ id }) => id)).toEqual([9, 10])
    expect(seen[0]!.payload.equals(payload)).toBe(true)
  })
})

interface AnyExchange {
  id: number
  isRequest: boolean
  status: number
  jsonShare: number | null
  timeoutMs: number
  model: string
  version: string
  headers: [string, string][]
  body: Uint8Array
}

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const line = text.map((value) => value.replaceAll('\n', ' '))
const anyExchange: fc.Arbitrary<AnyExchange> = fc.record({
  id: fc.integer({ min: 0, max: 0xffff_ffff }),
  isRequest: fc.boolean(),
  status: fc.integer({ min: 200, max: 599 }),
  jsonShare: fc.option(fc.integer({ min: 0, max: 100 })),
  timeoutMs: fc.integer({ min: 0, max: 0xffff_ffff }),
  model: text,
  version: text,
  headers: fc.array(
    fc.tuple(
      line.map((name) => name.toLowerCase()),
      line,
    ),
    { maxLength: 5 },
  ),
  body: fc.uint8Array({ maxLength: 200 }),
})

const jsonBytesOf = ({ jsonShare, body }: AnyExchange): number | null =>
  jsonShare === null ? null : Math.floor((body.length * jsonShare) / 100)

function encode(exchange: AnyExchange): Buffer {
  const { id, isRequest, status, timeoutMs, model, version, headers, body } = exchange
  const texts = { model: Buffer.from(model), version: Buffer.from(version), headers: headersText(headers.flat()) }
  const jsonBytes = jsonBytesOf(exchange)
  const headBytes = isRequest
    ? requestHeadBytes(texts.model.length + texts.version.length + texts.headers.length)
    : answerHeadBytes(texts.headers.length)
  const bytes = Buffer.alloc(headBytes + body.length)
  const end = isRequest
    ? writeRequestHead(bytes, 0, { id, jsonBytes, timeoutMs, ...texts, bodyBytes: body.length })
    : writeAnswerHead(bytes, 0, id, status, jsonBytes, texts.headers, body.length)
  expect(end).toBe(headBytes)
  bytes.set(body, end)
  return bytes
}

describe('requests and answers', () => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(anyExchange, (exchange) => {
        const [seen] = readAll([encode(exchange)])
        expect(seen).toMatchObject({
          id: exchange.id,
          kind: exchange.isRequest ? FRAME_KIND.request : FRAME_KIND.answer,
        })
        const read = exchange.isRequest ? readRequest(seen!.payload) : readAnswer(seen!.payload)
        const { model, version, timeoutMs, status } = exchange
        expect(read).toMatchObject(exchange.isRequest ? { model, version, timeoutMs } : { status })
        expect(read.jsonBytes).toBe(jsonBytesOf(exchange))
        expect([...read.body]).toEqual([...exchange.body])
        expect(readHeaders(read.headers)).toEqual(exchange.headers)
      }),
      { seed: SEED, numRuns: 500 },
    )
  })

  it('can not smuggle a header in by a line break, nor more than fits', () => {
    const long = 'x'.repeat(TEXT_BYTES_MAX)
    const written = headersText(['a', '1\nset-cookie\nevil', 'b\n', '2', 'c', long, 'D', '4'])
    expect(readHeaders(written.toString())).toEqual([['d', '4']])
  })

  it('that contradict themselves are not believed', () => {
    const answer = encode({
      id: 1,
      isRequest: false,
      status: 200,
      jsonShare: 100,
      timeoutMs: 0,
      model: '',
      version: '',
      headers: [],
      body: Buffer.from('{}'),
    }).subarray(FRAME_HEAD_BYTES)
    expect(readAnswer(answer)).toMatchObject({ status: 200, jsonBytes: 2 })
    for (const [at, value] of [
      [0, 3], // more JSON than there is body
      [0, -2],
      [4, 99], // no status
    ] as const) {
      const wrong = Buffer.from(answer)
      if (at === 4) wrong.writeUInt16LE(value, at)
      else wrong.writeInt32LE(value, at)
      expect(() => readAnswer(wrong)).toThrow(FrameError)
    }
    expect(() => readAnswer(answer.subarray(0, 7))).toThrow(FrameError)
    expect(() => readHeaders('name\nvalue')).toThrow(FrameError)
  })
})

describe('a text that comes again', () => {
  const texts = [
    '',
    'small',
    'small',
    'smalL',
    'a longer one',
    'ä',
    'ä',
    'x'.repeat(3_000),
    'x'.repeat(3_000),
    'small',
    '',
  ]

  it('is read as it stands, whatever came before it', () => {
    const repeated = new RepeatedText()
    for (const text of texts) {
      const payload = Buffer.from(`[${text}]`)
      expect(repeated.read(payload, 1, payload.length - 1)).toBe(text)
      payload.fill(0) // the memory of a socket is used again
    }
  })
})
