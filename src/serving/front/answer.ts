import type { ServerResponse } from 'node:http'

/** What goes back to a client, apart from how it is carried. */
export interface Answer {
  status: number
  /** Names and values in turn. */
  headers: string[]
  /** Empty where `stream` is given. */
  body: Buffer
  /** Sent as it comes, chunked; ended early when the client leaves. */
  stream?: AsyncIterable<Buffer>
  /** What follows once it is on its way. */
  afterSent?: () => void
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

/** 503 that may pass soon. */
export function retryAnswer(error: string): Answer {
  return errorAnswer(503, error, ['Retry-After', '1'])
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

const REASONS: Record<number, string> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
}

/** A whole answer as bytes, for requests that never became one: the connection is closed after it. */
export function rawAnswer(answer: Answer): string {
  const headers = headersOf(answer, true)
  let head = `HTTP/1.1 ${answer.status} ${REASONS[answer.status] ?? 'Error'}\r\n`
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`
  return `${head}\r\n${answer.body.toString('utf8')}`
}
