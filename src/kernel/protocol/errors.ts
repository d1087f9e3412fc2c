import { MillraceError } from '../errors.ts'
import type { ErrorKind } from '../errors.ts'

export type ProtocolStatus = 400 | 404 | 405 | 408 | 413 | 415 | 500 | 503 | 504

const KINDS: Record<ProtocolStatus, { code: string; kind: ErrorKind }> = {
  400: { code: 'MR_REQUEST_INVALID', kind: 'invalid' },
  404: { code: 'MR_REQUEST_UNKNOWN_MODEL', kind: 'not-found' },
  405: { code: 'MR_REQUEST_METHOD', kind: 'invalid' },
  408: { code: 'MR_REQUEST_TIMEOUT', kind: 'unavailable' },
  413: { code: 'MR_REQUEST_TOO_LARGE', kind: 'too-large' },
  415: { code: 'MR_REQUEST_ENCODING', kind: 'invalid' },
  500: { code: 'MR_REQUEST_FAILED', kind: 'internal' },
  503: { code: 'MR_REQUEST_UNAVAILABLE', kind: 'unavailable' },
  504: { code: 'MR_REQUEST_LATE', kind: 'unavailable' },
}

/** What a client of the inference protocol gets instead of an answer: an HTTP status and `{"error": message}`. */
export class ProtocolError extends MillraceError {
  readonly status: ProtocolStatus

  constructor(status: ProtocolStatus, message: string, cause?: unknown) {
    super({ ...KINDS[status], message, retryable: status === 503 || status === 408, cause })
    this.status = status
  }
}

/** The only shape of an error in this protocol. Send it as `application/json`, without a charset: KServe's client compares. */
export function errorBody(text: string): string {
  return `{"error":${JSON.stringify(text)}}`
}

/** Clients match on this beginning. */
export function unknownModel(model: string, version: string | null = null): ProtocolError {
  return new ProtocolError(
    404,
    `Request for unknown model: '${model}' is not found${version === null ? '' : ` in version '${version}'`}`,
  )
}
