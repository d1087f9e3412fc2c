import { messageOf, type ErrorKind } from '../../kernel/errors.ts'
import { CallTimedOutError, GatewayError } from './errors.ts'

/** Where the gateway listens, e.g. `http://127.0.0.1:7080`. */
export interface GatewayAddress {
  url: string
  /** Of a caller; from this machine none is needed. */
  key?: string
  /** For the whole answer, in ms; 30 s unless given. */
  timeoutMs?: number
}

export interface GatewayAnswer {
  status: number
  headers: Headers
  body: unknown
}

const ANSWER_MS = 30_000

/**
 * One call to the gateway.
 * @throws GatewayError with the gateway's own text for any status but 2xx; CallTimedOutError
 */
export async function callGateway(address: GatewayAddress, path: string, body?: unknown): Promise<GatewayAnswer> {
  const timeoutMs = address.timeoutMs ?? ANSWER_MS
  const url = address.url.replace(/\/$/, '') + path
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  try {
    const response = await fetch(url, {
      method: text === undefined ? 'GET' : 'POST',
      headers: {
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        ...(address.key === undefined ? {} : { authorization: `Bearer ${address.key}` }),
      },
      body: text,
      signal: AbortSignal.timeout(timeoutMs),
    })
    const answer = { status: response.status, headers: response.headers, body: parsed(await response.text()) }
    if (!response.ok) throw refusal(url, answer)
    return answer
  } catch (error) {
    if (error instanceof GatewayError) throw error
    if (error instanceof Error && error.name === 'TimeoutError') throw new CallTimedOutError(url, timeoutMs)
    throw unreachableGateway(url, error)
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text // not JSON: shown as it is
  }
}

function refusal(url: string, answer: GatewayAnswer): GatewayError {
  const said = (answer.body as { error?: unknown } | null)?.error
  const text = typeof said === 'string' ? said : String(answer.body).slice(0, 500)
  return new GatewayError({
    kind: kindOf(answer.status),
    message: `${url} answered ${answer.status}: ${text}`,
    retryable: answer.status === 429 || answer.status === 503,
    fix: fixOf(answer.status),
  })
}

function fixOf(status: number): string {
  const known: Record<number, string> = {
    401: "Set MILLRACE_KEY to a caller's key: 'millrace callers add' makes one.",
    403: "Ask an endpoint that this caller may call: 'millrace callers' shows them.",
    404: "Run 'millrace endpoints' to see endpoints and the versions that serve.",
    413: 'Send less at once, or raise serving.maxBody.',
    429: 'Try again in a moment, or raise the limit that it names.',
  }
  const other = status < 500 ? 'Correct what it names.' : "Try again in a moment; 'millrace status' shows what serves."
  return known[status] ?? other
}

function unreachableGateway(url: string, error: unknown): GatewayError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return new GatewayError({
    kind: 'unavailable',
    message: `${url} cannot be reached: ${messageOf(cause)}.`,
    fix: "Start Millrace with 'millrace up'; 'millrace status' shows where the gateway listens.",
    retryable: true,
    cause: error,
  })
}

function kindOf(status: number): ErrorKind {
  const known: Record<number, ErrorKind> = {
    401: 'unauthorized',
    403: 'unauthorized',
    404: 'not-found',
    409: 'conflict',
    413: 'too-large',
    429: 'exhausted',
  }
  return known[status] ?? (status >= 500 ? 'unavailable' : 'invalid')
}
