import type { RoutedReplica } from '../../kernel/contract/routing.ts'
import { newRecord } from './decide-ejection.ts'
import type { ReplicaRecord } from './decide-ejection.ts'
import type { Upstream, UpstreamCall } from './upstream/upstream.ts'

/** One replica as a pool keeps it. */
export interface PooledReplica {
  readonly replicaId: string
  readonly socketPath: string
  readonly key: string
  readonly upstream: Upstream
  /** Exchanges that it was taken for. */
  inFlight: number
  /**
   * up: may be asked. out: a connection broke, or it says that it isn't ready; probed until it is. ejected: it can be
   * reached and does badly; left alone for a while, then probed. leaving: no longer listed; finishes what it has.
   */
  state: 'up' | 'out' | 'ejected' | 'leaving'
  /** Order of last use: the longest unused of the least busy is asked. */
  usedAt: number
  nextDelayMs: number
  probe: NodeJS.Timeout | null
  /** How often it went out since its last good answer. */
  flaps: number
  readonly record: ReplicaRecord
  ejectedUntilMs: number
  /** Under way, in no order. */
  readonly exchanges: Exchange[]
  /** Since when it owes an answer without having given any sign; null: it owes none. */
  owesSinceMs: number | null
  /** It has been silent for too long: others are preferred until it answers. */
  isSuspect: boolean
  /** `hung`: it did not answer the last check. */
  readonly check: { underWay: boolean; notBeforeMs: number; delayMs: number; hung: boolean }
}

/** One request at one replica. */
export interface Exchange {
  readonly replica: PooledReplica
  readonly call: UpstreamCall
  readonly startedMs: number
  /** Another replica may be asked the same. */
  readonly mayRepeat: boolean
  /** It is given up after this where another replica can take over. Infinity: never. */
  readonly limitMs: number
  /** Why the pool itself ended it. */
  givenUp: 'hangs' | 'late' | null
  /** Its place among the replica's. */
  at: number
}

/** The last one takes its place. */
export function removeExchange({ replica, at }: Exchange): void {
  const last = replica.exchanges.pop() as Exchange
  if (last.at === at) return
  replica.exchanges[at] = last
  last.at = at
}

export function joiningReplica(routed: RoutedReplica, upstream: Upstream, probeDelayMs: number): PooledReplica {
  return {
    replicaId: routed.replicaId,
    socketPath: routed.socketPath,
    key: keyOf(routed),
    upstream,
    inFlight: 0,
    state: 'up',
    usedAt: 0,
    nextDelayMs: probeDelayMs,
    probe: null,
    flaps: 0,
    record: newRecord(),
    ejectedUntilMs: 0,
    exchanges: [],
    owesSinceMs: null,
    isSuspect: false,
    check: { underWay: false, notBeforeMs: 0, delayMs: 0, hung: false },
  }
}

/**
 * It is back from an ejection, or went out twice without an answer in between: those who wait must not all be sent to it at
 * once.
 */
export function isDoubtful({ record, flaps }: PooledReplica): boolean {
  return record.isOnTrial || flaps > 1
}

/** A replica that is listed under another address is another one. */
export function keyOf({ replicaId, socketPath, framesPath, httpPort }: RoutedReplica): string {
  return `${replicaId} ${socketPath} ${framesPath ?? ''} ${httpPort ?? ''}`
}
