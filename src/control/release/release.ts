import { stateMachine } from '../../kernel/state-machine.ts'

export type ReleaseStatus =
  | 'queued' // waits for the release before it on this endpoint; a newer candidate may supersede it
  | 'deploying' // its replicas are being started, out of sight of the gateways
  | 'preflight' // a replica is up: golden rows are replayed on it
  | 'switching' // preflight passed: once every replica is ready the route flips, or the first trial begins
  | 'shadowing' // gets copies of live requests; its answers are compared and discarded
  | 'canary' // has a share of the live traffic and is judged against the concurrent champion
  | 'held' // the time for it is up and the evidence is not enough: judged on, and a person is asked
  | 'released' // all traffic is its
  | 'rolled-back' // it had traffic and lost it: to harm proven in its canary, or to a rollback
  | 'failed' // the champion was left untouched
  | 'superseded'
  | 'cancelled'

export type ReleaseEvent =
  | 'deploy'
  | 'replicaReady'
  | 'preflightPassed'
  | 'startShadow'
  | 'startCanary'
  | 'nextStep'
  | 'hold'
  | 'resume'
  | 'flip'
  | 'rollBack'
  | 'fail'
  | 'supersede'
  | 'cancel'

/**
 * A rollback to a version that is still warm goes from `queued` to `switching`. Whatever ends in `failed` or
 * `superseded` never had live traffic; what is cancelled in its canary gives its share back.
 */
export const releaseMachine = stateMachine<ReleaseStatus, ReleaseEvent>('release', {
  queued: {
    deploy: 'deploying',
    preflightPassed: 'switching',
    fail: 'failed',
    supersede: 'superseded',
    cancel: 'cancelled',
  },
  deploying: { replicaReady: 'preflight', fail: 'failed', cancel: 'cancelled' },
  preflight: { preflightPassed: 'switching', fail: 'failed', cancel: 'cancelled' },
  switching: {
    flip: 'released',
    startShadow: 'shadowing',
    startCanary: 'canary',
    fail: 'failed',
    cancel: 'cancelled',
  },
  shadowing: { startCanary: 'canary', flip: 'released', hold: 'held', fail: 'failed', cancel: 'cancelled' },
  canary: { nextStep: 'canary', flip: 'released', hold: 'held', rollBack: 'rolled-back', cancel: 'cancelled' },
  held: {
    startCanary: 'canary',
    resume: 'canary',
    flip: 'released',
    fail: 'failed',
    rollBack: 'rolled-back',
    cancel: 'cancelled',
  },
  released: { rollBack: 'rolled-back' },
  'rolled-back': {},
  failed: {},
  superseded: {},
  cancelled: {},
})

/** Who asks for a release that no person has asked for. */
export const GATE = 'gate'

export interface Release {
  id: string
  kind: 'release' | 'rollback'
  endpoint: string
  model: string
  versionId: string
  /** The champion when it flipped (or will flip). */
  previousId: string | null
  deploymentId: string | null
  status: ReleaseStatus
  why: string | null
  cause: string
  requestedBy: string
  createdAtMs: number
  statusAtMs: number
  switchedAtMs: number | null
  firstAnswerAtMs: number | null
  endedAtMs: number | null
}

export type DeploymentStatus =
  | 'starting' // not all of its replicas have been ready yet
  | 'ready'
  | 'draining' // out of the route: stops once no gateway uses it any more
  | 'stopped'
  | 'failed' // its replicas could not load the model

export const deploymentMachine = stateMachine<DeploymentStatus, 'allReady' | 'drain' | 'drained' | 'fail'>(
  'deployment',
  {
    starting: { allReady: 'ready', drain: 'draining', fail: 'failed' },
    ready: { drain: 'draining' },
    draining: { drained: 'stopped' },
    stopped: {},
    failed: {},
  },
)

export interface Deployment {
  id: string
  endpoint: string
  model: string
  versionId: string
  status: DeploymentStatus
  why: string | null
  replicasWanted: number
  /** Set once preflight has passed: only then do gateways see it. */
  discoverable: boolean
  createdAtMs: number
  endedAtMs: number | null
}

/** It has replicas or is about to, and is not on its way out. */
export function isUp({ status }: Pick<Deployment, 'status'>): boolean {
  return status === 'starting' || status === 'ready'
}

/** It is up, and gateways may see it. */
export function canServe(deployment: Pick<Deployment, 'status' | 'discoverable'>): boolean {
  return deployment.discoverable && isUp(deployment)
}

export type ReplicaStatus =
  | 'running' // recorded, and started or about to be
  | 'stopping' // told to drain and end
  | 'gone'

export const replicaMachine = stateMachine<ReplicaStatus, 'stop' | 'gone'>('replica', {
  running: { stop: 'stopping', gone: 'gone' },
  stopping: { gone: 'gone' },
  gone: {},
})

export interface Replica {
  id: string
  deploymentId: string
  token: string
  status: ReplicaStatus
  why: string | null
  createdAtMs: number
  endedAtMs: number | null
}

export interface Route {
  endpoint: string
  model: string
  members: { deploymentId: string; weightPercent: number }[]
  /** Deployments that get copies of live requests. */
  mirrors: { deploymentId: string; sharePercent: number }[]
  /** The trial that the split or the copies belong to. */
  trialId: string | null
  disabled: { why: string; by: string; sinceMs: number } | null
}

export type TrialStatus =
  | 'running' // the route holds its split or its copies, and requests carry its id
  | 'ended' // the release went on to the next one, got all traffic, or gave it back

export const trialMachine = stateMachine<TrialStatus, 'end'>('trial', { running: { end: 'ended' }, ended: {} })

/** A shadow, or one step of a canary: within it the shares are fixed, so that its counts can be compared. */
export interface Trial {
  id: string
  releaseId: string
  endpoint: string
  kind: 'shadow' | 'canary'
  /** 0 for a shadow, then the canary's steps from 1. */
  step: number
  weightPercent: number
  status: TrialStatus
  why: string | null
  challengerId: string
  championId: string
  startedAtMs: number
  startedCalendarMs: number
  endedAtMs: number | null
}
