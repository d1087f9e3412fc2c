import { randomFillSync } from 'node:crypto'

/**
 * Prediction ids: 26 characters of Crockford base32 (lower case, no i l o u) over 128 bits:
 * 48 bits time in ms, 64 bits random, 16 bits CRC-16/CCITT of the fourteen bytes before. They sort by time, and a
 * mistyped or cut id is told apart from an unknown one without a look-up: any change of up to 16 neighbouring bits
 * (a wrong character, two swapped ones) is always caught, anything else with 65,535 in 65,536.
 */
export const PREDICTION_ID_LENGTH = 26

const PAYLOAD_BYTES = 14
const RANDOM_BYTES = 8
const MAX_TIME_MS = 2 ** 48 - 1
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const CHARACTERS = Buffer.from(ALPHABET, 'latin1')
/** Character code → its five bits, 255 where the character is not in the alphabet. */
const VALUES = new Uint8Array(256).fill(255)
for (let value = 0; value < CHARACTERS.length; value++) VALUES[CHARACTERS[value]!] = value

const bytes = Buffer.alloc(16)
const text = Buffer.alloc(PREDICTION_ID_LENGTH)
const pool = Buffer.alloc(RANDOM_BYTES * 512)
let poolUsed = pool.length

/**
 * @param nowMs - ms since 1970, 0 … 2^48−1; use the time under which the prediction is logged
 * @param random - eight random bytes; a pooled `node:crypto` source unless a test says otherwise
 * @throws RangeError if the time is outside those bounds
 */
export function newPredictionId(nowMs: number, random?: () => Uint8Array): string {
  const ms = Math.floor(nowMs)
  if (!(ms >= 0 && ms <= MAX_TIME_MS)) throw new RangeError(`Prediction ids hold 0 … 2^48-1 ms, not ${nowMs}.`)
  bytes.writeUIntBE(ms, 0, 6)
  if (random) bytes.set(random().subarray(0, RANDOM_BYTES), 6)
  else takeRandom()
  bytes.writeUInt16BE(crc16(bytes), PAYLOAD_BYTES)
  return encode()
}

/** The time in an id, or null where the text is not one (wrong length, alphabet or check). Only the exact form passes. */
export function parsePredictionId(id: string): { atMs: number } | null {
  if (id.length !== PREDICTION_ID_LENGTH || !decode(id)) return null
  if (bytes.readUInt16BE(PAYLOAD_BYTES) !== crc16(bytes)) return null
  return { atMs: bytes.readUIntBE(0, 6) }
}

/** One call to the system's generator serves 512 ids: a call each costs more than all the rest. */
function takeRandom(): void {
  if (poolUsed === pool.length) {
    randomFillSync(pool)
    poolUsed = 0
  }
  pool.copy(bytes, 6, poolUsed, poolUsed + RANDOM_BYTES)
  poolUsed += RANDOM_BYTES
}

/** 26 × 5 = 130 bits, so the first character carries three bits (0–7) and all others five. */
function encode(): string {
  let held = 0
  let bits = 2
  let at = 0
  for (let i = 0; i < 16; i++) {
    held = (held << 8) | bytes[i]!
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text[at++] = CHARACTERS[(held >>> bits) & 31]!
    }
    held &= (1 << bits) - 1
  }
  return text.toString('latin1', 0, PREDICTION_ID_LENGTH)
}

function decode(id: string): boolean {
  let held = 0
  let bits = -2
  let at = 0
  for (let i = 0; i < PREDICTION_ID_LENGTH; i++) {
    const code = id.charCodeAt(i)
    const value = code < 256 ? VALUES[code]! : 255
    if (value === 255 || (i === 0 && value > 7)) return false
    held = (held << 5) | value
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes[at++] = (held >>> bits) & 255
      held &= (1 << bits) - 1
    }
  }
  return true
}

const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc & 0xffff
})

function crc16(of: Uint8Array): number {
  let crc = 0xffff
  for (let i = 0; i < PAYLOAD_BYTES; i++) crc = ((crc << 8) ^ CRC_TABLE[((crc >>> 8) ^ of[i]!) & 255]!) & 0xffff
  return crc
}
