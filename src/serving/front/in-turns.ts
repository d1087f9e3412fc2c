import { setImmediate as nextTurn } from 'node:timers/promises'
import { Slots } from './rest/slots.ts'

export interface TurnLimits {
  /** How long the event loop is held at a time, as far as steps are short. */
  turnMs: number
  /** Pieces of work that take turns with each other; more wait. What they make is in memory at once. */
  atOnce: number
}

export const turnLimits: TurnLimits = { turnMs: 4, atOnce: 2 }

/** The loop takes one new connection a turn: after each that was filled, some empty ones, which cost some percent. */
const EMPTY_TURNS = 8

/**
 * Long work between which others get their turn: health checks, small requests, other connections. What waits here is in
 * memory already, within the limits of whoever took it in.
 */
export class InTurns {
  readonly #limits: TurnLimits
  readonly #slots: Slots

  constructor(limits: TurnLimits = turnLimits) {
    this.#limits = limits
    this.#slots = new Slots(limits.atOnce)
  }

  /**
   * @param steps - yields where others may have a turn
   * @param isWanted - asked before every turn
   * @returns null once it is not wanted any more
   * @throws whatever a step throws
   */
  run<T extends object>(steps: Generator<undefined, T, undefined>, isWanted: () => boolean): Promise<T | null> {
    return this.#slots.run(() => this.#run(steps, isWanted))
  }

  async #run<T extends object>(steps: Generator<undefined, T, undefined>, isWanted: () => boolean): Promise<T | null> {
    while (isWanted()) {
      const done = this.#turn(steps)
      if (done !== null) return done
      for (let turn = 0; turn < EMPTY_TURNS; turn += 1) await nextTurn()
    }
    return null
  }

  #turn<T extends object>(steps: Generator<undefined, T, undefined>): T | null {
    const untilMs = performance.now() + this.#limits.turnMs
    for (;;) {
      const step = steps.next()
      if (step.done === true) return step.value
      if (performance.now() >= untilMs) return null
    }
  }
}

/** For all long work of this process. */
export const processTurns = new InTurns()
