import { isUtf8 } from 'node:buffer'
import { MAX_RANK } from '../model/tensor.ts'

export type Json = Record<string, unknown>

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The values of lists within lists. Level by level, so that nothing can exhaust the stack; what is deeper stays. */
export function leavesOf(list: unknown[]): unknown[] {
  let level = list
  for (let axis = 1; axis < MAX_RANK && Array.isArray(level[0]); axis += 1) level = level.flat()
  return level
}

/** Makes the error of whoever reads: `why` continues "The request is …". */
export type Refusal = (why: string, cause?: unknown) => Error

export function decodeUtf8(body: Uint8Array, refusal: Refusal): string {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  if (!isUtf8(bytes)) throw refusal('not valid UTF-8')
  return bytes.toString('utf8')
}

const PLAIN = /^[\w .:@/-]*$/

/** A string as JSON. Most names need no escapes, and are written faster without looking for them. */
export const jsonString = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(text))

/** Plain and fast: integers beyond 2^53 are rounded. */
export function parseJson(text: string, refusal: Refusal): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw refusal(`not valid JSON: ${(cause as Error).message}`, cause)
  }
}

/** Integers beyond 2^53 become bigint from their own digits. Several times slower: for when they are there. */
export function parseKeepingDigits(text: string, refusal: Refusal): unknown {
  try {
    return JSON.parse(text, keepDigits)
  } catch (cause) {
    // A reviver recurses, where plain parsing does not.
    throw refusal(
      cause instanceof RangeError ? 'nested too deeply' : `not valid JSON: ${(cause as Error).message}`,
      cause,
    )
  }
}

/** The largest 64-bit integer has 20 digits; longer ones are out of range anyway, and slow to convert. */
const INTEGER_SOURCE = /^-?\d{1,20}$/

/** `context` is newer than TypeScript's library: JSON.parse source text access, in Node since 21. */
function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const source = context?.source
  return source !== undefined && INTEGER_SOURCE.test(source) ? BigInt(source) : value
}
