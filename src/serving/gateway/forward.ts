import type { Cancellation, CancelReason } from '../front/cancellation.ts'
import { UpstreamError } from './errors.ts'
import type { PooledReplica, ReplicaPool } from './replica-pool.ts'
import type { UpstreamAnswer, UpstreamRequest } from './upstream/upstream.ts'

/** What one request may still spend, over all deployments that it is brought to. Counts down. */
export interface ForwardBudget {
  /** Exchanges that may be started. */
  attempts: number
  /** Of those, how many may end with the replica's death: a request that kills replicas must not kill them all. */
  deaths: number
  /** Longest single wait for a replica to come free or come back. */
  readonly waitMs: number
}

export function newForwardBudget(): ForwardBudget {
  return { attempts: 5, deaths: 3, waitMs: 1_000 }
}

export type ForwardOutcome =
  | { kind: 'answer'; answer: UpstreamAnswer }
  /** Nobody could take it; the same request may succeed later. */
  | { kind: 'unavailable'; why: string }
  /** It may have been computed, yet every connection broke before the answer. */
  | { kind: 'died'; why: string }
  | { kind: 'cancelled'; reason: CancelReason }

/**
 * Brings one request to some replica of the deployment, and to another one when that fails: predictions are pure, so
 * asking twice is safe. An answer is an answer, whatever its status, but for 503: that replica isn't ready.
 */
export async function forward(
  pool: ReplicaPool,
  request: UpstreamRequest,
  cancellation: Cancellation,
  budget: ForwardBudget,
): Promise<ForwardOutcome> {
  let last: ForwardOutcome = { kind: 'unavailable', why: 'its replicas failed too often' }
  while (budget.attempts > 0 && budget.deaths > 0) {
    const taken = await pool.take(budget.waitMs, cancellation)
    if (taken.kind !== 'replica')
      return cancelled(cancellation) ?? (last.kind === 'died' ? last : unavailable(taken.kind))
    budget.attempts -= 1
    const tried = await exchange(pool, taken.replica, request, cancellation)
    if (tried.kind === 'answer' || tried.kind === 'cancelled') return tried
    if (tried.kind === 'died') budget.deaths -= 1
    last = tried
  }
  return last
}

async function exchange(
  pool: ReplicaPool,
  replica: PooledReplica,
  request: UpstreamRequest,
  cancellation: Cancellation,
): Promise<ForwardOutcome> {
  if (cancellation.reason !== null) {
    pool.release(replica)
    return { kind: 'cancelled', reason: cancellation.reason }
  }
  const call = replica.upstream.call(request)
  cancellation.onCancel(() => call.abort())
  try {
    return judgeAnswer(pool, replica, await call.answer)
  } catch (error) {
    return cancelled(cancellation) ?? judgeFault(pool, replica, error)
  } finally {
    cancellation.onCancel(null)
    pool.release(replica)
  }
}

/** A replica that says 503 loads or drains: asking it again at once would be asking in vain. */
const NOT_READY_PROBE_MS = 20

function judgeAnswer(pool: ReplicaPool, replica: PooledReplica, answer: UpstreamAnswer): ForwardOutcome {
  if (answer.status !== 503) return { kind: 'answer', answer }
  const why = `replica '${replica.replicaId}' is not ready`
  pool.reportOut(replica, why, NOT_READY_PROBE_MS)
  return { kind: 'unavailable', why }
}

function judgeFault(pool: ReplicaPool, replica: PooledReplica, error: unknown): ForwardOutcome {
  if (!(error instanceof UpstreamError)) throw error
  if (error.fault === 'aborted') return { kind: 'unavailable', why: error.message } // its pool was closed under it
  // A kept-alive connection may close just as it is used: the probe over a new one, at once, tells that from a death.
  pool.reportOut(replica, error.message, error.fault === 'busy' ? NOT_READY_PROBE_MS : 0)
  const nothingSent = error.fault === 'refused' || error.fault === 'busy'
  return { kind: nothingSent ? 'unavailable' : 'died', why: error.message }
}

function cancelled(cancellation: Cancellation): ForwardOutcome | null {
  return cancellation.reason === null ? null : { kind: 'cancelled', reason: cancellation.reason }
}

function unavailable(why: 'none' | 'full' | 'late'): ForwardOutcome {
  const reasons = {
    none: 'it has no replica that is ready',
    full: 'too many requests wait for its replicas',
    late: 'none of its replicas came free in time',
  }
  return { kind: 'unavailable', why: reasons[why] }
}
