/**
 * Every error that a person may read. The domain throws these; `surface/api` maps `kind` to an HTTP status.
 * Codes are stable and listed in docs/reference/errors.md, which a test holds against this folder both ways.
 */
export type ErrorKind =
  | 'invalid' // the caller's input is wrong: 400
  | 'unauthorized' // no or a wrong token: 401
  | 'not-found' // 404
  | 'conflict' // the state forbids it now: 409
  | 'too-large' // 413
  | 'exhausted' // a limit is reached, later it may pass: 429
  | 'unavailable' // something it needs is down: 503
  | 'internal' // a defect of Millrace: 500

export interface ErrorFacts {
  code: string
  kind: ErrorKind
  /** What failed, with the values. One sentence. */
  message: string
  /** The next move. One sentence. */
  fix?: string
  /** True when the same call may pass later without anybody changing anything. */
  retryable?: boolean
  cause?: unknown
}

export class MillraceError extends Error {
  readonly code: string
  readonly kind: ErrorKind
  readonly fix: string | undefined
  readonly retryable: boolean

  constructor(facts: ErrorFacts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = new.target.name
    this.code = facts.code
    this.kind = facts.kind
    this.fix = facts.fix
    this.retryable = facts.retryable ?? false
  }

  toJSON(): { code: string; kind: ErrorKind; message: string; fix?: string; retryable: boolean } {
    return {
      code: this.code,
      kind: this.kind,
      message: this.message,
      ...(this.fix === undefined ? {} : { fix: this.fix }),
      retryable: this.retryable,
    }
  }
}

/** For the `default` of a switch over a union: a new member must not compile until it is handled. */
export function unreachable(value: never): never {
  throw new MillraceError({
    code: 'MR_UNREACHABLE',
    kind: 'internal',
    message: `Unhandled case: ${JSON.stringify(value)}.`,
    fix: 'This is a defect of Millrace: please report it with this message.',
  })
}

/** The text of anything thrown: an Error's message, else the value as a string. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** For people who read it later: the message and, where there is one, the next move. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof MillraceError && thrown.fix !== undefined
    ? `${thrown.message} ${thrown.fix}`
    : messageOf(thrown)
}
