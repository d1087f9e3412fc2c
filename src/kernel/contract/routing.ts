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
  /**
   * The trial that `members` or `mirrors` belong to: requests whose member was drawn by weight (none that name a
   * version), and their copies, carry it into reports and the log. Null: no comparison is under way.
   */
  trial: string | null
  /** Get copies of so many percent of the live requests, after their answer and within limits; never slow it. */
  mirrors: { deploymentId: string; sharePercent: number }[]
  /** Taken out of service by a person: every request gets the fallback. */
  disabled: { why: string } | null
  /** What answers where the endpoint is disabled, or where no live member can. */
  fallback: FallbackRoute
}

export type FallbackRoute =
  | { kind: 'error' }
  /** Each named output filled with its value, one per row; `millrace-fallback: constant` in the headers. */
  | { kind: 'constant'; outputs: Record<string, number | string | boolean> }
  | { kind: 'version'; deploymentId: string }

export interface RoutedDeployment {
  deploymentId: string
  /** As the endpoint's clients name it; of a fallback of another model with that model's name, `model@version`. */
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
  /**
   * In a trial the version that was drawn, also where another one had to answer instead of it. Empty where there was
   * none to choose: no live member, a constant fallback, a disabled endpoint.
   */
  version: string
  /**
   * `live`: every request that live members had to answer, once. `shadow`: copies. `fallback`: what a fallback
   * answered; unless the endpoint is disabled that request is counted as `live` too, as failed and rescued.
   */
  origin: 'live' | 'shadow' | 'fallback'
  /** The trial that the request took part in; null also for requests that name a version. */
  trial: string | null
  /** Requests that named this version, by caller: who uses it must not lose it. */
  pinned: { caller: string; requests: number }[]
  requests: number
  /** Answers of 5xx and connections that died without an answer; in a trial also where another version answered then. */
  failed: number
  /** Of `failed`, those whose client was answered all the same, by another version or the fallback. Absent: none. */
  rescued?: number
  /** Clients that left before their answer. */
  interrupted: number
  /** Copies for a shadow that were not sent, or not waited for; not among `requests`. Absent: none. */
  dropped?: number
  /** Counts per upper bound in LATENCY_BOUNDS_MS, the last for everything above. */
  latencyCounts: number[]
  /** Within a trial: counts by index of a fine bucket, see fineLatencyBucket; else empty. */
  fineLatency: Record<string, number>
  /** Epoch ms of the first 2xx answer ever given by this version through this gateway, when it is in this report. */
  firstAnswerAtMs: number | null
}

export const LATENCY_BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000] as const

/** Fine buckets for comparing latencies: bucket i ends at 0.1 ms × 1.05^i; 0 … 300 (about 0.1 ms to 226 s). */
export const FINE_LATENCY_BASE_MS = 0.1
export const FINE_LATENCY_GROWTH = 1.05
export const FINE_LATENCY_MAX = 300

export function fineLatencyBucket(latencyMs: number): number {
  if (latencyMs <= FINE_LATENCY_BASE_MS) return 0
  const index = Math.ceil(Math.log(latencyMs / FINE_LATENCY_BASE_MS) / Math.log(FINE_LATENCY_GROWTH))
  return Math.min(FINE_LATENCY_MAX, index)
}

/** Upper bound of a fine bucket, ms. */
export const fineLatencyBoundMs = (bucket: number): number => FINE_LATENCY_BASE_MS * FINE_LATENCY_GROWTH ** bucket

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
