import type { Clock } from '../../kernel/clock.ts'
import type { LogMode, SpoolRecord } from '../../kernel/contract/prediction.ts'
import type { LogReport } from '../../kernel/contract/routing.ts'
import type { SpoolFs } from './spool-fs.ts'

/**
 * The prediction log's writer in a gateway. Records are encoded into a buffer at once; one write and one fdatasync at
 * a time take all that has gathered ("group commit"):
 *
 *   append ─▶ filling batch ─(at once if durable, else ≤ commitMs)─▶ write ▶ fdatasync ▶ acknowledge ─▶ next batch
 *                                                                       └─ size or age reached ▶ seal
 *
 * Relaxed mode loses on a power cut or SIGKILL at most what was appended in the last `commitMs` plus one disk write.
 */
export interface SpoolOptions {
  /** The folder `spool/`; this gateway writes to `spool/<instance>/`. */
  dir: string
  instance: string
  clock: Clock
  /** A segment is sealed, so that the ingest may take it, when it is so large … */
  sealBytes?: number
  /** … or so old. */
  sealMs?: number
  /** Less free space than this on the disk: nothing is logged. */
  minFreeBytes?: number
  /** How long a relaxed record may wait for company. */
  commitMs?: number
  /** Encoded records that may wait for the disk; a single record can't be larger either. */
  bufferLimitBytes?: number
  /** How long to wait for the instance's lock, which an ingest may hold for a moment while it recovers. */
  lockWaitMs?: number
  /** Told at each change, and once after opening if something was recovered. */
  onState?: (state: SpoolState) => void
  fs?: SpoolFs
}

export interface SpoolState {
  diskFull: boolean
  freeBytes: number
  /** What happened, in words, with values. */
  why: string
}

export interface Spool {
  /**
   * Logs one record. A schema is kept in memory and written before the first prediction of its version in each
   * segment; it must come before that prediction.
   * @returns relaxed: at once; durable: after fdatasync, and never 'dropped'
   * @throws PredictionLogFullError in durable mode, when the disk is full, the buffer is, or the write fails
   */
  append(record: SpoolRecord, mode: LogMode): Promise<'logged' | 'dropped'>
  /** An answer that is left out by sampling, so that the count still adds up. */
  countSampledOut(): void
  /** Over all restarts of this instance. */
  counts(): LogReport
  /** Waits until all that was appended is on disk (or has failed). */
  flush(): Promise<void>
  /** Writes everything, seals, and lets the lock go. Appending after it fails with SpoolClosedError. */
  close(): Promise<void>
}

export const SPOOL_DEFAULTS = {
  sealBytes: 8 * 1024 * 1024,
  sealMs: 2_000,
  minFreeBytes: 200 * 1024 * 1024,
  commitMs: 5,
  bufferLimitBytes: 32 * 1024 * 1024,
  lockWaitMs: 5_000,
}
