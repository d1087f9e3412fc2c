import type { Cancellation } from '../front/cancellation.ts'
import { HIGHEST_PRIORITY, lineEndsInMs, mostWaiting, slowSinceAfter } from './decide-shedding.ts'
import type { Line, SheddingLimits } from './decide-shedding.ts'
import { requestPriority } from './request-parameter.ts'
import type { JsonBody } from './request-parameter.ts'

/** What became of a wait. `full`: too many wait already, or one of a higher priority took the place. */
export type Waited<T> = { kind: 'served'; by: T } | { kind: 'none' | 'late' } | { kind: 'full'; retryAfterMs: number }

interface Waiter<T> {
  done(waited: Waited<T>): void
  timer: NodeJS.Timeout
  sinceMs: number
  /** Its priority lies in its body: read only once somebody has to go. */
  request: JsonBody | null
  priority: number | null
}

/** Those who wait for a replica of one deployment, in the order in which they came. */
export class WaitingLine<T> {
  readonly #most: number
  readonly #limits: SheddingLimits
  readonly #nowMs: () => number
  readonly #waiters: Waiter<T>[] = []
  readonly #line: Line = { waiting: 0, slowSinceMs: null, endedPerSecond: 0 }
  /** Requests that were turned away, or lost their place. */
  shed = 0

  /** @param most - may wait where nothing is wrong */
  constructor(most: number, limits: SheddingLimits, nowMs: () => number) {
    this.#most = most
    this.#limits = limits
    this.#nowMs = nowMs
  }

  get length(): number {
    return this.#waiters.length
  }

  /** So many exchanges a second end: what the line is worked off by. */
  set endedPerSecond(rate: number) {
    this.#line.endedPerSecond = rate
  }

  get retryAfterMs(): number {
    return lineEndsInMs(this.#state())
  }

  /**
   * @param request - says its priority; null: the highest
   * @param waitMs - at most so long
   */
  wait(waitMs: number, cancellation: Cancellation, request: JsonBody | null): Waited<T> | Promise<Waited<T>> {
    const nowMs = this.#nowMs()
    const most = mostWaiting(this.#state(), this.#most, this.#limits, nowMs)
    if (this.#waiters.length >= most && !this.#makeRoom(most, priorityIn(request))) return this.#full()
    return this.#enter(waitMs, cancellation, request, nowMs)
  }

  /** The first of the line gets its replica. */
  serve(by: T): void {
    const waiter = this.#waiters.shift()
    if (waiter === undefined) return
    const nowMs = this.#nowMs()
    this.#line.slowSinceMs = slowSinceAfter(this.#line, nowMs - waiter.sinceMs, this.#limits, nowMs)
    waiter.done({ kind: 'served', by })
  }

  /** Somebody was served without waiting, or nobody can be: the line is no sign of overload. */
  isEasy(): void {
    this.#line.slowSinceMs = null
  }

  dismiss(): void {
    for (const waiter of this.#waiters.splice(0)) waiter.done({ kind: 'none' })
  }

  #state(): Line {
    this.#line.waiting = this.#waiters.length
    return this.#line
  }

  /**
   * The newest of those with the lowest priority go.
   * @param priority - of the one that comes
   * @returns false where that one is it
   */
  #makeRoom(most: number, priority: number): boolean {
    while (this.#waiters.length >= most) {
      this.shed += 1
      const at = this.#lowestAt()
      const lowest = this.#waiters[at]
      if (lowest === undefined || priorityOf(lowest) <= priority) return false
      this.#waiters.splice(at, 1)
      lowest.done(this.#full())
    }
    return true
  }

  #lowestAt(): number {
    let at = -1
    let lowest = -Infinity
    for (const [index, waiter] of this.#waiters.entries()) {
      if (priorityOf(waiter) < lowest) continue
      lowest = priorityOf(waiter)
      at = index
    }
    return at
  }

  #full(): Waited<T> {
    return { kind: 'full', retryAfterMs: this.retryAfterMs }
  }

  #enter(waitMs: number, cancellation: Cancellation, request: JsonBody | null, sinceMs: number): Promise<Waited<T>> {
    return new Promise((resolve) => {
      const done = (waited: Waited<T>): void => {
        clearTimeout(waiter.timer)
        cancellation.onCancel(null)
        resolve(waited)
      }
      const giveUp = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        done({ kind: 'late' })
      }
      const waiter: Waiter<T> = { done, timer: setTimeout(giveUp, waitMs), sinceMs, request, priority: null }
      this.#waiters.push(waiter)
      cancellation.onCancel(giveUp)
    })
  }
}

function priorityOf<T>(waiter: Waiter<T>): number {
  waiter.priority ??= priorityIn(waiter.request)
  return waiter.priority
}

function priorityIn(request: JsonBody | null): number {
  return request === null ? HIGHEST_PRIORITY : requestPriority(request)
}
