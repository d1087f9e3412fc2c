/**
 * How many requests may wait for a deployment's replicas. A short line absorbs a burst; a line that stands only makes
 * every answer late. So: while requests have waited for longer than the target for a whole interval, no more may wait
 * than the replicas work off within the target. Of those that do, the newest of the lowest priority go first.
 * @see RFC 8289 (CoDel), from which target and interval are taken; it drops by time, this bounds the line
 */
export interface SheddingLimits {
  /** Waiting for so long is still no overload. */
  targetMs: number
  /** Nor is longer waiting that is over sooner than this. */
  intervalMs: number
  /** Requests that may wait in any case. */
  least: number
}

export const sheddingLimits: SheddingLimits = { targetMs: 100, intervalMs: 500, least: 8 }

export interface Line {
  waiting: number
  /** Since when all who were served had waited for longer than the target; null: the last one had not. */
  slowSinceMs: number | null
  /** Exchanges that ended of late; 0: not known. */
  endedPerSecond: number
}

/** @param most - where nothing is wrong */
export function mostWaiting(line: Line, most: number, limits: SheddingLimits, nowMs: number): number {
  if (!stands(line, limits, nowMs) || line.endedPerSecond === 0) return most
  const worthWaiting = Math.ceil((line.endedPerSecond * limits.targetMs) / 1_000)
  return Math.min(most, Math.max(limits.least, worthWaiting))
}

/**
 * `slowSinceMs` after one was served. A line that is cut keeps its waits at the target: only well below it, it is over.
 * @param waitedMs - by the one that was served
 */
export function slowSinceAfter(line: Line, waitedMs: number, limits: SheddingLimits, nowMs: number): number | null {
  const easyMs = stands(line, limits, nowMs) ? limits.targetMs / 2 : limits.targetMs
  return waitedMs <= easyMs ? null : (line.slowSinceMs ?? nowMs)
}

function stands({ slowSinceMs }: Line, { intervalMs }: SheddingLimits, nowMs: number): boolean {
  return slowSinceMs !== null && nowMs - slowSinceMs >= intervalMs
}

/** When the line as it is will have been worked off. */
export function lineEndsInMs({ waiting, endedPerSecond }: Line): number {
  return endedPerSecond === 0 ? 1_000 : (waiting / endedPerSecond) * 1_000
}

/** The request parameter `priority`: 1 is the highest. What says nothing, or 0, has the highest: nobody gains by asking. */
export const HIGHEST_PRIORITY = 1
