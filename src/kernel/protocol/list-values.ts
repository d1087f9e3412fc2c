import type { Datatype } from '../model/signature.ts'
import { allocate } from '../model/tensor.ts'
import type { TensorData } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { decodeUtf8, parseJson, parseKeepingDigits } from './json.ts'
import type { Refusal } from './json.ts'
import type { ListRange } from './json-outline.ts'
import { INEXACT_INTEGER, storeValues } from './tensor-from-json.ts'

export interface ListOf {
  /** For errors. */
  input: string
  /** Of the model; FP16 has none in JSON. */
  datatype: Datatype
  shape: readonly number[]
  /** Product of `shape`. */
  count: number
}

/** Of JSON that is parsed at once: about half a millisecond. */
const PART_BYTES = 64 * 1024
/** A value and what is between it and the next. */
const VALUE_BYTES_MIN = 2

/**
 * The values of one tensor from a list in JSON, flat or nested as `shape` says, stored as they are read: part by part,
 * each parsed as a flat list of its own, so that there are never more than some thousand of them as values of JSON.
 *
 *   [[1,2],[3,4]]  ─▶  "1,2 , 3,4"  ─▶  JSON.parse("[1,2 , 3,4]")  ─▶  Float32Array
 *
 * @yields after every part
 * @throws ProtocolError 400 naming the input
 */
export function* valuesOfList(json: Buffer, range: ListRange, of: ListOf): Generator<undefined, TensorData, undefined> {
  const { input, datatype, shape, count } = of
  if (count > (range.to - range.from) / VALUE_BYTES_MIN) throw otherCount(of, 'fewer')
  const data = allocate(datatype, count)
  const parts = partsOf(json, range, of)
  let stored = 0
  for (let part = parts.next(); part !== null; part = parts.next()) {
    const text = decodeUtf8(part, notJson(input, stored))
    stored += storePart(text, data, stored, of)
    yield
  }
  if (stored !== count) throw otherCount({ input, datatype, shape, count }, String(stored))
  return data
}

function storePart(text: string, data: TensorData, at: number, of: ListOf): number {
  const list = `[${text}]`
  const refusal = notJson(of.input, at)
  const values = parseJson(list, refusal) as unknown[]
  if (values.length === 0) throw refusal('not valid JSON: a value is missing')
  if (at + values.length > of.count) throw otherCount(of, 'more')
  try {
    storeAt(values, data, at, of, false)
  } catch (thrown) {
    if (thrown !== INEXACT_INTEGER) throw thrown
    storeAt(parseExact(list, refusal), data, at, of, true)
  }
  return values.length
}

/** Integers that may be beyond 2^53, of at most as many digits as 64 bits have; a longer one is out of range anyway. */
const LONG_INTEGERS = /(?<=[,[\s])(-?[1-9]\d{15,19})(?=[,\]\s])/g

/** The same values as parseKeepingDigits gives, in half the time: long integers are parsed as texts. */
function parseExact(list: string, refusal: Refusal): unknown[] {
  if (list.includes('"')) return parseKeepingDigits(list, refusal) as unknown[]
  const values = parseJson(list.replace(LONG_INTEGERS, '"$1"'), refusal) as unknown[]
  for (let i = 0; i < values.length; i += 1) if (typeof values[i] === 'string') values[i] = BigInt(values[i] as string)
  return values
}

function storeAt(values: unknown[], data: TensorData, at: number, of: ListOf, exact: boolean): void {
  const { input, datatype } = of
  if (!Array.isArray(data))
    return storeValues(input, datatype, values, data.subarray(at, at + values.length), exact, at)
  const texts: string[] = []
  storeValues(input, datatype, values, texts, exact, at)
  for (let i = 0; i < texts.length; i += 1) data[at + i] = texts[i]!
}

const notJson =
  (input: string, at: number): Refusal =>
  (why, cause) =>
    new ProtocolError(400, `Input '${input}': 'data' is ${why}; it begins behind value ${at}`, cause)

function otherCount({ input, shape, count }: ListOf, has: string): ProtocolError {
  return new ProtocolError(
    400,
    `Input '${input}': shape [${shape.join(', ')}] takes ${count} values, but 'data' has ${has}`,
  )
}

/** Parts of a list, each of them values with commas in between. */
interface Parts {
  /** The bytes are good until the next call; null at the end. */
  next(): Buffer | null
}

const [QUOTE, BACKSLASH, COMMA, OPEN, CLOSE, SPACE] = [0x22, 0x5c, 0x2c, 0x5b, 0x5d, 0x20] as const

function partsOf(json: Buffer, { from, to }: ListRange, of: ListOf): Parts {
  let first = from + 1
  while (first < to && json[first]! <= SPACE) first += 1
  if (json[first] === CLOSE && first === to - 1) return { next: () => null }
  if (json[to - 1] !== CLOSE) throw unfinished(of.input)
  if (json[first] === OPEN) return new NestedParts(json, { from, to }, of, of.shape)
  const isText = of.datatype === 'BYTES'
  return isText ? new NestedParts(json, { from, to }, of, [of.count]) : new FlatParts(json, first, to - 1)
}

const unfinished = (input: string): ProtocolError => new ProtocolError(400, `Input '${input}': 'data' has no end`)

/** Of a list in which every comma is between two values. */
class FlatParts implements Parts {
  readonly #json: Buffer
  readonly #end: number
  #at: number

  constructor(json: Buffer, from: number, end: number) {
    this.#json = json
    this.#at = from
    this.#end = end
  }

  next(): Buffer | null {
    if (this.#at > this.#end) return null
    const comma = this.#at + PART_BYTES < this.#end ? this.#json.indexOf(COMMA, this.#at + PART_BYTES) : -1
    const cut = comma < 0 || comma > this.#end ? this.#end : comma
    const part = this.#json.subarray(this.#at, cut)
    this.#at = cut + 1
    return part
  }
}

/** Of lists within lists, whose brackets become spaces once they are found to follow the shape. Text is left alone. */
class NestedParts implements Parts {
  readonly #json: Buffer
  readonly #end: number
  readonly #of: ListOf
  /** Items of the lists of each depth, from 1; `#items` those of the lists that are open. */
  readonly #sizes: readonly number[]
  readonly #items: number[]
  #part = Buffer.allocUnsafe(2 * PART_BYTES)
  #at: number
  #depth = 0

  constructor(json: Buffer, { from, to }: ListRange, of: ListOf, shape: readonly number[]) {
    this.#json = json
    this.#at = from
    this.#end = to
    this.#of = of
    this.#sizes = [0, ...shape]
    this.#items = this.#sizes.map(() => 0)
  }

  next(): Buffer | null {
    if (this.#at >= this.#end) return null
    const json = this.#json
    const rank = this.#sizes.length - 1
    let length = 0
    for (; this.#at < this.#end; this.#at += 1) {
      const byte = json[this.#at]!
      if (length + 2 > this.#part.length) this.#part = Buffer.concat([this.#part, this.#part])
      if (byte === COMMA) {
        if (this.#depth === rank) this.#items[rank]! += 1
        if (length >= PART_BYTES) break
        this.#part[length++] = byte
      } else if (byte === OPEN || byte === CLOSE) {
        if (byte === OPEN) this.#open()
        else this.#close()
        this.#part[length++] = SPACE
      } else if (byte === QUOTE) length = this.#text(length)
      else {
        if (this.#depth !== rank && byte > SPACE) throw this.#uneven('it is nested unevenly')
        this.#part[length++] = byte
      }
    }
    if (this.#at >= this.#end && this.#depth > 0) throw unfinished(this.#of.input)
    this.#at += 1
    return this.#part.subarray(0, length)
  }

  #open(): void {
    const depth = this.#depth + 1
    if (depth >= this.#sizes.length) throw this.#uneven(`it is nested deeper than ${this.#sizes.length - 1}`)
    this.#items[this.#depth]! += 1
    this.#depth = depth
    this.#items[depth] = depth === this.#sizes.length - 1 ? 1 : 0 // values are counted by what is between them
  }

  #close(): void {
    const depth = this.#depth
    if (depth === 0) throw this.#uneven('it ends early')
    const items = this.#items[depth]
    if (items !== this.#sizes[depth] && this.#sizes.length === 2) throw otherCount(this.#of, String(items))
    if (items !== this.#sizes[depth]) throw this.#uneven(`axis ${depth - 1} has ${items} items`)
    this.#depth = depth - 1
    if (depth === 1 && this.#at !== this.#end - 1) throw this.#uneven('it ends early')
  }

  /** Copies a string, at whose first quote the reading is, up to its last. @returns where the part ends now */
  #text(length: number): number {
    if (this.#depth !== this.#sizes.length - 1) throw this.#uneven('it is nested unevenly')
    const from = this.#at
    let at = from + 1
    while (at < this.#end && this.#json[at] !== QUOTE) at += this.#json[at] === BACKSLASH ? 2 : 1
    const to = Math.min(at + 1, this.#end)
    const end = length + to - from
    if (end + 2 > this.#part.length) {
      const larger = Buffer.allocUnsafe(2 * end + 2)
      this.#part.copy(larger, 0, 0, length)
      this.#part = larger
    }
    this.#json.copy(this.#part, length, from, to)
    this.#at = to - 1
    return end
  }

  #uneven(why: string): ProtocolError {
    const { input, shape } = this.#of
    return new ProtocolError(400, `Input '${input}' does not have the shape [${shape.join(', ')}]: ${why}`)
  }
}
