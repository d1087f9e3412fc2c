import { readSync } from 'node:fs'

/**
 * Reads protobuf's wire format straight from an open file, so that weights of any size are skipped, never loaded.
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export interface ProtoField {
  number: number
  /** Where the field begins, tag included; it ends at `end`. */
  at: number
  /** 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes. */
  wire: 0 | 1 | 2 | 5
  /** For wire 0: the value as a signed 64-bit integer. */
  value: number
  /** Where the content lies, byte offsets in the file; of a varint its own bytes. */
  start: number
  end: number
}

/** What it holds is not protobuf, or ends too early. `offset` in bytes. */
export class ProtoError extends Error {
  readonly offset: number

  constructor(message: string, offset: number) {
    super(message)
    this.name = 'ProtoError'
    this.offset = offset
  }
}

const WINDOW_BYTES = 65_536
/** Names, paths and metadata values: anything longer is refused instead of loaded. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024
/** Read of one file; about two seconds. Weights are single fields, so that real models have far fewer. */
const MAX_FIELDS = 20_000_000

export class ProtoFile {
  readonly sizeBytes: number
  readonly #fd: number
  readonly #window = Buffer.allocUnsafe(WINDOW_BYTES)
  #windowStart = 0
  #windowEnd = 0
  #fieldsRead = 0

  constructor(fd: number, sizeBytes: number) {
    this.#fd = fd
    this.sizeBytes = sizeBytes
  }

  /** The fields of the message between two offsets, in file order. */
  *fields(start: number, end: number): Generator<ProtoField, void> {
    let at = start
    while (at < end) {
      const tag = this.#varint(at, end)
      const number = Math.floor(tag.value / 8)
      const wire = tag.value % 8
      if (number < 1) throw new ProtoError(`field number ${number}`, at)
      this.#fieldsRead += 1
      if (this.#fieldsRead > MAX_FIELDS) throw new ProtoError(`more than ${MAX_FIELDS} fields`, at)
      const field = this.#field(number, wire, at, tag.next, end)
      yield field.field
      at = field.next
    }
  }

  text(field: ProtoField): string {
    if (field.wire !== 2) throw new ProtoError('text expected', field.start)
    return this.bytes(field).toString('utf8')
  }

  /** The content of a field as it stands in the file. */
  bytes(field: ProtoField): Buffer {
    const length = field.end - field.start
    if (length > MAX_TEXT_BYTES) throw new ProtoError(`text of ${length} bytes`, field.start)
    const bytes = Buffer.alloc(length)
    if (readSync(this.#fd, bytes, 0, length, field.start) !== length) throw new ProtoError('the file ends', field.start)
    return bytes
  }

  #field(number: number, wire: number, tagAt: number, at: number, end: number): { field: ProtoField; next: number } {
    if (wire === 0) {
      const { value, next } = this.#varint(at, end)
      return { field: { number, at: tagAt, wire, value, start: at, end: next }, next }
    }
    if (wire === 1 || wire === 5) {
      const next = at + (wire === 1 ? 8 : 4)
      if (next > end) throw new ProtoError(`field ${number} needs bytes up to ${next}, it ends at ${end}`, at)
      return { field: { number, at: tagAt, wire, value: 0, start: at, end: next }, next }
    }
    if (wire !== 2) throw new ProtoError(`field ${number} has wire type ${wire}`, at)
    const { value: length, next: start } = this.#varint(at, end)
    if (length < 0 || start + length > end) {
      throw new ProtoError(`field ${number} needs bytes up to ${start + length}, it ends at ${end}`, at)
    }
    return { field: { number, at: tagAt, wire, value: 0, start, end: start + length }, next: start + length }
  }

  #varint(start: number, end: number): { value: number; next: number } {
    let low = 0
    let at = start
    for (let shift = 0; shift < 49; shift += 7) {
      const byte = this.#byte(at, end)
      at += 1
      low += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return { value: low, next: at }
    }
    let value = BigInt(low)
    for (let shift = 49n; shift < 70n; shift += 7n) {
      const byte = this.#byte(at, end)
      at += 1
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return { value: Number(BigInt.asIntN(64, value)), next: at }
    }
    throw new ProtoError('a number of more than 10 bytes', start)
  }

  #byte(at: number, end: number): number {
    if (at >= end) throw new ProtoError('the message ends inside a number', at)
    if (at < this.#windowStart || at >= this.#windowEnd) {
      this.#windowStart = at
      this.#windowEnd = at + readSync(this.#fd, this.#window, 0, WINDOW_BYTES, at)
      if (this.#windowEnd === at) throw new ProtoError('the file ends', at)
    }
    return this.#window[at - this.#windowStart]!
  }
}
