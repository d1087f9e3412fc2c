import type { Signature } from '../model/signature.ts'
import type { LogMode } from './prediction.ts'

/**
 * All that the gateway needs to serve, complete in itself. `(epoch, revision)` only grows: a new control plane takes
 * the next epoch, each change the next revision. A gateway refuses anything lower than what it holds.
 */
export interface RoutingSnapshot {
  epoch: number
  revision: number
  project: string
  issuedAtMs: number
  endpoints: EndpointRoute[]
}

export interface EndpointRoute {
  /** The stable name that clients call. */
  endpoint: string
  model: string
  logMode: LogMode
  /** Percent of requests to log, 0–100. */
  logSamplePercent: number
  bodyLimitBytes: number
  timeoutMs: number
  /** Live traffic. Weights add up to 100, or `members` is empty: then the endpoint answers 503. */
  members: { deploymentId: string; weightPercent: number }[]
  /** Everything that can be addressed by version, warm ones included. */
  deployments: RoutedDeployment[]
}

export interface RoutedDeployment {
  deploymentId: string
  version: string
  signature: Signature
  /** Only replicas whose lease says `ready`. */
  replicas: RoutedReplica[]
}

export interface RoutedReplica {
  replicaId: string
  socketPath: string
}

/** A replica's own word, renewed every LEASE_RENEW_MS. */
export interface Lease {
  replicaId: string
  token: string
  deploymentId: string
  pid: number
  state: 'loading' | 'ready' | 'draining' | 'failed'
  why: string | null
  socketPath: string
  /** Loopback HTTP, for people and foreign clients; null until it listens. */
  httpPort: number | null
  inFlight: number
  /** Digest of the model file that is loaded, `sha256:…`, null before. */
  loadedDigest: string | null
}

export const LEASE_RENEW_MS = 300
/** A lease that is older than this is gone. */
export const LEASE_PERIOD_MS = 2_000

/** A gateway's word to the control plane, at each applied snapshot and every GATEWAY_REPORT_MS. */
export interface GatewayReport {
  gatewayId: string
  token: string
  pid: number
  port: number
  epoch: number
  revision: number
  inFlight: { deploymentId: string; requests: number }[]
  /** What happened since the last report that was acknowledged. */
  traffic: TrafficReport[]
  /**
   * Number of the batch in `traffic`, growing by one within one process (`token`). A batch whose acknowledgement was
   * lost is sent again as it was, under its number: counting each number once counts each request once.
   */
  trafficSeq: number
  log: LogReport
}

export const GATEWAY_REPORT_MS = 500

export interface TrafficReport {
  endpoint: string
  model: string
  version: string
  requests: number
  /** Answers of 5xx and connections that died without an answer. */
  failed: number
  /** Clients that left before their answer. */
  interrupted: number
  /** Counts per upper bound in LATENCY_BOUNDS_MS, the last for everything above. */
  latencyCounts: number[]
  /** Epoch ms of the first 2xx answer ever given by this version through this gateway, when it is in this report. */
  firstAnswerAtMs: number | null
}

export const LATENCY_BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000] as const

export interface LogReport {
  /** Since the spool's first segment, over all restarts of the gateway as far as they were recorded. */
  answered: number
  logged: number
  sampledOut: number
  /** Dropped because the disk was full (relaxed mode). */
  dropped: number
  labels: number
  /** Age of the oldest record that is not yet sealed or on disk, in ms. */
  lagMs: number
  diskFull: boolean
}
