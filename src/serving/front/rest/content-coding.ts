import { promisify } from 'node:util'
import { deflate, gunzip, gzip, inflate } from 'node:zlib'
import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { Answer } from '../answer.ts'
import { Slots } from './slots.ts'

/** `deflate` is zlib's format. @see RFC 9110, 8.4.1 */
export type Coding = 'gzip' | 'deflate'

export const CODINGS: readonly Coding[] = ['gzip', 'deflate']

const UNPACK = { gzip: promisify(gunzip), deflate: promisify(inflate) }
const PACK = { gzip: promisify(gzip), deflate: promisify(deflate) }

/**
 * How a request's body is packed.
 * @param header - `Content-Encoding`
 * @returns null where it isn't
 * @throws ProtocolError 415 any other coding, and several on top of each other
 */
export function requestCoding(header: string | undefined): Coding | null {
  if (header === undefined) return null
  const name = header.trim().toLowerCase()
  if (name === '' || name === 'identity') return null
  if (name === 'deflate') return 'deflate'
  if (name === 'gzip' || name === 'x-gzip') return 'gzip'
  throw new ProtocolError(415, `Content-Encoding '${header}' is not understood; use gzip, deflate or none.`)
}

/**
 * The coding that a client likes best for its answer, of those there are.
 * @param header - `Accept-Encoding`
 * @returns null: none
 * @see RFC 9110, 12.5.3
 */
export function acceptedCoding(header: string | undefined): Coding | null {
  if (header === undefined || header === '') return null
  const weights = new Map<string, number>()
  for (const item of header.toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim())
    const quality = parameters.find((parameter) => parameter.startsWith('q='))
    const weight = quality === undefined ? 1 : Number(quality.slice(2))
    if (name !== '') weights.set(name === 'x-gzip' ? 'gzip' : name, Number.isNaN(weight) ? 0 : weight)
  }
  let best: Coding | null = null
  let bestWeight = 0
  for (const coding of CODINGS) {
    const weight = weights.get(coding) ?? weights.get('*') ?? 0
    if (weight > bestWeight) [best, bestWeight] = [coding, weight]
  }
  return best
}

/**
 * zlib works in the few threads that write the prediction log, too: more bodies at once would hold it up, and would not
 * be done sooner.
 */
const AT_ONCE = 8
/** Of what zlib puts out at a time: a trip to another thread each. */
const CHUNK_BYTES_MIN = 4 * 1024
const CHUNK_BYTES_MAX = 256 * 1024

/** No deflate stream grows more than this when it is unpacked. @see zlib's technical details, "Maximum Compression Factor" */
const GROWTH_MAX = 1_032
/** Of headers, checksums and the like, so that an empty stream has room as well. */
const GROWTH_SLACK_BYTES = 64

export interface Unpacked {
  bytes: Buffer
  /** Call it once the bytes are no longer held. */
  release(): void
}

/** Unpacks bodies, and knows how much of them is held: small ones may grow a thousandfold. */
export class Unpacker {
  readonly #limitBytes: number
  readonly #slots: Slots
  #heldBytes = 0

  /** @param limitBytes - of all unpacked bodies that are here at once, but for a single one that is larger */
  constructor(limitBytes: number, atOnce = AT_ONCE) {
    this.#limitBytes = limitBytes
    this.#slots = new Slots(atOnce)
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /**
   * Waits for its turn as long as others do; packed bodies are within the front's limits meanwhile.
   * @param limitBytes - of this body, unpacked
   * @throws ProtocolError 400 not what it is said to be, 413 larger than its limit, 503 too much at once
   */
  unpack(packed: Buffer, coding: Coding, limitBytes: number): Promise<Unpacked> {
    return this.#slots.run(() => this.#unpack(packed, coding, limitBytes))
  }

  /** What it may grow to is set aside first, so that many at once can not exhaust the memory either. */
  async #unpack(packed: Buffer, coding: Coding, limitBytes: number): Promise<Unpacked> {
    const mayGrowTo = Math.min(limitBytes, packed.length * GROWTH_MAX + GROWTH_SLACK_BYTES)
    const isAlone = this.#heldBytes === 0 // else one that may be as large could never come in
    if (!isAlone && this.#heldBytes + mayGrowTo > this.#limitBytes) {
      throw new ProtocolError(503, `More than ${this.#limitBytes} bytes of unpacked requests may be here at once.`)
    }
    this.#heldBytes += mayGrowTo
    try {
      const chunkSize = chunkBytes(packed.length * 4)
      const bytes = await UNPACK[coding](packed, { maxOutputLength: Math.max(1, limitBytes), chunkSize })
      this.#heldBytes += bytes.length
      return { bytes, release: () => void (this.#heldBytes -= bytes.length) }
    } catch (error) {
      throw unpackError(error as NodeJS.ErrnoException, coding, limitBytes)
    } finally {
      this.#heldBytes -= mayGrowTo
    }
  }
}

function chunkBytes(expected: number): number {
  return Math.min(CHUNK_BYTES_MAX, Math.max(CHUNK_BYTES_MIN, expected))
}

function unpackError(error: NodeJS.ErrnoException, coding: Coding, limitBytes: number): ProtocolError {
  if (error.code === 'ERR_BUFFER_TOO_LARGE') return tooLarge(limitBytes)
  return new ProtocolError(400, `The body is not valid ${coding}: ${error.message}.`, error)
}

export function tooLarge(limitBytes: number): ProtocolError {
  return new ProtocolError(413, `The request body is larger than the limit of ${limitBytes} bytes.`)
}

/** Smaller answers fill few packets; packing them costs more than it saves. */
export const PACKED_FROM_BYTES = 4_096
/** Answers that wait to be packed; more go out as they are, which any client understands. */
const PACKING_MAX = 64
/** The fastest: numbers as text shrink to about the same at all levels. */
const LEVEL = 1

/** Packs the answers of clients that ask for it. */
export class Packer {
  readonly #slots = new Slots(AT_ONCE)
  #packing = 0

  /** The answer as it is where packing it isn't wanted, or worth it. */
  pack(answer: Answer, acceptEncoding: string | undefined): Answer | Promise<Answer> {
    if (acceptEncoding === undefined || answer.body.length < PACKED_FROM_BYTES) return answer
    if (answer.stream !== undefined || this.#packing >= PACKING_MAX || isPacked(answer)) return answer
    const coding = acceptedCoding(acceptEncoding)
    return coding === null ? answer : this.#pack(answer, coding)
  }

  async #pack(answer: Answer, coding: Coding): Promise<Answer> {
    this.#packing += 1
    try {
      const options = { level: LEVEL, chunkSize: chunkBytes(answer.body.length >>> 1) }
      const body = await this.#slots.run(() => PACK[coding](answer.body, options))
      if (body.length >= answer.body.length) return answer
      return { ...answer, headers: [...answer.headers, 'Content-Encoding', coding, 'Vary', 'Accept-Encoding'], body }
    } finally {
      this.#packing -= 1
    }
  }
}

function isPacked({ headers }: Answer): boolean {
  return headers.some((text, at) => at % 2 === 0 && text.toLowerCase() === 'content-encoding')
}
