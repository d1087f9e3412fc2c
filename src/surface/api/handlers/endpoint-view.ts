import { openDeployments, openReplicas, routes } from '../../../control/release/release-store.ts'
import type { Deployment } from '../../../control/release/release.ts'
import { trafficTotals } from '../../../control/service-level/traffic-store.ts'
import type { EndpointView } from '../schemas.ts'
import type { Services } from './services.ts'

export async function endpointViews({ context, observations, publisher }: Services): Promise<EndpointView[]> {
  const { db } = context.store
  const applied = context.project()
  const all = [...(applied?.project.models ?? []), ...(applied?.paused ?? [])]
  const [gateway] = observations.gateways()
  const [rows, deployments, replicas, totals] = [
    await routes(db),
    await openDeployments(db),
    await openReplicas(db),
    await trafficTotals(db),
  ]
  const ready = (d: Deployment) =>
    replicas.filter(
      (r) => r.deploymentId === d.id && r.status === 'running' && observations.lease(r.id)?.state === 'ready',
    ).length
  return all.map((model): EndpointView => {
    const route = rows.find((r) => r.endpoint === model.endpoint)
    const members = deployments
      .filter((d) => d.endpoint === model.endpoint && d.discoverable && d.status !== 'draining')
      .map((d) => ({
        version: d.versionId,
        deployment: d.id,
        weightPercent: route?.members.find((m) => m.deploymentId === d.id)?.weightPercent ?? 0,
        replicasReady: ready(d),
        replicasWanted: d.replicasWanted,
      }))
    const total = totals.find((t) => t.endpoint === model.endpoint)
    const port = gateway?.port ?? null
    const taken = gateway !== undefined && publisher.isTaken(model.endpoint, route?.members ?? [], gateway)
    const host = applied?.project.gateway.host ?? '127.0.0.1'
    return {
      name: model.endpoint,
      model: model.name,
      url: port === null ? null : `http://${host}:${port}/v2/models/${encodeURIComponent(model.endpoint)}/infer`,
      port,
      logMode: model.log.mode,
      ...(route?.disabled === null || route?.disabled === undefined
        ? stateOf(members, gateway === undefined ? 'silent' : taken ? 'routing' : 'behind')
        : { state: 'disabled' as const, why: `disabled by ${route.disabled.by}: ${route.disabled.why}` }),
      members,
      requests: total?.requests ?? 0,
      failed: total?.failed ?? 0,
    }
  })
}

/** @param gateway - `behind`: it does not know yet what was released last */
function stateOf(
  members: EndpointView['members'],
  gateway: 'silent' | 'behind' | 'routing',
): Pick<EndpointView, 'state' | 'why'> {
  const live = members.filter((m) => m.weightPercent > 0)
  if (live.length === 0) return { state: 'empty', why: 'nothing has been released to it yet' }
  const wanted = live.reduce((sum, m) => sum + m.replicasWanted, 0)
  const up = live.reduce((sum, m) => sum + m.replicasReady, 0)
  if (gateway === 'silent') return { state: 'down', why: 'no gateway reports' }
  if (up === 0) return { state: 'down', why: `none of ${wanted} replicas is ready` }
  if (gateway === 'behind') return { state: 'degraded', why: 'the gateway has not taken its newest route yet' }
  return up < wanted
    ? { state: 'degraded', why: `${up} of ${wanted} replicas are ready` }
    : { state: 'serving', why: null }
}
