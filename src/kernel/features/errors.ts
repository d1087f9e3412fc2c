import { MillraceError } from '../errors.ts'

/** A table of features that can't be used: said when the version is registered, never at its first request. */
export class FeatureTableError extends MillraceError {
  constructor(table: string, why: string, fix: string, cause?: unknown) {
    super({
      code: 'MR_FEATURE_TABLE',
      kind: 'invalid',
      retryable: false,
      message: `The feature table '${table}' can't be used: ${why}.`,
      fix,
      cause,
    })
  }
}
