import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { ModelConfig } from '../../config/project.ts'
import { LEASE_RENEW_MS, type Lease, type RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { reasonOf, unreachable } from '../../kernel/errors.ts'
import { compareAndSet } from '../../kernel/store/state-machine.ts'
import { isPinned, nextKeyEndMs, routedCallers, type CallerPin } from '../caller/caller.ts'
import { endExpiredPins } from '../caller/caller-requests.ts'
import { listCallers, listPins } from '../caller/caller-store.ts'
import type { ControlContext } from '../control-context.ts'
import type { Version } from '../registry/version.ts'
import { aliases, findVersion } from '../registry/version-store.ts'
import { pinnedVersions, versionsBeyondUse } from '../retirement/retirement-store.ts'
import { decideDeployment, type DeploymentAct, type DeploymentView } from './decide-deployments.ts'
import { replicasAtStart } from './decide-replicas.ts'
import { declaredVersions } from './declared-versions.ts'
import { fallbackDeployment, type Fallback } from './fallback.ts'
import type { GatherMember } from './gather.ts'
import { gatherMembers } from './gather-store.ts'
import { ModuleFiles } from './module-files.ts'
import type { Observations } from './observations.ts'
import { deploymentMachine, replicaMachine, type Deployment, type Replica, type Route } from './release.ts'
import {
  deploymentHolders,
  deploymentsWithReplicas,
  hasServed,
  lossesSince,
  openReplicas,
  routes,
} from './release-store.ts'
import type { RoutePublisher } from './route-publisher.ts'
import { endpointRoutes } from './routing-snapshot.ts'

/** How replicas are run: local processes here, other runtimes later. */
export interface ReplicaRuntime {
  start(replica: {
    id: string
    token: string
    deploymentId: string
    version: Version
    config: ModelConfig | null
  }): Promise<{ exited: Promise<void> }>
  /** `unknown`: nothing is recorded of it yet. */
  observe(replicaId: string): Promise<'alive' | 'dead' | 'unknown'>
  /** SIGTERM for a drain; SIGKILL once `graceMs` are over. Resolves when it is gone. */
  stop(replicaId: string, graceMs: number): Promise<void>
  /** Removes what a replica that is gone has left. */
  forget(replicaId: string): Promise<void>
  /** Gateway processes that are alive, whether or not they report. */
  liveGateways(): Promise<string[]>
}

/** Rows as one look reads them. Routes come first: what they lead to was made known before. */
interface Rows {
  routes: Route[]
  pins: CallerPin[]
  gatherMembers: GatherMember[]
  /** Versions that gathers are to have, and that rules name by number. */
  declared: Fallback[]
  deployments: Deployment[]
  replicas: Replica[]
}

const LOSSES_WINDOW_MS = 60_000
const DRAIN_MS = 30_000
const UNSETTLED_LOOK_MS = 500
const SILENT_SOON_MS = 2 * LEASE_RENEW_MS
/** A replica is stopped after so long even where a gateway does not say that it has left it: it answers 503 by then. */
const LEAVE_MAX_MS = 2_000

/** Keeps the replicas of every deployment as wanted, and tells gateways what there is. */
export class DeploymentController {
  readonly #context: ControlContext
  readonly #runtime: ReplicaRuntime
  readonly #observations: Observations
  readonly #publisher: RoutePublisher
  /** Replicas that this process is starting or stopping. */
  readonly #starting = new Set<string>()
  readonly #stopping = new Set<string>()
  /** Those to be stopped: since when, and which routes were the first without them. */
  readonly #told = new Map<string, { revision: number; sinceMs: number }>()
  /** That were alive at the last look. */
  #gateways: string[] = []
  /** Versions that are deployed: what is read of them here never changes. */
  readonly #versions = new Map<string, Version>()
  readonly #startedAtMs: number
  readonly #said = new Set<string>()
  readonly #modules = new ModuleFiles((path, why) =>
    this.#sayOnce(`the combining module ${path} can't be read: ${why}`),
  )
  #rows: Rows | null = null
  /** Then a key has to leave the routes. */
  #keyEndsInMs: number | null = null

  constructor(context: ControlContext, runtime: ReplicaRuntime, observations: Observations, publisher: RoutePublisher) {
    this.#context = context
    this.#runtime = runtime
    this.#observations = observations
    this.#publisher = publisher
    this.#startedAtMs = context.clock.epochMs()
  }

  /** @returns when to look again in ms, where something is on its way */
  async look(): Promise<number | void> {
    await this.#endPins()
    await this.#read()
    await this.#publish()
    let acted = await this.#deployWanted()
    if (acted) await this.#read()
    for (const view of await this.#views()) {
      for (const act of decideDeployment(view, this.#context.clock.epochMs())) {
        await this.#do(view, act)
        acted = true
      }
    }
    if (acted) {
      await this.#read()
      await this.#publish()
    }
    this.#stopTold()
    return acted || !this.#isSettled() ? UNSETTLED_LOOK_MS : (this.#keyEndsInMs ?? undefined)
  }

  /** Whether a replica that is to run has missed a word or two: it may be dead. */
  isAnySilent(): boolean {
    return (this.#rows?.replicas ?? []).some(
      ({ id, status }) => status === 'running' && this.#observations.silentMs(id) > SILENT_SOON_MS,
    )
  }

  /** Every deployment is up with as many replicas as wanted, all of which say that they are ready. */
  #isSettled(): boolean {
    const { deployments, replicas } = this.#rows!
    const isUp = ({ id, status }: Replica) => status === 'running' && this.#observations.lease(id)?.state === 'ready'
    const countOf = (deploymentId: string) => replicas.filter((r) => r.deploymentId === deploymentId).length
    return deployments.every((d) => d.status === 'ready' && countOf(d.id) === d.replicasWanted) && replicas.every(isUp)
  }

  /** What a replica is to do, by what is known here; before the first look nobody is sent away. */
  goalOf(lease: Pick<Lease, 'replicaId' | 'token'>): 'run' | 'drain' {
    if (this.#rows === null || this.#starting.has(lease.replicaId)) return 'run'
    const known = this.#rows.replicas.find((r) => r.id === lease.replicaId && r.token === lease.token)
    if (known?.status === 'running') return 'run'
    // Gateways leave it first.
    const isLeaving = known?.status === 'stopping' && !this.#stopping.has(known.id) && this.#told.has(known.id)
    return isLeaving ? 'run' : 'drain'
  }

  /** Whether gateways' reports of what is in flight are being waited for. */
  isDraining(): boolean {
    return this.#rows?.deployments.some((d) => d.status === 'draining') ?? false
  }

  /** Versions that are declared to answer where the live ones can't: they are kept warm. */
  #fallbacks(): Fallback[] {
    const models = this.#context.project()?.project.models ?? []
    return models.flatMap(({ endpoint, serving: { fallback } }) =>
      fallback.kind === 'version' ? [{ endpoint, versionId: fallback.version }] : [],
    )
  }

  /** Versions that are kept up for something else than the route of their model. */
  #kept(): Fallback[] {
    return [...this.#fallbacks(), ...(this.#rows?.declared ?? [])]
  }

  /** Versions with which somebody is to be served whatever the route is, each once. */
  #wanted(): Iterable<Required<Fallback>> {
    const pins = this.#rows!.pins.map(({ endpoint, versionId }) => ({ endpoint, versionId, as: 'pin' }))
    const kept = this.#kept().map((fallback) => ({ as: 'fallback', ...fallback }))
    return new Map([...pins, ...kept].map((wanted) => [`${wanted.endpoint} ${wanted.versionId}`, wanted])).values()
  }

  /** One that has been stopped since it served. What was never proven by a preflight must not answer. */
  async #deployWanted(): Promise<boolean> {
    const { store, clock, log } = this.#context
    let deployed = false
    for (const fallback of this.#wanted()) {
      if (this.#context.diskLow() || fallbackDeployment(fallback, this.#rows!.deployments) !== null) continue
      const version = await findVersion(store.db, fallback.versionId)
      const isGone = (await versionsBeyondUse(store.db, version?.model ?? '')).has(fallback.versionId)
      const isProven = await hasServed(store.db, fallback.versionId)
      if (version === null || version.approval?.decision === 'rejected' || !isProven || isGone) {
        const what = isGone
          ? 'is retired'
          : version?.approval?.decision === 'rejected'
            ? 'was rejected'
            : 'was never released'
        this.#sayOnce(`${fallback.versionId} ${whose(fallback)} and ${what}`)
        continue
      }
      const { endpoint, versionId } = fallback
      await store.db
        .insertInto('deployment')
        .values({
          endpoint,
          model: version.model,
          version_id: versionId,
          status: 'starting',
          why: fallback.as,
          replicas_wanted: replicasAtStart(this.#config(version.model)?.serving.replicas ?? null),
          discoverable: true,
          created_at_ms: clock.epochMs(),
        })
        .execute()
      log.info({ endpoint, version: versionId, as: fallback.as }, 'a version that is wanted is deployed')
      deployed = true
    }
    return deployed
  }

  async #endPins(): Promise<void> {
    const { store, clock, log } = this.#context
    if (this.#rows?.pins.every((pin) => isPinned(pin, clock.epochMs())) ?? false) return
    const ended = await store.transaction((tx) => endExpiredPins(tx, clock))
    if (ended > 0) log.info({ ended }, 'pins of callers have expired')
  }

  #sayOnce(text: string): void {
    if (this.#said.has(text)) return
    if (this.#said.size > 100) this.#said.clear()
    this.#said.add(text)
    this.#context.log.warn(text)
  }

  #pinned(db: Parameters<typeof pinnedVersions>[0]): Promise<Set<string>> {
    const applied = this.#context.project()
    const models = [...(applied?.project.models ?? []), ...(applied?.paused ?? [])]
    return pinnedVersions(db, models, this.#context.clock.calendarMs())
  }

  async #read(): Promise<Rows> {
    const { db } = this.#context.store
    this.#rows = {
      routes: await routes(db),
      pins: await listPins(db),
      gatherMembers: await gatherMembers(db),
      declared: await declaredVersions(db, this.#context.project()?.project ?? null),
      deployments: await deploymentsWithReplicas(db),
      replicas: await openReplicas(db),
    }
    return this.#rows
  }

  async #views(): Promise<DeploymentView[]> {
    const { deployments, replicas } = this.#rows!
    if (deployments.length === 0) return []
    const { db } = this.#context.store
    const losses = await lossesSince(db, this.#context.clock.epochMs() - LOSSES_WINDOW_MS, this.#startedAtMs)
    const holders = await deploymentHolders(db, deployments, this.#kept(), await this.#pinned(db))
    this.#gateways = await this.#runtime.liveGateways()
    return Promise.all(
      deployments.map(async (deployment): Promise<DeploymentView> => {
        const lost = losses.get(deployment.id)
        const mine = replicas.filter((r) => r.deploymentId === deployment.id)
        return {
          deployment,
          heldBy: holders.get(deployment.id) ?? [],
          unused: this.#isUnused(deployment.id, this.#gateways),
          recentlyGone: lost?.replicas ?? 0,
          lastGoneAtMs: lost?.lastAtMs ?? null,
          lastGoneWhy: lost?.why ?? null,
          replicas: await Promise.all(mine.map((replica) => this.#replicaView(replica))),
        }
      }),
    )
  }

  async #replicaView(replica: Replica): Promise<DeploymentView['replicas'][number]> {
    const seen = this.#starting.has(replica.id) ? 'alive' : await this.#runtime.observe(replica.id)
    const { id } = replica
    return { replica, lease: this.#observations.lease(id), process: seen, silentMs: this.#observations.silentMs(id) }
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
        return this.#moveReplica(act.replica, 'stop', act.why)
      case 'replicaGone':
        return this.#replicaGone(act.replica, act.why)
      case 'allReady':
        return this.#moveDeployment(act.deployment, 'allReady', 'every replica is ready')
      case 'drain':
        return this.#drain(act.deployment, act.why)
      case 'drained':
        return this.#moveDeployment(act.deployment, 'drained', 'every replica has stopped')
      case 'fail':
        // Its replicas are stopped by the next look, as those of every ended deployment are.
        await this.#moveDeployment(act.deployment, 'fail', act.why)
        this.#context.wake('deployment')
        return this.#context.wake('release')
      default:
        return unreachable(act)
    }
  }

  async #startReplica(deployment: Deployment): Promise<void> {
    const { store, clock, log } = this.#context
    const token = randomUUID()
    const version = await this.#version(deployment.versionId)
    const row = await store.db
      .insertInto('replica')
      .values({ deployment_id: deployment.id, token, status: 'running', created_at_ms: clock.epochMs() })
      .returning(['id', 'created_at_ms'])
      .executeTakeFirstOrThrow()
    const { id } = row
    this.#starting.add(id)
    const replica: Replica = {
      id,
      deploymentId: deployment.id,
      token,
      status: 'running',
      why: null,
      createdAtMs: row.created_at_ms,
      endedAtMs: null,
    }
    void this.#runtime
      .start({ id, token, deploymentId: deployment.id, version, config: this.#config(deployment.model) })
      .then(({ exited }) => void exited.then(() => this.#context.wake('deployment')))
      .catch((error: unknown) => {
        log.error({ replica: id, err: error }, 'a replica could not be started')
        return this.#replicaGone(replica, `it could not be started: ${reasonOf(error)}`)
      })
      // Where that could not be recorded either, a later look finds no process.
      .catch((error: unknown) => log.error({ replica: id, err: error }, 'the end of a replica could not be recorded'))
      .finally(() => this.#starting.delete(id))
  }

  /** Also those that were told to stop by a control plane that died since. */
  #stopTold(): void {
    const { deployments, replicas } = this.#rows!
    for (const { id, status, deploymentId } of replicas) {
      if (status !== 'stopping' || this.#stopping.has(id) || !this.#isLeft(id)) continue
      const model = deployments.find((d) => d.id === deploymentId)?.model
      const graceMs = (model === undefined ? null : this.#config(model))?.serving.drainMs ?? DRAIN_MS
      this.#stopping.add(id)
      void this.#runtime
        .stop(id, graceMs)
        .catch((error: unknown) =>
          this.#context.log.error({ replica: id, err: error }, 'a replica could not be stopped'),
        )
        .finally(() => {
          this.#stopping.delete(id)
          this.#context.wake('deployment')
        })
    }
  }

  /** Whether no gateway sends requests to a replica any more that is to stop: then it has nothing to refuse. */
  #isLeft(replicaId: string): boolean {
    const nowMs = this.#context.clock.monotonicMs()
    const current = this.#publisher.current()
    if (current === null || listsReplica(current, replicaId)) return current === null
    const told = this.#told.get(replicaId) ?? { revision: current.revision, sinceMs: nowMs }
    this.#told.set(replicaId, told)
    if (nowMs - told.sinceMs > LEAVE_MAX_MS) return true
    const reports = this.#observations.gateways()
    return this.#gateways.every((id) => {
      const report = reports.find((r) => r.gatewayId === id)
      return report !== undefined && report.epoch === current.epoch && report.revision >= told.revision
    })
  }

  async #replicaGone(replica: Replica, why: string): Promise<void> {
    this.#told.delete(replica.id)
    await this.#moveReplica(replica, 'gone', why)
    this.#observations.forgetReplica(replica.id)
    await this.#runtime.forget(replica.id)
  }

  async #moveReplica(replica: Replica, event: 'stop' | 'gone', why: string): Promise<void> {
    const to = replicaMachine.transition(replica.status, event)
    const ended = event === 'gone' ? { ended_at_ms: this.#context.clock.epochMs() } : {}
    await this.#context.store.transaction((tx) =>
      compareAndSet(tx, {
        table: 'replica',
        key: [replica.id],
        from: replica.status,
        to,
        cause: why,
        ...this.#times(),
        set: { why, ...ended },
        detail: { deployment: replica.deploymentId },
      }),
    )
    this.#context.wake('deployment')
  }

  /** Asks again who needs it, within the transaction: a release may have taken it up since it was looked at. */
  async #drain(deployment: Deployment, why: string): Promise<void> {
    await this.#context.store.transaction(async (tx) => {
      const open = await deploymentsWithReplicas(tx)
      const holders = await deploymentHolders(tx, open, this.#kept(), await this.#pinned(tx))
      if (holders.has(deployment.id)) return
      await compareAndSet(tx, this.#change(deployment, 'drain', why))
    })
    this.#context.wake('deployment')
  }

  async #moveDeployment(deployment: Deployment, event: 'allReady' | 'drained' | 'fail', why: string): Promise<void> {
    await this.#context.store.transaction((tx) => compareAndSet(tx, this.#change(deployment, event, why)))
    this.#context.wake('release')
  }

  #change(deployment: Deployment, event: 'allReady' | 'drain' | 'drained' | 'fail', why: string) {
    const to = deploymentMachine.transition(deployment.status, event)
    const ended = deploymentMachine.isFinal(to) ? { ended_at_ms: this.#context.clock.epochMs() } : {}
    return {
      table: 'deployment' as const,
      key: [deployment.id],
      from: deployment.status,
      to,
      cause: why,
      ...this.#times(),
      set: { why, ...ended },
      detail: { version: deployment.versionId, endpoint: deployment.endpoint },
    }
  }

  /** Nothing is taken out of the routes before replicas had a full lease period to be heard. */
  async #publish(): Promise<void> {
    const applied = this.#context.project()
    if (applied === null) return
    const rows = this.#rows!
    const { deployments, replicas } = rows
    const discoverable = new Set(deployments.filter((d) => d.discoverable).map((d) => d.id))
    const expected = replicas.filter((r) => r.status === 'running' && discoverable.has(r.deploymentId))
    const allHeard = expected.every((r) => this.#observations.lease(r.id) !== null)
    if (!allHeard && !this.#observations.observedLongEnough()) return
    const versions = new Map<string, Version>()
    for (const { versionId } of deployments) versions.set(versionId, await this.#version(versionId))
    for (const known of this.#versions.keys()) if (!versions.has(known)) this.#versions.delete(known)
    const endpoints = endpointRoutes({
      routes: rows.routes,
      deployments,
      replicas,
      versions,
      lease: (id) => this.#observations.lease(id),
      models: new Map([...applied.paused, ...applied.project.models].map((m) => [m.name, m])),
      pins: rows.pins,
      aliases: await aliases(this.#context.store.db),
      gathers: applied.project.endpoints.map((config) => ({
        config,
        members: rows.gatherMembers.filter((m) => m.endpoint === config.name),
      })),
      moduleOf: (path) => this.#modules.of(join(applied.project.root, path)),
    })
    const nowMs = this.#context.clock.epochMs()
    const callers = await listCallers(this.#context.store.db)
    const admission = { callers: routedCallers(callers, nowMs), anonymous: applied.project.gateway.anonymous }
    this.#keyEndsInMs = nextKeyEndMs(callers, nowMs)
    this.#publisher.publish(applied.project.name, endpoints, nowMs, admission)
  }

  async #version(id: string): Promise<Version> {
    const known = this.#versions.get(id)
    if (known !== undefined) return known
    // A deployment refers to its version by a foreign key.
    const version = (await findVersion(this.#context.store.db, id))!
    if (version.signature !== null) this.#versions.set(id, version)
    return version
  }

  /** Also of a model that has left the configuration: what serves goes on as it was declared. */
  #config(model: string): ModelConfig | null {
    const applied = this.#context.project()
    return [...(applied?.project.models ?? []), ...(applied?.paused ?? [])].find((m) => m.name === model) ?? null
  }

  #times(): { atMs: number; calendarMs: number } {
    return { atMs: this.#context.clock.epochMs(), calendarMs: Math.round(this.#context.clock.calendarMs()) }
  }
}

function listsReplica(snapshot: RoutingSnapshot, replicaId: string): boolean {
  return snapshot.endpoints.some((e) => e.deployments.some((d) => d.replicas.some((r) => r.replicaId === replicaId)))
}

/** What a version is wanted for, in words. */
function whose({ as, endpoint }: Required<Fallback>): string {
  if (as === 'pin') return `is what a caller is pinned to on ${endpoint}`
  if (as === 'fallback') return `is declared as the fallback of ${endpoint}`
  return `is wanted on ${endpoint} for a ${as}`
}

function routesTo(snapshot: RoutingSnapshot, deploymentId: string): boolean {
  return snapshot.endpoints.some((e) => e.deployments.some((d) => d.deploymentId === deploymentId))
}
