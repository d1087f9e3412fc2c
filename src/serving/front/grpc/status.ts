import { status as codes } from '@grpc/grpc-js'
import type { Answer } from '../answer.ts'
import { errorTextOf } from '../error-text.ts'

/** What gRPC calls an HTTP status. UNAVAILABLE only for what may pass by itself: clients try that again. */
const CODES: Record<number, codes> = {
  400: codes.INVALID_ARGUMENT,
  401: codes.UNAUTHENTICATED,
  403: codes.PERMISSION_DENIED,
  404: codes.NOT_FOUND,
  405: codes.UNIMPLEMENTED,
  408: codes.DEADLINE_EXCEEDED,
  413: codes.RESOURCE_EXHAUSTED,
  415: codes.INVALID_ARGUMENT,
  429: codes.RESOURCE_EXHAUSTED,
  502: codes.UNAVAILABLE,
  503: codes.UNAVAILABLE,
  504: codes.DEADLINE_EXCEEDED,
}

/**
 * It goes into a header, percent-encoded, which clients take up to 8 kB of; and half a character, as a foreign server may
 * say or a cut may leave, can't be encoded.
 */
const DETAILS_MAX = 800

/** An error as the gRPC library takes it. */
export class CallError extends Error {
  readonly code: codes
  readonly details: string
  readonly httpStatus: number

  constructor(httpStatus: number, said: string) {
    const text = said.slice(0, DETAILS_MAX).toWellFormed()
    super(text)
    this.httpStatus = httpStatus
    this.name = 'CallError'
    this.code = CODES[httpStatus] ?? (httpStatus >= 500 ? codes.INTERNAL : codes.INVALID_ARGUMENT)
    this.details = text
  }
}

export const cancelled = (): CallError =>
  Object.assign(new CallError(499, 'The client has left.'), { code: codes.CANCELLED })

/** An answer that is an error: `{"error": text}`, or whatever a foreign model server says instead. */
export function errorOf({ status, body }: Answer): CallError {
  return new CallError(status, errorTextOf({ body }, DETAILS_MAX) || `It answered with status ${status}.`)
}
