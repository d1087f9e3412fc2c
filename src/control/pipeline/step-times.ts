import type { Clock } from '../../kernel/clock.ts'
import { Elapsed } from '../elapsed.ts'
import { BACKOFF_MAX_MS } from './decide-next-steps.ts'
import type { Attempt, Step } from './run.ts'

/** An adopted attempt of which only the clock says how long it runs is watched for so long at least. */
const ADOPTED_WATCH_MS = 60_000

/**
 * How long attempts have been under way, and what is left of the pauses before the next ones. Neither a restart nor a
 * clock that was set may look like a time-out: what was begun by a control plane before this one is counted on from what
 * is known of it when it is first seen.
 */
export class StepTimes {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'epochMs'>
  /** By run, then by token of the attempt, or by step and time of its next attempt: below nought until that comes. */
  readonly #elapsed: Elapsed

  constructor(clock: Pick<Clock, 'monotonicMs' | 'epochMs'>) {
    this.#clock = clock
    this.#elapsed = new Elapsed(clock)
  }

  /** An attempt begins in this process, and now. */
  begin({ runId, token }: Pick<Attempt, 'runId' | 'token'>): void {
    this.#elapsed.ms(`${runId}/${token}`)
  }

  /** @param ageMs - how long the system says that its process has been there, asked at first sight; null: it does not */
  ranMs({ runId, token, startedAtMs }: Attempt, timeoutMs: number, ageMs: () => number | null): number {
    const sinceStartMs = () => this.#clock.epochMs() - startedAtMs
    return this.#elapsed.ms(`${runId}/${token}`, () =>
      adoptedRanMs({ ageMs: ageMs(), sinceStartMs: sinceStartMs(), timeoutMs }),
    )
  }

  /** What is left of its pause; null: nothing. */
  pauseMs({ runId, name, retryAtMs }: Step): number | null {
    if (retryAtMs === null) return null
    const elapsedMs = this.#elapsed.ms(
      `${runId}/${name} at ${retryAtMs}`,
      () => -adoptedPauseMs(retryAtMs - this.#clock.epochMs()),
    )
    return elapsedMs < 0 ? -elapsedMs : null
  }

  /** Drops all but these runs. */
  keep(runIds: readonly string[]): void {
    this.#elapsed.keepOnly((known) => runIds.includes(known.split('/')[0]!))
  }
}

/**
 * How long an attempt that another control plane began has been under way. The system knows its process's age, and counts
 * it by a clock of its own. Where it does not, the time since its recorded start is all there is: never less than nothing,
 * and never so much that a clock which was set meanwhile could end it at first sight.
 */
export function adoptedRanMs(known: { ageMs: number | null; sinceStartMs: number; timeoutMs: number }): number {
  if (known.ageMs !== null) return Math.max(0, known.ageMs)
  return Math.max(0, Math.min(known.sinceStartMs, known.timeoutMs - ADOPTED_WATCH_MS))
}

/** What is left of a pause, by the clock: no more than the longest there is, however that was set back. */
export const adoptedPauseMs = (leftMs: number): number => Math.max(0, Math.min(leftMs, BACKOFF_MAX_MS))
