import { stateMachine } from '../../kernel/state-machine.ts'

export type ReleaseStatus =
  | 'queued' // waits for the release before it on this endpoint; a newer candidate may supersede it
  | 'deploying' // its replicas are being started, out of sight of the gateways
  | 'preflight' // a replica is up: golden rows are replayed on it
  | 'switching' // preflight passed and every replica is ready: the route is about to flip
  | 'released' // the route has flipped
  | 'rolled-back' // it had the traffic and lost it to a rollback
  | 'failed' // the champion was left untouched
  | 'superseded'
  | 'cancelled'

export type ReleaseEvent =
  | 'deploy'
  | 'replicaReady'
  | 'preflightPassed'
  | 'flip'
  | 'rollBack'
  | 'fail'
  | 'supersede'
  | 'cancel'

/**
 * A rollback to a version that is still warm goes from `queued` to `switching`. Whatever ends in `failed`,
 * `superseded` or `cancelled` has never touched the route.
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
  switching: { flip: 'released', fail: 'failed', cancel: 'cancelled' },
  released: { rollBack: 'rolled-back' },
  'rolled-back': {},
  failed: {},
  superseded: {},
  cancelled: {},
})

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
}
