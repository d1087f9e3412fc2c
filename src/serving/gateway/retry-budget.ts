/**
 * How many of a deployment's requests may be sent a second time, so that an outage is not multiplied by retries. Each
 * deployment pays for its own failures: those of a canary must not cost the champion beside it its retries.
 */
export interface RetryLimits {
  /** Of the requests of the window. */
  sharePercent: number
  /** Allowed in any case, so that one with little traffic retries too. */
  floorPerSecond: number
}

export const retryLimits: RetryLimits = { sharePercent: 20, floorPerSecond: 10 }

const SLOTS = 10
const SLOT_MS = 1_000

/** Counts the requests and retries of one deployment over the last ten seconds, second by second. Time arrives with each call. */
export class RetryBudget {
  readonly #limits: RetryLimits
  readonly #requests = new Uint32Array(SLOTS)
  readonly #retries = new Uint32Array(SLOTS)
  #requestsSum = 0
  #retriesSum = 0
  #slot = 0
  /** Since the start: retries that were made. */
  made = 0
  /** Requests that were not tried again because of it. */
  refused = 0

  constructor(limits: RetryLimits = retryLimits) {
    this.#limits = limits
  }

  countRequest(nowMs: number): void {
    const at = this.#turnTo(nowMs)
    this.#requests[at] = (this.#requests[at] as number) + 1
    this.#requestsSum += 1
  }

  /** Whether one more retry may be made; it is counted then. */
  takeRetry(nowMs: number): boolean {
    const at = this.#turnTo(nowMs)
    const { sharePercent, floorPerSecond } = this.#limits
    const allowed = (floorPerSecond * SLOTS * SLOT_MS) / 1_000 + (this.#requestsSum * sharePercent) / 100
    if (this.#retriesSum + 1 > allowed) {
      this.refused += 1
      return false
    }
    this.#retries[at] = (this.#retries[at] as number) + 1
    this.#retriesSum += 1
    this.made += 1
    return true
  }

  /** Empties the slots that have grown old. @returns index of the current one */
  #turnTo(nowMs: number): number {
    const slot = Math.floor(nowMs / SLOT_MS)
    const passed = Math.min(SLOTS, slot - this.#slot)
    for (let i = 1; i <= passed; i++) {
      const at = (slot - passed + i) % SLOTS
      this.#requestsSum -= this.#requests[at] as number
      this.#retriesSum -= this.#retries[at] as number
      this.#requests[at] = 0
      this.#retries[at] = 0
    }
    if (passed > 0) this.#slot = slot
    return this.#slot % SLOTS
  }
}
