import { MillraceError } from '../../kernel/errors.ts'

export class ApiInputError extends MillraceError {
  constructor(procedure: string, issues: { path: string; message: string }[]) {
    const shown = issues.slice(0, 5).map((i) => (i.path === '' ? i.message : `${i.path}: ${i.message}`))
    const more = issues.length > 5 ? ` (and ${issues.length - 5} more)` : ''
    super({
      code: 'MR_API_INPUT',
      kind: 'invalid',
      message: `The input of ${procedure} is not valid: ${shown.join('; ')}${more}.`,
      fix: `Compare it with ${procedure} in the API document ('millrace open', or GET /openapi.json).`,
    })
  }
}

export class ApiOutputError extends MillraceError {
  constructor(procedure: string, issues: { path: string; message: string }[]) {
    const shown = issues.slice(0, 5).map((i) => `${i.path}: ${i.message}`)
    super({
      code: 'MR_API_OUTPUT',
      kind: 'internal',
      message: `The answer of ${procedure} does not keep the API's contract: ${shown.join('; ')}.`,
      fix: 'This is a defect of Millrace: please report it with this message.',
    })
  }
}

export class ApiFailedError extends MillraceError {
  constructor(procedure: string, reason: string, cause: unknown) {
    super({
      code: 'MR_API_FAILED',
      kind: 'internal',
      message: `${procedure} failed unexpectedly: ${reason}`,
      fix: "Look into the control plane's log ('.millrace/logs'); if it is not your configuration, please report it.",
      cause,
    })
  }
}

export class ApiRequestError extends MillraceError {
  constructor(message: string, fix: string) {
    super({ code: 'MR_API_REQUEST', kind: 'invalid', message, fix })
  }
}

export class ApiBodyTooLargeError extends MillraceError {
  constructor(limitBytes: number) {
    super({
      code: 'MR_API_BODY_TOO_LARGE',
      kind: 'too-large',
      message: `The request's body is larger than the control API takes (${limitBytes} bytes).`,
      fix: 'Send less at once; a model file is given by its path or digest, not in the body.',
    })
  }
}

export class ApiOverloadedError extends MillraceError {
  constructor(calls: number) {
    super({
      code: 'MR_API_OVERLOADED',
      kind: 'exhausted',
      retryable: true,
      message: `The control API is answering ${calls} calls already and takes no more at once.`,
      fix: 'Send fewer at once, and this one again in a second.',
    })
  }
}

export class ApiUnknownPathError extends MillraceError {
  constructor(method: string, path: string) {
    super({
      code: 'MR_API_UNKNOWN_PATH',
      kind: 'not-found',
      message: `The control API has no operation ${method} ${path}.`,
      fix: 'GET /openapi.json lists every operation.',
    })
  }
}

export class ProcessUnknownError extends MillraceError {
  constructor(id: string) {
    super({
      code: 'MR_PROCESS_UNKNOWN',
      kind: 'not-found',
      message: `There is no process '${id}' that runs.`,
      fix: `'millrace status' lists them, for example gateway or replica-9.`,
    })
  }
}

export class ProcessMetricsError extends MillraceError {
  constructor(id: string, why: string, cause?: unknown) {
    super({
      code: 'MR_PROCESS_METRICS',
      kind: 'unavailable',
      message: `The metrics of process '${id}' can't be read: ${why}.`,
      fix: `Gateways and replicas with a model of Millrace's tell metrics; the control plane's say which processes run.`,
      cause,
    })
  }
}

export class ApiUnauthorizedError extends MillraceError {
  constructor(message: string, fix: string) {
    super({ code: 'MR_API_UNAUTHORIZED', kind: 'unauthorized', message, fix })
  }
}

export class ApiBusyError extends MillraceError {
  constructor(where: string) {
    super({
      code: 'MR_API_ADDRESS_TAKEN',
      kind: 'conflict',
      message: `The control API cannot listen on ${where}: something else does.`,
      fix: "Stop it ('millrace down' if it is another Millrace), or choose another port with --api-port.",
    })
  }
}

export class ApiNoPageError extends MillraceError {
  constructor() {
    super({
      code: 'MR_API_NO_PAGE',
      kind: 'conflict',
      message: 'The control API listens on its unix socket only, so there is no page to open.',
      fix: 'Start Millrace without --no-api.',
    })
  }
}
