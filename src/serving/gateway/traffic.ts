import { LATENCY_BOUNDS_MS } from '../../kernel/contract/routing.ts'
import type { TrafficReport } from '../../kernel/contract/routing.ts'

/** One request that reached an endpoint, however it ended. */
export interface Served {
  endpoint: string
  model: string
  /** Empty where no deployment could be chosen: the endpoint had none. */
  version: string
  /** HTTP status of the answer; null when the client left before it. */
  status: number | null
  latencyMs: number
}

export interface TrafficBatch {
  /** Grows by one with each batch; a batch that is sent again keeps its number, so that it is counted once. */
  seq: number
  traffic: TrafficReport[]
}

/** More versions than this between two acknowledged reports are not counted but in `uncounted`. */
const ROWS_MAX = 10_000

/**
 * Counts what was served until the control plane has it. One batch is on its way at a time and stays as it is until
 * it is acknowledged; what happens meanwhile goes into the next. The size depends on the number of versions that are
 * called, not on time: hours without a control plane cost no memory.
 */
export class Traffic {
  readonly #rows = new Map<string, TrafficReport>()
  readonly #answered = new Set<string>()
  #onItsWay: TrafficBatch | null = null
  #seq = 0
  /** Requests that found no place in the counters. Zero unless something is badly wrong with the routes. */
  uncounted = 0

  count(served: Served, epochMs: number): void {
    const key = `${served.endpoint}\0${served.model}\0${served.version}`
    const row = this.#rows.get(key) ?? this.#addRow(key, served)
    if (row === null) {
      this.uncounted += 1
      return
    }
    row.requests += 1
    if (served.status === null) {
      row.interrupted += 1
      return
    }
    if (served.status >= 500) row.failed += 1
    const bucket = latencyBucket(served.latencyMs)
    row.latencyCounts[bucket] = (row.latencyCounts[bucket] ?? 0) + 1
    if (served.status < 300 && !this.#answered.has(key)) {
      this.#answered.add(key)
      row.firstAnswerAtMs = epochMs
    }
  }

  /** The batch to send: the unacknowledged one again, else everything new. */
  batch(): TrafficBatch {
    if (this.#onItsWay === null) {
      this.#onItsWay = { seq: ++this.#seq, traffic: [...this.#rows.values()] }
      this.#rows.clear()
    }
    return this.#onItsWay
  }

  acknowledge(seq: number): void {
    if (this.#onItsWay?.seq === seq) this.#onItsWay = null
  }

  #addRow(key: string, { endpoint, model, version }: Served): TrafficReport | null {
    if (this.#rows.size >= ROWS_MAX) return null
    const row = emptyRow(endpoint, model, version)
    this.#rows.set(key, row)
    return row
  }
}

function emptyRow(endpoint: string, model: string, version: string): TrafficReport {
  const latencyCounts = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0)
  return { endpoint, model, version, requests: 0, failed: 0, interrupted: 0, latencyCounts, firstAnswerAtMs: null }
}

/** Index of the first bound that is not exceeded; the number of bounds for everything above the last. */
export function latencyBucket(latencyMs: number): number {
  const index = LATENCY_BOUNDS_MS.findIndex((bound) => latencyMs <= bound)
  return index < 0 ? LATENCY_BOUNDS_MS.length : index
}
