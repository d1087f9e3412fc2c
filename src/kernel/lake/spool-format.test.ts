import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LabelRecord, PredictionRecord } from '../contract/prediction.ts'
import { label, outcomeOf, prediction, schema, segmentBytes } from './lake-builders.ts'
import { NO_COUNTS } from './log-counters.ts'
import { readSegment } from './segment-reader.ts'
import type { SegmentRecord } from './spool-format.ts'
import { decodeBody, encodeFrame, FRAME_HEAD_BYTES, frameBytesMax, walkFrames, writeFrame } from './spool-format.ts'

// Lone surrogates are not text: UTF-8 can't carry them.
const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const number = fc.double({ noNaN: true })

const anyPlainPrediction: fc.Arbitrary<PredictionRecord> = fc.record({
  kind: fc.constant('prediction' as const),
  predictionId: text,
  endpoint: text,
  model: text,
  version: text,
  origin: fc.constantFrom('live', 'shadow', 'preflight', 'fallback', 'ui'),
  caller: text,
  atMs: number,
  latencyMs: number,
  status: fc.integer({ min: 0, max: 65_535 }),
  trial: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })),
  shadowOf: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })),
  request: fc.uint8Array({ maxLength: 300 }),
  response: fc.uint8Array({ maxLength: 300 }),
})

/** What may be there besides, or not at all. */
const anyForm: fc.Arbitrary<Partial<PredictionRecord>> = fc.record(
  {
    requestJsonBytes: fc.nat(2 ** 31 - 1),
    responseJsonBytes: fc.nat(300),
    absent: fc.array(text, { minLength: 1, maxLength: 3 }),
    fed: fc.uint8Array({ maxLength: 300 }),
  },
  { requiredKeys: [] },
)

const anyPrediction: fc.Arbitrary<PredictionRecord> = fc
  .tuple(anyPlainPrediction, anyForm)
  .map(([plainOne, form]) => ({ ...plainOne, ...form, ...(form.fed && { fedJsonBytes: form.fed.length }) }))

const anyLabel: fc.Arbitrary<LabelRecord> = fc.record({
  kind: fc.constant('label' as const),
  predictionId: text,
  row: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  label: fc.oneof(number, text, fc.boolean()),
  atMs: number,
})

const anyRecord: fc.Arbitrary<SegmentRecord> = fc.oneof(
  anyPrediction,
  anyLabel,
  fc.constant(schema()),
  fc.record({ kind: fc.constant('footer' as const), predictions: fc.nat(), labels: fc.nat() }),
  fc.constant({ kind: 'header' as const, stream: 'é', instance: 'g', openedAtMs: 1, counters: NO_COUNTS }),
)

function plain(record: SegmentRecord): unknown {
  if (record.kind !== 'prediction') return record
  const bodies = { request: Buffer.from(record.request), response: Buffer.from(record.response) }
  return { ...record, ...bodies, ...(record.fed && { fed: Buffer.from(record.fed) }) }
}

function decodeAll(bytes: Buffer): { records: SegmentRecord[]; end: number } {
  const records: SegmentRecord[] = []
  const { end } = walkFrames(bytes, (body) => records.push(decodeBody(body)))
  return { records, end }
}

describe('the spool format', () => {
  it('reads a prediction of before there were trials: one that takes part in none is written as it was then', () => {
    const record = prediction({ predictionId: 'p', response: Buffer.from('{}') })
    const frame = encodeFrame(record)
    expect(frame.subarray(-6)).toEqual(Buffer.from([2, 0, 0, 0, 0x7b, 0x7d]))
    expect(decodeBody(frame.subarray(FRAME_HEAD_BYTES))).toMatchObject({ trial: null, shadowOf: null })
  })

  it('reads a prediction of before there were binary tensors, and writes one without them as it was then', () => {
    const record = prediction({ trial: 't', response: Buffer.from('{}') })
    const frame = encodeFrame(record)
    expect(frame.subarray(-11)).toEqual(Buffer.from([0x7b, 0x7d, 1, 0, 0, 0, 0x74, 0, 0, 0, 0]))
    const nothing = { requestJsonBytes: null, responseJsonBytes: null, absent: [] }
    expect(encodeFrame({ ...record, ...nothing })).toEqual(frame)
    expect(decodeBody(frame.subarray(FRAME_HEAD_BYTES))).toEqual(plain(record))
  })

  it('keeps where the JSON of binary bodies ends, raw requests, and who was absent', () => {
    const facts = { requestJsonBytes: 0, responseJsonBytes: 1, absent: ['m@1', 'ü@2'] }
    const frame = encodeFrame(prediction(facts))
    expect(decodeBody(frame.subarray(FRAME_HEAD_BYTES))).toMatchObject({ ...facts, trial: null, shadowOf: null })
    const one = encodeFrame(prediction({ responseJsonBytes: 5 })).subarray(FRAME_HEAD_BYTES)
    expect(decodeBody(one)).toMatchObject({ responseJsonBytes: 5 })
    expect(decodeBody(one)).not.toHaveProperty('requestJsonBytes')
    expect(decodeBody(one)).not.toHaveProperty('absent')
  })

  it('gives back every record as it was written', () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { maxLength: 12 }), (records) => {
        const bytes = Buffer.concat(records.map(encodeFrame))
        expect(decodeAll(bytes)).toEqual({ records: records.map(plain), end: bytes.length })
      }),
    )
  })

  it('never needs more room than it says, wherever it writes', () => {
    fc.assert(
      fc.property(fc.oneof(anyPrediction, anyLabel), fc.nat(50), (record, at) => {
        const max = frameBytesMax(record)
        const target = Buffer.alloc(at + max)
        const end = writeFrame(target, at, record)
        expect(end).toBeLessThanOrEqual(at + max)
        expect(target.subarray(at, end)).toEqual(encodeFrame(record))
      }),
    )
  })

  it('finds exactly the whole records before a tail that is torn at any byte', () => {
    const records = [schema(), prediction({ caller: 'ünï' }), label('x', true), prediction(), label('y', 'late')]
    const frames = records.map(encodeFrame)
    const bytes = Buffer.concat(frames)
    for (let cut = 0; cut <= bytes.length; cut++) {
      let whole = 0
      let wholeBytes = 0
      while (whole < frames.length && wholeBytes + frames[whole]!.length <= cut) wholeBytes += frames[whole++]!.length
      const walked = walkFrames(bytes.subarray(0, cut), () => {})
      expect(walked).toEqual({ end: wholeBytes, frames: whole })
      // The same when the file was grown but its data never reached the disk.
      const zeroed = Buffer.concat([bytes.subarray(0, cut), Buffer.alloc(64)])
      const last = walkFrames(zeroed, () => {})
      expect(last.frames).toBe(whole)
    }
  })

  it('notices any single flipped bit', () => {
    const frame = encodeFrame(prediction())
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const flipped = Buffer.from(frame)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      expect(walkFrames(flipped, () => {}).frames).toBe(0)
    }
  })

  it('calls a body that passes the CRC but makes no sense malformed, whatever is in it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 80 }), (bytes) => {
        expect(outcomeOf(() => decodeBody(Buffer.from(bytes)))).toBeOneOf(['read', 'MalformedRecordError'])
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('reading a sealed segment', () => {
  it('skips over a damaged stretch and finds every record behind it', () => {
    const records = [schema(), prediction(), prediction(), prediction()]
    const bytes = segmentBytes(records)
    const from = segmentBytes(records.slice(0, 2)).length
    for (let at = from; at < from + encodeFrame(records[2]!).length; at += 3) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 0xff
      const content = readSegment(damaged)
      expect(content.bodies.map(({ body }) => decodeBody(body).kind)).toEqual([
        'header',
        'schema',
        'prediction',
        'prediction',
      ])
      expect(content.damaged).toEqual([{ offset: from, length: encodeFrame(records[2]!).length }])
    }
  })

  it('hands over everything, byte for byte, as either intact or damaged', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(400), { maxLength: 4 }), (places) => {
        const bytes = segmentBytes([schema(), label('a', 1), label('b', 'x')])
        for (const place of places) bytes[place % bytes.length]! ^= 0x55
        const { bodies, damaged } = readSegment(bytes)
        const intact = bodies.reduce((sum, { body }) => sum + FRAME_HEAD_BYTES + body.length, 0)
        expect(intact + damaged.reduce((sum, { length }) => sum + length, 0)).toBe(bytes.length)
        for (const { body, offset } of bodies) expect(crc32(body)).toBe(bytes.readUInt32LE(offset + 4))
      }),
    )
  })
})
