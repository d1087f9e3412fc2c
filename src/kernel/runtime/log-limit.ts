import { open, type FileHandle } from 'node:fs/promises'

/**
 * Keeps a log under its limit while somebody appends to it: once it is larger, its first and last quarter stay, and a
 * line between them says how much is gone. What is appended between reading the end and cutting may be lost too and is
 * counted. Writers must append (O_APPEND): others would leave a hole.
 *
 * The file may grow past the limit between two calls, as far as its writer gets; call often.
 * @returns bytes cut out by this call, 0 for a file within its limit
 */
export async function limitLog(path: string, limitBytes: number): Promise<number> {
  const file = await open(path, 'a+')
  try {
    const { size } = await file.stat()
    return size <= limitBytes ? 0 : await cut(file, size, Math.floor(limitBytes / 4))
  } finally {
    await file.close()
  }
}

async function cut(file: FileHandle, size: number, quarter: number): Promise<number> {
  const { headBytes, cutBefore } = splitHead(await read(file, 0, quarter + NOTE_BYTES_MAX), quarter)
  const tail = fromLineStart(await read(file, size - quarter, quarter))
  const { size: sizeNow } = await file.stat()
  await file.truncate(headBytes)
  const cutNow = sizeNow - headBytes - tail.length
  // In append mode the position is always the end, also when the writer has appended since.
  await file.appendFile(Buffer.concat([Buffer.from(noteOf(cutBefore + cutNow)), tail]))
  return cutNow
}

const NOTE_BYTES_MAX = 80
const noteOf = (bytes: number) => `\n[millrace: ${bytes} bytes left out here]\n`
const notePattern = /\n\[millrace: (\d+) bytes left out here\]\n/

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
