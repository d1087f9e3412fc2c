import { FRAME_HEAD_BYTES, FRAME_KIND } from '../../kernel/contract/frames.ts'
import { FrameError } from './errors.ts'

/**
 * The payloads of requests and answers, apart from sockets.
 * @see src/kernel/contract/frames.ts
 */
export interface RequestFrame {
  jsonBytes: number | null
  /** Ms that the caller still waits; 0: no limit. */
  timeoutMs: number
  model: string
  /** Empty: whichever speaks for the model. */
  version: string
  /** Names and values in turn, each ended by LF. */
  headers: string
  body: Buffer
}

export interface AnswerFrame {
  jsonBytes: number | null
  status: number
  headers: string
  body: Buffer
}

const ALL_JSON = -1
export const TEXT_BYTES_MAX = 0xff_ff

/**
 * A text that is mostly the one before: its bytes are compared instead of read, and the same string is given again.
 * One for each place of each connection.
 */
export class RepeatedText {
  #bytes: Buffer = NO_BYTES
  #text = ''

  read(payload: Buffer, from: number, to: number): string {
    if (this.#isSame(payload, from, to)) return this.#text
    const text = payload.toString('utf8', from, to)
    if (to - from > REPEATED_BYTES_MAX) return text
    this.#bytes = Buffer.from(payload.subarray(from, to))
    this.#text = text
    return text
  }

  #isSame(payload: Buffer, from: number, to: number): boolean {
    const bytes = this.#bytes
    if (to - from !== bytes.length) return false
    for (let i = 0; i < bytes.length; i += 1) if (payload[from + i] !== bytes[i]) return false
    return true
  }
}

const NO_BYTES = Buffer.alloc(0)
const REPEATED_BYTES_MAX = 1_024

/** The texts of the requests of one connection. */
export class RequestTexts {
  readonly model = new RepeatedText()
  readonly version = new RepeatedText()
  readonly headers = new RepeatedText()
}

/** @throws FrameError */
export function readRequest(payload: Buffer, texts = new RequestTexts()): RequestFrame {
  const modelEnd = textEnd(payload, 8)
  const versionEnd = textEnd(payload, modelEnd)
  const headersEnd = textEnd(payload, versionEnd)
  const body = payload.subarray(headersEnd)
  return {
    jsonBytes: readJsonBytes(payload, body.length),
    timeoutMs: payload.readUInt32LE(4),
    model: texts.model.read(payload, 10, modelEnd),
    version: texts.version.read(payload, modelEnd + 2, versionEnd),
    headers: texts.headers.read(payload, versionEnd + 2, headersEnd),
    body,
  }
}

/** @throws FrameError */
export function readAnswer(payload: Buffer, headers = new RepeatedText()): AnswerFrame {
  const headersEnd = textEnd(payload, 6)
  const status = payload.readUInt16LE(4)
  if (status < 200 || status > 599) throw new FrameError(`it answers with status ${status}`)
  const body = payload.subarray(headersEnd)
  return {
    jsonBytes: readJsonBytes(payload, body.length),
    status,
    headers: headers.read(payload, 8, headersEnd),
    body,
  }
}

/** @returns where the text that begins here ends. @throws FrameError when that is beyond the payload */
function textEnd(payload: Buffer, at: number): number {
  const from = at + 2
  const end = from <= payload.length ? from + payload.readUInt16LE(at) : from
  if (end > payload.length) throw new FrameError(`a text ends at ${end} of ${payload.length} bytes`)
  return end
}

function readJsonBytes(payload: Buffer, bodyBytes: number): number | null {
  const jsonBytes = payload.readInt32LE(0)
  if (jsonBytes === ALL_JSON) return null
  if (jsonBytes < 0 || jsonBytes > bodyBytes) throw new FrameError(`${jsonBytes} of ${bodyBytes} bytes are to be JSON`)
  return jsonBytes
}

/** @throws FrameError where they don't come in pairs */
export function readHeaders(text: string): [name: string, value: string][] {
  const headers: [string, string][] = []
  for (let at = 0; at < text.length;) {
    const nameEnd = text.indexOf('\n', at)
    const valueEnd = nameEnd < 0 ? -1 : text.indexOf('\n', nameEnd + 1)
    if (valueEnd < 0) throw new FrameError('a header has no end')
    headers.push([text.slice(at, nameEnd), text.slice(nameEnd + 1, valueEnd)])
    at = valueEnd + 1
  }
  return headers
}

/**
 * Headers as they stand in a frame. Those that can't (a line break, more than fits) are left out: none is worth failing
 * a request for.
 * @param pairs - names and values in turn
 */
export function headersText(pairs: readonly string[]): Buffer {
  let text = ''
  let bytes = 0
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const line = `${pairs[i]!.toLowerCase()}\n${pairs[i + 1]}\n`
    const lineBytes = Buffer.byteLength(line)
    if (line.indexOf('\n', line.indexOf('\n') + 1) !== line.length - 1 || bytes + lineBytes > TEXT_BYTES_MAX) continue
    text += line
    bytes += lineBytes
  }
  return Buffer.from(text)
}

/** Bytes before the body, where the texts have so many bytes together. */
export const requestHeadBytes = (textBytes: number): number => FRAME_HEAD_BYTES + 4 + 4 + 3 * 2 + textBytes
export const answerHeadBytes = (headerBytes: number): number => FRAME_HEAD_BYTES + 4 + 2 + 2 + headerBytes

export interface RequestHead {
  id: number
  jsonBytes: number | null
  timeoutMs: number
  model: Buffer
  version: Buffer
  headers: Buffer
  bodyBytes: number
}

/** Writes everything of a request but its body, `requestHeadBytes` in all. @returns where it ends */
export function writeRequestHead(into: Buffer, at: number, head: RequestHead): number {
  const textBytes = head.model.length + head.version.length + head.headers.length
  let next = writeHead(into, at, head.id, FRAME_KIND.request, requestHeadBytes(textBytes) + head.bodyBytes)
  next = into.writeInt32LE(head.jsonBytes ?? ALL_JSON, next)
  next = into.writeUInt32LE(head.timeoutMs, next)
  next = writeText(into, next, head.model)
  next = writeText(into, next, head.version)
  return writeText(into, next, head.headers)
}

/** As `writeRequestHead`. */
export function writeAnswerHead(
  into: Buffer,
  at: number,
  id: number,
  status: number,
  jsonBytes: number | null,
  headers: Buffer,
  bodyBytes: number,
): number {
  let next = writeHead(into, at, id, FRAME_KIND.answer, answerHeadBytes(headers.length) + bodyBytes)
  next = into.writeInt32LE(jsonBytes ?? ALL_JSON, next)
  next = into.writeUInt16LE(status, next)
  return writeText(into, next, headers)
}

/** @param frameBytes - of the whole frame, its length included */
export function writeHead(into: Buffer, at: number, id: number, kind: number, frameBytes: number): number {
  into.writeUInt32LE(frameBytes - 4, at)
  into.writeUInt32LE(id, at + 4)
  return into.writeUInt8(kind, at + 8)
}

function writeText(into: Buffer, at: number, text: Buffer): number {
  const next = into.writeUInt16LE(text.length, at)
  text.copy(into, next)
  return next + text.length
}
