import { LEASE_RENEW_MS, type Lease } from '../../kernel/contract/routing.ts'
import { unreachable } from '../../kernel/errors.ts'
import { warnOnce } from '../../kernel/log.ts'
import { isPinned } from '../caller/caller.ts'
import { endExpiredPins } from '../caller/caller-requests.ts'
import { allModels, type ControlContext } from '../control-context.ts'
import { pinnedVersions } from '../retirement/retirement-store.ts'
import { decideDeployment, type DeploymentAct, type DeploymentView } from './decide-deployments.ts'
import { DeployedVersions } from './deployed-versions.ts'
import { moveDeployment } from './deployment-acts.ts'
import { readDeploymentRows, type DeploymentRows } from './deployment-rows.ts'
import { isUnused, type GatewaysSeen } from './gateway-use.ts'
import type { Observations } from './observations.ts'
import type { Deployment } from './release.ts'
import { deploymentHolders, deploymentsWithReplicas, lastReplicaSeq, lossesWithin } from './release-store.ts'
import { ReplicaProcesses } from './replica-processes.ts'
import type { ReplicaRuntime } from './replica-runtime.ts'
import type { RoutePublisher } from './route-publisher.ts'
import { SnapshotComposer } from './snapshot-composer.ts'
import { deployWanted, keptVersions } from './wanted-versions.ts'

const LOSSES_WINDOW_MS = 60_000
const UNSETTLED_LOOK_MS = 500
const SILENT_SOON_MS = 2 * LEASE_RENEW_MS

/** Keeps the replicas of every deployment as wanted, and tells gateways what there is. */
export class DeploymentController {
  readonly #context: ControlContext
  readonly #runtime: ReplicaRuntime
  readonly #observations: Observations
  readonly #publisher: RoutePublisher
  readonly #versions: DeployedVersions
  readonly #processes: ReplicaProcesses
  readonly #composer: SnapshotComposer
  readonly #warn: (text: string) => void
  /** Of the last replica before this control plane; null until it has looked. */
  #seqBefore: number | null = null
  /** Gateways that were alive at the last look. */
  #gateways: string[] = []
  #rows: DeploymentRows | null = null

  constructor(context: ControlContext, runtime: ReplicaRuntime, observations: Observations, publisher: RoutePublisher) {
    this.#context = context
    this.#runtime = runtime
    this.#observations = observations
    this.#publisher = publisher
    this.#warn = warnOnce(context.log)
    this.#versions = new DeployedVersions(context.store)
    this.#processes = new ReplicaProcesses(context, runtime, observations)
    this.#composer = new SnapshotComposer(context, { observations, publisher, versions: this.#versions }, this.#warn)
  }

  /** @returns when to look again in ms, where something is on its way */
  async look(): Promise<number | void> {
    await this.#endPins()
    let rows = await this.#read()
    await this.#composer.publish(rows)
    let acted = await deployWanted(this.#context, rows, this.#warn)
    if (acted) rows = await this.#read()
    for (const view of await this.#views(rows)) {
      for (const act of decideDeployment(view, this.#context.clock.epochMs())) {
        await this.#do(view, act)
        acted = true
      }
    }
    if (acted) {
      rows = await this.#read()
      await this.#composer.publish(rows)
    }
    this.#processes.stopLeft(rows, this.#gatewaysSeen())
    return acted || !this.#isSettled(rows) ? UNSETTLED_LOOK_MS : (this.#composer.keyEndsInMs ?? undefined)
  }

  /** Whether a replica that is to run has missed a word or two: it may be dead. */
  isAnySilent(): boolean {
    return (this.#rows?.replicas ?? []).some(
      ({ id, status }) => status === 'running' && this.#observations.silentMs(id) > SILENT_SOON_MS,
    )
  }

  /** What a replica is to do, by what is known here; before the first look nobody is sent away. */
  goalOf(lease: Pick<Lease, 'replicaId' | 'token'>): 'run' | 'drain' {
    return this.#rows === null ? 'run' : this.#processes.goalOf(lease, this.#rows.replicas)
  }

  /** Whether gateways' reports of what is in flight are being waited for. */
  isDraining(): boolean {
    return this.#rows?.deployments.some((d) => d.status === 'draining') ?? false
  }

  async #read(): Promise<DeploymentRows> {
    return (this.#rows = await readDeploymentRows(this.#context))
  }

  /** Every deployment is up with as many replicas as wanted, all of which say that they are ready. */
  #isSettled({ deployments, replicas }: DeploymentRows): boolean {
    const countOf = (deploymentId: string) => replicas.filter((r) => r.deploymentId === deploymentId).length
    return (
      deployments.every((d) => d.status === 'ready' && countOf(d.id) === d.replicasWanted) &&
      replicas.every((replica) => this.#observations.isReady(replica))
    )
  }

  async #endPins(): Promise<void> {
    const { store, clock, log } = this.#context
    if (this.#rows?.pins.every((pin) => isPinned(pin, clock.epochMs())) ?? false) return
    const ended = await store.transaction((tx) => endExpiredPins(tx, clock))
    if (ended > 0) log.info({ ended }, 'pins of callers have expired')
  }

  async #views(rows: DeploymentRows): Promise<DeploymentView[]> {
    const { deployments, replicas } = rows
    this.#processes.keepOnly(replicas)
    if (deployments.length === 0) return []
    const { db } = this.#context.store
    const toMs = this.#context.clock.epochMs()
    this.#seqBefore ??= await lastReplicaSeq(db)
    const losses = await lossesWithin(db, { fromMs: toMs - LOSSES_WINDOW_MS, toMs }, this.#seqBefore)
    const holders = await this.#holders(db, deployments)
    this.#gateways = await this.#runtime.liveGateways()
    return Promise.all(
      deployments.map(async (deployment): Promise<DeploymentView> => {
        const lost = losses.get(deployment.id)
        const mine = replicas.filter((r) => r.deploymentId === deployment.id)
        return {
          deployment,
          heldBy: holders.get(deployment.id) ?? [],
          unused: isUnused(deployment.id, this.#gatewaysSeen()),
          recentlyGone: lost?.replicas ?? 0,
          lastGoneAtMs: lost?.lastAtMs ?? null,
          lastGoneWhy: lost?.why ?? null,
          replicas: await Promise.all(mine.map((replica) => this.#processes.view(replica))),
        }
      }),
    )
  }

  async #holders(
    db: Parameters<typeof deploymentHolders>[0],
    deployments: Deployment[],
  ): Promise<Map<string, string[]>> {
    const applied = this.#context.project()
    const kept = keptVersions(applied?.project.models ?? [], this.#rows?.declared ?? [])
    const pinned = await pinnedVersions(db, allModels(applied), this.#context.clock.calendarMs())
    return deploymentHolders(db, deployments, kept, pinned)
  }

  #gatewaysSeen(): GatewaysSeen {
    return {
      current: this.#publisher.current(),
      reports: this.#observations.gateways(),
      alive: this.#gateways,
    }
  }

  async #do({ deployment }: DeploymentView, act: DeploymentAct): Promise<void> {
    switch (act.kind) {
      case 'startReplica':
        return this.#processes.start(deployment, await this.#versions.of(deployment.versionId))
      case 'stopReplica':
        return this.#processes.tellToStop(act.replica, act.why)
      case 'replicaGone':
        return this.#processes.gone(act.replica, act.why)
      case 'allReady':
        return this.#move(act.deployment, 'allReady', 'every replica is ready')
      case 'drain':
        return this.#drain(act.deployment, act.why)
      case 'drained':
        return this.#move(act.deployment, 'drained', 'every replica has stopped')
      case 'fail':
        // Its replicas are stopped by the next look, as those of every ended deployment are.
        await this.#move(act.deployment, 'fail', act.why)
        return this.#context.wake('deployment')
      default:
        return unreachable(act)
    }
  }

  async #move(deployment: Deployment, event: 'allReady' | 'drained' | 'fail', why: string): Promise<void> {
    const { store, clock } = this.#context
    await store.transaction((tx) => moveDeployment(tx, clock, deployment, event, why))
    this.#context.wake('release')
  }

  /** Asks again who needs it, within the transaction: a release may have taken it up since it was looked at. */
  async #drain(deployment: Deployment, why: string): Promise<void> {
    const { store, clock } = this.#context
    await store.transaction(async (tx) => {
      const holders = await this.#holders(tx, await deploymentsWithReplicas(tx))
      if (!holders.has(deployment.id)) await moveDeployment(tx, clock, deployment, 'drain', why)
    })
    this.#context.wake('deployment')
  }
}
