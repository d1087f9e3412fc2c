import type { Cancellation, CancelReason } from '../front/cancellation.ts'
import { UpstreamError } from './errors.ts'
import type { UpstreamFault } from './errors.ts'
import { ForwardBudget } from './forward-budget.ts'
import type { BudgetParts } from './forward-budget.ts'
import type { Exchange } from './pooled-replica.ts'
import type { PooledReplica, ReplicaPool } from './replica-pool.ts'
import type { UpstreamAnswer, UpstreamRequest } from './upstream/upstream.ts'

export type ForwardOutcome =
  | { kind: 'answer'; answer: UpstreamAnswer }
  /**
   * Nobody could take it; the same request may succeed later, after `retryAfterMs` where that is known. `wasHeld`: nobody
   * was asked, as the gateway keeps requests from the deployment (its circuit is open, or it has as many as it may).
   */
  | ({ kind: 'unavailable'; why: string; retryAfterMs?: number; wasHeld?: boolean } & Finality)
  /** It may have been computed, yet every connection broke before the answer. */
  | ({ kind: 'died'; why: string } & Finality)
  /** `isOverdue`: it was given up after longer than answers take. */
  | { kind: 'cancelled'; reason: CancelReason; isOverdue?: boolean }

interface Finality {
  /** It may have been computed, and must not be a second time: nobody else may be asked. Absent: not so. */
  isFinal?: boolean
}

/** For a request whose time is counted elsewhere, or that is bounded by other limits. */
export function newForwardBudget(parts: Partial<BudgetParts> = {}): ForwardBudget {
  return new ForwardBudget(parts)
}

type Failed = Extract<ForwardOutcome, { kind: 'unavailable' | 'died' }>

const NOT_TRIED: Failed = { kind: 'unavailable', why: 'its replicas failed too often' }

/**
 * Brings one request to some replica of the deployment, and to another one when that fails: predictions are pure unless
 * their deployment says otherwise, so asking twice is safe. An answer is an answer, whatever its status, but for 503: that
 * replica isn't ready.
 *
 * One function, as each `async` one between a request and its answer costs every request a promise and a turn.
 */
export async function forward(
  pool: ReplicaPool,
  request: UpstreamRequest,
  cancellation: Cancellation,
  budget: ForwardBudget,
): Promise<ForwardOutcome> {
  const admission = pool.admit()
  if (admission.kind === 'refuse')
    return { kind: 'unavailable', why: admission.why, retryAfterMs: admission.retryAfterMs, wasHeld: true }
  let last: Failed = NOT_TRIED
  let outcome: ForwardOutcome = last
  try {
    while (budget.attempts > 0 && budget.deaths > 0) {
      if (!budget.takeTry()) {
        outcome = { ...last, why: `${last.why}, and too many requests are tried again already` }
        break
      }
      const free = pool.take(budget.waitMs, cancellation, request)
      const taken = free instanceof Promise ? await free : free // as a rule one is free at once
      if (taken.kind !== 'replica') {
        outcome = cancelled(cancellation) ?? (last.kind === 'died' ? last : unavailable(taken))
        break
      }
      budget.attempts -= 1
      const begun = begin(pool, taken.replica, request, cancellation, budget)
      if (begun === null) {
        outcome = cancelled(cancellation) ?? last
        break
      }
      try {
        outcome = judgeAnswer(pool, begun, await begun.call.answer, budget)
      } catch (error) {
        outcome = judgeCancelled(pool, begun, cancellation) ?? judgeFault(pool, begun, error, budget)
      } finally {
        cancellation.onCancel(null)
        pool.end(begun)
      }
      if (outcome.kind === 'answer' || outcome.kind === 'cancelled' || outcome.isFinal === true) break
      if (outcome.kind === 'died') budget.deaths -= 1
      last = outcome
    }
    return outcome
  } finally {
    pool.settle(admission, endOf(outcome))
  }
}

/** What it says of the deployment. That nobody was there to be asked says nothing: there is nothing to spare it. */
function endOf(outcome: ForwardOutcome): 'answered' | 'unanswered' | null {
  if (outcome.kind === 'answer') return 'answered'
  const isSilence = outcome.kind === 'died' || (outcome.kind === 'cancelled' && outcome.isOverdue === true)
  return isSilence ? 'unanswered' : null
}

/** @returns null: the request was cancelled before */
function begin(
  pool: ReplicaPool,
  replica: PooledReplica,
  request: UpstreamRequest,
  cancellation: Cancellation,
  budget: ForwardBudget,
): Exchange | null {
  if (cancellation.reason !== null) {
    pool.release(replica)
    return null
  }
  const { leftMs } = budget
  const sent = leftMs === Infinity ? request : withTimeout(request, Math.max(1, Math.ceil(leftMs)))
  const begun = pool.begin(replica, sent, leftMs, !budget.isRetry)
  cancellation.onCancel(() => begun.call.abort())
  return begun
}

/** A replica that says 503 loads or drains: asking it again at once would be asking in vain. */
const NOT_READY_PROBE_MS = 20

function judgeAnswer(
  pool: ReplicaPool,
  begun: Exchange,
  answer: UpstreamAnswer,
  budget: ForwardBudget,
): ForwardOutcome {
  pool.health.answered(begun, answer.status)
  if (answer.status !== 503) return { kind: 'answer', answer }
  budget.reached(pool)
  const why = `replica '${begun.replica.replicaId}' is not ready`
  pool.health.reportOut(begun.replica, why, NOT_READY_PROBE_MS)
  return { kind: 'unavailable', why, isFinal: !pool.isPure }
}

function judgeCancelled(pool: ReplicaPool, begun: Exchange, cancellation: Cancellation): ForwardOutcome | null {
  const { reason } = cancellation
  if (reason === null) return null
  const isOverdue = reason === 'deadline' && pool.health.isOverdue(begun)
  if (isOverdue) pool.health.failed(begun.replica, 'it does not answer in time')
  return { kind: 'cancelled', reason, isOverdue }
}

function judgeFault(pool: ReplicaPool, begun: Exchange, error: unknown, budget: ForwardBudget): ForwardOutcome {
  if (!(error instanceof UpstreamError)) throw error
  const { replica, givenUp } = begun
  const nothingSent = error.fault === 'refused' || error.fault === 'busy'
  if (!nothingSent) budget.reached(pool)
  const isFinal = !nothingSent && !pool.isPure
  if (givenUp !== null) return { kind: 'died', why: GIVEN_UP[givenUp](replica.replicaId), isFinal }
  const why = TO_CLIENTS[error.fault](replica.replicaId)
  if (error.fault === 'aborted') return { kind: 'unavailable', why, isFinal } // its pool was closed under it
  if (error.fault !== 'busy')
    pool.health.failed(replica, error.fault === 'garbled' ? 'it answers garbage' : error.message)
  // A kept-alive connection may close just as it is used: the probe over a new one, at once, tells that from a death.
  pool.health.reportOut(replica, error.message, error.fault === 'busy' ? NOT_READY_PROBE_MS : 0)
  return { kind: nothingSent ? 'unavailable' : 'died', why, isFinal }
}

/** Where a replica listens, and what the system says of it, is for the log, which the health of the replica tells. */
const TO_CLIENTS: Record<UpstreamFault, (id: string) => string> = {
  refused: (id) => `no connection to replica '${id}' can be made`,
  died: (id) => `replica '${id}' went away before its answer`,
  busy: (id) => `replica '${id}' has more to take already than it can`,
  garbled: (id) => `replica '${id}' answered what can't be understood`,
  aborted: (id) => `replica '${id}' was taken away`,
}

const GIVEN_UP = {
  hangs: (id: string) => `replica '${id}' does not answer any more`,
  late: (id: string) => `replica '${id}' kept it for too long`,
}

function cancelled(cancellation: Cancellation): ForwardOutcome | null {
  return cancellation.reason === null ? null : { kind: 'cancelled', reason: cancellation.reason }
}

type NotTaken = Exclude<Awaited<ReturnType<ReplicaPool['take']>>, { kind: 'replica' }>

function unavailable(taken: NotTaken): ForwardOutcome {
  const whys = {
    none: 'it has no replica that is ready',
    full: 'too many requests wait for its replicas',
    late: 'none of its replicas came free in time',
  }
  const why = whys[taken.kind]
  return taken.kind === 'full'
    ? { kind: 'unavailable', why, retryAfterMs: taken.retryAfterMs, wasHeld: true }
    : { kind: 'unavailable', why }
}

/** Field by field, which costs a tenth of a spread; each attempt has its own, as an upstream may keep it. */
function withTimeout(request: UpstreamRequest, timeoutMs: number): UpstreamRequest {
  const { model, version, body, jsonBytes, headers, answerLimitBytes, answerAs } = request
  const sent: UpstreamRequest = { model, version, body, jsonBytes, headers, timeoutMs }
  if (answerLimitBytes !== undefined) sent.answerLimitBytes = answerLimitBytes
  if (answerAs !== undefined) sent.answerAs = answerAs
  return sent
}
