/**
 * When a replica that takes requests and gives no answers is suspected, and when a single exchange has taken so long that
 * another replica should try. Both are measured by what the deployment itself is used to: a model that needs ten seconds
 * must not be taken for one that hangs.
 */
export interface SilenceLimits {
  /** Silent for less is never suspicious. */
  silentMs: number
  /** Nor for less than so many times its slowest answer of late. */
  silentTimes: number
  /** What is taken for the slowest answer before there was any. */
  unknownSlowestMs: number
  /** A suspect that does not answer a probe of its health within this hangs. */
  checkMs: number
  /** A suspect that does is only slow: it is asked again after twice as long each time, up to this. */
  checkAgainMaxMs: number
  /** A first attempt may take this share of the request's time … */
  attemptSharePercent: number
  /** … and in any case so many times the slowest answer of late. */
  attemptTimes: number
}

export const silenceLimits: SilenceLimits = {
  silentMs: 250,
  silentTimes: 3,
  unknownSlowestMs: 1_000,
  checkMs: 500,
  checkAgainMaxMs: 5_000,
  attemptSharePercent: 40,
  attemptTimes: 10,
}

/** @param slowestMs - slowest answer of late, null before there was any */
export function suspiciousAfterMs(slowestMs: number | null, limits: SilenceLimits): number {
  return Math.max(limits.silentMs, limits.silentTimes * (slowestMs ?? limits.unknownSlowestMs))
}

/**
 * @param leftMs - the request's time at the start of the attempt
 * @returns Infinity where nothing is known of the deployment: its first answers may take all the time there is
 */
export function attemptLimitMs(leftMs: number, slowestMs: number | null, limits: SilenceLimits): number {
  if (slowestMs === null) return Infinity
  return Math.max((leftMs * limits.attemptSharePercent) / 100, limits.attemptTimes * slowestMs)
}

/** The slowest answer of the last one to two windows; what was known stays while nothing comes. */
export class SlowestOfLate {
  readonly #windowMs: number
  #before: number | null = null
  #now: number | null = null
  #sinceMs = 0

  constructor(windowMs = 60_000) {
    this.#windowMs = windowMs
  }

  note(latencyMs: number): void {
    if (this.#now === null || latencyMs > this.#now) this.#now = latencyMs
  }

  /** To be called now and then: answers must not pay for it. */
  turn(nowMs: number): void {
    if (this.#now === null || nowMs - this.#sinceMs < this.#windowMs) return
    this.#before = this.#now
    this.#now = null
    this.#sinceMs = nowMs
  }

  get ms(): number | null {
    if (this.#now === null) return this.#before
    return this.#before === null ? this.#now : Math.max(this.#before, this.#now)
  }
}
