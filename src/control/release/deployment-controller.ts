import { randomUUID } from 'node:crypto'
import type { ModelConfig } from '../../config/project.ts'
import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { unreachable } from '../../kernel/errors.ts'
import { compareAndSet } from '../../kernel/store/state-machine.ts'
import type { ControlContext } from '../control-context.ts'
import type { Version } from '../registry/version.ts'
import { aliases, findVersion } from '../registry/version-store.ts'
import { decideDeployment, type DeploymentAct, type DeploymentView } from './decide-deployments.ts'
import type { Observations } from './observations.ts'
import { deploymentMachine, replicaMachine, type Deployment, type Replica } from './release.ts'
import { openDeployments, openReleases, openReplicas, replicasGoneSince, routes } from './release-store.ts'
import type { RoutePublisher } from './route-publisher.ts'
import { endpointRoutes } from './routing-snapshot.ts'

/** How replicas are run: local processes here, other runtimes later. */
export interface ReplicaRuntime {
  start(replica: { id: string; token: string; deploymentId: string; version: Version; config: ModelConfig | null }): Promise<{ exited: Promise<void> }>
  /** `unknown`: nothing is recorded of it yet. */
  observe(replicaId: string): Promise<'alive' | 'dead' | 'unknown'>
  /** SIGTERM for a drain; SIGKILL once `graceMs` are over. Returns at once. */
  stop(replicaId: string, graceMs: number): void
  /** Gateway processes that are alive, whether or not they report. */
  liveGateways(): Promise<string[]>
}

const GONE_WINDOW_MS = 60_000

/** Keeps the replicas of every deployment as wanted, and tells gateways what there is. */
export class DeploymentController {
  readonly #context: ControlContext
  readonly #runtime: ReplicaRuntime
  readonly #observations: Observations
  readonly #publisher: RoutePublisher
  /** Replicas whose process is being started by this one. */
  readonly #starting = new Set<string>()
  readonly #stopping = new Set<string>()

  constructor(context: ControlContext, runtime: ReplicaRuntime, observations: Observations, publisher: RoutePublisher) {
    this.#context = context
    this.#runtime = runtime
    this.#observations = observations
    this.#publisher = publisher
  }

  async look(): Promise<void> {
    this.#observations.look()
    await this.#publish()
    for (const view of await this.#views()) {
      for (const act of decideDeployment(view, this.#context.clock.epochMs())) await this.#do(view, act)
    }
    await this.#publish()
  }

  async #views(): Promise<DeploymentView[]> {
    const { db } = this.#context.store
    const deployments = await openDeployments(db)
    const replicas = await openReplicas(db)
    const holders = await this.#holders(deployments)
    const gateways = await this.#runtime.liveGateways()
    return Promise.all(
      deployments.map(async (deployment): Promise<DeploymentView> => {
        const sinceMs = this.#context.clock.epochMs() - GONE_WINDOW_MS
        const recentlyGone = await replicasGoneSince(db, deployment.id, Math.max(sinceMs, deployment.createdAtMs))
        return {
          deployment,
          heldBy: holders.get(deployment.id) ?? [],
          unused: this.#isUnused(deployment.id, gateways),
          recentlyGone,
          lastGoneAtMs: recentlyGone === 0 ? null : await this.#lastGone(deployment.id),
          replicas: await Promise.all(
            replicas
              .filter((r) => r.deploymentId === deployment.id)
              .map(async (replica) => ({ replica, lease: this.#observations.lease(replica.id), process: await this.#process(replica), silentMs: this.#observations.silentMs(replica.id) })),
          ),
        }
      }),
    )
  }

  async #process(replica: Replica): Promise<'alive' | 'dead' | 'unknown'> {
    return this.#starting.has(replica.id) ? 'alive' : this.#runtime.observe(replica.id)
  }

  async #lastGone(deploymentId: string): Promise<number | null> {
    const row = await this.#context.store.db
      .selectFrom('replica')
      .select((eb) => eb.fn.max('ended_at_ms').as('last'))
      .where('deployment_id', '=', deploymentId)
      .executeTakeFirstOrThrow()
    return row.last === null ? null : Number(row.last)
  }

  /** Who needs which deployment: the route, the version kept warm behind it, or a release under way. */
  async #holders(deployments: Deployment[]): Promise<Map<string, string[]>> {
    const { db } = this.#context.store
    const holders = new Map<string, string[]>()
    const hold = (id: string, by: string) => holders.set(id, [...(holders.get(id) ?? []), by])
    const inRoute = (await routes(db)).flatMap((r) => r.members.map((m) => m.deploymentId))
    for (const id of inRoute) hold(id, 'route')
    for (const release of await openReleases(db)) if (release.deploymentId !== null) hold(release.deploymentId, release.id)
    for (const { model, alias, versionId } of await aliases(db)) {
      if (alias !== 'previous') continue
      const newest = deployments.findLast((d) => d.model === model && d.versionId === versionId && d.discoverable)
      if (newest !== undefined) hold(newest.id, 'previous')
    }
    return holders
  }

  /** A gateway that is alive and does not report counts as using everything. */
  #isUnused(deploymentId: string, liveGateways: string[]): boolean {
    const current = this.#publisher.current()
    if (current === null || routesTo(current, deploymentId)) return false
    const reports = this.#observations.gateways()
    return liveGateways.every((id) => {
      const report = reports.find((r) => r.gatewayId === id)
      if (report === undefined || report.epoch !== current.epoch || report.revision !== current.revision) return false
      return report.inFlight.every((f) => f.deploymentId !== deploymentId || f.requests === 0)
    })
  }

  async #do(view: DeploymentView, act: DeploymentAct): Promise<void> {
    switch (act.kind) {
      case 'startReplica':
        return this.#startReplica(view.deployment)
      case 'stopReplica':
        return this.#stopReplica(act.replica, act.why)
      case 'replicaGone':
        this.#observations.forgetReplica(act.replica.id)
        this.#stopping.delete(act.replica.id)
        return this.#moveReplica(act.replica, 'gone', act.why)
      case 'allReady':
        return this.#moveDeployment(act.deployment, 'allReady', 'every replica is ready')
      case 'drain':
        await this.#moveDeployment(act.deployment, 'drain', act.why)
        return this.#context.wake('deployment')
      case 'drained':
        return this.#moveDeployment(act.deployment, 'drained', 'every replica has stopped')
      case 'fail':
        await this.#moveDeployment(act.deployment, 'fail', act.why)
        for (const { replica } of view.replicas) if (replica.status === 'running') await this.#stopReplica(replica, act.why)
        return this.#context.wake('release')
      default:
        return unreachable(act)
    }
  }

  async #startReplica(deployment: Deployment): Promise<void> {
    const { store, clock } = this.#context
    const token = randomUUID()
    const version = await findVersion(store.db, deployment.versionId)
    if (version === null) return
    const { id } = await store.db
      .insertInto('replica')
      .values({ deployment_id: deployment.id, token, status: 'running', created_at_ms: clock.epochMs() })
      .returning('id')
      .executeTakeFirstOrThrow()
    this.#starting.add(id)
    const config = this.#context.project()?.project.models.find((m) => m.name === deployment.model) ?? null
    void this.#runtime
      .start({ id, token, deploymentId: deployment.id, version, config })
      .then(({ exited }) => void exited.then(() => this.#context.wake('deployment')))
      .catch((error: unknown) => this.#context.log.error({ replica: id, err: error }, 'a replica could not be started'))
      .finally(() => this.#starting.delete(id))
  }

  async #stopReplica(replica: Replica, why: string): Promise<void> {
    await this.#moveReplica(replica, 'stop', why)
  }

  /** Also for replicas that were told to stop by a control plane that died since. */
  async stopTold(): Promise<void> {
    for (const replica of await openReplicas(this.#context.store.db)) {
      if (replica.status !== 'stopping' || this.#stopping.has(replica.id)) continue
      this.#stopping.add(replica.id)
      const deployment = await this.#context.store.db.selectFrom('deployment').select('model').where('id', '=', replica.deploymentId).executeTakeFirst()
      const config = this.#context.project()?.project.models.find((m) => m.name === deployment?.model)
      this.#runtime.stop(replica.id, config?.serving.drainMs ?? 30_000)
    }
  }

  async #moveReplica(replica: Replica, event: 'stop' | 'gone', why: string): Promise<void> {
    const ended = event === 'gone' ? { ended_at_ms: this.#context.clock.epochMs() } : {}
    await this.#context.store.transaction((tx) =>
      compareAndSet(tx, {
        table: 'replica', key: [replica.id], from: replica.status, to: replicaMachine.transition(replica.status, event), cause: why,
        ...this.#times(), set: { why, ...ended }, detail: { deployment: replica.deploymentId },
      }),
    )
    await this.stopTold()
    this.#context.wake('deployment')
  }

  async #moveDeployment(deployment: Deployment, event: 'allReady' | 'drain' | 'drained' | 'fail', why: string): Promise<void> {
    const to = deploymentMachine.transition(deployment.status, event)
    const ended = deploymentMachine.isFinal(to) ? { ended_at_ms: this.#context.clock.epochMs() } : {}
    await this.#context.store.transaction((tx) =>
      compareAndSet(tx, {
        table: 'deployment', key: [deployment.id], from: deployment.status, to, cause: why,
        ...this.#times(), set: { why, ...ended }, detail: { version: deployment.versionId, endpoint: deployment.endpoint },
      }),
    )
  }

  #times(): { atMs: number; calendarMs: number } {
    return { atMs: this.#context.clock.epochMs(), calendarMs: Math.round(this.#context.clock.calendarMs()) }
  }

  /** Nothing is taken out of the routes before replicas had a full lease period to be heard. */
  async #publish(): Promise<void> {
    const applied = this.#context.project()
    if (applied === null) return
    const { db } = this.#context.store
    const [deployments, replicas] = [await openDeployments(db), await openReplicas(db)]
    const expected = replicas.filter((r) => r.status === 'running' && deployments.some((d) => d.id === r.deploymentId && d.discoverable))
    const allHeard = expected.every((r) => this.#observations.lease(r.id) !== null)
    if (!allHeard && !this.#observations.observedLongEnough()) return
    const versions = new Map<string, Version>()
    for (const { versionId } of deployments) {
      const version = versions.has(versionId) ? null : await findVersion(db, versionId)
      if (version !== null) versions.set(versionId, version)
    }
    const endpoints = endpointRoutes({
      routes: await routes(db),
      deployments,
      replicas,
      versions,
      lease: (id) => this.#observations.lease(id),
      models: new Map([...applied.paused, ...applied.project.models].map((m) => [m.name, m])),
    })
    this.#publisher.publish(applied.project.name, endpoints, this.#context.clock.epochMs())
  }
}

function routesTo(snapshot: RoutingSnapshot, deploymentId: string): boolean {
  return snapshot.endpoints.some((e) => e.deployments.some((d) => d.deploymentId === deploymentId))
}
