import type { Clock } from '../kernel/clock.ts'

/**
 * How long things have lasted: by the monotonic clock from when they were first asked for in this process, so that a
 * clock which was set looks like nothing; and before that what was said then.
 */
export class Elapsed {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #known = new Map<string, { sinceMs: number; beforeMs: number }>()

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
  }

  /** @param beforeMs - how long it had lasted by now, asked at first sight alone */
  ms(thing: string, beforeMs: () => number = () => 0): number {
    const nowMs = this.#clock.monotonicMs()
    let known = this.#known.get(thing)
    if (known === undefined) {
      known = { sinceMs: nowMs, beforeMs: beforeMs() }
      this.#known.set(thing, known)
    }
    return known.beforeMs + nowMs - known.sinceMs
  }

  keepOnly(isKept: (thing: string) => boolean): void {
    for (const thing of this.#known.keys()) if (!isKept(thing)) this.#known.delete(thing)
  }
}
