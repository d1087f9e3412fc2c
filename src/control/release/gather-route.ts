import type { CombineConfig, GatherEndpointConfig } from '../../config/project.ts'
import type { Combine, EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { GatherMember } from './gather.ts'
import { canServe, type Deployment } from './release.ts'

export interface GatherRouting {
  members: GatherMember[]
  deployments: Deployment[]
  disabled: { why: string } | null
  /** A deployment as gateways are told of it; null while it can't be told. */
  routed(deployment: Deployment): RoutedDeployment | null
  /** The module's file where it is now, and its digest. */
  moduleOf(path: string): { path: string; digest: string }
}

/** The newest deployment of a version, wherever it serves or is about to. */
export function memberDeployment(versionId: string, deployments: Deployment[]): Deployment | null {
  return deployments.findLast((d) => d.versionId === versionId && canServe(d)) ?? null
}

/** What gateways are to do for an endpoint that asks several versions at once. Pure. */
export function gatherRoute(config: GatherEndpointConfig, facts: GatherRouting): EndpointRoute {
  const found = facts.members.flatMap((member) => {
    if (member.status !== 'member' && member.status !== 'joining') return []
    const deployment = memberDeployment(member.versionId, facts.deployments)
    const routed = deployment === null ? null : facts.routed(deployment)
    return routed === null ? [] : [{ member, routed, weight: weightOf(member, config) }]
  })
  const inOrder = found.toSorted((a, b) => placeOf(a.member, config) - placeOf(b.member, config))
  const members = inOrder.filter(({ member }) => member.status === 'member')
  const joining = inOrder.filter(({ member }) => member.status === 'joining').map(({ routed }) => routed.deploymentId)
  const total = members.reduce((sum, { weight }) => sum + weight, 0)
  return {
    endpoint: config.name,
    model: config.name,
    logMode: config.log.mode,
    logSamplePercent: config.log.samplePercent,
    bodyLimitBytes: config.bodyLimitBytes,
    timeoutMs: config.timeoutMs,
    members: members.map(({ routed, weight }) => ({
      deploymentId: routed.deploymentId,
      weightPercent: (100 * weight) / total,
    })),
    deployments: inOrder.map(({ member, routed }) => ({ ...routed, version: member.versionId, model: member.model })),
    trial: null,
    mirrors: joining.map((deploymentId) => ({ deploymentId, sharePercent: 100 })),
    disabled: facts.disabled,
    fallback: { kind: 'error' },
    limits: config.limits,
    gather: {
      members: members.map(({ member, routed, weight }) => ({
        deploymentId: routed.deploymentId,
        name: member.versionId,
        weight,
      })),
      combine: combineOf(config.combine, facts),
      deadlineMs: config.deadlineMs,
      quorum: config.quorum,
      joining: joining.map((deploymentId) => ({ deploymentId })),
    },
  }
}

function combineOf(combine: CombineConfig, facts: GatherRouting): Combine {
  if (combine.kind !== 'module') return combine
  return { kind: 'module', ...facts.moduleOf(combine.path), timeoutMs: combine.timeoutMs }
}

function weightOf({ model }: GatherMember, { members }: GatherEndpointConfig): number {
  return members.find((m) => m.model === model)?.weight ?? 1
}

/** As declared; versions of one model with the newest first. */
function placeOf({ model, versionId }: GatherMember, { members }: GatherEndpointConfig): number {
  const slot = members.findIndex((m) => m.model === model)
  const number = Number(versionId.slice(versionId.lastIndexOf('@') + 1))
  return (slot < 0 ? members.length : slot) - number / 1e9
}
