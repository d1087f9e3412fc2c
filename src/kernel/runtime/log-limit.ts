import { open, stat, type FileHandle } from 'node:fs/promises'

/**
 * Keeps a log under its limit while somebody appends to it: once it is larger, its first and last quarter stay, and a
 * line between them says how much is gone. What is appended between reading the end and cutting may be lost too and is
 * counted. Writers must append (O_APPEND): others would leave a hole.
 *
 * The file may grow past the limit between two calls, as far as its writer gets; call often.
 * @returns bytes cut out by this call, 0 for a file within its limit
 */
export async function limitLog(path: string, limitBytes: number): Promise<number> {
  const { size } = await stat(path)
  if (size <= limitBytes) return 0
  // Two handles: on one that appends, a write at a position would go to the end too.
  const inPlace = await open(path, 'r+')
  const atEnd = await open(path, 'a')
  try {
    return await cut(inPlace, atEnd, Math.floor(limitBytes / 4))
  } finally {
    await inPlace.close()
    await atEnd.close()
  }
}

async function cut(inPlace: FileHandle, atEnd: FileHandle, quarter: number): Promise<number> {
  const { headBytes, cutBefore } = splitHead(await read(inPlace, 0, quarter + NOTE_BYTES), quarter)
  const { size } = await inPlace.stat()
  const tail = fromLineStart(await read(inPlace, size - quarter, quarter))
  const { size: sizeNow } = await inPlace.stat()
  const earlierNote = cutBefore === 0 ? 0 : NOTE_BYTES
  const cutNow = sizeNow - headBytes - earlierNote - tail.length
  // The note first and in its place, right after the head: the writer may append at any moment from the truncation on.
  await inPlace.write(noteOf(cutBefore + cutNow), headBytes)
  await inPlace.truncate(headBytes + NOTE_BYTES)
  await atEnd.appendFile(tail)
  return cutNow
}

const noteOf = (bytes: number) => `\n[millrace: ${String(bytes).padStart(15)} bytes left out here]\n`
const NOTE_BYTES = noteOf(0).length
const notePattern = /\n\[millrace: +(\d+) bytes left out here\]\n/

/** The head ends where an earlier cut has ended it, else after the last whole line of the first quarter. */
function splitHead(start: Buffer, quarter: number): { headBytes: number; cutBefore: number } {
  const note = notePattern.exec(start.toString('latin1'))
  if (note !== null) return { headBytes: note.index, cutBefore: Number(note[1]) }
  const lastLine = start.subarray(0, quarter).lastIndexOf(NEWLINE)
  return { headBytes: lastLine > quarter / 2 ? lastLine : quarter, cutBefore: 0 }
}

const NEWLINE = 10

function fromLineStart(tail: Buffer): Buffer {
  const firstLine = tail.indexOf(NEWLINE)
  return firstLine === -1 || firstLine > tail.length / 2 ? tail : tail.subarray(firstLine + 1)
}

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position)
  return buffer.subarray(0, bytesRead)
}
