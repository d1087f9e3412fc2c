import { createHash } from 'node:crypto'
import { gatherSignature } from '../../../kernel/contract/gather-signature.ts'
import type { EndpointRoute, GatherMember, GatherRoute, RoutedDeployment } from '../../../kernel/contract/routing.ts'
import type { Signature } from '../../../kernel/model/signature.ts'

/** A gather prepared for requests: made once per snapshot. */
export interface TableGather {
  route: GatherRoute
  /** Who is asked, in order. */
  members: readonly TableMember[]
  /** Members that are not asked, as nothing could be made of their answers or nobody has them deployed. */
  outside: readonly { name: string; why: string }[]
  /** Of the members, as answers, reports and the log name them together, see `versionOfMembers`. */
  version: string
  signature: Signature
}

export interface TableMember extends GatherMember {
  deployment: RoutedDeployment
}

export function gatherOf({ gather }: EndpointRoute, byId: ReadonlyMap<string, RoutedDeployment>): TableGather | null {
  if (gather === undefined || gather === null) return null
  const deployed = gather.members.flatMap((member): TableMember[] => {
    const deployment = byId.get(member.deploymentId)
    return deployment === undefined ? [] : [{ ...member, deployment }]
  })
  const voices = deployed.map(({ name, deployment }) => ({ name, signature: deployment.signature }))
  const { signature, misfits } = gatherSignature(gather.combine.kind, voices)
  const missing = gather.members.filter((m) => !byId.has(m.deploymentId))
  return {
    route: gather,
    members: deployed.filter(({ name }) => !misfits.some((m) => m.member === name)),
    outside: [
      ...misfits.map(({ member, why }) => ({ name: member, why })),
      ...missing.map(({ name }) => ({ name, why: 'it is not deployed' })),
    ],
    version: versionOfMembers(gather.members.map((m) => m.name)),
    signature,
  }
}

const VERSION_LETTERS_MAX = 64

/**
 * The `model_version` of a gather's answers: its members, `late-flight@3,late-flight-trees@1`, or, where that is longer
 * than 64 letters, `members-` and twelve hex digits of its SHA-256. Who of them was absent is said apart.
 */
export function versionOfMembers(names: readonly string[]): string {
  const list = names.join(',')
  if (list.length <= VERSION_LETTERS_MAX) return list
  return `members-${createHash('sha256').update(list).digest('hex').slice(0, 12)}`
}
