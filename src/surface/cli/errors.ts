import { MillraceError } from '../../kernel/errors.ts'

export class UsageError extends MillraceError {
  constructor(message: string, fix: string) {
    super({ code: 'MR_CLI_USAGE', kind: 'invalid', message, fix })
  }
}

export class NoProjectError extends MillraceError {
  constructor(from: string) {
    super({
      code: 'MR_CLI_NO_PROJECT',
      kind: 'invalid',
      message: `There is no millrace.config.ts, millrace.yaml or .millrace in ${from} or any folder above it.`,
      fix: "Change to the project's folder, give --data-dir, or make a project with 'millrace init'.",
    })
  }
}

export class NoSuchEndpointError extends MillraceError {
  constructor(endpoint: string, known: string[]) {
    super({
      code: 'MR_ENDPOINT_UNKNOWN',
      kind: 'not-found',
      message: `There is no endpoint '${endpoint}'${known.length === 0 ? '' : `; there are: ${known.join(', ')}`}.`,
      fix: `Run 'millrace endpoints' to see them.`,
    })
  }
}

export class VersionNotServedError extends MillraceError {
  constructor(ref: string, status: string) {
    const isGone = status === 'deleted' || status === 'deleting'
    super({
      code: 'MR_VERSION_NOT_SERVED',
      kind: 'not-found',
      message: `${ref} is ${status === 'kept' ? 'not deployed' : status}: no replica of it can answer.`,
      fix: isGone
        ? `Its files are gone for good; 'millrace models' shows the versions that are left.`
        : `Release it ('millrace release ${ref}', which revives it where it is out of service), or ask a version that serves.`,
    })
  }
}

export class FileUnreadableError extends MillraceError {
  constructor(file: string, reason: string) {
    super({
      code: 'MR_CLI_FILE',
      kind: 'invalid',
      message: `Cannot read ${file}: ${reason}.`,
      fix: 'Give a file that exists and can be read.',
    })
  }
}

export class WaitedTooLongError extends MillraceError {
  constructor(what: string, waited: string) {
    super({
      code: 'MR_CLI_WAITED',
      kind: 'unavailable',
      message: `${what} was not settled within ${waited}; it goes on.`,
      fix: "Follow it with 'millrace status --watch', or give a longer --timeout.",
    })
  }
}

export class StartTimedOutError extends MillraceError {
  constructor(waited: string, logs: string) {
    super({
      code: 'MR_CLI_START_TIMED_OUT',
      kind: 'unavailable',
      message: `Millrace was not up after ${waited}.`,
      fix: `Look into ${logs}, or give it longer with --timeout.`,
    })
  }
}

/** Several gateways share a port that the first of them was to choose. */
export class GatewayPortUnknownError extends MillraceError {
  constructor(waitedMs: number) {
    super({
      code: 'MR_CLI_GATEWAY_PORT',
      kind: 'unavailable',
      retryable: true,
      message: `The first gateway did not say its port within ${waitedMs / 1_000} s, which the others are to share.`,
      fix: `Look into 'millrace logs --process gateway', or choose a port with --port.`,
    })
  }
}

export class DetachedEndedError extends MillraceError {
  constructor(status: number | string, logPath: string) {
    super({
      code: 'MR_CLI_ENDED',
      kind: 'unavailable',
      message: `Millrace ended with ${status} while it was starting.`,
      fix: `Its last words are in ${logPath}.`,
    })
  }
}
