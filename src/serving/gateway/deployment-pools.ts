import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import { ReplicaPool } from './replica-pool.ts'
import type { PoolLimits, TellReplica } from './replica-pool.ts'
import type { OpenUpstream } from './upstream/upstream.ts'

export interface DeploymentPool {
  readonly deploymentId: string
  readonly replicas: ReplicaPool
  /** Requests that chose this deployment and have not ended: what the control plane waits for before it stops one. */
  requests: number
  listed: boolean
}

/** A pool for each deployment of the snapshot, and for each that left it and still has requests in flight. */
export class DeploymentPools {
  readonly #open: OpenUpstream
  readonly #limits: PoolLimits
  readonly #tell: TellReplica
  readonly #pools = new Map<string, DeploymentPool>()

  constructor(open: OpenUpstream, limits: PoolLimits, tell: TellReplica) {
    this.#open = open
    this.#limits = limits
    this.#tell = tell
  }

  apply(deployments: ReadonlyMap<string, RoutedDeployment>): void {
    for (const [deploymentId, deployment] of deployments) {
      const pool = this.#pools.get(deploymentId) ?? this.#add(deploymentId)
      pool.listed = true
      pool.replicas.apply(deployment.replicas)
    }
    for (const pool of this.#pools.values()) {
      if (deployments.has(pool.deploymentId)) continue
      pool.listed = false
      pool.replicas.apply([])
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

  close(): void {
    for (const pool of this.#pools.values()) pool.replicas.close()
    this.#pools.clear()
  }

  #add(deploymentId: string): DeploymentPool {
    const replicas = new ReplicaPool(this.#open, this.#limits, this.#tell)
    const pool: DeploymentPool = { deploymentId, replicas, requests: 0, listed: false }
    this.#pools.set(deploymentId, pool)
    return pool
  }

  #dropIfDone(pool: DeploymentPool): void {
    if (!pool.listed && pool.requests === 0) this.#pools.delete(pool.deploymentId)
  }
}
