import { MillraceError } from '../../kernel/errors.ts'

/** Durable mode only: the prediction was made but could not be logged, so it must not be acknowledged. */
export class PredictionLogFullError extends MillraceError {
  constructor(why: string, fix: string, cause?: unknown) {
    super({
      code: 'MR_LOG_FULL',
      kind: 'unavailable',
      retryable: true,
      message: `The prediction log takes nothing more: ${why}.`,
      fix,
      cause,
    })
  }
}

export class SpoolInUseError extends MillraceError {
  constructor(dir: string, instance: string) {
    super({
      code: 'MR_SPOOL_IN_USE',
      kind: 'conflict',
      message: `Another process writes to the spool ${dir} as '${instance}'.`,
      fix: 'Stop the other gateway, or give this one a name of its own.',
    })
  }
}

export class SpoolClosedError extends MillraceError {
  constructor() {
    super({
      code: 'MR_SPOOL_CLOSED',
      kind: 'unavailable',
      message: 'The prediction log is closed: this gateway is shutting down.',
      fix: 'Send the request again: another gateway, or the next start of this one, will take it.',
      retryable: true,
    })
  }
}

/** A defect: the gateway must declare a version's schema before it logs the first prediction of that version. */
export class SchemaNotDeclaredError extends MillraceError {
  constructor(model: string, version: string) {
    super({
      code: 'MR_SPOOL_SCHEMA_UNDECLARED',
      kind: 'internal',
      message: `A prediction of ${model}@${version} was logged before the schema of that version.`,
      fix: 'This is a defect of Millrace: please report it with this message.',
    })
  }
}
