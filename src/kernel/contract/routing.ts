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
  /** Who may call, known by key or certificate. Absent: nobody is known by name. */
  callers?: RoutedCaller[]
  /** Whether callers without a key are served from other machines too; from this one they always are. */
  anonymous?: boolean
}

export interface RoutedCaller {
  name: string
  /** SHA-256 of each of its keys, hex; several while one replaces another. */
  keyDigests: string[]
  /** Common names of client certificates that are this caller. */
  commonNames: string[]
  /** Endpoints that it may call; null: all. */
  endpoints: string[] | null
  /** Requests at once, over all endpoints; null: no limit of its own. */
  concurrency: number | null
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
  /** The same caller's value leads to the same member for as long as the weights stand. Absent: each request is drawn. */
  sticky?: RouteKey | null
  /** Requests that belong to a certain version; the first that fits decides. What fits none is drawn by weight. */
  rules?: RouteRule[]
  /** Callers that are kept on a version until their pin ends. They come before rules. */
  pins?: { caller: string; deploymentId: string; expiresAtMs: number }[]
  /** Null or absent: one member answers. Else all of them do, `members` being the gather's own with their weights. */
  gather?: GatherRoute | null
  limits?: EndpointLimits
}

/** Where in a request a value is found: a header (lower case), or one of the request's `parameters`. */
export type RouteKey = { header: string } | { parameter: string }

export interface RouteRule {
  key: RouteKey
  equals: string
  deploymentId: string
}

/** Every member is asked at once, and their answers become one. */
export interface GatherRoute {
  /** In a stable order; the first that answers gives its signature to the endpoint. */
  members: GatherMember[]
  combine: Combine
  /** What has not answered by then is absent. */
  deadlineMs: number
  /** So many answers at least, or the request fails with 503. */
  quorum: number
  /** Members that are scored and not combined yet: they get every request as a copy. */
  joining: { deploymentId: string }[]
}

export interface GatherMember {
  deploymentId: string
  /** `model@version`: how answers and absentees are named. */
  name: string
  weight: number
}

/** `module`: the default export of a file, run in a thread of its own; `digest` of its text, so that a change is seen. */
export type Combine =
  | { kind: 'all' | 'mean' | 'weighted' | 'vote' | 'first' }
  | { kind: 'module'; path: string; digest: string; timeoutMs: number }

export interface EndpointLimits {
  /** Requests at once; more are refused with 503 and `Retry-After`. Null: no limit but the gateway's own. */
  concurrency: number | null
  /** Requests at once of one caller; more are refused with 429 and `Retry-After`. */
  perCaller: number | null
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
  /** What its replicas call themselves, where that is another model than the endpoint's: members of a gather, fallbacks. */
  model?: string
  /** Its replicas are a server of someone else's, which calls the model so and counts no versions. Absent: Millrace's. */
  foreignModel?: string
  /** It is scaled to zero when nobody calls: a request that finds no replica waits so long for one. Absent: not. */
  wakesWithinMs?: number
  /** False: the same request must not be computed twice, so it is retried only where nothing was sent. Absent: true. */
  isPure?: boolean
}

export interface RoutedReplica {
  replicaId: string
  /** Unix socket on which it speaks HTTP/1.1. */
  socketPath: string
  /** Unix socket on which it speaks frames (kernel/contract/frames.ts), which is cheaper. Absent: HTTP. */
  framesPath?: string
  /** A server of someone else's, which listens on a port: then `socketPath` is empty. */
  httpPort?: number
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
  /** Unix socket for frames; absent: it speaks none. */
  framesPath?: string
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
  /** Absent or null: no gRPC. */
  grpcPort?: number | null
  epoch: number
  revision: number
  /** Requests that chose a deployment and have not ended, those that wait for a replica included. */
  inFlight: { deploymentId: string; requests: number }[]
  /** What happened since the last report that was acknowledged. */
  traffic: TrafficReport[]
  /**
   * Number of the batch in `traffic`, growing by one within one process (`token`). A batch whose acknowledgement was
   * lost is sent again as it was, under its number: counting each number once counts each request once.
   */
  trafficSeq: number
  /** Requests of callers that are known by name, in the same batch. Absent: none. */
  callers?: { caller: string; requests: number }[]
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
   * answered; unless the endpoint is disabled that request is counted as `live` too, as failed and rescued. `member`:
   * what one member of a gather made of a request that is counted as `live` under the endpoint's own name.
   */
  origin: 'live' | 'shadow' | 'fallback' | 'member'
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
