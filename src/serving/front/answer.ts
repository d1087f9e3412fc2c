import type { ServerResponse } from 'node:http'

/** What goes back to a client, apart from how it is carried. */
export interface Answer {
  status: number
  /** Names and values in turn. */
  headers: string[]
  /** Empty where `stream` is given. */
  body: Buffer
  /** Sent as it comes, chunked; ended early when the client leaves. */
  stream?: AnswerStream
  /** What follows once it is on its way. */
  afterSent?: () => void
}

export interface AnswerStream extends AsyncIterable<Buffer> {
  /**
   * Has `told` called with how many bytes wait to be read, at once and whenever that changes: they count among the answers
   * that a server holds. A part is held until the next is asked for. Absent: it makes each part when it is asked for.
   */
  onHeld?(told: (heldBytes: number) => void): void
}

export function jsonAnswer(status: number, value: unknown, headers: string[] = []): Answer {
  return { status, headers: ['Content-Type', 'application/json', ...headers], body: Buffer.from(JSON.stringify(value)) }
}

/**
 * An error as every v2 client reads it. The Content-Type has no charset: KServe's client compares it as a whole.
 * @see open-inference-protocol, inference_rest.md, "Inference Response JSON Error Object"
 */
export function errorAnswer(status: number, error: string, headers: string[] = []): Answer {
  return jsonAnswer(status, { error }, headers)
}

/**
 * 503 that may pass soon.
 * @param afterMs - when trying again may help, as far as that is known
 */
export function retryAnswer(error: string, afterMs = 1_000): Answer {
  return errorAnswer(503, error, ['Retry-After', retryAfter(afterMs)])
}

/** 429: the caller itself has too much under way. */
export function tooManyAnswer(error: string, afterMs = 1_000): Answer {
  return errorAnswer(429, error, ['Retry-After', retryAfter(afterMs)])
}

const RETRY_AFTER_MAX_S = 60

/** Whole seconds, rounded up: the header knows nothing finer. @see RFC 9110, section 10.2.3 */
function retryAfter(afterMs: number): string {
  return String(Math.min(RETRY_AFTER_MAX_S, Math.max(1, Math.ceil(afterMs / 1_000))))
}

/** @param close - asks the client not to use this connection again, and closes it after the answer */
export function sendAnswer(response: ServerResponse, answer: Answer, close: boolean): void {
  response.writeHead(answer.status, headersOf(answer, close))
  response.end(answer.body)
}

export function headersOf(answer: Answer, close: boolean): string[] {
  const headers = [...answer.headers, 'Content-Length', String(answer.body.length)]
  if (close) headers.push('Connection', 'close')
  return headers
}
