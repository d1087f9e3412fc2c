import { ProtocolError } from '../../../kernel/protocol/inference.ts'

/** How a field's value is written. Groups have gone out of use. */
export const WIRE = { varint: 0, eight: 1, sized: 2, four: 5 } as const

/**
 * Reads a protobuf message field by field, where it lies: what is large in a request never becomes a list of values.
 * @see protobuf.dev, "Encoding"
 */
export class WireReader {
  readonly bytes: Buffer
  readonly end: number
  at: number
  /** Of the field that `next` has found. */
  field = 0
  wire = 0
  /** Its value, without tag and length. */
  from = 0

  constructor(bytes: Buffer, from = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = from
    this.end = end
  }

  /** Goes to the next field: its value is `from` to `at`. @returns false at the end. @throws ProtocolError 400 */
  next(): boolean {
    if (this.at >= this.end) return false
    const tag = this.#number()
    this.field = tag >>> 3
    this.wire = tag & 7
    this.from = this.at
    if (this.wire === WIRE.varint) this.at = endOfVarint(this.bytes, this.at, this.end)
    else if (this.wire === WIRE.eight) this.at += 8
    else if (this.wire === WIRE.four) this.at += 4
    else if (this.wire === WIRE.sized) {
      const length = this.#number()
      this.from = this.at
      this.at += length
    } else throw broken()
    if (this.field === 0 || this.at > this.end) throw broken()
    return true
  }

  /** A tag or a length: 32 bits. */
  #number(): number {
    const to = endOfVarint(this.bytes, this.at, this.end)
    const value = lowBits(this.bytes, this.at, to)
    this.at = to
    return value >>> 0
  }
}

const VARINT_BYTES_MAX = 10

/** @throws ProtocolError 400 */
export function endOfVarint(bytes: Buffer, from: number, end: number): number {
  for (let at = from; at < end && at - from < VARINT_BYTES_MAX; at += 1) if (bytes[at]! < 0x80) return at + 1
  throw broken()
}

/** The lower 32 bits of a varint, signed. */
export function lowBits(bytes: Buffer, from: number, to: number): number {
  let value = 0
  for (let at = from, shift = 0; at < to && shift < 32; at += 1, shift += 7) value |= (bytes[at]! & 0x7f) << shift
  return value
}

/** The upper 32 bits of one of 64, signed. */
export function highBits(bytes: Buffer, from: number, to: number): number {
  let value = 0
  for (let at = from + 4, shift = -4; at < to && shift < 32; at += 1, shift += 7) {
    const bits = bytes[at]! & 0x7f
    value |= shift < 0 ? bits >>> -shift : bits << shift
  }
  return value
}

export function broken(): ProtocolError {
  return new ProtocolError(400, 'The request is no protobuf message of its type')
}

const INPUTS = 5
const CONTENTS = 5
const RAW_INPUT_CONTENTS = 7

/**
 * How much a ModelInferRequest says beside the values of its tensors. A few bytes of it may become hundreds in memory, so
 * it is limited apart.
 * @throws ProtocolError 400
 */
export function outlineBytes(request: Buffer): number {
  const fields = new WireReader(request)
  let values = 0
  while (fields.next()) {
    if (fields.wire !== WIRE.sized) continue
    if (fields.field === RAW_INPUT_CONTENTS) values += fields.at - fields.from
    if (fields.field !== INPUTS) continue
    const input = new WireReader(request, fields.from, fields.at)
    while (input.next()) if (input.field === CONTENTS && input.wire === WIRE.sized) values += input.at - input.from
  }
  return request.length - values
}
