import type { Clock } from '../../kernel/clock.ts'
import { Elapsed } from '../elapsed.ts'
import type { Release } from './release.ts'

/**
 * How long each release has been seen in its status by this control plane: neither a restart nor a clock that was set may
 * look like a time-out.
 */
export class StatusWaits {
  readonly #in: Elapsed

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#in = new Elapsed(clock)
  }

  waitedMs({ id, status }: Pick<Release, 'id' | 'status'>): number {
    const now = `${id} ${status}`
    this.#in.keepOnly((known) => known === now || !known.startsWith(`${id} `))
    return this.#in.ms(now)
  }

  /** Those of releases that have ended are of no use. */
  keepOnly(releaseIds: readonly string[]): void {
    this.#in.keepOnly((known) => releaseIds.includes(known.split(' ')[0]!))
  }
}
