import type { EndpointRoute, GatewayReport, RoutingSnapshot } from '../../kernel/contract/routing.ts'
import type { Store } from '../../kernel/store/store.ts'

/**
 * Numbers routing snapshots and hands them to whoever follows. Each control plane takes (and stores) the next epoch
 * and counts revisions from 1 within it, so that no pair is ever used for two different snapshots.
 */
export class RoutePublisher {
  readonly #epoch: number
  #current: RoutingSnapshot | null = null
  /** What the current one holds, as it was compared. */
  #text = ''
  /** By endpoint: which deployments share its live traffic, and the revision from which on they do. */
  readonly #live = new Map<string, { deployments: string; revision: number }>()
  readonly #followers = new Set<(snapshot: RoutingSnapshot) => void>()

  private constructor(epoch: number) {
    this.#epoch = epoch
  }

  static async open(store: Store): Promise<RoutePublisher> {
    const epoch = await store.transaction(async (tx) => {
      const row = await tx.selectFrom('setting').select('value').where('key', '=', 'routingEpoch').executeTakeFirst()
      const next = Number((row?.value as { epoch: number } | undefined)?.epoch ?? 0) + 1
      await tx
        .insertInto('setting')
        .values({ key: 'routingEpoch', value: JSON.stringify({ epoch: next }) })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({ value: JSON.stringify({ epoch: next }) }))
        .execute()
      return next
    })
    return new RoutePublisher(epoch)
  }

  current(): RoutingSnapshot | null {
    return this.#current
  }

  /** Hands out a new snapshot if anything changed. */
  publish(
    project: string,
    endpoints: EndpointRoute[],
    nowMs: number,
    admission: Pick<RoutingSnapshot, 'callers' | 'anonymous'> = {},
  ): RoutingSnapshot {
    const before = this.#current
    const content = { project, endpoints, ...admission }
    const text = JSON.stringify(content)
    if (before !== null && this.#text === text) return before
    this.#text = text
    const next = { epoch: this.#epoch, revision: (before?.revision ?? 0) + 1, issuedAtMs: nowMs, ...content }
    this.#current = next
    for (const { endpoint, members } of endpoints) {
      const live = liveDeployments(members)
      if (this.#live.get(endpoint)?.deployments !== live)
        this.#live.set(endpoint, { deployments: live, revision: next.revision })
    }
    for (const follower of this.#followers) follower(next)
    return next
  }

  /** Whether this gateway routes by these members already: a flip takes it a moment. True where nothing was published yet. */
  isTaken(endpoint: string, members: EndpointRoute['members'], by: Pick<GatewayReport, 'epoch' | 'revision'>): boolean {
    const published = this.#live.get(endpoint)
    if (published === undefined) return true
    const isNew = by.epoch === this.#epoch && by.revision >= published.revision
    return published.deployments === liveDeployments(members) && isNew
  }

  /** Calls back with the current snapshot, if there is one, and with each new one. */
  follow(follower: (snapshot: RoutingSnapshot) => void): () => void {
    this.#followers.add(follower)
    if (this.#current !== null) follower(this.#current)
    return () => this.#followers.delete(follower)
  }
}

function liveDeployments(members: EndpointRoute['members']): string {
  const live = members.filter(({ weightPercent }) => weightPercent > 0).map(({ deploymentId }) => deploymentId)
  return live.toSorted().join(' ')
}
