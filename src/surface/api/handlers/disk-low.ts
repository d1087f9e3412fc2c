import { MillraceError } from '../../../kernel/errors.ts'

/** Refuses what would fill the disk further; applying a configuration and rolling back stay possible. */
export class DiskLowError extends MillraceError {
  /** @param refused - e.g. `no run is started` */
  constructor(refused: string) {
    super({
      code: 'MR_DISK_LOW',
      kind: 'unavailable',
      message: `Free disk space is below the watermark: ${refused}.`,
      fix: 'Free some space, or lower storage.minFree.',
      retryable: true,
    })
  }
}
