import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

import { messageOf, MillraceError } from '../../kernel/errors.ts'
import { CallTimedOutError, ConnectionLostError, ControlPlaneDownError, NotRunningError } from './errors.ts'

export interface HttpTarget {
  /** Set: a unix socket; the URL's host is then only a name. */
  socketPath: string | null
  headers: Record<string, string>
  /** How the place is called in messages, e.g. `/home/ann/project/.millrace`. */
  where: string
  /** As long as nobody listens, try again for so long. */
  waitMs: number
  /** Whether a supervisor runs there: then nobody listening means that the control plane is being started again. */
  isSupervised?: () => Promise<boolean>
}

const RETRY_MS = 100
/** The server sends a comment every 5 s on a stream: silence for so long means that it is gone. */
const STREAM_IDLE_MS = 30_000

/**
 * `fetch` over node:http, so that it works over unix sockets. Only a connection that was never made is tried again.
 * @param answerWithinMs - until the answer's head has arrived (the whole answer for anything but a stream)
 * @throws NotRunningError, ControlPlaneDownError, CallTimedOutError, ConnectionLostError
 */
export async function httpFetch(
  target: HttpTarget,
  request: Request,
  what: string,
  answerWithinMs: number,
): Promise<Response> {
  const body = Buffer.from(await request.arrayBuffer())
  const giveUpAtMs = performance.now() + target.waitMs
  for (;;) {
    try {
      return await once(target, request, body, what, answerWithinMs)
    } catch (error) {
      if (!(error instanceof NotRunningError)) throw error
      const isSupervised = await target.isSupervised?.()
      if (isSupervised === false) throw error // it is gone meanwhile: nobody will listen again
      if (performance.now() >= giveUpAtMs)
        throw isSupervised === true ? new ControlPlaneDownError(target.where, target.waitMs) : error
      await sleep(RETRY_MS)
    }
  }
}

function once(target: HttpTarget, request: Request, body: Buffer, what: string, withinMs: number): Promise<Response> {
  return new Promise((resolve, reject) => {
    const outgoing = start(target, request, body.length)
    const timer = setTimeout(() => outgoing.destroy(new CallTimedOutError(what, withinMs)), withinMs)
    const abort = () => outgoing.destroy(new ConnectionLostError(what, 'it was given up'))
    request.signal.addEventListener('abort', abort, { once: true })
    const release = () => {
      clearTimeout(timer)
      request.signal.removeEventListener('abort', abort)
    }
    outgoing.once('error', (error) => {
      release()
      reject(explain(error, target, what))
    })
    outgoing.once('response', (incoming) => {
      if (isStream(incoming)) {
        clearTimeout(timer)
        incoming.setTimeout(STREAM_IDLE_MS, () => incoming.destroy(new ConnectionLostError(what, 'it went silent')))
        incoming.once('close', release)
        return resolve(new Response(Readable.toWeb(incoming) as ReadableStream, responseHead(incoming)))
      }
      collect(incoming).then(
        (bytes) => {
          release()
          resolve(new Response(bytes.length === 0 ? null : new Uint8Array(bytes), responseHead(incoming)))
        },
        (error: unknown) => {
          release()
          reject(explain(error, target, what))
        },
      )
    })
    outgoing.end(body)
  })
}

function start(target: HttpTarget, request: Request, length: number): ClientRequest {
  const url = new URL(request.url)
  const headers: Record<string, string> = { ...Object.fromEntries(request.headers), ...target.headers }
  if (length > 0 || request.method !== 'GET') headers['content-length'] = String(length)
  const options = { method: request.method, headers, agent: false as const }
  if (target.socketPath !== null) {
    return httpRequest({ ...options, socketPath: target.socketPath, path: url.pathname + url.search })
  }
  return url.protocol === 'https:' ? httpsRequest(url, options) : httpRequest(url, options)
}

const isStream = (incoming: IncomingMessage) => (incoming.headers['content-type'] ?? '').startsWith('text/event-stream')

function responseHead(incoming: IncomingMessage): ResponseInit {
  const headers = Object.entries(incoming.headers).flatMap(([k, v]): [string, string][] =>
    v === undefined ? [] : [[k, Array.isArray(v) ? v.join(', ') : v]],
  )
  return { status: incoming.statusCode ?? 500, headers }
}

async function collect(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const NOBODY_LISTENS = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'])

function explain(error: unknown, target: HttpTarget, what: string): MillraceError {
  if (error instanceof MillraceError) return error
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (NOBODY_LISTENS.has(code)) return new NotRunningError(target.where)
  return new ConnectionLostError(what, messageOf(error), error)
}
