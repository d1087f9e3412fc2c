import { deflateRawSync, deflateSync, gzipSync, gunzipSync, inflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { jsonAnswer } from '../answer.ts'
import { acceptedCoding, PACKED_FROM_BYTES, Packer, requestCoding, Unpacker } from './content-coding.ts'

describe('how a request is packed', () => {
  it.each([
    [undefined, null],
    ['', null],
    ['identity', null],
    ['gzip', 'gzip'],
    ['GZip', 'gzip'],
    ['x-gzip', 'gzip'],
    [' deflate ', 'deflate'],
  ])('is read from Content-Encoding: %s', (header, coding) => expect(requestCoding(header)).toBe(coding))

  it.each(['br', 'zstd', 'gzip, deflate', 'gzip, gzip'])('is not understood where it is %s', (header) => {
    expect(() => requestCoding(header)).toThrow(expect.objectContaining({ status: 415 }))
  })
})

describe('how an answer may be packed', () => {
  it.each([
    [undefined, null],
    ['', null],
    ['identity', null],
    ['br', null],
    ['gzip', 'gzip'],
    ['deflate', 'deflate'],
    ['gzip, deflate', 'gzip'],
    ['deflate, gzip', 'gzip'],
    ['gzip, deflate, br, zstd', 'gzip'],
    ['GZIP;q=0.5, deflate;q=0.8', 'deflate'],
    ['gzip;q=0, deflate;q=0', null],
    ['*', 'gzip'],
    ['gzip;q=0, *;q=0.1', 'deflate'],
    ['gzip;q=nonsense', null],
    [' , ;q=1,', null],
  ])('is read from Accept-Encoding: %s', (header, coding) => expect(acceptedCoding(header)).toBe(coding))
})

describe('unpacking', () => {
  const text = Buffer.from('{"inputs":[]}')

  it.each([
    ['gzip', gzipSync(text)],
    ['deflate', deflateSync(text)],
  ] as const)('%s gives what was packed, and knows how much is held', async (coding, packed) => {
    const unpacker = new Unpacker(1_000_000)
    const unpacked = await unpacker.unpack(packed, coding, 1_000)
    expect(unpacked.bytes).toEqual(text)
    expect(unpacker.heldBytes).toBe(text.length)
    unpacked.release()
    expect(unpacker.heldBytes).toBe(0)
  })

  it.each([
    ['gzip', Buffer.from('no gzip')],
    ['gzip', gzipSync(text).subarray(0, 20)],
    ['gzip', Buffer.alloc(0)],
    ['gzip', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['deflate', gzipSync(text)],
  ] as const)('what is no %s is refused with 400', async (coding, packed) => {
    const unpacker = new Unpacker(1_000_000)
    await expect(unpacker.unpack(packed, coding, 1_000)).rejects.toMatchObject({
      status: 400,
      message: expect.stringMatching(`^The body is not valid ${coding}: `),
    })
    expect(unpacker.heldBytes).toBe(0)
  })

  it('a bomb stops at the limit with 413, and exactly the limit is fine', async () => {
    const unpacker = new Unpacker(100_000_000)
    const bomb = gzipSync(Buffer.alloc(50_000_000))
    await expect(unpacker.unpack(bomb, 'gzip', 1_000_000)).rejects.toMatchObject({
      status: 413,
      message: 'The request body is larger than the limit of 1000000 bytes.',
    })
    expect(unpacker.heldBytes).toBe(0)
    const { bytes } = await unpacker.unpack(gzipSync(Buffer.alloc(1_000_000)), 'gzip', 1_000_000)
    expect(bytes).toHaveLength(1_000_000)
  })

  it('many at once are refused with 503 before any of them is unpacked', async () => {
    const unpacker = new Unpacker(2_500_000)
    const packed = gzipSync(Buffer.alloc(1_000_000))
    const all = Array.from({ length: 4 }, () => unpacker.unpack(packed, 'gzip', 1_000_000))
    const ended = await Promise.allSettled(all)
    expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected'])
    expect(ended[2]).toMatchObject({ reason: { status: 503 } })
    expect(unpacker.heldBytes).toBe(2_000_000)
    for (const one of ended) if (one.status === 'fulfilled') one.value.release()
    expect(unpacker.heldBytes).toBe(0)
  })
})

describe('a crowd of packed bodies', () => {
  it('waits for its turn, so that only those being unpacked have room set aside to grow', async () => {
    const unpacker = new Unpacker(9_000_000)
    const packed = gzipSync(Buffer.alloc(20_000, 'a row of numbers '))
    const all = await Promise.all(Array.from({ length: 100 }, () => unpacker.unpack(packed, 'gzip', 1_000_000)))
    expect(new Set(all.map(({ bytes }) => bytes.length))).toEqual(new Set([20_000]))
    expect(unpacker.heldBytes).toBe(2_000_000)
  })

  it('goes on behind one that is no good', async () => {
    const unpacker = new Unpacker(9_000_000)
    const bodies = Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? Buffer.from('no gzip') : gzipSync('{}')))
    const ended = await Promise.allSettled(bodies.map((body) => unpacker.unpack(body, 'gzip', 1_000)))
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(20)
    expect(unpacker.heldBytes).toBe(40)
  })
})

describe('packing', () => {
  const long = jsonAnswer(200, { data: Array.from({ length: 2_000 }, (_, row) => row) }, ['millrace-endpoint', 'm'])

  it.each([
    ['gzip', gunzipSync],
    ['deflate', inflateSync],
  ] as const)('gives %s to those that accept it', async (coding, unpack) => {
    const packed = await new Packer().pack(long, coding)
    expect(packed.headers).toEqual([...long.headers, 'Content-Encoding', coding, 'Vary', 'Accept-Encoding'])
    expect(packed.body.length).toBeLessThan(long.body.length)
    expect(unpack(packed.body)).toEqual(long.body)
  })

  it('leaves an answer alone that nobody wants packed, that is short, or that would not shrink', async () => {
    const packer = new Packer()
    expect(packer.pack(long, undefined)).toBe(long)
    expect(packer.pack(long, 'br')).toBe(long)
    const short = { ...long, body: long.body.subarray(0, PACKED_FROM_BYTES - 1) }
    expect(packer.pack(short, 'gzip')).toBe(short)
    const packedBefore = { ...long, headers: ['content-encoding', 'gzip'] }
    expect(packer.pack(packedBefore, 'gzip')).toBe(packedBefore)
    const noise = { ...long, body: randomBytes(6_000) }
    expect(await packer.pack(noise, 'gzip')).toBe(noise)
  })

  it('packs only so many at once', async () => {
    const packer = new Packer()
    const answers = Array.from({ length: 70 }, () => packer.pack(long, 'gzip'))
    expect(answers.filter((answer) => answer === long)).toHaveLength(6)
    for (const answer of answers) await answer
    expect(packer.pack(long, 'gzip')).not.toBe(long)
  })
})

/** Noise that no coding shrinks, the same each time. */
function randomBytes(count: number): Buffer {
  let state = 42
  return Buffer.from(
    Array.from({ length: count }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state >>> 24
    }),
  )
}
