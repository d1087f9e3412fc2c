import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { stat } from 'node:fs/promises'

/**
 * Keeps a log under its limit while somebody appends to it: once it is larger, its first and last quarter stay, and a
 * line between them says how much is gone. Writers must append (O_APPEND): others would leave a hole. What is appended
 * while the cut itself is made is lost and not counted: microseconds, more where this process loses its processor.
 *
 * The file may grow past the limit between two calls, as far as its writer gets; call often.
 * @returns bytes cut out by this call, 0 for a file within its limit
 */
export async function limitLog(path: string, limitBytes: number): Promise<number> {
  const { size } = await stat(path)
  if (size <= limitBytes) return 0
  // Two descriptors: on one that appends, a write at a position would go to the end too.
  const inPlace = openSync(path, 'r+')
  const atEnd = openSync(path, 'a')
  try {
    return cut(inPlace, atEnd, Math.floor(limitBytes / 4))
  } finally {
    closeSync(inPlace)
    closeSync(atEnd)
  }
}

/** All at once (synchronous), since each turn of the event loop would give the writer time for what gets lost. */
function cut(inPlace: number, atEnd: number, quarter: number): number {
  const { headBytes, cutBefore } = splitHead(read(inPlace, 0, quarter + NOTE_BYTES), quarter)
  const { size } = fstatSync(inPlace)
  const tail = fromLineStart(read(inPlace, size - quarter, quarter))
  const earlierNote = cutBefore === 0 ? 0 : NOTE_BYTES
  const cutNow = size - headBytes - earlierNote - tail.length
  // The note first and in its place, right after the head: the writer may append at any moment from the truncation on.
  writeSync(inPlace, noteOf(cutBefore + cutNow), headBytes)
  const late = readLate(inPlace, size)
  ftruncateSync(inPlace, headBytes + NOTE_BYTES)
  writeSync(atEnd, Buffer.concat([tail, late]))
  return cutNow
}

/** What has been appended since the tail was read, up to right before the truncation. */
function readLate(fd: number, from: number): Buffer {
  const parts: Buffer[] = []
  for (let end = from, turn = 0; turn < LATE_TURNS_MAX; turn++) {
    const { size } = fstatSync(fd)
    if (size === end) break
    parts.push(read(fd, end, size - end))
    end = size
  }
  return Buffer.concat(parts)
}

/** Against a writer that is faster than reading. */
const LATE_TURNS_MAX = 20

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

function read(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length)
  return buffer.subarray(0, readSync(fd, buffer, 0, length, position))
}
