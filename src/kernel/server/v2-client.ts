import { Agent, request } from 'node:http'
import { errnoOf } from '../runtime/system-error.ts'

/** Larger answers are given up. */
const ANSWER_MAX_BYTES = 256 * 1024 * 1024

export interface V2Answer {
  status: number
  /** `Inference-Header-Content-Length`; null: the body is all JSON. */
  jsonBytes: number | null
  body: Buffer
}

/** Connections to a server on this machine, kept open. */
export interface V2Client {
  /** @throws when there is no whole answer within `timeoutMs` */
  get(path: string, timeoutMs: number): Promise<V2Answer>
  /** @param signal - gives it up, and the connection with it */
  post(
    path: string,
    body: Uint8Array,
    jsonBytes: number | null,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<V2Answer>
  close(): void
}

export interface V2ClientOptions {
  /** Requests at once; more wait for a connection. Default 1. */
  connections?: number
  answerMaxBytes?: number
  /**
   * The server may have closed a connection that was kept open just as it is used again: then the request goes over
   * another one, once. Only for what may be computed twice. Default false.
   */
  asksAgain?: boolean
}

export function v2Client(port: number, options: V2ClientOptions = {}): V2Client {
  const agent = new Agent({ keepAlive: true, maxSockets: options.connections ?? 1 })
  const common = { agent, host: '127.0.0.1', port }
  const call = async (method: string, path: string, sent: Omit<Sent, 'answerMaxBytes'>): Promise<V2Answer> => {
    const { body, jsonBytes = null } = sent
    const target = { ...common, method, path, headers: headersOf(body, jsonBytes) }
    const limited = { ...sent, answerMaxBytes: options.answerMaxBytes ?? ANSWER_MAX_BYTES }
    try {
      return await exchange(target, limited)
    } catch (error) {
      if (options.asksAgain !== true || !(error instanceof StaleConnectionError)) throw error
      return await exchange({ ...target, agent: false }, limited)
    }
  }
  return {
    get: (path, timeoutMs) => call('GET', path, { timeoutMs }),
    post: (path, body, jsonBytes, timeoutMs, signal) => call('POST', path, { body, jsonBytes, timeoutMs, signal }),
    close: () => agent.destroy(),
  }
}

function headersOf(body: Uint8Array | undefined, jsonBytes: number | null): Record<string, string | number> {
  if (body === undefined) return {}
  const length = { 'content-length': body.length }
  if (jsonBytes === null) return { ...length, 'content-type': 'application/json' }
  return { ...length, 'content-type': 'application/octet-stream', 'inference-header-content-length': jsonBytes }
}

interface Sent {
  body?: Uint8Array
  jsonBytes?: number | null
  timeoutMs: number
  answerMaxBytes: number
  signal?: AbortSignal | undefined
}

/** A connection that was used before broke without a byte of an answer. */
class StaleConnectionError extends Error {
  readonly code = 'ECONNRESET'
}

function exchange(options: Parameters<typeof request>[1] & object, sending: Sent): Promise<V2Answer> {
  const { body, timeoutMs, answerMaxBytes, signal } = sending
  return new Promise((resolve, reject) => {
    let hasBegun = false
    /** Without handing it on: what is over already has nobody left to take an error. */
    const giveUp = (why: string): void => {
      reject(new Error(why))
      sent.destroy()
    }
    const sent = request({ ...options, ...(signal && { signal }) }, (response) => {
      hasBegun = true
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        chunks.push(chunk)
        if (bytes > answerMaxBytes) giveUp(`the answer has more than ${answerMaxBytes} bytes`)
      })
      response.on('error', reject)
      response.on('end', () => {
        const json = response.headers['inference-header-content-length']
        const jsonBytes = typeof json === 'string' && /^\d+$/.test(json) ? Number(json) : null
        resolve({ status: response.statusCode ?? 0, jsonBytes, body: Buffer.concat(chunks) })
      })
    })
    const timer = setTimeout(() => giveUp(`no answer within ${timeoutMs} ms`), timeoutMs)
    sent.on('close', () => clearTimeout(timer))
    sent.on('error', (error) => {
      const isStale = sent.reusedSocket && !hasBegun && BROKEN.has(errnoOf(error) ?? '')
      reject(isStale ? new StaleConnectionError(error.message, { cause: error }) : error)
    })
    sent.end(body)
  })
}

const BROKEN = new Set(['ECONNRESET', 'EPIPE'])
