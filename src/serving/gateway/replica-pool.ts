import type { RoutedReplica } from '../../kernel/contract/routing.ts'
import type { Cancellation } from '../front/cancellation.ts'
import { Circuit } from './circuit.ts'
import { circuitLimits } from './decide-circuit.ts'
import type { CircuitAdmission, CircuitLimits } from './decide-circuit.ts'
import { sheddingLimits } from './decide-shedding.ts'
import type { SheddingLimits } from './decide-shedding.ts'
import { isDoubtful, joiningReplica, keyOf, removeExchange } from './pooled-replica.ts'
import type { Exchange, PooledReplica } from './pooled-replica.ts'
import { healthLimits, ReplicaHealth } from './replica-health.ts'
import type { HealthCounts, HealthLimits, TellReplica } from './replica-health.ts'
import type { JsonBody } from './request-parameter.ts'
import { RetryBudget } from './retry-budget.ts'
import type { OpenUpstream, UpstreamRequest } from './upstream/upstream.ts'
import { WaitingLine } from './waiting-line.ts'
import type { Waited } from './waiting-line.ts'

export type { PooledReplica } from './pooled-replica.ts'
export type { TellReplica } from './replica-health.ts'

export interface PoolLimits extends HealthLimits {
  /** Exchanges at once with one replica. More wait here, where another replica can take them. */
  exchangesPerReplica: number
  /** Requests that may wait per deployment; more are refused with 503. */
  waiting: number
  /** Requests at once per deployment, of the gateway's 4,096: no deployment may take them all. */
  requests: number
  circuit: CircuitLimits
  shedding: SheddingLimits
}

export const poolLimits: PoolLimits = {
  ...healthLimits,
  exchangesPerReplica: 64,
  waiting: 1_024,
  requests: 3_072,
  circuit: circuitLimits,
  shedding: sheddingLimits,
}

/** `none`: no replica is listed at all; `full`: too many wait already; `late`: none came free in time. */
export type Taken =
  | { kind: 'replica'; replica: PooledReplica }
  | { kind: 'none' | 'late' }
  | { kind: 'full'; retryAfterMs: number }

/** Refused: nothing was asked. Else to be settled with how the request ended. */
export type PoolAdmission =
  | { kind: 'let'; circuit: CircuitAdmission }
  | { kind: 'refuse'; why: string; retryAfterMs: number }

/** What is known of a deployment beside its replicas. */
export interface PoolFacts {
  deploymentId: string
  /** False: what was sent once must not be sent again. */
  isPure: boolean
  /** Requests that find no replica wait so long for one to be started. */
  wakesWithinMs: number
}

/** Since the gateway started. */
export interface PoolCounts extends HealthCounts {
  retries: number
  /** Requests that were not tried again, as too many were already. */
  retriesRefused: number
  circuitOpened: number
  refusedByCircuit: number
  shed: number
}

/**
 * The replicas of one deployment, of which the snapshot says who exists: which one is asked next, and who waits.
 * Who is left out is said by its health, whether anybody is asked at all by its circuit.
 */
export class ReplicaPool {
  /** Who is left out; to be told what becomes of each exchange. */
  readonly health: ReplicaHealth
  readonly #retries = new RetryBudget()
  readonly #open: OpenUpstream
  readonly #limits: PoolLimits
  readonly #nowMs: () => number
  readonly #circuit: Circuit
  readonly #line: WaitingLine<PooledReplica>
  #facts: PoolFacts = { deploymentId: '', isPure: true, wakesWithinMs: 0 }
  #replicas: PooledReplica[] = []
  /** No longer listed, and still at work. */
  #leaving: PooledReplica[] = []
  #uses = 0
  #requests = 0
  #ended = 0
  #endedPerSecond = 0

  constructor(open: OpenUpstream, limits: PoolLimits, tell: TellReplica, nowMs = () => performance.now()) {
    this.#open = open
    this.#limits = limits
    this.#nowMs = nowMs
    const judged = {
      listed: () => this.#replicas,
      leaving: () => this.#leaving,
      onUp: () => this.#serveWaiting(),
      onAwake: () => this.#circuit.awake(),
    }
    this.health = new ReplicaHealth(limits, judged, tell, nowMs)
    this.#circuit = new Circuit(nowMs, (what, why) => tell(what, this.#facts.deploymentId, why), limits.circuit)
    this.#line = new WaitingLine(limits.waiting, limits.shedding, nowMs)
  }

  /** The replicas of a new snapshot. One that is listed again while out is probed at once. */
  apply(listed: readonly RoutedReplica[], facts: Partial<PoolFacts> = {}): void {
    this.#facts = { ...this.#facts, ...facts }
    const wanted = new Map(listed.map((replica) => [keyOf(replica), replica]))
    for (const replica of this.#replicas) if (!wanted.has(replica.key)) this.#leave(replica)
    this.#replicas = this.#replicas.filter((replica) => replica.state !== 'leaving')
    const known = new Set(this.#replicas.map((replica) => replica.key))
    for (const replica of this.#replicas) if (replica.state === 'out') this.health.probeIn(replica, 0)
    for (const [key, replica] of wanted) {
      if (known.has(key)) continue
      this.#replicas.push(joiningReplica(replica, this.#open(replica), this.#limits.probeDelayMs))
    }
    if (this.#replicas.length === 0 && this.#facts.wakesWithinMs === 0) this.#line.dismiss()
    this.health.recall()
    this.#serveWaiting()
  }

  /** Whether a request would find a replica that is believed to answer, or one that is started for it. */
  get answers(): boolean {
    return this.#circuit.lets && (this.isAsleep || this.#replicas.some((replica) => replica.state === 'up'))
  }

  /** It has no replica, and gets one as soon as the control plane hears that somebody waits. */
  get isAsleep(): boolean {
    return this.#replicas.length === 0 && this.#facts.wakesWithinMs > 0
  }

  /** Nobody of it answers, and as one is started for requests, it is for those of a replica that died, too. */
  get #isWaking(): boolean {
    return this.#facts.wakesWithinMs > 0 && !this.#replicas.some((replica) => replica.state === 'up')
  }

  get waiting(): number {
    return this.#line.length
  }

  get isCircuitOpen(): boolean {
    return this.#circuit.isOpen
  }

  get isPure(): boolean {
    return this.#facts.isPure
  }

  /** Nothing is under way and nothing is owed: there is nothing to watch. */
  get isIdle(): boolean {
    if (this.#requests > 0 || this.#line.length > 0 || this.#endedPerSecond >= 1) return false
    return !this.#replicas.some(owes) && !this.#leaving.some(owes)
  }

  get counts(): PoolCounts {
    const { timesOpened: circuitOpened, refused: refusedByCircuit } = this.#circuit
    return {
      ...this.health.counts,
      circuitOpened,
      refusedByCircuit,
      shed: this.#line.shed,
      retries: this.#retries.made,
      retriesRefused: this.#retries.refused,
    }
  }

  /** Of each listed replica, for those who look. */
  states(): { replicaId: string; state: PooledReplica['state']; timesEjected: number }[] {
    return this.#replicas.map(({ replicaId, state, record }) => ({
      replicaId,
      state,
      timesEjected: record.timesEjected,
    }))
  }

  /** Whether one more of its requests may be sent twice; counted then. */
  takeRetry(): boolean {
    return this.#retries.takeRetry(this.#nowMs())
  }

  /** Before anything else: whether the deployment is to be asked at all. */
  admit(): PoolAdmission {
    if (this.#requests >= this.#limits.requests)
      return { kind: 'refuse', why: `it has ${this.#requests} requests already`, retryAfterMs: this.#line.retryAfterMs }
    const circuit = this.#circuit.admit()
    if (circuit.kind === 'refuse') {
      const why = 'its last requests got no answer, so it is given time'
      return { kind: 'refuse', why, retryAfterMs: circuit.retryAfterMs }
    }
    this.#requests += 1
    return { kind: 'let', circuit }
  }

  /** @param end - null: it says nothing about the deployment */
  settle(admission: PoolAdmission & { kind: 'let' }, end: 'answered' | 'unanswered' | null): void {
    this.#requests -= 1
    this.#circuit.settle(admission.circuit, end)
  }

  /**
   * A replica for one exchange, to be given back by `release`: the least busy one now, or the first to come free.
   * @param waitMs - when all are busy; when all are out, the same wait gives a restarted one the time to come back,
   *   or, where a replica is started for requests, the time that is declared for it
   * @param request - says its priority; null: the highest
   */
  take(waitMs: number, cancellation: Cancellation, request: JsonBody | null = null): Taken | Promise<Taken> {
    if (this.#replicas.length === 0 && !this.isAsleep) return { kind: 'none' }
    const replica = this.#line.length === 0 ? this.#leastBusy() : null
    if (replica !== null) {
      this.#line.isEasy()
      return { kind: 'replica', replica: this.#use(replica) }
    }
    const isWaking = this.#isWaking
    const wakeMs = Math.max(waitMs, this.#facts.wakesWithinMs)
    const waited = this.#line.wait(isWaking ? wakeMs : waitMs, cancellation, request)
    if (!(waited instanceof Promise)) return takenOf(waited)
    if (isWaking || this.#facts.wakesWithinMs <= waitMs) return waited.then(takenOf)
    return this.#waitOn(waited, wakeMs - waitMs, cancellation, request)
  }

  /** Who waited for one to come free, and saw the last one die meanwhile, waits for it to be started. */
  async #waitOn(
    waited: Promise<Waited<PooledReplica>>,
    moreMs: number,
    cancellation: Cancellation,
    request: JsonBody | null,
  ): Promise<Taken> {
    const first = await waited
    if (first.kind !== 'late' || cancellation.reason !== null || !this.#isWaking) return takenOf(first)
    return takenOf(await this.#line.wait(moreMs, cancellation, request))
  }

  release(replica: PooledReplica): void {
    replica.inFlight -= 1
    this.#ended += 1
    if (replica.state === 'leaving' && replica.inFlight === 0) this.#closeLeft(replica)
    this.#serveWaiting()
  }

  /**
   * Starts an exchange with a replica that was taken.
   * @param leftMs - what the request may still take
   * @param isFirst - it leaves time for another attempt; later ones may take all there is
   */
  begin(replica: PooledReplica, request: UpstreamRequest, leftMs: number, isFirst: boolean): Exchange {
    const startedMs = this.#nowMs()
    const limitMs = isFirst ? this.health.attemptLimitMs(leftMs) : Infinity
    const { exchanges } = replica
    const call = replica.upstream.call(request)
    const at = exchanges.length
    const exchange: Exchange = { replica, call, startedMs, mayRepeat: this.isPure, limitMs, givenUp: null, at }
    exchanges.push(exchange)
    if (isFirst) this.#retries.countRequest(startedMs)
    replica.owesSinceMs ??= startedMs
    return exchange
  }

  end(exchange: Exchange): void {
    removeExchange(exchange)
    this.release(exchange.replica)
  }

  /**
   * To be called every so often while the pool is not idle.
   * @param wasLate - the gateway itself did not run for a while
   */
  tick(sinceLastMs: number, wasLate: boolean): void {
    this.#endedPerSecond = this.#endedPerSecond * 0.8 + ((this.#ended * 1_000) / Math.max(1, sinceLastMs)) * 0.2
    this.#ended = 0
    this.#line.endedPerSecond = this.#endedPerSecond
    if (!this.#replicas.some((replica) => replica.state === 'up')) this.#line.isEasy()
    this.health.watch(wasLate)
  }

  close(): void {
    for (const replica of [...this.#replicas, ...this.#leaving]) {
      if (replica.probe !== null) clearTimeout(replica.probe)
      replica.state = 'leaving'
      replica.owesSinceMs = null
      replica.upstream.close()
    }
    this.#replicas = []
    this.#leaving = []
    this.#line.dismiss()
  }

  #leave(replica: PooledReplica): void {
    if (replica.probe !== null) clearTimeout(replica.probe)
    replica.state = 'leaving'
    if (replica.inFlight === 0) return replica.upstream.close()
    this.#leaving.push(replica)
    replica.upstream.retire()
  }

  #closeLeft(replica: PooledReplica): void {
    this.#leaving = this.#leaving.filter((other) => other !== replica)
    replica.upstream.close()
  }

  #use(replica: PooledReplica): PooledReplica {
    replica.inFlight += 1
    replica.usedAt = ++this.#uses
    return replica
  }

  #leastBusy(): PooledReplica | null {
    let best: PooledReplica | null = null
    for (const replica of this.#replicas) {
      if (replica.state !== 'up') continue
      if (replica.inFlight >= (isDoubtful(replica) ? 1 : this.#limits.exchangesPerReplica)) continue
      if (best === null || isBetter(replica, best)) best = replica
    }
    return best
  }

  #serveWaiting(): void {
    while (this.#line.length > 0) {
      const replica = this.#leastBusy()
      if (replica === null) return
      this.#line.serve(this.#use(replica))
    }
  }
}

/** Suspects come last, then the busier, then those used later. */
function isBetter(replica: PooledReplica, best: PooledReplica): boolean {
  if (replica.isSuspect !== best.isSuspect) return best.isSuspect
  return (replica.inFlight - best.inFlight || replica.usedAt - best.usedAt) < 0
}

function owes({ owesSinceMs }: PooledReplica): boolean {
  return owesSinceMs !== null
}

function takenOf(waited: Waited<PooledReplica>): Taken {
  return waited.kind === 'served' ? { kind: 'replica', replica: waited.by } : waited
}
