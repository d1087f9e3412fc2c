import type { GatewayReport, RoutingSnapshot } from '../../kernel/contract/routing.ts'

/** What is known of gateways when it is asked what they still use. */
export interface GatewaysSeen {
  /** The newest routes; null: none were published by this control plane. */
  current: RoutingSnapshot | null
  reports: readonly GatewayReport[]
  /** Ids of those that are alive: one that does not report counts as using everything. */
  alive: readonly string[]
}

/** Whether every gateway serves by routes without a deployment and has nothing in flight on it. */
export function isUnused(deploymentId: string, { current, reports, alive }: GatewaysSeen): boolean {
  if (current === null || routesTo(current, deploymentId)) return false
  return alive.every((id) => {
    const report = reports.find((r) => r.gatewayId === id)
    if (report === undefined || report.epoch !== current.epoch || report.revision !== current.revision) return false
    return report.inFlight.every((f) => f.deploymentId !== deploymentId || f.requests === 0)
  })
}

/** Whether every gateway serves by the routes of a revision of this control plane, or by later ones. */
export function haveTaken(revision: number, { current, reports, alive }: GatewaysSeen): boolean {
  return alive.every((id) => {
    const report = reports.find((r) => r.gatewayId === id)
    return report !== undefined && report.epoch === current?.epoch && report.revision >= revision
  })
}

export function listsReplica(snapshot: RoutingSnapshot, replicaId: string): boolean {
  return snapshot.endpoints.some((e) => e.deployments.some((d) => d.replicas.some((r) => r.replicaId === replicaId)))
}

function routesTo(snapshot: RoutingSnapshot, deploymentId: string): boolean {
  return snapshot.endpoints.some((e) => e.deployments.some((d) => d.deploymentId === deploymentId))
}
