import { allModels, type ControlContext } from '../../../control/control-context.ts'
import { MORE_THAN_WANTED } from '../../../control/release/decide-deployments.ts'
import { memberDeployment } from '../../../control/release/gather-route.ts'
import { lossesWithin, openDeployments, openReplicas, routes } from '../../../control/release/release-store.ts'
import type { Deployment } from '../../../control/release/release.ts'
import { trafficTotals } from '../../../control/service-level/traffic-store.ts'
import type { EndpointView } from '../endpoint-schemas.ts'
import { gatherViews } from './gather-view.ts'
import type { Services } from './services.ts'

export async function endpointViews(services: Services): Promise<EndpointView[]> {
  const { context, observations, publisher } = services
  const { db } = context.store
  const applied = context.project()
  const all = allModels(applied)
  const gateways = observations.gateways()
  const [rows, deployments, replicas, totals] = [
    await routes(db),
    await openDeployments(db),
    await openReplicas(db),
    await trafficTotals(db),
  ]
  const ready = (d: Deployment) => observations.readyOf(d.id, replicas)
  const lost = await lastLosses(
    context,
    deployments.filter((d) => d.discoverable && ready(d) < d.replicasWanted),
  )
  const address = (endpoint: string): Pick<EndpointView, 'url' | 'port' | 'grpcPort'> => {
    const port = gateways[0]?.port ?? null
    const grpcPort = gateways.map((gateway) => gateway.grpcPort ?? null).find((one) => one !== null) ?? null
    const { host, tls } = applied!.project.gateway
    const scheme = tls === null ? 'http' : 'https'
    const path = `/v2/models/${encodeURIComponent(endpoint)}/infer`
    return { url: port === null ? null : `${scheme}://${host}:${port}${path}`, port, grpcPort }
  }
  const ofModels = all.map((model): EndpointView => {
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
    const taken = gateways.every((gateway) => publisher.isTaken(model.endpoint, route?.members ?? [], gateway))
    return {
      name: model.endpoint,
      model: model.name,
      ...address(model.endpoint),
      logMode: model.log.mode,
      ...(route?.disabled === null || route?.disabled === undefined
        ? stateOf(members, gateways.length === 0 ? 'silent' : taken ? 'routing' : 'behind', lost)
        : { state: 'disabled' as const, why: `disabled by ${route.disabled.by}: ${route.disabled.why}` }),
      members,
      requests: total?.requests ?? 0,
      failed: total?.failed ?? 0,
      gather: null,
    }
  })
  const ofGathers = await gatherViews(services, {
    disabled: (endpoint) => rows.find((r) => r.endpoint === endpoint)?.disabled ?? null,
    replicasOf(versionId) {
      const found = memberDeployment(versionId, deployments)
      return found === null ? null : { deployment: found.id, ready: ready(found), wanted: found.replicasWanted }
    },
    address,
    totals(endpoint) {
      const { requests = 0, failed = 0 } = totals.find((t) => t.endpoint === endpoint) ?? {}
      return { requests, failed }
    },
  })
  return [...ofModels, ...ofGathers]
}

export const NO_GATEWAY = 'no gateway reports'
/** A replica that can't come up is tried again after ten seconds at most: its last end is younger than this. */
const LOSSES_WINDOW_MS = 60_000

/** Why the last replica of each of these deployments has ended; those that were to go tell nothing of the others. */
async function lastLosses({ store, clock }: ControlContext, short: Deployment[]): Promise<Map<string, string>> {
  if (short.length === 0) return new Map()
  const toMs = clock.epochMs()
  const losses = await lossesWithin(store.db, { fromMs: toMs - LOSSES_WINDOW_MS, toMs }, 0)
  return new Map(
    short.flatMap(({ id }) => {
      const why = losses.get(id)?.why ?? null
      return why === null || why === MORE_THAN_WANTED ? [] : [[id, why.replace(/\.$/, '')] as const]
    }),
  )
}

/**
 * @param gateway - `behind`: one of them does not know yet what was released last
 * @param lost - by deployment: why its last replica has ended
 */
function stateOf(
  members: EndpointView['members'],
  gateway: 'silent' | 'behind' | 'routing',
  lost: Map<string, string>,
): Pick<EndpointView, 'state' | 'why'> {
  const live = members.filter((m) => m.weightPercent > 0)
  if (live.length === 0) return { state: 'empty', why: 'nothing has been released to it yet' }
  const wanted = live.reduce((sum, m) => sum + m.replicasWanted, 0)
  const up = live.reduce((sum, m) => sum + m.replicasReady, 0)
  if (gateway === 'silent') return { state: 'down', why: NO_GATEWAY }
  if (wanted === 0) return { state: 'asleep', why: 'nobody calls: the next request starts a replica' }
  const whys = live.flatMap((m) => (m.replicasReady < m.replicasWanted ? (lost.get(m.deployment) ?? []) : []))
  const because = whys.length === 0 ? '' : `; the last one to end: ${whys.join('; ')}`
  if (up === 0) return { state: 'down', why: `none of ${wanted} replicas is ready${because}` }
  if (gateway === 'behind') return { state: 'degraded', why: 'a gateway has not taken its newest route yet' }
  return up < wanted
    ? { state: 'degraded', why: `${up} of ${wanted} replicas are ready${because}` }
    : { state: 'serving', why: null }
}
