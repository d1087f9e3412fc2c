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

/** The address can't be listened on. */
export class ListenError extends MillraceError {
  constructor(address: string, cause: NodeJS.ErrnoException) {
    const taken = cause.code === 'EADDRINUSE'
    super({
      code: 'MR_LISTEN',
      kind: 'conflict',
      retryable: false,
      message: `Cannot listen on ${address}: ${taken ? 'something else does already' : cause.message}.`,
      fix: taken ? 'Stop the other process, or choose another port with --port.' : 'Choose another address or port.',
      cause,
    })
  }
}
