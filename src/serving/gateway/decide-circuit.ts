/**
 * Whether a deployment is asked at all. One whose requests end without any answer, one after another, is not helped by
 * more of them: its callers are told at once, and one request at a time finds out whether it is back. An answer is an
 * answer, whatever its status: errors that a model gives pass through and open nothing.
 *
 *   closed ─ so many requests in a row without an answer ─▶ open ─ its time is over ─▶ half-open (one request tries)
 *     ▲                                                      ▲                            │        │
 *     │                                                      └── no answer, twice as long ┘        │
 *     └─────────────────────────────────────────── an answer ──────────────────────────────────────┘
 *
 * A replica that had hung and answers a probe again ends the time of an open one: the next request tries.
 */
export interface CircuitLimits {
  /** Requests in a row that were sent and ended without an answer, other attempts included. */
  unansweredInARow: number
  baseMs: number
  maxMs: number
}

export const circuitLimits: CircuitLimits = { unansweredInARow: 10, baseMs: 1_000, maxMs: 30_000 }

export type CircuitState =
  | { kind: 'closed'; unanswered: number }
  /** `times` in a row that it was opened. */
  | { kind: 'open'; untilMs: number; times: number }
  /** One request is on its way to find out. */
  | { kind: 'half-open'; times: number }

/**
 * `given-up`: the request that was to find out told nothing, as its client left. `awake`: a replica that had hung answers
 * probes again.
 */
export type CircuitEvent = 'answered' | 'unanswered' | 'try' | 'given-up' | 'awake'

export const closedCircuit: CircuitState = { kind: 'closed', unanswered: 0 }

/** Requests that started before the circuit opened end while it is open: their answers close it, too. */
export function circuitAfter(
  state: CircuitState,
  event: CircuitEvent,
  limits: CircuitLimits,
  nowMs: number,
): CircuitState {
  switch (event) {
    case 'answered':
      return state.kind === 'closed' && state.unanswered === 0 ? state : closedCircuit
    case 'unanswered':
      return afterSilence(state, limits, nowMs)
    case 'try':
      return state.kind === 'open' ? { kind: 'half-open', times: state.times } : state
    case 'given-up':
      return state.kind === 'half-open' ? { kind: 'open', untilMs: nowMs, times: state.times } : state
    case 'awake':
      return state.kind === 'open' ? { ...state, untilMs: Math.min(state.untilMs, nowMs) } : state
  }
}

function afterSilence(state: CircuitState, limits: CircuitLimits, nowMs: number): CircuitState {
  if (state.kind === 'open') return state
  if (state.kind === 'half-open') return opened(state.times + 1, limits, nowMs)
  const unanswered = state.unanswered + 1
  return unanswered < limits.unansweredInARow ? { kind: 'closed', unanswered } : opened(1, limits, nowMs)
}

function opened(times: number, { baseMs, maxMs }: CircuitLimits, nowMs: number): CircuitState {
  return { kind: 'open', untilMs: nowMs + Math.min(maxMs, baseMs * 2 ** (times - 1)), times }
}

export type CircuitAdmission = { kind: 'pass' } | { kind: 'try' } | { kind: 'refuse'; retryAfterMs: number }

export const PASS: CircuitAdmission = { kind: 'pass' }
const TRY: CircuitAdmission = { kind: 'try' }

/** @param retryMs - for those who come while one finds out */
export function decideAdmission(state: CircuitState, retryMs: number, nowMs: number): CircuitAdmission {
  if (state.kind === 'closed') return PASS
  if (state.kind === 'half-open') return { kind: 'refuse', retryAfterMs: retryMs }
  return nowMs >= state.untilMs ? TRY : { kind: 'refuse', retryAfterMs: state.untilMs - nowMs }
}
