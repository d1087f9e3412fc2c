import type { GatherEndpointConfig } from '../../../config/project.ts'
import { gatherSignature } from '../../../kernel/contract/gather-signature.ts'
import type { GatherMember } from '../../../control/release/gather.ts'
import { gatherMembers } from '../../../control/release/gather-store.ts'
import type { GatherDetails } from '../gather-schemas.ts'
import type { EndpointView } from '../endpoint-schemas.ts'
import type { Services } from './services.ts'

/** What the other endpoints' views are made of, too. */
export interface EndpointFacts {
  disabled(endpoint: string): { why: string; by: string } | null
  /** Ready replicas and wanted ones of a version's deployment; null: it has none. */
  replicasOf(versionId: string): { deployment: string; ready: number; wanted: number } | null
  address(endpoint: string): Pick<EndpointView, 'url' | 'port' | 'grpcPort'>
  totals(endpoint: string): { requests: number; failed: number }
}

/** Endpoints that ask several versions at once. */
export async function gatherViews({ context, publisher }: Services, facts: EndpointFacts): Promise<EndpointView[]> {
  const endpoints = context.project()?.project.endpoints ?? []
  if (endpoints.length === 0) return []
  const rows = await gatherMembers(context.store.db)
  return endpoints.map((config): EndpointView => {
    const mine = rows.filter((row) => row.endpoint === config.name && row.status !== 'left')
    const asked = mine.filter((row) => row.status === 'member')
    const total = asked.reduce((sum, row) => sum + weightOf(row, config), 0)
    const members = mine.flatMap((row): EndpointView['members'] => {
      const replicas = facts.replicasOf(row.versionId)
      if (replicas === null || row.status === 'refused') return []
      const { deployment, ready, wanted } = replicas
      const weightPercent = row.status === 'member' ? (100 * weightOf(row, config)) / total : 0
      return [{ version: row.versionId, deployment, weightPercent, replicasReady: ready, replicasWanted: wanted }]
    })
    const disabled = facts.disabled(config.name)
    const route = publisher.current()?.endpoints.find((e) => e.endpoint === config.name)
    return {
      name: config.name,
      model: config.name,
      ...facts.address(config.name),
      logMode: config.log.mode,
      ...(disabled === null ? stateOf(config, members, misfitsOf(route)) : stopped(disabled)),
      members,
      ...facts.totals(config.name),
      gather: detailsOf(config, mine),
    }
  })
}

type PublishedRoute = NonNullable<ReturnType<Services['publisher']['current']>>['endpoints'][number]

/** By what gateways were told: members whose answers could not be combined are not asked. */
function misfitsOf(route: PublishedRoute | undefined): { member: string; why: string }[] {
  const gather = route?.gather ?? null
  if (route === undefined || gather === null) return []
  const voices = gather.members.flatMap(({ deploymentId, name }) => {
    const signature = route.deployments.find((d) => d.deploymentId === deploymentId)?.signature
    return signature === undefined ? [] : [{ name, signature }]
  })
  return gatherSignature(gather.combine.kind, voices).misfits
}

const stopped = ({ by, why }: { by: string; why: string }) => ({
  state: 'disabled' as const,
  why: `disabled by ${by}: ${why}`,
})

function stateOf(
  { quorum, combine }: GatherEndpointConfig,
  members: EndpointView['members'],
  misfits: { member: string; why: string }[],
): Pick<EndpointView, 'state' | 'why'> {
  const asked = members.filter((m) => m.weightPercent > 0)
  if (asked.length === 0) return { state: 'empty', why: 'none of its members has been released yet' }
  const needed = combine.kind === 'first' ? 1 : quorum
  const answering = asked.filter((m) => m.replicasReady > 0 && !misfits.some(({ member }) => member === m.version))
  const out = misfits.map(({ member, why }) => `${member} is not asked: ${why}`)
  const silent = asked.filter((m) => m.replicasReady === 0).map((m) => `${m.version} has no replica that is ready`)
  const why = [`${answering.length} of ${asked.length} members can answer, ${needed} are needed`, ...out, ...silent]
  if (answering.length < needed) return { state: 'down', why: why.join('; ') }
  return answering.length < asked.length ? { state: 'degraded', why: why.join('; ') } : { state: 'serving', why: null }
}

function detailsOf(config: GatherEndpointConfig, rows: GatherMember[]): GatherDetails {
  const { combine, deadlineMs, quorum, join } = config
  return {
    combine: combine.kind,
    deadlineMs,
    quorum,
    members: rows.flatMap((row) => {
      if (row.status === 'left') return []
      const { versionId: version, status: state, requests: answered, failed, why } = row
      return [{ version, state, weight: weightOf(row, config), answered, failed, needed: join.requests, why }]
    }),
  }
}

const weightOf = ({ model }: GatherMember, { members }: GatherEndpointConfig) =>
  members.find((m) => m.model === model)?.weight ?? 1
