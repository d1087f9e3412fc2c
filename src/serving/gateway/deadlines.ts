import type { Cancellation } from '../front/cancellation.ts'

/** A request that is to end in time; in the list of those that were given the same time. */
export interface Deadline {
  readonly cancellation: Cancellation
  readonly atMs: number
  readonly list: DeadlineList
  before: Deadline | null
  after: Deadline | null
}

/** In the order in which they end, as all were given the same time. */
interface DeadlineList {
  readonly timeoutMs: number
  first: Deadline | null
  last: Deadline | null
  timer: NodeJS.Timeout | null
}

/** More lists than this are not kept when they are empty: clients may ask for any time. */
const EMPTY_LISTS_MAX = 64
/** The longest that setTimeout knows. */
const TIMER_MAX_MS = 2 ** 31 - 1

/**
 * The deadlines of all requests. Nearly all end long before theirs, so that a timer each would be made to be thrown
 * away: here those with the same timeout share one, which looks only at the first of them.
 */
export class Deadlines {
  readonly #lists = new Map<number, DeadlineList>()

  /** Cancels the request after so long unless it is cleared before. */
  set(cancellation: Cancellation, timeoutMs: number): Deadline {
    const list = this.#lists.get(timeoutMs) ?? this.#add(timeoutMs)
    const { last } = list
    const atMs = performance.now() + timeoutMs
    const deadline: Deadline = { cancellation, atMs, list, before: last, after: null }
    if (last === null) list.first = deadline
    else last.after = deadline
    list.last = deadline
    if (list.timer === null) this.#arm(list, timeoutMs)
    return deadline
  }

  /** Harmless when it is over. */
  clear(deadline: Deadline): void {
    const { list, before, after } = deadline
    if (before === null && list.first !== deadline) return
    if (before === null) list.first = after
    else before.after = after
    if (after === null) list.last = before
    else after.before = before
    deadline.before = null
    deadline.after = null
    if (list.first === null && this.#lists.size > EMPTY_LISTS_MAX) this.#drop(list)
  }

  #add(timeoutMs: number): DeadlineList {
    const list: DeadlineList = { timeoutMs, first: null, last: null, timer: null }
    this.#lists.set(timeoutMs, list)
    return list
  }

  #drop(list: DeadlineList): void {
    if (list.timer !== null) clearTimeout(list.timer)
    list.timer = null
    if (this.#lists.get(list.timeoutMs) === list) this.#lists.delete(list.timeoutMs)
  }

  #arm(list: DeadlineList, inMs: number): void {
    list.timer = setTimeout(() => this.#fire(list), Math.min(TIMER_MAX_MS, Math.max(1, Math.ceil(inMs))))
    list.timer.unref() // it may outlive the requests it is for
  }

  #fire(list: DeadlineList): void {
    list.timer = null
    const nowMs = performance.now()
    for (let first = list.first; first !== null && first.atMs <= nowMs; first = list.first) {
      this.clear(first)
      first.cancellation.cancel('deadline')
    }
    if (list.first !== null && list.timer === null) this.#arm(list, list.first.atMs - nowMs)
  }
}
