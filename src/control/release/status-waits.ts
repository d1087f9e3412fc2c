import type { Clock } from '../../kernel/clock.ts'
import type { Release } from './release.ts'

/**
 * How long each release has been seen in its status by this control plane. By the monotonic clock from when it was first
 * seen there: neither a restart nor a clock that was set may look like a time-out.
 */
export class StatusWaits {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #seen = new Map<string, { status: Release['status']; sinceMs: number }>()

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
  }

  waitedMs({ id, status }: Pick<Release, 'id' | 'status'>): number {
    const nowMs = this.#clock.monotonicMs()
    const seen = this.#seen.get(id)
    if (seen?.status === status) return nowMs - seen.sinceMs
    this.#seen.set(id, { status, sinceMs: nowMs })
    return 0
  }

  /** Those of releases that have ended are of no use. */
  keepOnly(releaseIds: readonly string[]): void {
    for (const id of this.#seen.keys()) if (!releaseIds.includes(id)) this.#seen.delete(id)
  }
}
