import type { ModelConfig } from '../../config/project.ts'
import type { EndpointRoute, FallbackRoute, Lease, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { Version } from '../registry/version.ts'
import { fallbackDeployment } from './fallback.ts'
import type { Deployment, Replica, Route } from './release.ts'

export interface RoutingFacts {
  routes: Route[]
  deployments: Deployment[]
  replicas: Replica[]
  versions: Map<string, Version>
  lease(replicaId: string): Lease | null
  /** By model name, those that left the configuration first: they keep their last one. */
  models: Map<string, ModelConfig>
}

/**
 * What gateways are to serve by. Every declared endpoint is in it, also one that nothing was released to yet, so that
 * its clients read 503 and not 404. Pure.
 */
export function endpointRoutes(facts: RoutingFacts): EndpointRoute[] {
  const byEndpoint = new Map(facts.routes.map((r) => [r.endpoint, r]))
  // A model that left the configuration may have left its endpoint to another: the later one counts.
  const models = new Map([...facts.models.values()].map((model) => [model.endpoint, model]))
  return [...models.values()]
    .map((model): EndpointRoute => {
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
      }
    })
    .toSorted((a, b) => a.endpoint.localeCompare(b.endpoint))
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

/** A version that nobody has deployed (yet) answers nothing: then it is as if there were no fallback. */
function fallbackRoute({ endpoint, serving }: ModelConfig, facts: RoutingFacts, known: Set<string>): FallbackRoute {
  const { fallback } = serving
  if (fallback.kind !== 'version') return fallback
  const found = fallbackDeployment({ endpoint, versionId: fallback.version }, facts.deployments)
  return found === null || !known.has(found.id) ? { kind: 'error' } : { kind: 'version', deploymentId: found.id }
}

function routed(deployment: Deployment, facts: RoutingFacts, { name }: ModelConfig): RoutedDeployment[] {
  const signature = facts.versions.get(deployment.versionId)?.signature ?? null
  const serves = deployment.status === 'starting' || deployment.status === 'ready'
  if (!deployment.discoverable || !serves || signature === null) return []
  const replicas = facts.replicas
    .filter((r) => r.deploymentId === deployment.id && r.status === 'running')
    .flatMap((r) => {
      const lease = facts.lease(r.id)
      return lease?.state === 'ready' ? [{ replicaId: r.id, socketPath: lease.socketPath }] : []
    })
  // A fallback may be of another model, whose numbers mean nothing here.
  const version = deployment.model === name ? deployment.versionId.split('@').at(-1)! : deployment.versionId
  return [{ deploymentId: deployment.id, version, signature, replicas }]
}
