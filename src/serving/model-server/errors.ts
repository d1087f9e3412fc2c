import { MillraceError } from '../../kernel/errors.ts'

/** The file is not the one that was registered: nothing else is ever loaded. */
export class DigestMismatchError extends MillraceError {
  constructor(path: string, expected: string, actual: string) {
    super({
      code: 'MR_MODEL_DIGEST',
      kind: 'conflict',
      retryable: false,
      message: `${path} has digest ${actual}, but ${expected} was registered: it is damaged or was replaced.`,
      fix: 'Restore the artifact from a backup, or train the version again.',
    })
  }
}

/** The row that came with the version makes the model fail. */
export class WarmUpError extends MillraceError {
  constructor(version: string, cause: unknown) {
    super({
      code: 'MR_MODEL_WARM_UP',
      kind: 'conflict',
      retryable: false,
      message: `Model ${version} was loaded, but failed on its warm-up row: ${cause instanceof Error ? cause.message : String(cause)}`,
      fix: 'Try the row on the model where it was trained; it must accept what the holdout holds.',
      cause,
    })
  }
}

/** The options file of a replica can't be used. */
export class ReplicaOptionsError extends MillraceError {
  constructor(path: string, why: string, cause?: unknown) {
    super({
      code: 'MR_REPLICA_OPTIONS',
      kind: 'invalid',
      retryable: false,
      message: `Cannot read the replica options ${path}: ${why}.`,
      fix: 'The control plane writes this file; give it as the only argument.',
      cause,
    })
  }
}

/** A heavy model's own process could not be started, or never became ready. */
export class RunProcessError extends MillraceError {
  constructor(path: string, why: string, cause?: unknown) {
    super({
      code: 'MR_RUN_PROCESS',
      kind: 'unavailable',
      message: `The process for the model ${path} could not be started: ${why}.`,
      fix: "See the model server's log; with serving.isolate 'never' (millrace serve: --isolate never) the model runs in the server itself.",
      retryable: true,
      cause,
    })
  }
}

/** `millrace serve` was given something that it can't serve. */
export class ServeInputError extends MillraceError {
  constructor(message: string, fix: string, cause?: unknown) {
    super({ code: 'MR_SERVE_INPUT', kind: 'invalid', retryable: false, message, fix, cause })
  }
}
