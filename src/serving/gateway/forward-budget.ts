import { systemClock } from '../../kernel/clock.ts'
import type { Clock } from '../../kernel/clock.ts'

/** Where a request's time is counted. */
export interface BudgetParts {
  clock: Pick<Clock, 'monotonicMs'>
  /** By the monotonic clock. Infinity: somebody else ends it. */
  deadlineMs: number
}

/** Whoever counts retries. */
export interface Payer {
  /** Whether one more may be made; counted then. */
  takeRetry(): boolean
}

/** What one request may still spend, over all deployments that it is brought to. Counts down. */
export class ForwardBudget {
  /** Exchanges that may be started. */
  attempts = 5
  /** Of those, how many may end with the replica's death: a request that kills replicas must not kill them all. */
  deaths = 3
  /** Longest single wait for a replica to come free or come back. */
  readonly waitMs = 1_000
  /** How often it was sent again. */
  retries = 0
  /** Who pays for trying once more: the deployment of which a replica may have begun with it. Null: none has. */
  #payer: Payer | null = null
  readonly #parts: BudgetParts

  constructor({ clock = systemClock, deadlineMs = Infinity }: Partial<BudgetParts> = {}) {
    this.#parts = { clock, deadlineMs }
  }

  /** What is left of the request's time, in ms; may be negative. */
  get leftMs(): number {
    return this.#parts.deadlineMs - this.#parts.clock.monotonicMs()
  }

  get isRetry(): boolean {
    return this.#payer !== null
  }

  reached(payer: Payer): void {
    this.#payer = payer
  }

  /** Whether it may be sent now, be it once more; counted then. */
  takeTry(): boolean {
    if (this.#payer === null) return true
    if (!this.#payer.takeRetry()) return false
    this.retries += 1
    return true
  }

  /** What stands in for the deployments that failed is asked for the first time. */
  beginAnew(attempts: number): void {
    this.attempts = Math.max(this.attempts, attempts)
    this.#payer = null
  }
}
