/** What one deployment had to do, as gateways reported it. Means are over requests at once. */
export interface Load {
  /** By the last word; null: no gateway is heard. */
  now: number | null
  /** Mean over RECENT_MS; null: too little was heard in that time. */
  recent: number | null
  /** Mean over STEADY_MS, or over what has been heard of it since the start. */
  steady: number | null
  /** The highest mean over STEADY_MS at any moment of the last PEAK_MS; null: not heard for that long. */
  peak: number | null
}

export const RECENT_MS = 3_000
export const STEADY_MS = 15_000
export const PEAK_MS = 60_000
const SLOT_MS = 500
const SLOTS = (PEAK_MS + STEADY_MS) / SLOT_MS
/** Slots that must hold a word before a mean over RECENT_MS counts. */
const RECENT_SLOTS_MIN = 3

/**
 * The load of one deployment over the last minute and a quarter, in slots of half a second: each holds the mean of what
 * gateways said in it, so that many gateways weigh as much as one. Slots without a word are left out of every mean.
 */
export class LoadHistory {
  /** By number of the slot since the clock's origin, modulo SLOTS. */
  readonly #slots: { slot: number; sum: number; words: number }[] = []
  #firstMs: number | null = null
  #lastMs = 0
  #last = 0

  /**
   * @param nowMs - monotonic
   * @param requests - at once, over all gateways
   */
  note(nowMs: number, requests: number): void {
    this.#firstMs ??= nowMs
    this.#lastMs = nowMs
    this.#last = requests
    const slot = Math.floor(nowMs / SLOT_MS)
    const held = this.#slots[slot % SLOTS]
    if (held?.slot !== slot) this.#slots[slot % SLOTS] = { slot, sum: requests, words: 1 }
    else {
      held.sum += requests
      held.words += 1
    }
  }

  /** @param nowMs - monotonic, not before the last word */
  load(nowMs: number): Load {
    if (this.#firstMs === null || nowMs - this.#lastMs > RECENT_MS)
      return { now: null, recent: null, steady: null, peak: null }
    const end = Math.floor(nowMs / SLOT_MS)
    const recent = this.#mean(end, RECENT_MS / SLOT_MS)
    const steady = this.#mean(end, STEADY_MS / SLOT_MS)
    return {
      now: this.#last,
      recent: recent.slots < RECENT_SLOTS_MIN ? null : recent.mean,
      steady: steady.slots < RECENT_SLOTS_MIN ? null : steady.mean,
      peak: nowMs - this.#firstMs < PEAK_MS ? null : this.#peak(end),
    }
  }

  #peak(end: number): number {
    let peak = 0
    for (let slot = end; slot > end - PEAK_MS / SLOT_MS; slot--)
      peak = Math.max(peak, this.#mean(slot, STEADY_MS / SLOT_MS).mean)
    return peak
  }

  /** Over so many slots up to and with `end`. */
  #mean(end: number, length: number): { mean: number; slots: number } {
    let sum = 0
    let slots = 0
    for (let slot = Math.max(0, end - length + 1); slot <= end; slot++) {
      const held = this.#slots[slot % SLOTS]
      if (held?.slot !== slot) continue
      sum += held.sum / held.words
      slots += 1
    }
    return { mean: slots === 0 ? 0 : sum / slots, slots }
  }
}
