import { setTimeout as sleep } from 'node:timers/promises'
import type { Reconciliation } from './lake-totals.ts'

/** Counters are written once a second and segments sealed every two: longer than that no difference is innocent. */
const DOUBT_MS = 4_000
const LOOK_MS = 300

/**
 * Served = logged = in the lake, without crying wolf: the counters of a busy gateway are up to a second old, so that a
 * difference is only believed when it stays while nothing more is answered.
 * @param measure - the books as they are on disk now
 */
export async function settledBooks(
  measure: () => Promise<Reconciliation>,
  { doubtMs = DOUBT_MS, lookMs = LOOK_MS } = {},
): Promise<Reconciliation> {
  const first = await measure()
  let books = first
  for (let waitedMs = 0; !books.agrees && waitedMs < doubtMs; waitedMs += lookMs) {
    await sleep(lookMs)
    books = await measure()
    if (books.answered !== first.answered) return { ...books, agrees: true, why: null }
  }
  return books
}
