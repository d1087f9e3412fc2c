import type { LogMode } from '../kernel/contract/prediction.ts'
import type { EndpointLimits, RouteKey } from '../kernel/contract/routing.ts'
import type { DeclaredTable } from '../kernel/features/feature-source.ts'
import type { Task } from '../kernel/model/signature.ts'

/**
 * The applied configuration with every default filled in: what a revision holds and every stage reads.
 * What a user writes (fields optional, durations as "15m", sizes as "200MB") is in schema.ts and becomes this.
 * Relative paths stay relative to `root`.
 */
export interface Project {
  name: string
  /** Folder of the configuration file, absolute. Commands run in a snapshot of it. */
  root: string
  /** Glob patterns left out of the code snapshot besides `.millrace`, `.git`, `node_modules`, `.venv`, `__pycache__`. */
  snapshotIgnore: string[]
  gateway: GatewayConfig
  storage: { minFreeBytes: number }
  alerts: AlertsConfig
  models: ModelConfig[]
  /** Besides one endpoint a model: those that ask several models at once. */
  endpoints: GatherEndpointConfig[]
}

/** The data port and the processes behind it. */
export interface GatewayConfig {
  host: string
  /** 0: any free one. */
  port: number
  /** Callers from other machines need no key. Those from this machine never do. */
  anonymous: boolean
  /** Paths of PEM files, relative to `root` or absolute. Null: plain HTTP. */
  tls: { certificate: string; key: string; clientAuthorities: string | null } | null
  /** Null: no gRPC; 0: any free one. */
  grpcPort: number | null
  /** Gateways that share the port. */
  processes: number
  /** Share of the requests that get a line in the access log. */
  accessLogPercent: number
  /** Of each gateway process. */
  limits: GatewayLimitsConfig
}

export interface GatewayLimitsConfig {
  connections: number
  /** Under way at once. */
  requests: number
  /** Of the request line and the headers together. */
  headBytes: number
  /** Requests of one connection that are read ahead of their answers. */
  pipelined: number
}

/** An endpoint that asks several models at once and makes one answer of theirs. */
export interface GatherEndpointConfig {
  /** Unlike every model's name and endpoint. */
  name: string
  members: GatherMemberConfig[]
  combine: CombineConfig
  /** What has not answered by then is absent. */
  deadlineMs: number
  /** So many answers at least, or the request fails. */
  quorum: number
  /** What a new version of a member has to show before its answers count. */
  join: {
    /** Copies of the gather's requests that it has answered. */
    requests: number
    /** Share of them that may have failed, 0 … 1. */
    maxErrorShare: number
  }
  timeoutMs: number
  bodyLimitBytes: number
  log: LogConfig
  limits: EndpointLimits
}

export interface GatherMemberConfig {
  model: string
  /** 1: its champion; more: so many of the versions released last, each a member of its own. */
  versions: number
  weight: number
}

/** `module`: the default export of a file, its path relative to `root`. */
export type CombineConfig =
  | { kind: 'all' | 'mean' | 'weighted' | 'vote' | 'first' }
  | { kind: 'module'; path: string; timeoutMs: number }

export type Importance = 'critical' | 'normal' | 'low'

export interface ModelConfig {
  name: string
  /** The stable name that clients call; the model's name unless said. */
  endpoint: string
  importance: Importance
  /** null: not declared; then versions are trained and registered, and released only on approval. */
  task: Task | null
  label: string | null
  /** For `binary`: the label's value that counts as positive, compared as text. Null: 1, true, "true", "yes". */
  positive: string | null
  holdout: DataSource | null
  /** Rows for the baseline profile; the holdout where this is null. */
  trainingRows: DataSource | null
  /** Columns that feed the inputs where the ONNX file does not name them. Null: taken from the holdout, in order. */
  features: string[] | null
  /** The output that is the score, where it can't be guessed. */
  scoreOutput: string | null
  triggers: TriggerConfig[]
  pipeline: PipelineConfig
  gate: GateConfig
  release: ReleaseConfig
  serving: ServingConfig
  log: LogConfig
  monitors: MonitorsConfig
  retirement: RetirementConfig
  serviceLevels: ServiceLevelConfig[]
}

/** Where alerts of every model go, besides `millrace alerts`. */
export interface AlertsConfig {
  webhooks: { url: string; minSeverity: Severity; timeoutMs: number }[]
}

export type Severity = 'info' | 'warning' | 'critical'

/**
 * Files are Parquet or CSV by their ending, globs allowed. SQL is DuckDB's, run at the project's root over files and
 * the lake (`predictions`, one view per model, `labels`), with `getvariable('as_of')` as TIMESTAMP.
 */
export type DataSource = { kind: 'file'; path: string } | { kind: 'sql'; sql: string }

/** `name` is unique within a model: the user's, else its kind and its place among those of its kind, `cron-1`. */
export type TriggerConfig = NewDataTrigger | CronTrigger | AlarmTrigger

export interface NewDataTrigger {
  kind: 'newData'
  name: string
  /** Glob relative to `root`. */
  path: string
  /** A file counts once its size and time have not changed for so long. */
  settleMs: number
  /** Fires when at least so many files are new or changed since the last firing. */
  minFiles: number
}

export interface CronTrigger {
  kind: 'cron'
  name: string
  /** Five fields as crontab(5) has them, in calendar time. */
  cron: string
  /** IANA name, `UTC` unless said. */
  timeZone: string
  /** What of the times that passed while Millrace was down or the trigger was paused: nothing, the last, or each. */
  catchUp: 'none' | 'last' | 'all'
  /** False: not while a run of the model is open; that time is skipped, and said. */
  overlap: boolean
}

/** Trains when a monitor of this model raises its alarm. */
export interface AlarmTrigger {
  kind: 'alarm'
  name: string
  /** Names of monitors; empty: any. */
  monitors: string[]
  /** Calendar time after a firing in which it does not fire again. */
  coolDownMs: number
  /** At most so many in 24 hours of calendar time. */
  perDay: number
}

export interface PipelineConfig {
  steps: StepConfig[]
  /** Passed to every step; a run may override them. */
  params: Record<string, string | number | boolean>
  seed: number
}

export interface StepConfig {
  name: string
  /** Run by /bin/sh in the step's folder of the snapshot. */
  command: string
  /** Append the run's parameters to the command as `--name value`. */
  args: boolean
  /** Relative to the snapshot's root. */
  workingDir: string
  /** Names of the steps that must have succeeded. */
  needs: string[]
  /** MILLRACE_INPUT_<NAME>: a path, another step's output (`steps.<name>` or `steps.<name>/<file>`), or a query. */
  inputs: { name: string; source: DataSource | { kind: 'step'; step: string; file: string | null } }[]
  environment: EnvironmentConfig
  env: Record<string, string>
  timeoutMs: number
  /** Attempts after the first. */
  retries: number
  /** Wait before the first retry; doubles each time, at most 5 minutes. */
  backoffMs: number
  /** More output than this is cut in the middle. */
  logLimitBytes: number
}

export type EnvironmentConfig =
  | { kind: 'inherit' }
  | { kind: 'python'; python: string; lock: string }
  | { kind: 'node'; node: string; lock: string }

export interface GateConfig {
  /** Metric bounds, e.g. `{ metric: 'auc', min: 0.7 }`. */
  thresholds: { metric: string; min: number | null; max: number | null }[]
  /** The per-row loss that is compared: `logLoss` or `brier`; `squaredError` or `absoluteError`. */
  loss: LossName
  /** `superiority`: must be better than the champion; `nonInferiority`: may be worse by at most `margin`. */
  comparison: 'superiority' | 'nonInferiority'
  /** In units of the loss. With superiority: must be better by more than this. */
  margin: number
  /** One-sided error of the comparison. */
  alpha: number
  resamples: number
  /** Column whose values are resampled whole. */
  cluster: string | null
  /** Fewer rows (or clusters) than this: inconclusive. */
  minRows: number
  minClusters: number
  /** Spread of the last versions on the current holdout. */
  stability: {
    /** So many of the newest versions, the new one included, are measured on the current holdout. */
    versions: number
    /** Largest standard deviation of their mean losses, in units of the loss; null: told, never judged. */
    maxSpread: number | null
  }
}

export type LossName = 'logLoss' | 'brier' | 'squaredError' | 'absoluteError'

export interface ReleaseConfig {
  /** `better`: proven better than the champion; `staleAfter`: also when the champion is older; `always`; `manual`. */
  when: { kind: 'better' } | { kind: 'staleAfter'; ageMs: number } | { kind: 'always' } | { kind: 'manual' }
  /** `immediate`: all traffic at once; `canary`: by growing shares; `shadow`: copies first, then the canary. */
  strategy: 'immediate' | 'canary' | 'shadow'
  canary: CanaryConfig
  shadow: ShadowConfig
  preflight: { goldenRows: number; tolerance: number; timeoutMs: number }
}

/** How the challenger is judged against the champion that serves beside it. Times are real time. */
export interface CanaryConfig {
  /** In order, growing, each below 100: after the last comes all traffic. */
  steps: { weightPercent: number; soakMs: number }[]
  /** Requests that the challenger must have answered within a step. */
  minRequests: number
  /** Labelled requests of the challenger over the whole canary before it may be promoted; 0: labels are not waited for. */
  minLabels: number
  /** Of the whole canary; then it is held and a person is asked. */
  maxTimeMs: number
  /** Chance of rolling back a challenger that is no worse, over the whole canary and all of its looks. */
  alpha: number
  margins: {
    /** Relative: the challenger's error rate may be so many times the champion's, at least 1. */
    errors: number
    /** Relative, of p50 and p99, at least 1. */
    latency: number
    /** Largest population stability index of the predictions of the two arms. */
    predictionShift: number
    /** In units of the gate's loss. */
    loss: number
  }
}

export interface ShadowConfig {
  /** Share of the live requests that are copied. */
  sharePercent: number
  soakMs: number
  minRequests: number
  minLabels: number
  maxTimeMs: number
}

export type MonitorKind =
  | 'drift' // PSI of an input against the baseline profile
  | 'predictionDrift' // PSI of the predictions
  | 'missing' // share of missing values of an input
  | 'unseen' // share of values of an input that the baseline profile does not know
  | 'predictedActual' // sum of predictions ÷ sum of labels
  | 'quality' // mean loss on matured labels against the evaluation's
  | 'traffic' // requests per window: too many, too few
  | 'silence' // no request for so long
  | 'modelAge' // since the champion was trained

/** What a monitor does about its alarm besides telling. */
export type MonitorResponse = 'tell' | 'retrain' | 'rollBack' | 'freeze'

export interface MonitorsConfig {
  /** Calendar time; windows follow each other without gaps or overlap, from midnight UTC. */
  windowMs: number
  /** Labels that come later than this after the prediction are not waited for (calendar). */
  labelDelayMs: number
  /** Those that are on. */
  monitors: MonitorConfig[]
}

export interface MonitorConfig {
  /** Unique within the model: its kind. */
  name: MonitorKind
  /**
   * By kind: PSI; PSI; increase of the share; the share; largest ratio (and 1 ÷ it); increase of the mean loss;
   * null; milliseconds; milliseconds.
   */
  limit: number | null
  /** `traffic` only, requests per window; null: no bound. */
  min: number | null
  max: number | null
  /** Rows (or labels) without which a window says nothing. */
  minRows: number
  /** Chance must be excluded at this level before an effect counts. */
  alpha: number
  /** Columns to watch; empty: every input. */
  columns: string[]
  severity: Severity
  response: MonitorResponse
  /** Bad windows in a row that raise the alarm, good ones in a row that clear it. */
  raiseAfter: number
  clearAfter: number
  /** A line for whoever reads the alert. */
  runbook: string | null
}

/** When a version goes. All times are calendar time. The in-use guard stands above all of it. */
export interface RetirementConfig {
  /** Of the versions that are out of service, so many of the newest stay whatever the other policies say. */
  keepLast: number
  /** null: age alone proposes nothing. */
  maxAgeMs: number | null
  /** A version that nobody called for so long, and for twice its longest gap between calls. */
  idleMs: number | null
  /** Propose what was superseded and is neither champion nor previous. */
  superseded: boolean
  /** Cold versions are deleted after this. */
  deleteAfterMs: number
  /** A version that was called by its number counts as used for so long. */
  pinMs: number
  outdated: {
    /** Labelled window on which the versions in service are measured again. */
    windowMs: number
    minRows: number
    /** Mean loss above that of a constant by more than this falls below the floor, in units of the gate's loss. */
    margin: number
  } | null
}

export type ServiceLevelName =
  | 'triggerPunctuality'
  | 'runSuccess'
  | 'evaluationValidity'
  | 'leadTime'
  | 'availability'
  | 'latency'
  | 'logLag'
  | 'monitorFreshness'
  | 'modelAge'
  | 'retirementSafety'

export interface ServiceLevelConfig {
  name: ServiceLevelName
  /** Share of good events, 0 … 1. */
  objective: number
  /** What makes an event good, where it is a duration: at most so many ms. Null where it is yes or no. */
  thresholdMs: number | null
  windowMs: number
  /** What a spent budget does: `tell`, or `freeze` automatic release. */
  effect: 'tell' | 'freeze'
}

/** What an endpoint answers where no live version can, or while it is disabled. */
export type FallbackConfig =
  | { kind: 'error' }
  | { kind: 'constant'; outputs: Record<string, number | string | boolean> }
  /** `late-flight@3`; it is kept warm. */
  | { kind: 'version'; version: string }

export interface ServingConfig {
  replicas: ReplicasConfig
  timeoutMs: number
  bodyLimitBytes: number
  drainMs: number
  /** Rows that one session run may take. */
  maxBatchRows: number
  /** Which models run in a process of their own: heavy ones, or whatever was said. */
  isolate: 'auto' | 'always' | 'never'
  fallback: FallbackConfig
  /** The same value leads to the same version for as long as the shares stand. Null: each request is drawn. */
  sticky: RouteKey | null
  /** The first that fits decides. */
  rules: RuleConfig[]
  /** Null where there is none. */
  limits: EndpointLimits
  /** What serves instead of Millrace's own server; null: that one. */
  server: ServerConfig | null
  /** Tables that come with each version and give some of the model's columns to requests. */
  enrich: DeclaredTable[]
  /** Makes what the model is fed of what callers send; null: they send what it is fed. */
  prepare: PrepareConfig | null
}

/** Any command that speaks the Open Inference Protocol v2 over HTTP on the port that it is given. */
export interface CommandConfig {
  /** Run by /bin/sh. */
  command: string
  environment: EnvironmentConfig
  env: Record<string, string>
  /** What it calls the model. */
  modelName: string
  readyTimeoutMs: number
}

/** It stands before the model. */
export interface PrepareConfig extends CommandConfig {
  /** One request may take it so long. */
  timeoutMs: number
}

/** It is the model's server. */
export interface ServerConfig extends CommandConfig {
  /** False: a request must not be computed twice, so that it is retried only where nothing was sent. */
  isPure: boolean
}

/** How many model servers a version has. Where `min` is `max` the load plays no part. */
export interface ReplicasConfig {
  /** 0: none while nobody calls. */
  min: number
  max: number
  /** Requests at once that one replica is to have on average. */
  targetConcurrency: number
  /** Without a request for so long it goes to zero, where `min` is 0. Real time. */
  idleMs: number
  /** A request that finds no replica waits so long for one. */
  wakeMs: number
}

export interface RuleConfig {
  key: RouteKey
  equals: string
  /** `champion`, `previous`, `challenger` or the number of a version. */
  version: string
}

export interface LogConfig {
  mode: LogMode
  samplePercent: number
}
