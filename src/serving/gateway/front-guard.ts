import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { errorAnswer, rawAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'

/** How long a refused client's bytes are read and thrown away, so that it finds the answer instead of a reset. */
const LINGER_MS = 1_000
/** And how many of them. */
const LINGER_BYTES = 4 * 1024 * 1024

type ClientError = NodeJS.ErrnoException & { code?: string }

/**
 * Answers what never became a request: bad syntax, oversized heads, clients that are too slow.
 * A bad request that is pipelined behind good ones is answered after them; `node:http` alone would drop their answers.
 */
export function guardFront(server: Server): void {
  const pending = new WeakMap<Socket, Set<ServerResponse>>()
  const failed = new WeakSet<Socket>()

  server.prependListener('request', (request, response) => {
    const responses = pending.get(request.socket) ?? new Set()
    pending.set(request.socket, responses.add(response))
    response.once('close', () => responses.delete(response))
  })

  server.on('clientError', (error: ClientError, socket: Socket) => {
    if (failed.has(socket)) return
    failed.add(socket)
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    afterOthers([...(pending.get(socket) ?? [])], () => refuse(socket, answerTo(error)))
  })
}

/** Calls `then` once all good requests before are answered; one whose own body is at fault never will be. */
function afterOthers(responses: ServerResponse[], then: () => void): void {
  const waiting = responses.filter((response) => response.req.complete)
  let left = waiting.length
  if (left === 0) return then()
  for (const response of waiting) {
    response.once('close', () => {
      left -= 1
      if (left === 0) then()
    })
  }
}

function refuse(socket: Socket, answer: Answer): void {
  if (!socket.writable) return void socket.destroy()
  socket.end(rawAnswer(answer))
  linger(socket)
}

function linger(socket: Socket): void {
  discard(socket, () => socket.destroy())
  socket.once('error', () => socket.destroy())
}

/** Closing with unread bytes sends a reset, which can overtake the answer: read on for a bounded while, then `end`. */
export function discard(source: Readable, end: () => void): void {
  let bytes = 0
  const over = (): void => {
    clearTimeout(timer)
    end()
  }
  const timer = setTimeout(over, LINGER_MS)
  source.on('data', (part: Buffer) => {
    bytes += part.length
    if (bytes > LINGER_BYTES) over()
  })
  source.once('end', over).once('close', over)
  source.resume()
}

const KNOWN: Record<string, Answer> = {
  ERR_HTTP_REQUEST_TIMEOUT: errorAnswer(408, 'The request was not complete in time.'),
  HPE_HEADER_OVERFLOW: errorAnswer(431, 'The request head is larger than the limit of 16384 bytes.'),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: errorAnswer(413, 'The chunk extensions are too large.'),
}

function answerTo(error: ClientError): Answer {
  const what = error.code ?? error.message
  return KNOWN[what] ?? errorAnswer(400, `The request is not valid HTTP/1.1 (${what}).`)
}
