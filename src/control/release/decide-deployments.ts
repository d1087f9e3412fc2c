import type { Lease } from '../../kernel/contract/routing.ts'
import type { Deployment, Replica } from './release.ts'

export type DeploymentAct =
  | { kind: 'startReplica'; deploymentId: string }
  | { kind: 'stopReplica'; replica: Replica; why: string }
  | { kind: 'replicaGone'; replica: Replica; why: string }
  | { kind: 'allReady'; deployment: Deployment }
  | { kind: 'drain'; deployment: Deployment; why: string }
  | { kind: 'drained'; deployment: Deployment }
  | { kind: 'fail'; deployment: Deployment; why: string }

export interface DeploymentView {
  deployment: Deployment
  replicas: ReplicaView[]
  /** Who needs it: `route`, `previous`, `release-4`. Empty: nobody. */
  heldBy: string[]
  /** True when every gateway serves from a snapshot without it and has nothing in flight on it. */
  unused: boolean
  /** Replicas lost in the last minute: restarts wait longer each time. */
  recentlyGone: number
  lastGoneAtMs: number | null
  lastGoneWhy: string | null
}

export interface ReplicaView {
  replica: Replica
  lease: Lease | null
  /** `unknown`: there is no record of a process: not yet, or no more. */
  process: 'alive' | 'dead' | 'unknown'
  /** Since it was last heard, or since this control plane began to listen. */
  silentMs: number
  /** Since it was recorded: by the clock up to when this control plane first saw it, and from then on as time passed. */
  ageMs: number
}

/** A replica that was recorded but never seen as a process is given up after this. */
const UNSEEN_MAX_MS = 5_000
/** A live process without a lease for so long hangs, and is replaced. */
const SILENT_MAX_MS = 30_000
const RESTART_WAIT_MAX_MS = 10_000
/** While starting: replicas that die this often mean that the deployment can't be started. */
const START_FAILURES_MAX = 5
/** Why a replica was stopped that did nothing wrong. */
export const MORE_THAN_WANTED = 'more replicas than wanted'

/** What to do for one deployment now. Pure. */
export function decideDeployment(view: DeploymentView, nowMs: number): DeploymentAct[] {
  const gone = view.replicas.flatMap(goneOrNot)
  if (gone.length > 0) return gone
  const { deployment } = view
  switch (deployment.status) {
    case 'starting':
    case 'ready':
      return view.heldBy.length === 0
        ? [{ kind: 'drain', deployment, why: 'neither in the route, nor previous, nor in a release' }]
        : decideHeld(view, nowMs)
    case 'draining':
      return decideDraining(view)
    case 'stopped':
    case 'failed':
      return view.replicas
        .filter((r) => r.replica.status === 'running')
        .map((r) => ({ kind: 'stopReplica', replica: r.replica, why: `deployment ${deployment.status}` }))
  }
}

export function isReady(view: ReplicaView): boolean {
  return view.replica.status === 'running' && view.lease?.state === 'ready'
}

function decideHeld(view: DeploymentView, nowMs: number): DeploymentAct[] {
  const { deployment, replicas } = view
  const broken = replicas.find((r) => r.lease?.state === 'failed' && r.replica.status === 'running')
  // Once gateways know it, it is repaired and not given up: it may have the traffic.
  const unproven = deployment.status === 'starting' && !deployment.discoverable
  if (broken !== undefined) {
    if (unproven) return [{ kind: 'fail', deployment, why: broken.lease?.why ?? 'a replica could not load the model' }]
    return [{ kind: 'stopReplica', replica: broken.replica, why: broken.lease?.why ?? 'it could not load the model' }]
  }
  if (unproven && view.recentlyGone >= START_FAILURES_MAX) {
    const last = view.lastGoneWhy ?? 'no reason recorded'
    return [{ kind: 'fail', deployment, why: `${view.recentlyGone} replicas ended while starting, the last: ${last}` }]
  }
  const running = replicas.filter((r) => r.replica.status === 'running')
  const missing = deployment.replicasWanted - running.length
  const ready = running.filter(isReady).length
  if (deployment.status === 'starting' && ready >= deployment.replicasWanted) return [{ kind: 'allReady', deployment }]
  if (missing > 0 && nowMs >= restartAtMs(view, nowMs))
    return Array.from({ length: missing }, () => ({ kind: 'startReplica', deploymentId: deployment.id }))
  // Those that serve already stay, the oldest first.
  return running
    .toSorted((a, b) => Number(isReady(b)) - Number(isReady(a)))
    .slice(deployment.replicasWanted)
    .map((r) => ({ kind: 'stopReplica', replica: r.replica, why: MORE_THAN_WANTED }))
}

/** One lost replica is replaced at once, the following ones later and later. */
function restartAtMs(view: DeploymentView, nowMs: number): number {
  if (view.recentlyGone <= 1 || view.lastGoneAtMs === null) return 0
  // The clock was set back since: it must not make it wait for as long as that.
  if (view.lastGoneAtMs > nowMs + RESTART_WAIT_MAX_MS) return 0
  return view.lastGoneAtMs + Math.min(RESTART_WAIT_MAX_MS, 100 * 2 ** (view.recentlyGone - 1))
}

function decideDraining(view: DeploymentView): DeploymentAct[] {
  if (!view.unused) return []
  const running = view.replicas.filter((r) => r.replica.status === 'running')
  if (running.length > 0) return running.map((r) => ({ kind: 'stopReplica', replica: r.replica, why: 'drained' }))
  return view.replicas.length === 0 ? [{ kind: 'drained', deployment: view.deployment }] : []
}

function goneOrNot(view: ReplicaView): DeploymentAct[] {
  const { replica, ageMs } = view
  if (view.process === 'dead')
    return [{ kind: 'replicaGone', replica, why: replica.status === 'stopping' ? 'stopped' : 'its process has died' }]
  if (view.process === 'unknown' && replica.status === 'stopping')
    return [{ kind: 'replicaGone', replica, why: 'stopped' }]
  if (view.process === 'unknown' && ageMs > UNSEEN_MAX_MS)
    return [{ kind: 'replicaGone', replica, why: 'it has ended, or never came up' }]
  if (view.process === 'alive' && replica.status === 'running' && Math.min(ageMs, view.silentMs) > SILENT_MAX_MS)
    return [{ kind: 'stopReplica', replica, why: `no word from it for ${SILENT_MAX_MS / 1000} s` }]
  return []
}
