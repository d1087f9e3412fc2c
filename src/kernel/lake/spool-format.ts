import { crc32 } from 'node:zlib'
import type { LabelRecord, Origin, PredictionRecord, SchemaRecord } from '../contract/prediction.ts'
import { messageOf } from '../errors.ts'
import { MalformedRecordError } from './errors.ts'
import type { LogCounters } from './log-counters.ts'

/**
 * The bytes of a spool segment, shared by the writer (gateway) and the reader (ingest). All integers little-endian.
 *
 *   segment    = frame*                       first a header, last (once sealed) a footer
 *   frame      = u32 length of body | u32 CRC-32 of body | body          length ≥ 1, so zeros never pass as frames
 *   body       = u8 kind | …
 *   header   1 : JSON SegmentHeader
 *   schema   2 : JSON SchemaRecord, before the first prediction of its version in this segment
 *   prediction 3 : f64 atMs | f64 latencyMs | u16 status | u8 origin | text × 5 (id, endpoint, model, version, caller)
 *                | u32 n, n request bytes | u32 n, n response bytes
 *                | text × 2 (trial, shadowOf; empty for none), left out where nothing follows and both are none
 *                | i32 × 2 (JSON bytes of request and response, −1: all JSON) | u32 n, n texts (absent): left out where
 *                  both are −1 and nobody is absent. So what has none of these is written as before they existed.
 *                | i32 JSON bytes of fed | u32 n, n fed bytes: left out where the model was fed the request itself
 *   label    4 : f64 atMs | u32 row | text id | u8 type (0 number, 1 text, 2 boolean) | f64, text or u8
 *   footer   5 : u32 predictions | u32 labels
 *   text       = u32 length | UTF-8
 */
export const FRAME_HEAD_BYTES = 8
/** Anything longer is taken for a damaged length. */
export const MAX_BODY_BYTES = 256 * 1024 * 1024

const KIND = { header: 1, schema: 2, prediction: 3, label: 4, footer: 5 } as const
const KIND_NAMES = [undefined, 'header', 'schema', 'prediction', 'label', 'footer'] as const
const ORIGINS: readonly Origin[] = ['live', 'shadow', 'preflight', 'fallback', 'ui']
const FIXED_PREDICTION_BYTES = 1 + 8 + 8 + 2 + 1 + 9 * 4 + 3 * 4 + 2 * 4
/** For the JSON bytes of a body that is all JSON. */
const ALL_JSON = -1
const FIXED_LABEL_BYTES = 1 + 8 + 4 + 4 + 1 + 8

/** Which spool a segment belongs to. `stream` is new at each start of a gateway: the ingest's watermark is per stream. */
export interface SegmentHeader {
  kind: 'header'
  stream: string
  instance: string
  openedAtMs: number
  /** As they stood when the segment was opened, so that a crash can't make them smaller. */
  counters: LogCounters
}

/** How many records the segment holds; lets `status` count without reading it. */
export interface SegmentFooter {
  kind: 'footer'
  predictions: number
  labels: number
}

export type SegmentRecord = SegmentHeader | SchemaRecord | PredictionRecord | LabelRecord | SegmentFooter

export const FOOTER_FRAME_BYTES = FRAME_HEAD_BYTES + 1 + 4 + 4

/** Room that the frame may take at most; UTF-8 needs up to three bytes per UTF-16 unit. */
export function frameBytesMax(record: PredictionRecord | LabelRecord): number {
  if (record.kind === 'prediction') {
    const { predictionId, endpoint, model, version, caller, trial, shadowOf } = record
    const units = predictionId.length + endpoint.length + model.length + version.length + caller.length
    const trialUnits = (trial?.length ?? 0) + (shadowOf?.length ?? 0)
    const bodyBytes = record.request.length + record.response.length + (record.fed?.length ?? 0)
    const absentBytes = record.absent === undefined ? 0 : textsBytesMax(record.absent)
    return FRAME_HEAD_BYTES + FIXED_PREDICTION_BYTES + 3 * (units + trialUnits) + bodyBytes + absentBytes
  }
  const labelUnits = typeof record.label === 'string' ? record.label.length : 0
  return FRAME_HEAD_BYTES + FIXED_LABEL_BYTES + 3 * (record.predictionId.length + labelUnits)
}

function textsBytesMax(texts: readonly string[]): number {
  let bytes = 0
  for (const text of texts) bytes += 4 + 3 * text.length
  return bytes
}

/** Writes the record's frame at `at`; there must be `frameBytesMax` of room. Returns the end of the frame. */
export function writeFrame(target: Buffer, at: number, record: PredictionRecord | LabelRecord): number {
  const bodyAt = at + FRAME_HEAD_BYTES
  const end =
    record.kind === 'prediction' ? writePrediction(target, bodyAt, record) : writeLabel(target, bodyAt, record)
  return finishFrame(target, at, end)
}

/** A frame of its own, for the few records that are not on the hot path. */
export function encodeFrame(record: SegmentRecord): Buffer {
  if (record.kind === 'prediction' || record.kind === 'label') {
    const frame = Buffer.allocUnsafe(frameBytesMax(record))
    return frame.subarray(0, writeFrame(frame, 0, record))
  }
  if (record.kind === 'footer') {
    const frame = Buffer.allocUnsafe(FOOTER_FRAME_BYTES)
    frame[FRAME_HEAD_BYTES] = KIND.footer
    frame.writeUInt32LE(record.predictions, FRAME_HEAD_BYTES + 1)
    frame.writeUInt32LE(record.labels, FRAME_HEAD_BYTES + 5)
    return frame.subarray(0, finishFrame(frame, 0, FOOTER_FRAME_BYTES))
  }
  const json = Buffer.from(JSON.stringify(record))
  const frame = Buffer.concat([Buffer.alloc(FRAME_HEAD_BYTES + 1), json])
  frame[FRAME_HEAD_BYTES] = KIND[record.kind]
  return frame.subarray(0, finishFrame(frame, 0, frame.length))
}

/** Where a walk over the frames ended. `end < bytes.length` means that the rest is torn or damaged. */
export interface FrameWalk {
  end: number
  frames: number
}

/**
 * Visits every intact frame from the start and stops at the first that is cut or damaged.
 * @param visit - gets the body and the offset of its frame
 */
export function walkFrames(bytes: Buffer, visit: (body: Buffer, offset: number) => void, from = 0): FrameWalk {
  let at = from
  let frames = 0
  for (;;) {
    const body = intactBody(bytes, at)
    if (body === null) return { end: at, frames }
    visit(body, at)
    frames++
    at += FRAME_HEAD_BYTES + body.length
  }
}

/** The body of the frame at `at`, or null where there is no whole frame with the right CRC. */
export function intactBody(bytes: Buffer, at: number): Buffer | null {
  if (at + FRAME_HEAD_BYTES > bytes.length) return null
  const length = bytes.readUInt32LE(at)
  const end = at + FRAME_HEAD_BYTES + length
  if (length === 0 || length > MAX_BODY_BYTES || end > bytes.length) return null
  const body = bytes.subarray(at + FRAME_HEAD_BYTES, end)
  return crc32(body) === bytes.readUInt32LE(at + 4) ? body : null
}

/** What a body is, without decoding it: for counting. */
export function kindOf(body: Buffer): SegmentRecord['kind'] | 'unknown' {
  return KIND_NAMES[body[0] ?? 0] ?? 'unknown'
}

/**
 * @returns the record; its request and response are views into `body`
 * @throws MalformedRecordError if an intact body can't be read (unknown kind, lengths that don't add up, bad JSON)
 */
export function decodeBody(body: Buffer): SegmentRecord {
  const reader = new BodyReader(body)
  const kind = kindOf(body)
  switch (kind) {
    case 'header':
      return reader.json<SegmentHeader>(kind)
    case 'schema':
      return reader.json<SchemaRecord>(kind)
    case 'prediction':
      return readPrediction(reader)
    case 'label':
      return readLabel(reader)
    case 'footer':
      return reader.whole({ kind, predictions: reader.u32(), labels: reader.u32() })
    case 'unknown':
      throw new MalformedRecordError(`unknown kind ${body[0]}`)
  }
}

function finishFrame(target: Buffer, at: number, end: number): number {
  const bodyAt = at + FRAME_HEAD_BYTES
  target.writeUInt32LE(end - bodyAt, at)
  target.writeUInt32LE(crc32(target.subarray(bodyAt, end)), at + 4)
  return end
}

function writePrediction(target: Buffer, at: number, record: PredictionRecord): number {
  target[at] = KIND.prediction
  target.writeDoubleLE(record.atMs, at + 1)
  target.writeDoubleLE(record.latencyMs, at + 9)
  target.writeUInt16LE(record.status, at + 17)
  target[at + 19] = ORIGINS.indexOf(record.origin)
  let end = writeText(target, at + 20, record.predictionId)
  end = writeText(target, end, record.endpoint)
  end = writeText(target, end, record.model)
  end = writeText(target, end, record.version)
  end = writeText(target, end, record.caller)
  end = writeBytes(target, end, record.request)
  end = writeBytes(target, end, record.response)
  const isPlain =
    (record.requestJsonBytes ?? ALL_JSON) === ALL_JSON &&
    (record.responseJsonBytes ?? ALL_JSON) === ALL_JSON &&
    (record.absent === undefined || record.absent.length === 0) &&
    record.fed === undefined
  if (isPlain && record.trial === null && record.shadowOf === null) return end
  end = writeText(target, end, record.trial ?? '')
  end = writeText(target, end, record.shadowOf ?? '')
  return isPlain ? end : writeForm(target, end, record)
}

function writeForm(target: Buffer, at: number, record: PredictionRecord): number {
  const absent = record.absent ?? []
  target.writeInt32LE(record.requestJsonBytes ?? ALL_JSON, at)
  target.writeInt32LE(record.responseJsonBytes ?? ALL_JSON, at + 4)
  target.writeUInt32LE(absent.length, at + 8)
  let end = at + 12
  for (const member of absent) end = writeText(target, end, member)
  if (record.fed === undefined) return end
  target.writeInt32LE(record.fedJsonBytes ?? ALL_JSON, end)
  return writeBytes(target, end + 4, record.fed)
}

function writeLabel(target: Buffer, at: number, record: LabelRecord): number {
  target[at] = KIND.label
  target.writeDoubleLE(record.atMs, at + 1)
  target.writeUInt32LE(record.row, at + 9)
  const end = writeText(target, at + 13, record.predictionId)
  if (typeof record.label === 'number') {
    target[end] = 0
    return target.writeDoubleLE(record.label, end + 1)
  }
  if (typeof record.label === 'string') {
    target[end] = 1
    return writeText(target, end + 1, record.label)
  }
  target[end] = 2
  target[end + 1] = record.label ? 1 : 0
  return end + 2
}

function writeText(target: Buffer, at: number, text: string): number {
  const written = target.write(text, at + 4, 'utf8')
  target.writeUInt32LE(written, at)
  return at + 4 + written
}

function writeBytes(target: Buffer, at: number, bytes: Uint8Array): number {
  target.writeUInt32LE(bytes.length, at)
  target.set(bytes, at + 4)
  return at + 4 + bytes.length
}

function readPrediction(reader: BodyReader): PredictionRecord {
  const atMs = reader.f64()
  const latencyMs = reader.f64()
  const status = reader.u16()
  const code = reader.u8()
  const origin = ORIGINS[code]
  if (origin === undefined) throw new MalformedRecordError(`unknown origin ${code}`)
  const predictionId = reader.text()
  const endpoint = reader.text()
  const model = reader.text()
  const version = reader.text()
  const caller = reader.text()
  const request = reader.bytes()
  const response = reader.bytes()
  const trial = reader.atEnd ? null : reader.text() || null
  const shadowOf = reader.atEnd ? null : reader.text() || null
  const facts = { kind: 'prediction', predictionId, endpoint, model, version, origin, caller } as const
  const form = reader.atEnd ? null : readForm(reader)
  return reader.whole({ ...facts, atMs, latencyMs, status, trial, shadowOf, request, response, ...form })
}

type Form = Pick<PredictionRecord, 'requestJsonBytes' | 'responseJsonBytes' | 'absent' | 'fed' | 'fedJsonBytes'>

function readForm(reader: BodyReader): Form {
  const form: Form = {}
  const requestJsonBytes = reader.i32()
  const responseJsonBytes = reader.i32()
  if (requestJsonBytes >= 0) form.requestJsonBytes = requestJsonBytes
  if (responseJsonBytes >= 0) form.responseJsonBytes = responseJsonBytes
  const members = reader.u32()
  for (let member = 0; member < members; member++) (form.absent ??= []).push(reader.text())
  if (reader.atEnd) return form
  const fedJsonBytes = reader.i32()
  if (fedJsonBytes >= 0) form.fedJsonBytes = fedJsonBytes
  form.fed = reader.bytes()
  return form
}

function readLabel(reader: BodyReader): LabelRecord {
  const atMs = reader.f64()
  const row = reader.u32()
  const predictionId = reader.text()
  return reader.whole({ kind: 'label', predictionId, row, label: readLabelValue(reader), atMs })
}

function readLabelValue(reader: BodyReader): LabelRecord['label'] {
  const type = reader.u8()
  if (type === 0) return reader.f64()
  if (type === 1) return reader.text()
  if (type === 2) return reader.u8() === 1
  throw new MalformedRecordError(`unknown label type ${type}`)
}

/** Reads a body from its second byte; every read past the end is a malformed record, never a RangeError. */
class BodyReader {
  private readonly body: Buffer
  private at = 1

  constructor(body: Buffer) {
    this.body = body
  }

  get atEnd(): boolean {
    return this.at === this.body.length
  }

  u8(): number {
    return this.body[this.take(1)]!
  }

  u16(): number {
    return this.body.readUInt16LE(this.take(2))
  }

  u32(): number {
    return this.body.readUInt32LE(this.take(4))
  }

  i32(): number {
    return this.body.readInt32LE(this.take(4))
  }

  f64(): number {
    return this.body.readDoubleLE(this.take(8))
  }

  text(): string {
    const length = this.u32()
    const from = this.take(length)
    return this.body.toString('utf8', from, from + length)
  }

  bytes(): Buffer {
    const length = this.u32()
    const from = this.take(length)
    return this.body.subarray(from, from + length)
  }

  json<T extends { kind: string }>(kind: T['kind']): T {
    try {
      const value = JSON.parse(this.body.toString('utf8', 1)) as T
      if (value?.kind === kind) return value
    } catch (error) {
      throw new MalformedRecordError(`bad ${kind}: ${messageOf(error)}`)
    }
    throw new MalformedRecordError(`a ${kind} that does not say so`)
  }

  /** The record, if the body ends with it. */
  whole<T>(record: T): T {
    if (this.at !== this.body.length) throw new MalformedRecordError(`${this.body.length - this.at} bytes left over`)
    return record
  }

  private take(length: number): number {
    const from = this.at
    if (from + length > this.body.length)
      throw new MalformedRecordError(`it ends ${from + length - this.body.length} bytes early`)
    this.at = from + length
    return from
  }
}
