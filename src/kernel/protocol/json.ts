import { isUtf8 } from 'node:buffer'

export type Json = Record<string, unknown>

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Makes the error of whoever reads: `why` continues "The request is …". */
export type Refusal = (why: string, cause?: unknown) => Error

export function decodeUtf8(body: Uint8Array, refusal: Refusal): string {
  if (!isUtf8(body)) throw refusal('not valid UTF-8')
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}

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
