import { circuitAfter, circuitLimits, closedCircuit, decideAdmission, PASS } from './decide-circuit.ts'
import type { CircuitAdmission, CircuitEvent, CircuitLimits, CircuitState } from './decide-circuit.ts'

export type TellCircuit = (what: 'circuit open' | 'circuit closed', why: string) => void

/** One deployment's circuit: holds its state, and says when it changes. What it does is in decide-circuit.ts. */
export class Circuit {
  readonly #limits: CircuitLimits
  readonly #nowMs: () => number
  readonly #tell: TellCircuit
  #state: CircuitState = closedCircuit
  timesOpened = 0
  refused = 0

  constructor(nowMs: () => number, tell: TellCircuit, limits: CircuitLimits = circuitLimits) {
    this.#nowMs = nowMs
    this.#tell = tell
    this.#limits = limits
  }

  /** Whether a request would be let through. */
  get lets(): boolean {
    return this.#state.kind === 'closed' || this.#admission().kind !== 'refuse'
  }

  get isOpen(): boolean {
    return this.#state.kind !== 'closed'
  }

  /** `try`: whoever is let through so must be settled, whatever becomes of it. */
  admit(): CircuitAdmission {
    if (this.#state === closedCircuit) return PASS
    const admission = this.#admission()
    if (admission.kind === 'try') this.#step('try')
    if (admission.kind === 'refuse') this.refused += 1
    return admission
  }

  /** How a request ended; null: it says nothing about the deployment. */
  settle(admission: CircuitAdmission, end: 'answered' | 'unanswered' | null): void {
    if (end === 'answered' && this.#state === closedCircuit) return // as nearly always
    if (end !== null) this.#step(end)
    else if (admission.kind === 'try') this.#step('given-up')
  }

  /** A replica that had hung answers probes again: whether it answers requests the next one finds out. */
  awake(): void {
    this.#step('awake')
  }

  #admission(): CircuitAdmission {
    return decideAdmission(this.#state, this.#limits.baseMs, this.#nowMs())
  }

  #step(event: CircuitEvent): void {
    const before = this.#state
    const after = circuitAfter(before, event, this.#limits, this.#nowMs())
    this.#state = after
    if (after.kind === 'open' && event === 'unanswered' && before.kind !== 'open') {
      this.timesOpened += 1
      const forMs = Math.round(after.untilMs - this.#nowMs())
      const requests =
        before.kind === 'closed' ? `${this.#limits.unansweredInARow} requests in a row` : 'another request'
      this.#tell('circuit open', `${requests} got no answer; closed to all for ${forMs} ms`)
    }
    if (after.kind === 'closed' && before.kind !== 'closed') this.#tell('circuit closed', 'a request was answered')
  }
}
