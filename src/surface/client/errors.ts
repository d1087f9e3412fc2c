import { MillraceError, type ErrorFacts } from '../../kernel/errors.ts'

/** Nobody listens where the control plane should. The CLI ends with exit code 3. */
export class NotRunningError extends MillraceError {
  constructor(where: string) {
    super({
      code: 'MR_NOT_RUNNING',
      kind: 'unavailable',
      message: `No Millrace runs on ${where}.`,
      fix: "Start it with 'millrace up' (it stays in the foreground; '--detach' gives the prompt back).",
      retryable: true,
    })
  }
}

/** Millrace runs, but its control plane has not come back for longer than a restart takes. */
export class ControlPlaneDownError extends MillraceError {
  constructor(where: string, waitedMs: number) {
    super({
      code: 'MR_CONTROL_PLANE_DOWN',
      kind: 'unavailable',
      message: `Millrace runs on ${where}, but its control plane did not answer for ${Math.round(waitedMs / 1000)} s: it is being started again.`,
      fix: 'Look into its log, logs/control-plane.log in that folder, and try again; endpoints are served meanwhile.',
      retryable: true,
    })
  }
}

export class CallTimedOutError extends MillraceError {
  constructor(procedure: string, timeoutMs: number) {
    super({
      code: 'MR_CALL_TIMED_OUT',
      kind: 'unavailable',
      message: `There was no answer within ${timeoutMs / 1_000} s (${procedure}).`,
      fix: "'millrace logs --process control-plane' (or gateway) tells why; what was asked for may still happen.",
      retryable: false,
    })
  }
}

export class ConnectionLostError extends MillraceError {
  constructor(procedure: string, reason: string, cause?: unknown) {
    super({
      code: 'MR_CONNECTION_LOST',
      kind: 'unavailable',
      message: `The connection to Millrace broke during ${procedure}: ${reason}.`,
      fix: "The control plane may be restarting: run 'millrace status', then look whether what you asked for has happened.",
      retryable: true,
      cause,
    })
  }
}

/** What the other side said, unchanged. */
export class RemoteError extends MillraceError {
  constructor(facts: ErrorFacts) {
    super(facts)
  }
}

export class PredictionInputError extends MillraceError {
  constructor(message: string, fix: string) {
    super({ code: 'MR_PREDICTION_INPUT', kind: 'invalid', message, fix })
  }
}

export class GatewayError extends MillraceError {
  constructor(facts: Omit<ErrorFacts, 'code'>) {
    super({ code: 'MR_GATEWAY', ...facts })
  }
}
