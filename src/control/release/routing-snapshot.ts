import type { GatherEndpointConfig, ModelConfig, RuleConfig } from '../../config/project.ts'
import type {
  EndpointRoute,
  FallbackRoute,
  Lease,
  RoutedDeployment,
  RoutedReplica,
} from '../../kernel/contract/routing.ts'
import { routedPins, type CallerPin } from '../caller/caller.ts'
import type { Lineage, Version } from '../registry/version.ts'
import { fallbackDeployment } from './fallback.ts'
import type { GatherMember } from './gather.ts'
import { gatherRoute } from './gather-route.ts'
import { canServe, type Deployment, type Replica, type Route } from './release.ts'

export interface RoutingFacts {
  routes: Route[]
  deployments: Deployment[]
  replicas: Replica[]
  versions: Map<string, Version>
  lease(replicaId: string): Lease | null
  /** By model name, those that left the configuration first: they keep their last one. */
  models: Map<string, ModelConfig>
  /** Callers that are kept on a version. */
  pins: readonly CallerPin[]
  /** Of every model. */
  aliases: readonly { model: string; alias: string; versionId: string }[]
  gathers: readonly { config: GatherEndpointConfig; members: GatherMember[] }[]
  /** Where a combining module is, and the digest of what it holds now. */
  moduleOf(path: string): { path: string; digest: string }
}

/**
 * What gateways are to serve by. Every declared endpoint is in it, also one that nothing was released to yet, so that
 * its clients read 503 and not 404. Pure.
 */
export function endpointRoutes(facts: RoutingFacts): EndpointRoute[] {
  const byEndpoint = new Map(facts.routes.map((r) => [r.endpoint, r]))
  // A model that left the configuration may have left its endpoint to another: the later one counts.
  const models = new Map([...facts.models.values()].map((model) => [model.endpoint, model]))
  const ofModels = [...models.values()].map((model): EndpointRoute => {
    const route = byEndpoint.get(model.endpoint)
    const deployments = facts.deployments
      .filter((d) => d.endpoint === model.endpoint)
      .flatMap((d) => routed(d, facts, model))
    const known = new Set(deployments.map((d) => d.deploymentId))
    return {
      endpoint: model.endpoint,
      model: model.name,
      logMode: model.log.mode,
      logSamplePercent: model.log.samplePercent,
      bodyLimitBytes: model.serving.bodyLimitBytes,
      timeoutMs: model.serving.timeoutMs,
      ...sharesOf(route, known),
      deployments,
      disabled: route?.disabled ? { why: route.disabled.why } : null,
      fallback: fallbackRoute(model, facts, known),
      ...pinsOf(model.endpoint, facts, known),
      ...waysOf(model, facts, known),
    }
  })
  return [...ofModels, ...gatherRoutes(facts)].toSorted((a, b) => a.endpoint.localeCompare(b.endpoint))
}

function gatherRoutes(facts: RoutingFacts): EndpointRoute[] {
  const { deployments, routes } = facts
  return facts.gathers.map(({ config, members }) => {
    const stopped = routes.find((r) => r.endpoint === config.name)?.disabled ?? null
    return gatherRoute(config, {
      members,
      deployments,
      disabled: stopped === null ? null : { why: stopped.why },
      routed: (deployment) => routed(deployment, facts, { name: deployment.model })[0] ?? null,
      moduleOf: (path) => facts.moduleOf(path),
    })
  })
}

/** Only what was declared: a snapshot is read by every gateway at every change. */
function waysOf(
  model: ModelConfig,
  facts: RoutingFacts,
  known: Set<string>,
): Pick<EndpointRoute, 'sticky' | 'rules' | 'limits'> {
  const { sticky, limits } = model.serving
  const rules = model.serving.rules.flatMap((rule) => {
    const versionId = ruleVersion(rule, model, facts)
    const found =
      versionId === null ? null : fallbackDeployment({ endpoint: model.endpoint, versionId }, facts.deployments)
    if (found === null || !known.has(found.id)) return []
    return [{ key: rule.key, equals: rule.equals, deploymentId: found.id }]
  })
  return {
    ...(sticky !== null && { sticky }),
    ...(rules.length > 0 && { rules }),
    ...((limits.concurrency !== null || limits.perCaller !== null) && { limits }),
  }
}

/** @returns null while there is none, as without a challenger */
function ruleVersion({ version }: RuleConfig, { name, endpoint }: ModelConfig, facts: RoutingFacts): string | null {
  const aliased = (alias: string) => facts.aliases.find((a) => a.model === name && a.alias === alias)?.versionId ?? null
  if (version === 'champion' || version === 'previous') return aliased(version)
  if (version !== 'challenger') return `${name}@${version}`
  const route = facts.routes.find((r) => r.endpoint === endpoint)
  const tried = [...(route?.members ?? []), ...(route?.mirrors ?? [])].map((m) => m.deploymentId)
  const champion = aliased('champion')
  return facts.deployments.find((d) => tried.includes(d.id) && d.versionId !== champion)?.versionId ?? null
}

/** While one of the two can't be routed to, nothing is compared, and whoever is left has all of the traffic. */
function sharesOf(route: Route | undefined, known: Set<string>): Pick<EndpointRoute, 'members' | 'mirrors' | 'trial'> {
  if (route === undefined) return { members: [], mirrors: [], trial: null }
  const members = route.members.filter((m) => known.has(m.deploymentId))
  const mirrors = route.mirrors.filter((m) => known.has(m.deploymentId))
  if (members.length === route.members.length && mirrors.length === route.mirrors.length)
    return { members, mirrors, trial: route.trialId }
  const total = members.reduce((sum, m) => sum + m.weightPercent, 0)
  const all = total === 0 ? 0 : 100 / total
  return { members: members.map((m) => ({ ...m, weightPercent: m.weightPercent * all })), mirrors, trial: null }
}

function pinsOf(endpoint: string, facts: RoutingFacts, known: Set<string>): Pick<EndpointRoute, 'pins'> {
  const pins = routedPins(facts.pins, endpoint, (versionId) => {
    const found = fallbackDeployment({ endpoint, versionId }, facts.deployments)
    return found === null || !known.has(found.id) ? null : found.id
  })
  return pins.length === 0 ? {} : { pins }
}

/** A version that nobody has deployed (yet) answers nothing: then it is as if there were no fallback. */
function fallbackRoute({ endpoint, serving }: ModelConfig, facts: RoutingFacts, known: Set<string>): FallbackRoute {
  const { fallback } = serving
  if (fallback.kind !== 'version') return fallback
  const found = fallbackDeployment({ endpoint, versionId: fallback.version }, facts.deployments)
  return found === null || !known.has(found.id) ? { kind: 'error' } : { kind: 'version', deploymentId: found.id }
}

/** By the paths that it names itself; without any it is a server of someone else's, on a port. */
function routedReplica({ replicaId, socketPath, framesPath, httpPort }: Lease): RoutedReplica {
  if (socketPath === '' && httpPort !== null) return { replicaId, socketPath, httpPort }
  return framesPath === undefined ? { replicaId, socketPath } : { replicaId, socketPath, framesPath }
}

function routed(deployment: Deployment, facts: RoutingFacts, { name }: Pick<ModelConfig, 'name'>): RoutedDeployment[] {
  const { signature = null, lineage } = facts.versions.get(deployment.versionId) ?? {}
  if (!canServe(deployment) || signature === null) return []
  const replicas = facts.replicas
    .filter((r) => r.deploymentId === deployment.id && r.status === 'running')
    .flatMap((r) => {
      const lease = facts.lease(r.id)
      return lease?.state === 'ready' ? [routedReplica(lease)] : []
    })
  // A fallback may be of another model, whose numbers mean nothing here.
  const version = deployment.model === name ? deployment.versionId.split('@').at(-1)! : deployment.versionId
  const waking = wakingOf(facts.models.get(deployment.model))
  return [{ deploymentId: deployment.id, version, signature, replicas, ...waking, ...foreignOf(lineage?.server) }]
}

/** Of a version that a command of the user's own serves. */
function foreignOf(server: Lineage['server']): Pick<RoutedDeployment, 'foreignModel' | 'isPure'> {
  if (server === undefined) return {}
  return { foreignModel: server.modelName, ...(server.isPure ? {} : { isPure: false }) }
}

/** Of a model that may have no replica at all: who comes then waits for one. */
function wakingOf(model: ModelConfig | undefined): Pick<RoutedDeployment, 'wakesWithinMs'> {
  const replicas = model?.serving.replicas
  return replicas?.min === 0 ? { wakesWithinMs: replicas.wakeMs } : {}
}
