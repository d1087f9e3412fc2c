import type { RoutedReplica } from '../../kernel/contract/routing.ts'
import type { Cancellation } from '../front/cancellation.ts'
import type { OpenUpstream, Upstream } from './upstream/upstream.ts'

/**
 * The replicas of one deployment: which one is asked next, who waits, and who is out.
 *
 * A replica is `up` until a connection to it fails or it says 503; then it is `out` at once, and probed with growing
 * delay until it says that it is ready. The gateway trusts its own connections, not the control plane's leases: those
 * are seconds old, and the control plane may be down. The snapshot only says who exists.
 */
export interface PoolLimits {
  /** Exchanges at once with one replica. More wait here, where another replica can take them. */
  exchangesPerReplica: number
  /** Requests that may wait per deployment; more are refused with 503. */
  waiting: number
  probeTimeoutMs: number
  /** Wait before the second probe; doubles up to `probeDelayMaxMs`. */
  probeDelayMs: number
  probeDelayMaxMs: number
}

export const poolLimits: PoolLimits = {
  exchangesPerReplica: 64,
  waiting: 1_024,
  probeTimeoutMs: 1_000,
  probeDelayMs: 20,
  probeDelayMaxMs: 1_000,
}

export interface PooledReplica {
  readonly replicaId: string
  readonly socketPath: string
  readonly upstream: Upstream
  inFlight: number
  state: 'up' | 'out' | 'leaving'
  /** Order of last use: the longest unused of the least busy is asked. */
  usedAt: number
  nextDelayMs: number
  probe: NodeJS.Timeout | null
}

/** `none`: no replica is listed at all; `full`: too many wait already; `late`: none came free in time. */
export type Taken = { kind: 'replica'; replica: PooledReplica } | { kind: 'none' | 'full' | 'late' }

interface Waiter {
  done(taken: Taken): void
  timer: NodeJS.Timeout
}

export type TellReplica = (what: 'out' | 'up', replicaId: string, why: string) => void

export class ReplicaPool {
  readonly #open: OpenUpstream
  readonly #limits: PoolLimits
  readonly #tell: TellReplica
  #replicas: PooledReplica[] = []
  #waiters: Waiter[] = []
  #uses = 0

  constructor(open: OpenUpstream, limits: PoolLimits, tell: TellReplica) {
    this.#open = open
    this.#limits = limits
    this.#tell = tell
  }

  /** The replicas of a new snapshot. One that is listed again while out is probed at once. */
  apply(listed: readonly RoutedReplica[]): void {
    const wanted = new Map(listed.map((replica) => [keyOf(replica), replica]))
    for (const replica of this.#replicas) if (!wanted.has(keyOf(replica))) this.#leave(replica)
    this.#replicas = this.#replicas.filter((replica) => replica.state !== 'leaving')
    const known = new Set(this.#replicas.map((replica) => keyOf(replica)))
    for (const replica of this.#replicas) if (replica.state === 'out') this.#probeIn(replica, 0)
    for (const [key, replica] of wanted) if (!known.has(key)) this.#replicas.push(this.#join(replica))
    if (this.#replicas.length === 0) this.#dismiss()
    this.#serveWaiting()
  }

  /** Whether a request would find a replica that is believed to answer. */
  get answers(): boolean {
    return this.#replicas.some((replica) => replica.state === 'up')
  }

  get waiting(): number {
    return this.#waiters.length
  }

  /**
   * A replica for one exchange, to be given back by `release`: the least busy one now, or the first to come free.
   * @param waitMs - when all are busy; when all are out, the same wait gives a restarted one the time to come back
   */
  take(waitMs: number, cancellation: Cancellation): Taken | Promise<Taken> {
    if (this.#replicas.length === 0) return { kind: 'none' }
    const replica = this.#waiters.length === 0 ? this.#leastBusy() : null
    if (replica !== null) return { kind: 'replica', replica: this.#use(replica) }
    if (this.#waiters.length >= this.#limits.waiting) return { kind: 'full' }
    return new Promise((resolve) => this.#wait(waitMs, cancellation, resolve))
  }

  release(replica: PooledReplica): void {
    replica.inFlight -= 1
    if (replica.state === 'leaving' && replica.inFlight === 0) replica.upstream.close()
    this.#serveWaiting()
  }

  /** The replica broke a connection or said that it isn't ready: nobody is sent to it until it answers a probe. */
  reportOut(replica: PooledReplica, why: string, probeInMs: number): void {
    if (replica.state !== 'up') return
    replica.state = 'out'
    replica.nextDelayMs = this.#limits.probeDelayMs
    this.#tell('out', replica.replicaId, why)
    this.#probeIn(replica, probeInMs)
  }

  close(): void {
    for (const replica of this.#replicas) {
      if (replica.probe !== null) clearTimeout(replica.probe)
      replica.state = 'leaving'
      replica.upstream.close()
    }
    this.#replicas = []
    this.#dismiss()
  }

  #join(replica: RoutedReplica): PooledReplica {
    return {
      replicaId: replica.replicaId,
      socketPath: replica.socketPath,
      upstream: this.#open(replica),
      inFlight: 0,
      state: 'up',
      usedAt: 0,
      nextDelayMs: this.#limits.probeDelayMs,
      probe: null,
    }
  }

  #leave(replica: PooledReplica): void {
    if (replica.probe !== null) clearTimeout(replica.probe)
    replica.state = 'leaving'
    if (replica.inFlight === 0) replica.upstream.close()
    else replica.upstream.retire()
  }

  #use(replica: PooledReplica): PooledReplica {
    replica.inFlight += 1
    replica.usedAt = ++this.#uses
    return replica
  }

  #leastBusy(): PooledReplica | null {
    let best: PooledReplica | null = null
    for (const replica of this.#replicas) {
      if (replica.state !== 'up' || replica.inFlight >= this.#limits.exchangesPerReplica) continue
      const order = best === null ? -1 : replica.inFlight - best.inFlight || replica.usedAt - best.usedAt
      if (order < 0) best = replica
    }
    return best
  }

  #wait(waitMs: number, cancellation: Cancellation, resolve: (taken: Taken) => void): void {
    const done = (taken: Taken): void => {
      clearTimeout(waiter.timer)
      cancellation.onCancel(null)
      resolve(taken)
    }
    const giveUp = (): void => {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
      done({ kind: 'late' })
    }
    const waiter: Waiter = { done, timer: setTimeout(giveUp, waitMs) }
    this.#waiters.push(waiter)
    cancellation.onCancel(giveUp)
  }

  #serveWaiting(): void {
    while (this.#waiters.length > 0) {
      const replica = this.#leastBusy()
      if (replica === null) return
      const waiter = this.#waiters.shift() as Waiter
      waiter.done({ kind: 'replica', replica: this.#use(replica) })
    }
  }

  /** No replica is left that could ever serve those who wait here: they are routed anew, or refused. */
  #dismiss(): void {
    for (const waiter of this.#waiters.splice(0)) waiter.done({ kind: 'none' })
  }

  #probeIn(replica: PooledReplica, delayMs: number): void {
    if (replica.probe !== null) clearTimeout(replica.probe)
    replica.probe = setTimeout(() => void this.#probe(replica), delayMs)
    replica.probe.unref()
  }

  async #probe(replica: PooledReplica): Promise<void> {
    replica.probe = null
    const ready = await replica.upstream.probe(this.#limits.probeTimeoutMs)
    if (replica.state !== 'out' || replica.probe !== null) return // it left, or a newer probe is on its way
    if (!ready) {
      this.#probeIn(replica, replica.nextDelayMs)
      replica.nextDelayMs = Math.min(replica.nextDelayMs * 2, this.#limits.probeDelayMaxMs)
      return
    }
    replica.state = 'up'
    this.#tell('up', replica.replicaId, 'it answered a probe')
    this.#serveWaiting()
  }
}

function keyOf(replica: RoutedReplica): string {
  return `${replica.replicaId} ${replica.socketPath}`
}
