import { unreachable } from '../../kernel/errors.ts'
import type { Deployment, Release } from './release.ts'
import { releaseMachine } from './release.ts'
import { firstTrial, trialAfter, type Look, type NextTrial, type TrialPlan } from './trial.ts'
import type { TrialRow } from './trial-store.ts'

export type ReleaseStep =
  | { kind: 'hold'; why: string }
  | { kind: 'supersede'; why: string }
  | { kind: 'cancel'; why: string } // overruled by a person, before it had all of the traffic
  | { kind: 'holdBack'; why: string } // frozen before it had any: its version waits for a person's approval
  | { kind: 'deploy' } // make a deployment and wait for its replicas
  | { kind: 'useWarm'; deploymentId: string; why: string } // its deployment is already up and has been proven
  | { kind: 'startPreflight' }
  | { kind: 'passPreflight'; why: string }
  | { kind: 'flip'; why: string }
  | { kind: 'beginTrial'; next: NextTrial; why: string } // the first shadow or canary step, or the one after
  | { kind: 'ask'; why: string } // time is up without enough evidence: held, and a person is asked
  | { kind: 'rollBack'; why: string } // harm proven in the canary
  | { kind: 'fail'; why: string }

export interface ReleaseView {
  release: Release
  /** Every release that is open on the same endpoint. */
  open: Release[]
  /** The deployment of this release, once made. */
  deployment: Deployment | null
  /** A deployment of the same version that gateways may see already, with a ready replica. */
  warm: { deploymentId: string; readyReplicas: number; /** Scaled to zero. */ isAsleep: boolean } | null
  readyReplicas: number
  /** Result of the preflight of this release; null: not started, or still running. */
  preflight: { kind: 'passed' | 'failed'; why: string } | 'running' | null
  /** A person's word against the version, if there is one. */
  rejected: string | null
  /** Why automatic release is frozen; null where it isn't, or a person has approved the version. */
  frozen: string | null
  /** In its status, as far as this control plane has been there to see it (status-waits.ts). */
  waitedMs: number
  timeoutMs: number
  diskLow: boolean
  /** False once the model has left the configuration. */
  configured: boolean
  /** Null: nothing is known of how it is to be released. */
  plan: TrialPlan | null
  /** Who has the traffic besides this release's own version; null: nobody that could be gone back to. */
  champion: { versionId: string } | null
  /** What is compared now, with the look just taken at it. */
  trial: { row: TrialRow; look: Look } | null
}

/** The next step of one release. Pure: all that is known is in `view`. */
export function decideReleaseStep(view: ReleaseView): ReleaseStep {
  const { release } = view
  if (!isOpen(release)) return { kind: 'hold', why: 'it has ended' }
  if (view.rejected !== null) return { kind: 'cancel', why: view.rejected }
  const rollback = view.open.find((r) => r.kind === 'rollback' && order(r) > order(release))
  if (rollback !== undefined && release.status !== 'queued')
    return { kind: 'cancel', why: `${rollback.id} goes back to ${rollback.versionId}` }
  if (view.frozen !== null && !isTried(release)) return { kind: 'holdBack', why: view.frozen }
  switch (release.status) {
    case 'queued':
      return decideQueued(view)
    case 'deploying':
      return decideDeploying(view)
    case 'preflight':
      return decidePreflight(view)
    case 'switching':
      return decideSwitching(view)
    case 'shadowing':
    case 'canary':
    case 'held':
      return decideTrial(view)
    case 'released':
    case 'rolled-back':
    case 'failed':
    case 'superseded':
    case 'cancelled':
      return { kind: 'hold', why: 'it has ended' }
  }
}

function decideDeploying(view: ReleaseView): ReleaseStep {
  if (view.deployment?.status === 'failed') return { kind: 'fail', why: view.deployment.why ?? 'its deployment failed' }
  if (view.readyReplicas > 0) return { kind: 'startPreflight' }
  return isLate(view)
    ? { kind: 'fail', why: `no replica was ready within ${view.timeoutMs / 1000} s` }
    : { kind: 'hold', why: 'waiting for a replica' }
}

function decidePreflight(view: ReleaseView): ReleaseStep {
  const { preflight } = view
  if (view.deployment?.status === 'failed') return { kind: 'fail', why: view.deployment.why ?? 'its deployment failed' }
  // Also again: a preflight whose replica died says nothing about the version.
  if (preflight === null && view.readyReplicas > 0 && !isLate(view)) return { kind: 'startPreflight' }
  if (preflight === null || preflight === 'running') {
    if (isLate(view)) return { kind: 'fail', why: `preflight took longer than ${view.timeoutMs / 1000} s` }
    return { kind: 'hold', why: preflight === null ? 'waiting for a replica' : 'preflight is running' }
  }
  if (preflight.kind === 'failed') return { kind: 'fail', why: `preflight: ${preflight.why}` }
  return { kind: 'passPreflight', why: preflight.why }
}

const isLate = (view: ReleaseView) => view.waitedMs > view.timeoutMs

function decideQueued(view: ReleaseView): ReleaseStep {
  const { release } = view
  const others = view.open.filter((r) => r.id !== release.id)
  // What a person or a monitor went back for is not overruled by what the gate lets through meanwhile.
  const overrules = (r: Release) => r.kind === 'rollback' || release.kind !== 'rollback'
  const newer = others.find((r) => r.status === 'queued' && order(r) > order(release) && overrules(r))
  if (newer !== undefined) return { kind: 'supersede', why: `${newer.id} (${newer.versionId}) is newer` }
  const busy = others.find((r) => r.status !== 'queued' || r.kind === 'rollback')
  // A rollback does not wait behind the release it may be there to end: that one is cancelled when it is looked at.
  if (busy !== undefined && release.kind !== 'rollback') return { kind: 'hold', why: `${busy.id} is under way` }
  if (view.warm !== null && view.warm.readyReplicas > 0)
    return { kind: 'useWarm', deploymentId: view.warm.deploymentId, why: 'its deployment is warm' }
  if (view.warm?.isAsleep === true)
    return { kind: 'useWarm', deploymentId: view.warm.deploymentId, why: 'its deployment is proven, and is woken' }
  if (view.diskLow) return { kind: 'hold', why: 'disk space is low' }
  return { kind: 'deploy' }
}

function decideSwitching(view: ReleaseView): ReleaseStep {
  if (view.deployment === null || ['failed', 'draining', 'stopped'].includes(view.deployment.status))
    return { kind: 'fail', why: view.deployment?.why ?? 'its deployment is gone' }
  const { readyReplicas, deployment } = view
  // One that was scaled to zero is woken first.
  if (readyReplicas >= Math.max(1, deployment.replicasWanted))
    return begin(view, `${readyReplicas} of ${deployment.replicasWanted} replicas are ready`)
  if (view.release.kind === 'rollback' && readyReplicas > 0)
    return { kind: 'flip', why: `rollback: ${readyReplicas} of ${deployment.replicasWanted} replicas are ready` }
  if (!isLate(view)) return { kind: 'hold', why: `${readyReplicas} of ${deployment.replicasWanted} replicas are ready` }
  if (readyReplicas > 0)
    return begin(view, `only ${readyReplicas} of ${deployment.replicasWanted} replicas were ready in time`)
  return { kind: 'fail', why: 'its replicas were lost before the route flipped' }
}

/** All traffic at once where there is nothing to compare with, or it is so declared; else the first trial. */
function begin(view: ReleaseView, why: string): ReleaseStep {
  const { release, champion, plan } = view
  if (release.kind === 'rollback' || champion === null || champion.versionId === release.versionId)
    return { kind: 'flip', why }
  if (!view.configured) return { kind: 'cancel', why: leftConfiguration(release) }
  if (plan === null) return { kind: 'hold', why: 'the configuration has not been read yet' }
  const next = firstTrial(plan)
  return next === null ? { kind: 'flip', why } : { kind: 'beginTrial', next, why }
}

/** What the look at a trial decided, as a step of the release. */
function decideTrial(view: ReleaseView): ReleaseStep {
  const { release, trial, deployment } = view
  if (!view.configured) return { kind: 'cancel', why: leftConfiguration(release) }
  if (view.plan === null) return { kind: 'hold', why: 'the configuration has not been read yet' }
  // Its trial ended without it: nothing to judge by, and nobody to ask.
  if (trial === null) return { kind: 'cancel', why: 'its trial is gone' }
  const shadow = trial.row.kind === 'shadow'
  const harm = (why: string): ReleaseStep => ({ kind: shadow ? 'fail' : 'rollBack', why })
  if (deployment === null || ['failed', 'draining', 'stopped'].includes(deployment.status))
    return harm(deployment?.why ?? 'its deployment is gone')
  const { look } = trial
  switch (look.decision) {
    case 'wait':
      return { kind: 'hold', why: look.why }
    case 'hold':
      return askUnlessHeld(release, look.why)
    case 'rollBack':
      return harm(look.why)
    case 'next': {
      if (view.frozen !== null) return askUnlessHeld(release, `${look.why}; but ${view.frozen}`)
      const next = trialAfter(view.plan, trial.row)
      return next === null ? { kind: 'flip', why: look.why } : { kind: 'beginTrial', next, why: look.why }
    }
    case 'promote':
      if (view.frozen !== null) return askUnlessHeld(release, `${look.why}; but ${view.frozen}`)
      return { kind: 'flip', why: look.why }
    default:
      return unreachable(look.decision)
  }
}

const askUnlessHeld = ({ status }: Release, why: string): ReleaseStep => ({
  kind: status === 'held' ? 'hold' : 'ask',
  why,
})

/** Has a share of the traffic, or copies of it. */
export const isTried = ({ status }: Pick<Release, 'status'>) =>
  status === 'shadowing' || status === 'canary' || status === 'held'

const leftConfiguration = (release: Release) => `${release.model} has left the configuration`

const order = (release: Release) => Number(release.id.split('-')[1])

/** Whether a release in this status can still touch the route. */
export const isOpen = (release: Release) => !releaseMachine.isFinal(release.status) && release.status !== 'released'
