import { mapEventIterator, ORPCError } from '@orpc/client'
import { ValidationError } from '@orpc/contract'

import { asDataDirError } from '../../kernel/runtime/data-dir.ts'
import { MillraceError, messageOf, type ErrorKind } from '../../kernel/errors.ts'
import { WIRE_ERRORS, type WireErrorCode } from './contract.ts'
import { ApiFailedError, ApiInputError, ApiOutputError, ApiRequestError } from './errors.ts'
import type { WireError } from './error-schemas.ts'

/** A defect is told to the operator's log with its stack; the caller gets its message. */
export type OnDefect = (error: MillraceError, procedure: string) => void

/** Anything that a procedure throws, as the typed error of the contract. */
export function toWireError(thrown: unknown, procedure: string, onDefect: OnDefect): ORPCError<string, unknown> {
  if (thrown instanceof ORPCError && isWireError(thrown.data)) return thrown as ORPCError<string, unknown>
  const error = toMillraceError(thrown, procedure)
  if (error.kind === 'internal') onDefect(error, procedure)
  const code = wireCodeOf(error.kind)
  return new ORPCError(code, {
    status: WIRE_ERRORS[code].status,
    message: error.message,
    data: error.toJSON(),
    cause: thrown,
  })
}

/** The body of a failed REST call, whatever it failed of. */
export function bodyOfError(error: ORPCError<string, unknown>): WireError {
  if (isWireError(error.data)) return error.data
  return { code: 'MR_API_REQUEST', kind: kindOfStatus(error.status), message: error.message, retryable: false }
}

/** The same mapping for errors that a stream throws after its first item. */
export function withWireErrors(output: unknown, procedure: string, onDefect: OnDefect): unknown {
  if (!isAsyncIterator(output)) return output
  return mapEventIterator(output, {
    value: (value) => Promise.resolve(value),
    error: (thrown) => Promise.resolve(toWireError(thrown, procedure, onDefect)),
  })
}

export function isWireError(data: unknown): data is WireError {
  if (typeof data !== 'object' || data === null) return false
  const { code, kind, message } = data as Record<string, unknown>
  return typeof code === 'string' && typeof kind === 'string' && typeof message === 'string'
}

export function kindOfStatus(status: number): ErrorKind {
  const exact = Object.values(WIRE_ERRORS).find((e) => e.status === status)
  if (exact !== undefined) return exact.kind
  return status < 500 ? 'invalid' : 'internal'
}

function toMillraceError(thrown: unknown, procedure: string): MillraceError {
  if (thrown instanceof MillraceError) return thrown
  const full = fullDisk(thrown)
  if (full !== null) return full
  if (thrown instanceof ORPCError && thrown.cause instanceof ValidationError) {
    const { data } = thrown.cause
    const issues = thrown.cause.issues.map((issue) => ({
      path: pathOf(issue.path),
      message: `${issue.message}${shownValue(data, issue.path)}`,
    }))
    return thrown.code === 'BAD_REQUEST' ? new ApiInputError(procedure, issues) : new ApiOutputError(procedure, issues)
  }
  if (thrown instanceof ORPCError && thrown.status < 500)
    return new ApiRequestError(`${procedure}: ${thrown.message}.`, 'GET /openapi.json says how to call it.')
  if (thrown instanceof Error && thrown.message.startsWith(RPC_UNREADABLE))
    return new ApiRequestError(`${procedure}: ${thrown.message}`, "Call it by Millrace's own client, or by REST.")
  return new ApiFailedError(procedure, messageOf(thrown), thrown)
}

/** How the RPC handler says that it can't read what it was sent. */
const RPC_UNREADABLE = 'Invalid RPC serialized data'

/** The disk may fill up at any line: that is never a defect. */
function fullDisk(thrown: unknown): MillraceError | null {
  const { code, path } = (thrown ?? {}) as NodeJS.ErrnoException
  if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EROFS') return null
  const error = asDataDirError(thrown, path ?? 'the data directory')
  return error instanceof MillraceError ? error : null
}

type IssuePath = readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined

function pathOf(path: IssuePath): string {
  return (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
}

const VALUE_MAX = 80

/** What was given in place of it: a text, a number, true or false; nothing else is short enough to be read. */
function shownValue(data: unknown, path: IssuePath): string {
  const at = (path ?? []).map((part) => (typeof part === 'object' ? part.key : part))
  const value = at.reduce(
    (inner: unknown, key) => (inner as Record<PropertyKey, unknown> | null | undefined)?.[key],
    data,
  )
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return ''
  const text = JSON.stringify(value)
  return `, not ${text.length > VALUE_MAX ? `${text.slice(0, VALUE_MAX)}…` : text}`
}

function wireCodeOf(kind: ErrorKind): WireErrorCode {
  return (Object.keys(WIRE_ERRORS) as WireErrorCode[]).find((code) => WIRE_ERRORS[code].kind === kind) ?? 'INTERNAL'
}

function isAsyncIterator(value: unknown): value is AsyncIterator<unknown, unknown, void> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value && 'next' in value
}
