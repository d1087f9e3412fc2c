/**
 * When a replica that can be reached is left out all the same, and for how long: one that answers with errors or with
 * garbage, breaks off, or takes requests and never answers, while the others of its deployment do well. What all of them
 * do is no outlier's fault: then none is left out, and the deployment's circuit (decide-circuit.ts) has its say.
 *
 *   up ─ failures in a row, or a hang ─▶ ejected for base × times ─ a probe says ready ─▶ up, on trial ─ an answer ─▶ up
 *                                           ▲                                               │
 *                                           └────────────── the first failure ──────────────┘
 */
export interface EjectionLimits {
  /** So many failures without an answer in between. */
  failuresInARow: number
  /** For the first time so long, for the second twice as long, and so on. */
  baseMs: number
  maxMs: number
  /** Of the listed replicas at most; one may go from two on, and one that does well always stays. */
  maxSharePercent: number
  /** So long in use takes one time off the count. */
  forgivenMs: number
}

export const ejectionLimits: EjectionLimits = {
  failuresInARow: 5,
  baseMs: 5_000,
  maxMs: 120_000,
  maxSharePercent: 50,
  forgivenMs: 60_000,
}

/** What is held against one replica. */
export interface ReplicaRecord {
  /** Since its last good answer. */
  failures: number
  timesEjected: number
  /** When it came back last; 0: it was never away. */
  returnedAtMs: number
  /** It is back and has not answered yet: one failure is enough, and it gets one request at a time. */
  isOnTrial: boolean
}

export const newRecord = (): ReplicaRecord => ({ failures: 0, timesEjected: 0, returnedAtMs: 0, isOnTrial: false })

export type EjectionCause = { kind: 'failure'; why: string } | { kind: 'hang'; why: string }

export interface Siblings {
  /** Replicas of the deployment, this one included. */
  listed: number
  ejected: number
  /** Others in use whose last answer was good, and that do not keep anybody waiting for too long. */
  doingWell: number
}

export type EjectionDecision =
  | { kind: 'stay'; why: string }
  | { kind: 'eject'; forMs: number; timesEjected: number; why: string }

export function decideEjection(
  record: ReplicaRecord,
  cause: EjectionCause,
  siblings: Siblings,
  limits: EjectionLimits,
  nowMs: number,
): EjectionDecision {
  const needed = record.isOnTrial ? 1 : limits.failuresInARow
  if (cause.kind === 'failure' && record.failures < needed)
    return { kind: 'stay', why: `${record.failures} of ${needed} failures in a row` }
  if (siblings.doingWell === 0) return { kind: 'stay', why: 'no other replica does better' }
  const most = mostEjected(siblings.listed, limits.maxSharePercent)
  if (siblings.ejected >= most)
    return { kind: 'stay', why: `${siblings.ejected} of ${siblings.listed} are ejected, and ${most} may be` }
  const timesEjected = 1 + timesHeld(record, limits, nowMs)
  const forMs = Math.min(limits.maxMs, limits.baseMs * timesEjected)
  const counted = cause.kind === 'failure' && record.failures > 1 ? `${record.failures} failures in a row, ` : ''
  return { kind: 'eject', forMs, timesEjected, why: `${counted}${cause.why}` }
}

/** One may go from two on, and one always stays. */
export function mostEjected(listed: number, maxSharePercent: number): number {
  if (listed < 2) return 0
  return Math.min(listed - 1, Math.max(1, Math.floor((listed * maxSharePercent) / 100)))
}

function timesHeld({ timesEjected, returnedAtMs }: ReplicaRecord, { forgivenMs }: EjectionLimits, nowMs: number) {
  return Math.max(0, timesEjected - Math.floor((nowMs - returnedAtMs) / forgivenMs))
}
