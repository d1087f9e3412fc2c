import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import type { ProtoField } from './proto-reader.ts'

/**
 * Writes protobuf messages out of pieces of an open file and of new bytes, so that all that is not changed stays as it
 * is, byte for byte, whatever its size.
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export type Piece = Uint8Array | { from: number; to: number }

const encoder = new TextEncoder()

export function varint(value: number | bigint): Uint8Array {
  const out: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    out.push(rest > 0n ? low | 0x80 : low)
  } while (rest > 0n)
  return Uint8Array.from(out)
}

/** Field of wire type 0. */
export const intField = (number: number, value: number): Uint8Array =>
  Buffer.concat([varint(number * 8), varint(value)])

export const textField = (number: number, content: string): Uint8Array => bytesField(number, encoder.encode(content))

/** Field of wire type 2 with all of its content. */
export const bytesField = (number: number, ...content: Uint8Array[]): Uint8Array =>
  Buffer.concat([varint(number * 8 + 2), varint(lengthOf(content)), ...content])

/** The same with content that is still in the file. */
export const messageField = (number: number, pieces: readonly Piece[]): Piece[] => [
  Buffer.concat([varint(number * 8 + 2), varint(lengthOf(pieces))]),
  ...pieces,
]

/** A field as it stands in the file. */
export const unchanged = ({ at, end }: ProtoField): Piece => ({ from: at, to: end })

function lengthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece instanceof Uint8Array ? piece.length : piece.to - piece.from), 0)
}

const CHUNK_BYTES = 1024 * 1024

/**
 * @param source - the file that pieces without bytes of their own are of
 * @param target - must not exist
 */
export async function writePieces(source: string, pieces: readonly Piece[], target: string): Promise<void> {
  const from = await open(source, 'r')
  const to = await open(target, 'wx', 0o600).catch(async (error: unknown) => {
    await from.close()
    throw error
  })
  try {
    for (const piece of joined(pieces)) {
      if (piece instanceof Uint8Array) await to.writeFile(piece)
      else await copyRange(from, to, piece)
    }
  } finally {
    await Promise.all([from.close(), to.close()])
  }
}

/** What lies side by side in the file is copied at once: a model of a million nodes is a few ranges. */
function joined(pieces: readonly Piece[]): Piece[] {
  const out: Piece[] = []
  for (const piece of pieces) {
    const last = out.at(-1)
    if (last !== undefined && !(last instanceof Uint8Array) && !(piece instanceof Uint8Array) && last.to === piece.from)
      out[out.length - 1] = { from: last.from, to: piece.to }
    else out.push(piece)
  }
  return out
}

async function copyRange(from: FileHandle, to: FileHandle, range: { from: number; to: number }): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, range.to - range.from))
  for (let at = range.from; at < range.to;) {
    const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, range.to - at), at)
    if (bytesRead === 0) throw new Error(`the file ends at byte ${at}, ${range.to} are needed`)
    await to.writeFile(buffer.subarray(0, bytesRead))
    at += bytesRead
  }
}

/** `sha256:<hex>` of a file. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path, 'r')
  try {
    for await (const chunk of file.createReadStream({ highWaterMark: 256 * 1024 })) hash.update(chunk as Uint8Array)
  } finally {
    await file.close()
  }
  return `sha256:${hash.digest('hex')}`
}
