import { MillraceError } from '../errors.ts'

/** A record whose bytes are intact (the CRC holds) but which says something that can't be read. Never reaches a user: it is quarantined. */
export class MalformedRecordError extends MillraceError {
  constructor(what: string) {
    super({
      code: 'MR_LOG_RECORD_MALFORMED',
      kind: 'internal',
      message: `A record of the prediction log can't be read: ${what}.`,
      fix: `It is kept in lake/quarantine; report it together with the model's signature.`,
    })
  }
}

/** Another ingest holds the lake. */
export class LakeBusyError extends MillraceError {
  constructor(lakeDir: string) {
    super({
      code: 'MR_LAKE_BUSY',
      kind: 'conflict',
      retryable: true,
      message: `Another ingest is writing to the lake ${lakeDir}.`,
      fix: 'Wait for it to end: it takes in the same segments.',
    })
  }
}

export class LakeManifestError extends MillraceError {
  constructor(path: string, what: string, cause?: unknown) {
    super({
      code: 'MR_LAKE_MANIFEST',
      kind: 'internal',
      message: `The lake's manifest ${path} can't be used: ${what}.`,
      fix: 'Restore the file from a backup, or remove it to go back to the manifest before it.',
      cause,
    })
  }
}

const VIEWS_FIX = `Run 'millrace lake query "SHOW TABLES"' for the views and 'DESCRIBE <view>' for their columns.`

/** The SQL was refused by DuckDB; the message is DuckDB's own, cut to what helps. */
export class LakeQueryError extends MillraceError {
  constructor(message: string, cause?: unknown, fix = VIEWS_FIX) {
    super({ code: 'MR_LAKE_QUERY', kind: 'invalid', message, fix, cause })
  }
}

/** Each takes a process and half a gigabyte. */
export class LakeQueryBusyError extends MillraceError {
  constructor(running: number) {
    super({
      code: 'MR_LAKE_QUERY_BUSY',
      kind: 'exhausted',
      retryable: true,
      message: `${running} queries are running already.`,
      fix: 'Try again when one of them has ended, within a minute.',
    })
  }
}

export class LakeQueryTimeoutError extends MillraceError {
  constructor(timeoutMs: number) {
    super({
      code: 'MR_LAKE_QUERY_TIMEOUT',
      kind: 'exhausted',
      message: `The query was stopped after ${timeoutMs} ms.`,
      fix: 'Narrow it by model and predicted_at, or allow it more time.',
    })
  }
}

/** DuckDB takes a comma in its search path for a separator and knows no way to quote it. */
export class LakeRootError extends MillraceError {
  constructor(root: string) {
    super({
      code: 'MR_LAKE_ROOT',
      kind: 'invalid',
      message: `SQL can't find files by relative paths in ${root}: the folder's name has a comma.`,
      fix: 'Rename the folder.',
    })
  }
}
