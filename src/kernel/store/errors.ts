import { MillraceError, messageOf } from '../errors.ts'
import type { LockHolder } from '../runtime/process-lock.ts'

export class StoreLockedError extends MillraceError {
  constructor(directory: string, holder: LockHolder | null) {
    const who = holder === null ? 'another process' : `process ${holder.pid} (since ${isoTime(holder.sinceMs)})`
    super({
      code: 'MR_STORE_LOCKED',
      kind: 'conflict',
      message: `The database in '${directory}' is in use by ${who}.`,
      fix: "Only one control plane may use it: stop the other with 'millrace down', or choose another --data-dir.",
    })
  }
}

/** PostgreSQL: another control plane holds the advisory lock. */
export class ControlPlaneActiveError extends MillraceError {
  constructor(database: string, holder: string | null) {
    super({
      code: 'MR_CONTROL_PLANE_ACTIVE',
      kind: 'conflict',
      message: `Another control plane is active on database '${database}': ${holder ?? 'its name is not known'}.`,
      fix: 'Stop the other one, or give this one a database of its own in MILLRACE_DATABASE_URL.',
    })
  }
}

export class StoreUnavailableError extends MillraceError {
  constructor(where: string, cause: unknown) {
    super({
      code: 'MR_STORE_UNAVAILABLE',
      kind: 'unavailable',
      message: `Cannot reach the database ${where}: ${messageOf(cause)}.`,
      fix: 'Check MILLRACE_DATABASE_URL, and that the server runs and lets this user in.',
      retryable: true,
      cause,
    })
  }
}

export class StoreDamagedError extends MillraceError {
  constructor(directory: string, cause: unknown) {
    super({
      code: 'MR_STORE_DAMAGED',
      kind: 'internal',
      message: `The database in '${directory}' does not start: ${messageOf(cause)}.`,
      fix: `Look at the log for its last lines; restore '${directory}' from a backup if the disk has lost data.`,
      cause,
    })
  }
}

export class MigrationError extends MillraceError {
  constructor(migration: string | null, cause: unknown) {
    super({
      code: 'MR_MIGRATION',
      kind: 'internal',
      message: `The database could not be brought up to date${migration === null ? '' : ` (migration ${migration})`}: ${messageOf(cause)}.`,
      fix: 'If it was written by a newer Millrace, use that one; otherwise please report this message.',
      cause,
    })
  }
}

/** A query on `store.db`, or a second transaction, from inside a transaction: it would wait for itself forever. */
export class NestedTransactionError extends MillraceError {
  constructor() {
    super({
      code: 'MR_NESTED_TRANSACTION',
      kind: 'internal',
      message: 'A query went to the store from inside an open transaction instead of through it.',
      fix: 'This is a defect of Millrace: inside `store.transaction`, only the `tx` that it gives may be used.',
    })
  }
}

export class StoreContendedError extends MillraceError {
  constructor(attempts: number, cause: unknown) {
    super({
      code: 'MR_STORE_CONTENDED',
      kind: 'exhausted',
      message: `A transaction was undone ${attempts} times because others changed the same rows: ${messageOf(cause)}.`,
      fix: 'Try again in a moment.',
      retryable: true,
      cause,
    })
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
