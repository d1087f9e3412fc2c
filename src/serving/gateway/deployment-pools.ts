import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import { ReplicaPool } from './replica-pool.ts'
import type { PoolCounts, PoolLimits, TellReplica } from './replica-pool.ts'
import type { OpenUpstream } from './upstream/upstream.ts'

export interface DeploymentPool {
  readonly deploymentId: string
  readonly replicas: ReplicaPool
  /** Requests that chose this deployment and have not ended: what the control plane waits for before it stops one. */
  requests: number
  listed: boolean
  isWatched: boolean
}

export interface PoolReport {
  deploymentId: string
  /** Under way, and of those the ones that wait for a replica. */
  requests: number
  waiting: number
  isCircuitOpen: boolean
  counts: PoolCounts
  replicas: ReturnType<ReplicaPool['states']>
}

/** How often replicas that owe answers are looked at. */
const WATCH_MS = 100
/** A wake-up that was lost is repeated by the next request after so long, and by the report's own beat. */
const WAKE_AGAIN_MS = 100
/** A look that comes so many times later than it should says that the gateway itself was held up. */
const LATE_TIMES = 3

/** A pool for each deployment of the snapshot, and for each that left it and still has requests in flight. */
export class DeploymentPools {
  readonly #open: OpenUpstream
  readonly #limits: PoolLimits
  readonly #tell: TellReplica
  readonly #pools = new Map<string, DeploymentPool>()
  /** Those that were asked of late: of a thousand deployments few are. */
  #watched: DeploymentPool[] = []
  #watch: NodeJS.Timeout | null = null
  #watchedMs = 0
  #wokeMs = Number.NEGATIVE_INFINITY
  /** Called when a request waits for a deployment that has no replica. */
  onAsleep: () => void = () => {}

  constructor(open: OpenUpstream, limits: PoolLimits, tell: TellReplica) {
    this.#open = open
    this.#limits = limits
    this.#tell = tell
  }

  apply(deployments: ReadonlyMap<string, RoutedDeployment>): void {
    for (const [deploymentId, deployment] of deployments) {
      const pool = this.#pools.get(deploymentId) ?? this.#add(deploymentId)
      pool.listed = true
      const { isPure = true, wakesWithinMs = 0, replicas } = deployment
      pool.replicas.apply(replicas, { deploymentId, isPure, wakesWithinMs })
    }
    for (const pool of this.#pools.values()) {
      if (deployments.has(pool.deploymentId)) continue
      pool.listed = false
      pool.replicas.apply([], { wakesWithinMs: 0 })
      this.#dropIfDone(pool)
    }
  }

  answers(deploymentId: string): boolean {
    return this.#pools.get(deploymentId)?.replicas.answers ?? false
  }

  /** Whether the routes in use have it. */
  lists(deploymentId: string): boolean {
    return this.#pools.get(deploymentId)?.listed ?? false
  }

  /** Counts a request in. Synchronous with the choice, so that no report can miss it. */
  enter(deploymentId: string): DeploymentPool {
    const pool = this.#pools.get(deploymentId) ?? this.#add(deploymentId)
    pool.requests += 1
    if (pool.replicas.isAsleep) this.#wake()
    if (!pool.isWatched) this.#startWatching(pool)
    return pool
  }

  leave(pool: DeploymentPool): void {
    pool.requests -= 1
    this.#dropIfDone(pool)
  }

  inFlight(): { deploymentId: string; requests: number }[] {
    const busy: { deploymentId: string; requests: number }[] = []
    for (const { deploymentId, requests } of this.#pools.values())
      if (requests > 0) busy.push({ deploymentId, requests })
    return busy
  }

  /** What was done to keep requests from failing, and the state of each replica, for those who look. */
  report(): PoolReport[] {
    return [...this.#pools.values()].map(({ deploymentId, replicas, requests }) => ({
      deploymentId,
      requests,
      waiting: replicas.waiting,
      isCircuitOpen: replicas.isCircuitOpen,
      counts: replicas.counts,
      replicas: replicas.states(),
    }))
  }

  close(): void {
    if (this.#watch !== null) clearInterval(this.#watch)
    this.#watch = null
    for (const pool of this.#pools.values()) pool.replicas.close()
    this.#pools.clear()
  }

  /** Whoever starts replicas hears of it at once, and not with every request that waits. */
  #wake(): void {
    const nowMs = performance.now()
    if (nowMs - this.#wokeMs < WAKE_AGAIN_MS) return
    this.#wokeMs = nowMs
    this.onAsleep()
  }

  #add(deploymentId: string): DeploymentPool {
    const replicas = new ReplicaPool(this.#open, this.#limits, this.#tell)
    const pool: DeploymentPool = { deploymentId, replicas, requests: 0, listed: false, isWatched: false }
    this.#pools.set(deploymentId, pool)
    return pool
  }

  /** Only while there is something to watch: an idle gateway does not wake up. */
  #startWatching(pool: DeploymentPool): void {
    pool.isWatched = true
    this.#watched.push(pool)
    if (this.#watch !== null) return
    this.#watchedMs = performance.now()
    this.#watch = setInterval(() => this.#watchAll(), WATCH_MS)
    this.#watch.unref()
  }

  #watchAll(): void {
    const nowMs = performance.now()
    const sinceLastMs = nowMs - this.#watchedMs
    this.#watchedMs = nowMs
    for (const { replicas } of this.#watched) replicas.tick(sinceLastMs, sinceLastMs > WATCH_MS * LATE_TIMES)
    for (const pool of this.#watched) pool.isWatched = !pool.replicas.isIdle
    this.#watched = this.#watched.filter(({ isWatched }) => isWatched)
    if (this.#watched.length > 0 || this.#watch === null) return
    clearInterval(this.#watch)
    this.#watch = null
  }

  #dropIfDone(pool: DeploymentPool): void {
    if (!pool.listed && pool.requests === 0) this.#pools.delete(pool.deploymentId)
  }
}
