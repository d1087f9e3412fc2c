import type { ModelConfig } from '../../config/project.ts'
import type { GatewayReport, RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { allModels, findModel, type ControlContext } from '../control-context.ts'
import { boundsOf, decideReplicas, type ReplicaRole } from './decide-replicas.ts'
import type { Observations } from './observations.ts'
import { fallbackDeployment } from './fallback.ts'
import type { Deployment, Release, Route } from './release.ts'
import { openDeployments, openReleases, openReplicas, routes } from './release-store.ts'
import { LoadHistory } from './replica-load.ts'
import { scaleDeployment } from './scale-requests.ts'
import type { RoutePublisher } from './route-publisher.ts'

/**
 * Writes how many replicas each deployment is to have; the deployment loop starts and stops them. What the load was is
 * kept in memory: a control plane that was restarted keeps every number as it is until it has listened for a while.
 */
export class ReplicasController {
  readonly #context: ControlContext
  readonly #observations: Observations
  readonly #publisher: Pick<RoutePublisher, 'current'>
  readonly #cores: number
  /** By deployment. */
  readonly #known = new Map<string, Known>()
  /** The revision by which every number is as declared, where none follows the load. */
  #settledRevision: number | null = null

  /** @param cores - of the machine that replicas run on */
  constructor(
    context: ControlContext,
    observations: Observations,
    publisher: Pick<RoutePublisher, 'current'>,
    cores: number,
  ) {
    this.#context = context
    this.#observations = observations
    this.#publisher = publisher
    this.#cores = cores
  }

  /**
   * Notes what a gateway has said; to be called after the observations have heard it.
   * @returns whether somebody waits for a deployment that has no replicas: look at once
   */
  hear(report: Pick<GatewayReport, 'traffic'>): { someoneWaits: boolean } {
    const nowMs = this.#context.clock.monotonicMs()
    const inFlight = sumInFlight(this.#observations.gateways())
    for (const [id, known] of this.#known) {
      const requests = inFlight.get(id) ?? 0
      known.history.note(nowMs, requests)
      if (requests > 0) known.calledMs = nowMs
    }
    // Short requests begin and end between two reports: they are in its counts only.
    for (const { model, version, requests } of report.traffic)
      for (const known of requests > 0 ? this.#known.values() : [])
        if (known.versionId === `${model}@${version}`) known.calledMs = nowMs
    const waits = ([id, { wanted }]: [string, Known]) => wanted === 0 && (inFlight.get(id) ?? 0) > 0
    return { someoneWaits: [...this.#known].some(waits) }
  }

  async look(): Promise<void> {
    const revisionId = this.#context.project()?.revisionId ?? null
    const models = allModels(this.#context.project())
    const isByLoad = models.some(({ serving: { replicas } }) => replicas.min !== replicas.max)
    if (!isByLoad && this.#settledRevision === revisionId) return
    const { db } = this.#context.store
    const [open, releases, ways] = [await openDeployments(db), await openReleases(db), await routes(db)]
    const deployments = open.filter((d) => d.status !== 'draining')
    this.#follow(deployments)
    const replicas = await openReplicas(db)
    const snapshot = this.#publisher.current()
    let settled = true
    for (const deployment of deployments) {
      const config = findModel(this.#context.project(), deployment.model)
      // What is not proven yet is not called.
      if (!deployment.discoverable) settled = false
      if (config === null || !deployment.discoverable) continue
      const role = roleOf(deployment, { deployments, releases, routes: ways, snapshot, models })
      const isKept = await this.#decide(deployment, config, role, this.#observations.readyOf(deployment.id, replicas))
      settled &&= isKept
    }
    this.#settledRevision = settled ? revisionId : null
  }

  /** @returns whether it is as it is to be */
  async #decide(deployment: Deployment, config: ModelConfig, role: ReplicaRole, ready: number): Promise<boolean> {
    const nowMs = this.#context.clock.monotonicMs()
    const known = this.#known.get(deployment.id)!
    const { replicas: declared } = config.serving
    const bounds = boundsOf(declared, role)
    // The load that a new role brings is not there yet: what it was says nothing.
    if (known.role !== null && known.role !== bounds.why) known.grownMs = nowMs
    known.role = bounds.why
    const decision = decideReplicas({
      declared,
      bounds,
      wanted: deployment.replicasWanted,
      ready,
      load: known.history.load(nowMs),
      idleMs: nowMs - known.calledMs,
      sinceUpMs: known.grownMs === null ? null : nowMs - known.grownMs,
      sinceDownMs: known.shrunkMs === null ? null : nowMs - known.shrunkMs,
      cores: this.#cores,
    })
    if (decision.kind === 'keep') return true
    const grows = decision.to > deployment.replicasWanted
    // A replica writes as well; the first one is what requests wait for.
    if (grows && deployment.replicasWanted > 0 && this.#context.diskLow()) return false
    if (!(await this.#write(deployment, decision.to, decision.why))) return false
    if (grows) known.grownMs = nowMs
    else known.shrunkMs = nowMs
    known.wanted = decision.to
    this.#context.wake('deployment')
    return false
  }

  /** @returns false where it has ended, or has another number since it was looked at */
  async #write(deployment: Deployment, to: number, why: string): Promise<boolean> {
    const { store, clock, log } = this.#context
    const { id, versionId, replicasWanted } = deployment
    const written = await store.transaction((tx) => scaleDeployment(tx, clock, deployment, to, why))
    if (written) log.info({ deployment: id, version: versionId, from: replicasWanted, to, why }, 'replicas are scaled')
    return written
  }

  /** Begins to listen for those that are new, and forgets those that have ended. */
  #follow(deployments: Deployment[]): void {
    const open = new Set(deployments.map(({ id }) => id))
    for (const id of this.#known.keys()) if (!open.has(id)) this.#known.delete(id)
    for (const { id, versionId, replicasWanted } of deployments) {
      const known = this.#known.get(id)
      if (known === undefined) this.#known.set(id, this.#stranger(versionId, replicasWanted))
      else if (known.wanted !== replicasWanted) {
        // Somebody else gave it more, as a rollback does: it is not taken back at once.
        if (known.wanted < replicasWanted) known.grownMs = this.#context.clock.monotonicMs()
        known.wanted = replicasWanted
      }
    }
  }

  /** Nobody is idle before there was time to hear of calls. */
  #stranger(versionId: string, wanted: number): Known {
    const calledMs = this.#context.clock.monotonicMs()
    return { versionId, wanted, history: new LoadHistory(), calledMs, role: null, grownMs: null, shrunkMs: null }
  }
}

interface Known {
  versionId: string
  wanted: number
  history: LoadHistory
  /** Monotonic: of the last sign that somebody called it, or since when it is listened to. */
  calledMs: number
  /** What it was for at the last look. */
  role: string | null
  grownMs: number | null
  shrunkMs: number | null
}

interface RoleFacts {
  deployments: Deployment[]
  releases: Release[]
  routes: Route[]
  snapshot: RoutingSnapshot | null
  models: ModelConfig[]
}

/** What a deployment is for. Pure. */
export function roleOf(deployment: Deployment, facts: RoleFacts): ReplicaRole {
  const { id, endpoint } = deployment
  const route = facts.routes.find((r) => r.endpoint === endpoint)
  const members = route?.members.filter((m) => m.weightPercent > 0) ?? []
  const isLive = members.some((m) => m.deploymentId === id)
  const others = members.filter((m) => m.deploymentId !== id).map((m) => m.deploymentId)
  const replicas = facts.deployments.filter((d) => others.includes(d.id)).map((d) => d.replicasWanted)
  const isBrought = facts.releases.some((release) => release.deploymentId === id)
  const gathers = facts.snapshot?.endpoints.flatMap((e) => e.gather ?? []) ?? []
  const isAsked =
    (route?.mirrors.some((m) => m.deploymentId === id) ?? false) ||
    gathers.some((gather) => [...gather.members, ...gather.joining].some((m) => m.deploymentId === id))
  const isFallback = facts.models.some(
    (model) =>
      model.serving.fallback.kind === 'version' &&
      fallbackDeployment({ endpoint: model.endpoint, versionId: model.serving.fallback.version }, facts.deployments)
        ?.id === id,
  )
  return {
    live: isLive,
    asked: isAsked,
    instead: isBrought ? Math.max(0, ...replicas) : null,
    compared: isLive && facts.releases.some((r) => r.endpoint === endpoint && r.deploymentId !== null),
    fallback: isFallback,
  }
}

/** By deployment, over all gateways. */
function sumInFlight(reports: GatewayReport[]): Map<string, number> {
  const sum = new Map<string, number>()
  for (const { inFlight } of reports)
    for (const { deploymentId, requests } of inFlight) sum.set(deploymentId, (sum.get(deploymentId) ?? 0) + requests)
  return sum
}
