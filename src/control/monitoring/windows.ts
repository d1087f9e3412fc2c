import type { MonitorKind } from '../../config/project.ts'

/** Calendar time [fromMs, toMs). */
export interface Window {
  fromMs: number
  toMs: number
}

/** More than this at once are not judged: the oldest are left out. */
export const WINDOWS_MAX = 400

/** What a monitor waits for before a window can be judged. */
export type Ripeness = 'data' | 'labels' | 'level'

export const RIPENESS: Record<MonitorKind, Ripeness> = {
  drift: 'data',
  predictionDrift: 'data',
  missing: 'data',
  unseen: 'data',
  traffic: 'data',
  predictedActual: 'labels',
  quality: 'labels',
  silence: 'level',
  modelAge: 'level',
}

/** Start of the window that a time falls into; windows follow each other from midnight UTC on 1 January 1970. */
export function windowStart(atMs: number, windowMs: number): number {
  return Math.floor(atMs / windowMs) * windowMs
}

/**
 * The windows that can be judged now and have not been, in order.
 * @param judgedUntilMs - end of the last one that was judged: nothing before it comes again, wherever the calendar goes
 * @param arrivedUntilMs - all that happened before is in the lake (for labels: less the label delay)
 */
export function dueWindows(
  { judgedUntilMs, arrivedUntilMs }: { judgedUntilMs: number; arrivedUntilMs: number },
  windowMs: number,
): Window[] {
  const last = windowStart(arrivedUntilMs, windowMs)
  const first = Math.max(Math.ceil(judgedUntilMs / windowMs) * windowMs, last - WINDOWS_MAX * windowMs)
  const windows: Window[] = []
  for (let fromMs = first; fromMs < last; fromMs += windowMs) windows.push({ fromMs, toMs: fromMs + windowMs })
  return windows
}

/** Where judging begins for a new champion: with the window in which it came, or the first that is whole. */
export function firstWindow(sinceMs: number, windowMs: number, whole: boolean): number {
  return whole ? Math.ceil(sinceMs / windowMs) * windowMs : windowStart(sinceMs, windowMs)
}
