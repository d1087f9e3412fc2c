import type { ModelConfig } from '../../config/project.ts'
import type { EndpointRoute, Lease, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { Version } from '../registry/version.ts'
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
        .flatMap((d) => routed(d, facts))
      const known = new Set(deployments.map((d) => d.deploymentId))
      return {
        endpoint: model.endpoint,
        model: model.name,
        logMode: model.log.mode,
        logSamplePercent: model.log.samplePercent,
        bodyLimitBytes: model.serving.bodyLimitBytes,
        timeoutMs: model.serving.timeoutMs,
        members: (route?.members ?? []).filter((m) => known.has(m.deploymentId)),
        deployments,
      }
    })
    .toSorted((a, b) => a.endpoint.localeCompare(b.endpoint))
}

function routed(deployment: Deployment, facts: RoutingFacts): RoutedDeployment[] {
  const signature = facts.versions.get(deployment.versionId)?.signature ?? null
  const serves = deployment.status === 'starting' || deployment.status === 'ready'
  if (!deployment.discoverable || !serves || signature === null) return []
  const replicas = facts.replicas
    .filter((r) => r.deploymentId === deployment.id && r.status === 'running')
    .flatMap((r) => {
      const lease = facts.lease(r.id)
      return lease?.state === 'ready' ? [{ replicaId: r.id, socketPath: lease.socketPath }] : []
    })
  return [{ deploymentId: deployment.id, version: deployment.versionId.split('@').at(-1)!, signature, replicas }]
}
