import type { Alert } from './alert.ts'
import { duration } from './figures-text.ts'

export interface ResponseFacts {
  championId: string | null
  /** Calendar: since when it has the traffic. */
  championSinceMs: number | null
  /** The champion before; null: there is none that may serve. */
  previousId: string | null
  windowMs: number
  raiseAfter: number
}

export type ResponseDecision =
  /** Nothing to do here: it only tells, or retraining is up to the triggers, or it was done. */
  | { kind: 'none' }
  | { kind: 'rollBack'; to: string; why: string }
  | { kind: 'freeze'; why: string }
  /** Said, and not tried again for this alarm. */
  | { kind: 'decline'; why: string }

/**
 * What is done about an alarm, once. A rollback is for a version that was bad from the start: where the alarm's last
 * window ended within one window more than it takes to raise it since the champion came. Of an older champion the
 * world has changed, and the version before it is older still. Pure.
 */
export function decideResponse(alert: Alert, facts: ResponseFacts): ResponseDecision {
  if (alert.status !== 'firing' || alert.responseTaken !== null) return { kind: 'none' }
  if (alert.response === 'freeze') return { kind: 'freeze', why: reasonOf(alert) }
  if (alert.response !== 'rollBack') return { kind: 'none' }
  const { championId, championSinceMs, previousId, windowMs, raiseAfter } = facts
  if (championId === null || championSinceMs === null || championId !== alert.versionId) {
    return { kind: 'decline', why: `not rolled back: ${alert.versionId ?? 'its version'} is not the champion any more` }
  }
  if (previousId === null) return { kind: 'decline', why: `not rolled back: there is no version before ${championId}` }
  const untilMs = Number(alert.figures['windowToMs'])
  const youngMs = (raiseAfter + 1) * windowMs
  if (untilMs - championSinceMs > youngMs) {
    const served = duration(untilMs - championSinceMs)
    return {
      kind: 'decline',
      why: `not rolled back: ${championId} had served for ${served}, and was not bad within its first ${duration(youngMs)}`,
    }
  }
  return { kind: 'rollBack', to: previousId, why: reasonOf(alert) }
}

function reasonOf({ id, source, subject, why }: Alert): string {
  return `${id} (${source}${subject === '' ? '' : ` of ${subject}`}): ${why}`
}
