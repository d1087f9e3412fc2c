import type { MonitorConfig } from '../../config/project.ts'
import type { AlertStatus } from './alert.ts'
import type { Verdict } from './finding.ts'

/** Windows in a row. */
export interface Streak {
  bad: number
  good: number
}

export type AlertDecision = Streak & {
  act:
    | 'none'
    /** Note a pending alert, or its new figures. */
    | 'note'
    /** Raise the alarm, or give it its new figures. */
    | 'raise'
    | 'resolve'
}

/**
 * What a window's verdict does to the alert of its monitor: so many bad ones in a row raise it, so many good ones in a
 * row clear it, and a window that says nothing counts for neither. Pure.
 */
export function decideAlert(
  verdict: Verdict,
  before: Streak,
  open: Exclude<AlertStatus, 'resolved'> | null,
  { raiseAfter, clearAfter }: Pick<MonitorConfig, 'raiseAfter' | 'clearAfter'>,
): AlertDecision {
  if (verdict === 'insufficient') return { ...before, act: 'none' }
  if (verdict === 'bad') {
    const bad = before.bad + 1
    return { bad, good: 0, act: open === 'firing' || bad >= raiseAfter ? 'raise' : 'note' }
  }
  const good = before.good + 1
  if (open === 'pending') return { bad: 0, good, act: 'resolve' }
  return { bad: 0, good, act: open === 'firing' && good >= clearAfter ? 'resolve' : 'none' }
}
