import { ProtocolError } from './errors.ts'
import { decodeUtf8 } from './json.ts'
import type { Refusal } from './json.ts'

/** A list within the bytes of JSON, with its brackets. */
export interface ListRange {
  from: number
  to: number
}

export interface Outline {
  /** The JSON with `[n]` in place of each tensor's data. Nothing of it was judged. */
  text: string
  /** The lists that were left out, by these numbers. */
  lists: ListRange[]
}

/** What is known of a request as soon as the reading has come so far. */
export interface SeenSoFar {
  /** The object of this name, of the request itself. */
  parameters: ListRange | null
}

/** Of what a request or an answer says beside its tensors' data, as far as a large one may. */
export const OUTLINE_BYTES_MAX = 1024 * 1024

/** Whose tensors: those of a request, or of an answer. */
export type TensorsOf = 'inputs' | 'outputs'

/**
 * What a large request or answer says beside its tensors' data, which is nearly all of it and need not be parsed to be found: of
 * lists of numbers the end is searched for natively, lists that hold text are read byte by byte, in steps.
 *
 *   {"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[0.5,1]}]}  ─▶  … "data":[0]}]}  and  [0.5,1]
 *
 * @yields after every so many bytes, so that others may have a turn
 * @throws ProtocolError 413 where all but the data is more than OUTLINE_BYTES_MAX, 400 where it is not UTF-8; of an
 *   answer 500 for both
 */
export function* outlineOf(
  json: Buffer,
  seen: SeenSoFar = { parameters: null },
  tensors: TensorsOf = 'inputs',
): Generator<undefined, Outline, undefined> {
  const lists: ListRange[] = []
  const kept: Buffer[] = []
  const place = new Place(seen, tensors)
  let leftOut = 0
  let from = 0
  let at = 0
  while (at < json.length) {
    const byte = json[at]!
    if (byte === OPEN_ARRAY && place.isData) {
      const to: number = endOfNumbers(json, at) ?? (yield* endOfList(json, at))
      kept.push(json.subarray(from, at), Buffer.from(`[${lists.length}]`))
      lists.push({ from: at, to })
      leftOut += to - at
      from = at = to
    } else if (byte === QUOTE) {
      const to = endOfString(json, at)
      place.string(json, at, to)
      at = to
    } else {
      place.byte(byte, at)
      at += 1
    }
    if (at - leftOut > OUTLINE_BYTES_MAX) throw tooMuch(tensors)
  }
  kept.push(json.subarray(from))
  return { text: decodeUtf8(Buffer.concat(kept), invalid(tensors)), lists }
}

const NAMES = { inputs: 'request', outputs: 'answer' } as const

const invalid =
  (tensors: TensorsOf): Refusal =>
  (why, cause) =>
    new ProtocolError(tensors === 'inputs' ? 400 : 500, `The ${NAMES[tensors]} is ${why}`, cause)

function tooMuch(tensors: TensorsOf): ProtocolError {
  return new ProtocolError(
    tensors === 'inputs' ? 413 : 500,
    `The ${NAMES[tensors]}'s JSON has more than ${OUTLINE_BYTES_MAX} bytes beside the 'data' of its ${tensors}`,
  )
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c] as const
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d] as const

/** `{inputs: [{data`, of an answer `{outputs: [{data`: deeper lies nothing that is looked for. */
const DATA_DEPTH = 3

/** Where in the JSON the reading is: whether the next value is a tensor's data. Of JSON that is none it says something. */
class Place {
  readonly #seen: SeenSoFar
  readonly #tensors: TensorsOf
  #parametersFrom = -1
  #depth = 0
  #isKeyNext = false
  readonly #opened = [0, 0, 0, 0]
  readonly #keys = ['', '', '', '']

  constructor(seen: SeenSoFar, tensors: TensorsOf) {
    this.#seen = seen
    this.#tensors = tensors
  }

  get isData(): boolean {
    const [, outermost, list, input] = this.#opened
    const [, first, , last] = this.#keys
    const isInput = outermost === OPEN_OBJECT && list === OPEN_ARRAY && input === OPEN_OBJECT
    return this.#depth === DATA_DEPTH && !this.#isKeyNext && isInput && first === this.#tensors && last === 'data'
  }

  /** @param to - behind the closing quote */
  string(json: Buffer, from: number, to: number): void {
    if (!this.#isKeyNext) return
    this.#isKeyNext = false
    this.#keys[this.#depth] = keyOf(json.toString('utf8', from, to))
  }

  /** Outside strings. */
  byte(byte: number, at: number): void {
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) this.#open(byte, at)
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) this.#close(at)
    else if (byte === COMMA) this.#isKeyNext = this.#depth <= DATA_DEPTH && this.#opened[this.#depth] === OPEN_OBJECT
  }

  #open(byte: number, at: number): void {
    if (this.#depth === 1 && byte === OPEN_OBJECT && this.#keys[1] === 'parameters') this.#parametersFrom = at
    this.#depth += 1
    this.#isKeyNext = false
    if (this.#depth > DATA_DEPTH) return
    this.#opened[this.#depth] = byte
    this.#keys[this.#depth] = ''
    this.#isKeyNext = byte === OPEN_OBJECT
  }

  #close(at: number): void {
    this.#depth = Math.max(0, this.#depth - 1)
    this.#isKeyNext = false
    if (this.#depth !== 1 || this.#parametersFrom < 0) return
    this.#seen.parameters = { from: this.#parametersFrom, to: at + 1 }
    this.#parametersFrom = -1
  }
}

/** Also one that is written with escapes. */
function keyOf(quoted: string): string {
  if (!quoted.includes('\\')) return quoted.slice(1, -1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return '' // no JSON, which is said when the outline is parsed
  }
}

function endOfString(json: Buffer, from: number): number {
  for (let end = json.indexOf(QUOTE, from + 1); end >= 0; end = json.indexOf(QUOTE, end + 1)) {
    let escapes = 0
    while (json[end - 1 - escapes] === BACKSLASH) escapes += 1
    if (escapes % 2 === 0) return end + 1
  }
  return json.length
}

/**
 * In a list of numbers there is neither text nor an object, so it ends with the last bracket before either. Whether it is
 * one shows when it is read.
 * @returns null where it has to be looked for
 */
function endOfNumbers(json: Buffer, from: number): number | null {
  const quote = json.indexOf(QUOTE, from)
  const rest = json.subarray(from, quote < 0 ? json.length : quote)
  const brace = rest.indexOf(CLOSE_OBJECT)
  const last = (brace < 0 ? rest : rest.subarray(0, brace)).lastIndexOf(CLOSE_ARRAY)
  return last < 0 ? null : from + last + 1
}

const STEP_BYTES = 1024 * 1024

/** Of any list. */
function* endOfList(json: Buffer, from: number): Generator<undefined, number, undefined> {
  const search = { at: from, depth: 0, isInText: false }
  for (;;) {
    if (searchEnd(json, search, Math.min(json.length, search.at + STEP_BYTES))) return search.at
    if (search.at >= json.length) return json.length
    yield
  }
}

function searchEnd(json: Buffer, search: { at: number; depth: number; isInText: boolean }, stop: number): boolean {
  let { at, depth, isInText } = search
  while (at < stop) {
    const byte = json[at]!
    at += 1
    if (isInText) {
      if (byte === BACKSLASH) at += 1
      else if (byte === QUOTE) isInText = false
    } else if (byte === QUOTE) isInText = true
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) depth += 1
    else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
      depth -= 1
      if (depth === 0) break
    }
  }
  Object.assign(search, { at, depth, isInText })
  return depth === 0
}
