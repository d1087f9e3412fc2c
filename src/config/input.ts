/**
 * What a user writes, in millrace.config.ts or millrace.yaml. Only a model's name and its training command are
 * required. schema.ts checks it and fills in the defaults; docs/reference/config.md lists every field.
 */

/** A number and a unit: `"500ms"`, `"10s"`, `"15m"`, `"2h"`, `"7d"`, `"2w"`. */
export type Duration = string

/** A number and a unit: `"512B"`, `"200MB"` (millions of bytes), `"16MiB"` (1,048,576 bytes each). */
export type Size = string

/**
 * Rows: a Parquet or CSV file (globs allowed, relative to the configuration file), or a DuckDB query.
 * @example 'data/holdout.parquet'
 * @example { sql: "select * from 'data/weeks/*.parquet' where day >= getvariable('as_of') - interval 14 days" }
 */
export type SourceInput = string | { sql: string }

export interface ProjectInput {
  /** Lower-case letters, digits and hyphens, at most 40. */
  name: string
  /** One entry per model: its name and what Millrace does with it. */
  models: Record<string, ModelInput>
  /** Where clients send requests. Default: 127.0.0.1, port 8700. */
  gateway?: {
    /** Address to listen on. Default `'127.0.0.1'`. Callers from other machines need a key or a certificate. */
    host?: string
    /** Default 8700. */
    port?: number
    /** Callers from other machines need none either. Default false. */
    anonymous?: boolean
    /** PEM files, relative to the configuration file or absolute; read anew when they change. Default: plain HTTP. */
    tls?: {
      certificate: string
      key: string
      /** Callers must show a certificate that one of these has signed. */
      clientAuthorities?: string
    }
    /** Port for gRPC; 0 takes any free one. Default `false`: none. */
    grpcPort?: number | false
    /** Gateway processes that share the port. Default 1. */
    processes?: number
    /** Percent of the requests that get a line in the access log. Default 0. */
    accessLog?: number
    /** Of each gateway process. */
    limits?: {
      /** Default 8192. */
      connections?: number
      /** Requests at once, over all connections; more get 503. Default 4096. */
      requests?: number
      /** Bytes of the request line and the headers together. Default 16384. */
      headBytes?: number
      /** Requests of one connection that are read ahead of their answers. Default 16. */
      pipelined?: number
    }
  }
  /** Endpoints that ask several models at once, by name. Each model has one of its own besides. */
  endpoints?: Record<string, GatherEndpointInput>
  storage?: {
    /** With less free disk than this, nothing new is started and nothing is written that can wait. Default `'200MB'`. */
    minFree?: Size
  }
  /** Where alerts go besides `millrace alerts`. */
  alerts?: AlertsInput
  /** Globs of files that are no code: left out of the snapshot that each run works in. */
  snapshotIgnore?: string[]
}

/**
 * @example
 * { task: 'binary', label: 'late', holdout: 'data/holdout.parquet', train: 'python train.py' }
 */
export interface ModelInput {
  /** The training command, run by /bin/sh in a copy of your folder; it writes `$MILLRACE_MODEL_DIR/model.onnx`. */
  train?: string | StepInput
  /** Several steps instead of one `train`; exactly one of them writes the model. */
  steps?: Record<string, string | StepInput>
  /** Passed to every step as `--name value`, as MILLRACE_PARAM_<NAME> and in the JSON file MILLRACE_PARAMS. */
  params?: Record<string, string | number | boolean>
  /** MILLRACE_SEED. Default 0. */
  seed?: number
  /** What the steps run in, unless a step says otherwise. Default `'inherit'`. */
  environment?: EnvironmentInput
  /** What is predicted: a probability of yes, or a number. */
  task?: 'binary' | 'regression'
  /** The column to predict. */
  label?: string
  /** The label's value that means yes, for `binary`. Default: 1, true, "true" or "yes". */
  positive?: string | number | boolean
  /** Rows that no training has seen; Millrace measures every version on them. */
  holdout?: SourceInput
  /** Rows for the baseline profile. Default: the holdout. */
  trainingRows?: SourceInput
  /** Input columns in the model's order, where the ONNX file does not name them. */
  features?: string[]
  /** The model output that is the score, where it can't be guessed. */
  scoreOutput?: string
  /** What starts a training besides `millrace train`. */
  on?: TriggerInput | TriggerInput[]
  gate?: GateInput
  release?: ReleaseInput
  serving?: ServingInput
  log?: LogInput
  monitors?: MonitorsInput
  /** When a version goes. What is in use never does. */
  retirement?: RetirementInput
  /** What is promised, with defaults from `importance`: an objective, `false`, or more of it. */
  slos?: ServiceLevelsInput
  /** The name that clients call. Default: the model's name. */
  endpoint?: string
  /** Default `'normal'`. */
  importance?: 'critical' | 'normal' | 'low'
}

/** @example { run: 'python train.py', needs: ['features'], inputs: { rows: 'steps.features/rows.parquet' } } */
export interface StepInput {
  /** The command, run by /bin/sh. */
  run: string
  /** Folder to run it in, relative to the configuration file. Default `'.'`. */
  dir?: string
  /** Steps that must have succeeded. Steps read in `inputs` are added by themselves. */
  needs?: string[]
  /** MILLRACE_INPUT_<NAME>: a path or glob, `'steps.<name>'` or `'steps.<name>/<file>'`, or a query. */
  inputs?: Record<string, SourceInput>
  /** Append the parameters to the command as `--name value`. Default true. */
  args?: boolean
  environment?: EnvironmentInput
  /** Further environment variables. */
  env?: Record<string, string | number | boolean>
  /** The step and all it started are stopped after this. Default `'1h'`. */
  timeout?: Duration
  /** Attempts after the first. Default 0. */
  retries?: number
  /** Wait before the first retry; doubles each time, at most 5 minutes. Default `'10s'`. */
  backoff?: Duration
  /** More output than this is cut in the middle. Default `'10MB'`. */
  logLimit?: Size
}

/**
 * `'inherit'`: what Millrace was started in (versions are marked as not reproducible). With a lock file Millrace builds
 * one environment per lock and keeps it.
 * @example { python: '3.11', lock: 'requirements.lock' }
 * @example { node: '24', lock: 'package-lock.json' }
 */
export type EnvironmentInput = 'inherit' | { python: string; lock: string } | { node: string; lock: string }

export type TriggerInput = NewDataTriggerInput | CronTriggerInput | AlarmTriggerInput

/** @example { newData: 'data/weeks/*.parquet', atLeast: 2 } */
export interface NewDataTriggerInput {
  /** Glob, relative to the configuration file: train when files that match are new or changed. */
  newData: string
  /** Shown by `millrace triggers`. Default: `newData-1` and so on. */
  name?: string
  /** So many files must be new or changed. Default 1. */
  atLeast?: number
  /** A file counts once its size and time have not changed for so long. Default `'5s'`. */
  settle?: Duration
}

/** @example { cron: '0 3 * * 1', timeZone: 'Europe/Berlin' } */
export interface CronTriggerInput {
  /** Minute, hour, day of the month, month, day of the week, as crontab(5) has them: `'0 3 * * 1'` is Mondays at 3. */
  cron: string
  /** Default: `cron-1` and so on. */
  name?: string
  /** IANA name. Default `'UTC'`. */
  timeZone?: string
  /** Of the times that passed while Millrace was down or the trigger paused: none, the last (default), or each. */
  catchUp?: 'none' | 'last' | 'all'
  /** Also while a run of the model is open. Default false: that time is skipped. */
  overlap?: boolean
}

/** Train when a monitor raises its alarm. @example { alarm: ['drift', 'quality'], coolDown: '2d' } */
export interface AlarmTriggerInput {
  /** Which monitors, or `'any'`. */
  alarm: 'any' | MonitorName[]
  /** Default: `alarm-1` and so on. */
  name?: string
  /** Does not fire again within this. Default `'1d'`. */
  coolDown?: Duration
  /** At most so many in 24 hours. Default 1. */
  perDay?: number
}

export type MonitorName =
  | 'drift'
  | 'predictionDrift'
  | 'missing'
  | 'unseen'
  | 'predictedActual'
  | 'quality'
  | 'traffic'
  | 'silence'
  | 'modelAge'

export type BinaryMetric =
  | 'auc'
  | 'logLoss'
  | 'brier'
  | 'accuracy'
  | 'precision'
  | 'recall'
  | 'f1'
  | 'ece'
  | 'calibration'
export type RegressionMetric = 'rmse' | 'mae' | 'mape' | 'r2'

/** @example { metrics: { auc: { min: 0.7 } }, versusChampion: 'nonInferiority', margin: 0.005, cluster: 'day' } */
export interface GateInput {
  /** Bounds that a version must keep, e.g. `{ auc: { min: 0.7 }, brier: { max: 0.2 } }`. */
  metrics?: Partial<Record<BinaryMetric | RegressionMetric, { min?: number; max?: number }>>
  /** The loss per row that is compared. Default: `'logLoss'` for binary, `'squaredError'` for regression. */
  loss?: 'logLoss' | 'brier' | 'squaredError' | 'absoluteError'
  /**
   * `'superiority'`: must be better than the champion by more than `margin`; `'nonInferiority'`: may be worse by at most
   * `margin`. Default: nonInferiority for binary, superiority for regression.
   */
  versusChampion?: 'superiority' | 'nonInferiority'
  /** In units of the loss. Default with nonInferiority: 0.005 log loss, 0.002 Brier; with superiority: 0. */
  margin?: number
  /** One-sided error of the comparison. Default 0.05. */
  alpha?: number
  /** Bootstrap resamples. Default 2000. */
  resamples?: number
  /** Column whose rows belong together (day, user); whole values are resampled. */
  cluster?: string
  /** With fewer holdout rows the verdict is `inconclusive`. Default 200. */
  minRows?: number
  /** The same for values of `cluster`. Default 10. */
  minClusters?: number
  /** How far the newest versions lie apart on the holdout of today: whether training gives the same model twice. */
  stability?: {
    /** So many of the newest versions, the new one included. Default 5. */
    versions?: number
    /** Largest standard deviation of their mean losses. Default: 4 × `margin` where there is one. `false`: told only. */
    maxSpread?: number | false
  }
}

export interface ReleaseInput {
  /**
   * `'better'` (default): when proven better than the champion; `'always'`: whatever passes the gate; `'manual'`: on
   * `millrace release`; `{ staleAfter: '7d' }`: when better, and also when the champion is older than that.
   */
  when?: 'better' | 'always' | 'manual' | { staleAfter: Duration }
  /**
   * `'canary'` (default): by growing shares, each compared with the champion that serves beside it; `'shadow'`: copies of
   * the traffic first, then the canary; `'immediate'`: all traffic at once. A first version takes all at once.
   */
  strategy?: 'canary' | 'shadow' | 'immediate'
  canary?: CanaryInput
  shadow?: ShadowInput
  /** The check of a started version before it gets traffic. */
  preflight?: {
    /** Holdout rows that are sent through the server and compared with the evaluation. Default 100. */
    rows?: number
    /** Largest difference allowed. Default 0.00001. */
    tolerance?: number
    /** Default `'60s'`. */
    timeout?: Duration
  }
}

/** @example { weights: [5, 25, 50], soak: '30m', minRequests: 500 } */
export interface CanaryInput {
  /** Shares of the traffic in growing order, with the time that each lasts at least. Or use `weights` and `soak`. */
  steps?: {
    /** Percent. */
    weight: number
    /** Default: the canary's. */
    soak?: Duration
  }[]
  /** Percentages in growing order. Default `[10, 50]`. */
  weights?: number[]
  /** Each step lasts so long at least. Default `'10m'`. */
  soak?: Duration
  /** Requests that the new version must have answered within a step. Default 100. */
  minRequests?: number
  /** Labelled requests of the new version before it is promoted. Default 0: labels are not waited for. */
  minLabels?: number
  /** Then it is held, and a person is asked. Default `'1d'`. */
  maxTime?: Duration
  /** Chance of rolling back a version that is no worse, over the whole canary. Default 0.01. */
  alpha?: number
  /** What counts as harm when it is proven. */
  margins?: {
    /** The error rate may be so many times the champion's. Default 1. */
    errors?: number
    /** So may the latencies p50 and p99. Default 1.5. */
    latency?: number
    /** Largest population stability index between the predictions of the two. Default 0.25. */
    predictionShift?: number
    /** How much worse the loss may be. Default: the gate's margin where that is for non-inferiority, else 0. */
    loss?: number
  }
}

/** Copies of live requests, whose answers are compared and thrown away. */
export interface ShadowInput {
  /** Percent of the requests that are copied. Default 100. */
  share?: number
  /** Lasts so long at least. Default `'10m'`. */
  soak?: Duration
  /** Copies that must have been answered. Default 100. */
  minRequests?: number
  /** Copies that must have a label. Default 0. */
  minLabels?: number
  /** Then it is held, and a person is asked. Default `'1d'`. */
  maxTime?: Duration
}

export interface ServingInput {
  /** Model-server processes per version: so many, or as many as the load needs. Default 2. */
  replicas?: number | ReplicasInput
  /** A request gets an answer or 504 within this. Default `'10s'`. */
  timeout?: Duration
  /** Larger requests get 413. Default `'16MB'`. */
  maxBody?: Size
  /** How long requests in flight may take to finish when a version goes. Default `'30s'`. */
  drain?: Duration
  /** Rows that one session run may take. Default 1024. */
  maxBatchRows?: number
  /**
   * Whether the model runs in a process of its own, so that its runs hold up neither health nor other work of its server:
   * a heavy one (default), `'always'` or `'never'`.
   */
  isolate?: 'auto' | 'always' | 'never'
  /**
   * What is answered where no version can, or while the endpoint is disabled: an error (default), the same outputs for
   * every row, or a version that is kept warm.
   */
  fallback?: 'error' | { constant: Record<string, number | string | boolean> } | { version: string }
  /**
   * Requests with the same value of a header, or of one of the request's parameters, go to the same version for as long
   * as the shares stand. Default: each request is drawn by itself.
   */
  sticky?: { header: string } | { parameter: string }
  /** Requests that belong to a certain version; the first rule that fits decides. */
  rules?: RuleInput[]
  limits?: EndpointLimitsInput
  /** A command of your own serves the model instead of Millrace's server: any that speaks the Open Inference Protocol v2. */
  server?: ServerInput
  /**
   * Tables that a step writes beside the model: each comes with its version, and gives columns of the model to requests
   * that have only the key.
   */
  enrich?: EnrichInput[]
  /**
   * A command of your own stands before the model: it takes what callers send, and answers with the inputs of the ONNX
   * file. The holdout has the columns that callers send.
   */
  prepare?: PrepareInput
}

/** @example { command: 'python prepare.py' } */
export interface PrepareInput {
  /**
   * Run by /bin/sh beside each replica, with the files of the version in `$MILLRACE_MODEL_DIR`. It listens on
   * 127.0.0.1:`$PORT`, speaks the Open Inference Protocol v2 and calls what it does `$MILLRACE_MODEL_NAME`.
   */
  command: string
  /** Default: the model's. */
  environment?: EnvironmentInput
  /** Further environment variables. */
  env?: Record<string, string | number | boolean>
  /** What the command calls it, `/v2/models/<name>`. Default: the model's name. */
  model?: string
  /** It must be ready within this. Default `'2m'`. */
  readyTimeout?: Duration
  /** One request may take it so long, and no longer than its caller waits. Default: `serving.timeout`. */
  timeout?: Duration
}

/** @example { table: 'customers.parquet', key: 'customer', columns: ['visits', 'spent'], staleness: '2d' } */
export interface EnrichInput {
  /** The Parquet file, inside of MILLRACE_MODEL_DIR: one row per key, at most 1,000,000 and 256 MiB. */
  table: string
  /** The column by which rows are found: callers send it, as an input or, for all rows of a request, as a parameter. */
  key: string | { parameter: string }
  /** Columns of the model that the table gives. Callers don't send them. */
  columns: string[]
  /** The table is stale when the run that made it is longer ago. Default: never. */
  staleness?: Duration
  /**
   * What an unknown key gets: an error (default), `'default'` for NaN, 0, false or empty text, or a value for each column.
   */
  missing?: 'error' | 'default' | Record<string, number | string | boolean>
  /** What a stale table does to a request: an error (default), or it is used all the same. */
  stale?: 'error' | 'use'
}

/** @example { command: 'mlserver start "$MILLRACE_MODEL_DIR"' } */
export interface ServerInput {
  /**
   * Run by /bin/sh with the files of the version in `$MILLRACE_MODEL_DIR`. It listens on 127.0.0.1:`$PORT` and serves the
   * model `$MILLRACE_MODEL_NAME`.
   */
  command: string
  /** Default: the model's. */
  environment?: EnvironmentInput
  /** Further environment variables. */
  env?: Record<string, string | number | boolean>
  /** What the server calls the model. Default: the model's name. */
  model?: string
  /** It must be ready within this. Default `'2m'`. */
  readyTimeout?: Duration
  /** False: a request must not be computed twice, so it is not sent to another replica once it was sent. Default true. */
  pure?: boolean
}

/** @example { min: 1, max: 8, targetConcurrency: 4 } */
export interface ReplicasInput {
  /** Default 1; 0: none while nobody calls. */
  min?: number
  max: number
  /** Requests at once that one replica is to have on average. Default 8. */
  targetConcurrency?: number
  /** Without a request for so long it goes to zero, where `min` is 0. Default `'10m'`. */
  idle?: Duration
  /** A request that finds no replica waits so long for one. Default: `timeout`, at most `'30s'`. */
  wake?: Duration
}

/** @example { header: 'x-group', equals: 'beta', version: 'challenger' } */
export type RuleInput = ({ header: string } | { parameter: string }) & {
  equals: string
  /** `'champion'`, `'previous'`, `'challenger'`, or the number of a version. */
  version: string | number
}

export interface EndpointLimitsInput {
  /** Requests at once; more get 503. Default: no limit but the gateway's. */
  concurrency?: number
  /** Requests at once of one caller; more get 429. Default: no limit. */
  perCaller?: number
}

/** @example { gather: { members: ['late-flight', 'late-flight-trees'], combine: 'mean' } } */
export interface GatherEndpointInput {
  gather: {
    /** Models, all of which are asked at once. */
    members: (
      | string
      | {
          model: string
          /** So many of the versions released last, each a member of its own. Default 1: the champion. */
          versions?: number
          /** For `combine: 'weighted'`. Default 1. */
          weight?: number
        }
    )[]
    /** How their answers become one. Default `'all'`: every answer by its member's name. */
    combine?:
      | 'all'
      | 'mean'
      | 'weighted'
      | 'vote'
      | 'first'
      | {
          /** A TypeScript or JavaScript file whose default export makes one answer of several. */
          module: string
          /** Default `'100ms'`. */
          timeout?: Duration
        }
    /** Who has not answered by then is absent. Default `'1s'`. */
    deadline?: Duration
    /** With fewer answers the request fails. Default 1. */
    quorum?: number
    /** What a new version has to show before its answers count. */
    join?: {
      /** Copies of requests that it has answered. Default 100. */
      requests?: number
      /** Share of them that may have failed. Default 0.01. */
      maxErrorShare?: number
    }
  }
  /** A request gets an answer or 504 within this. Default `'10s'`. */
  timeout?: Duration
  /** Larger requests get 413. Default `'16MB'`. */
  maxBody?: Size
  log?: LogInput
  limits?: EndpointLimitsInput
}

export interface LogInput {
  /** `'relaxed'` (default): logged shortly after the answer; `'durable'`: on disk before the answer; `'off'`. */
  mode?: 'relaxed' | 'durable' | 'off'
  /** Percent of requests that are logged. Default 100. */
  sample?: number
}

/** Every monitor is on unless it says otherwise: `false` turns it off. */
export interface MonitorsInput {
  /** Length of a window. Windows follow each other from midnight UTC. Default `'1d'`. */
  window?: Duration
  /** Labels that come later than this after the prediction are not waited for. Default `'1d'`. */
  labelDelay?: Duration
  /** Inputs against the baseline profile. */
  drift?:
    | boolean
    | ({
        /** Largest population stability index. Default 0.25. */
        psi?: number
      } & ColumnMonitorInput)
  /** Predictions against the baseline profile. */
  predictionDrift?:
    | boolean
    | ({
        /** Largest population stability index. Default 0.25. */
        psi?: number
      } & SampleMonitorInput)
  /** Missing values of an input. */
  missing?:
    | boolean
    | ({
        /** Largest rise of their share over the baseline profile's. Default 0.05. */
        moreBy?: number
      } & ColumnMonitorInput)
  /** Values of an input that the baseline profile does not know. */
  unseen?:
    | boolean
    | ({
        /** Their largest share. Default 0.05. */
        share?: number
      } & ColumnMonitorInput)
  /** Sum of the predictions divided by the sum of the labels. */
  predictedActual?:
    | boolean
    | ({
        /** Neither above this nor below 1 divided by it. Default 1.25. */
        ratio?: number
      } & SampleMonitorInput)
  /** Mean loss on labelled predictions against the evaluation's. */
  quality?:
    | boolean
    | ({
        /** Largest rise, in units of the gate's loss. Default 0.05 log loss, 0.02 Brier; for others it must be said. */
        worseBy?: number
      } & SampleMonitorInput)
  /** Requests per window. Off unless declared. */
  traffic?:
    | false
    | ({
        /** Fewer are too few. */
        min?: number
        /** More are too many. */
        max?: number
      } & WindowMonitorInput)
  /** No request at all. Off unless declared. */
  silence?:
    | false
    | ({
        /** For so long. */
        after: Duration
      } & AnyMonitorInput)
  /** An old champion. Off unless declared. */
  modelAge?:
    | false
    | ({
        /** Trained longer ago than this. */
        after: Duration
      } & AnyMonitorInput)
}

export interface AnyMonitorInput {
  /** What is done about its alarm besides telling. Default `'tell'`. */
  then?: 'tell' | 'retrain' | 'rollBack' | 'freeze'
  /** Default `'warning'`. */
  severity?: 'info' | 'warning' | 'critical'
  /** A line for whoever reads the alert. */
  runbook?: string
}

export interface WindowMonitorInput extends AnyMonitorInput {
  /** Bad windows in a row that raise the alarm. Default 2. */
  raiseAfter?: number
  /** Good windows in a row that clear it. Default 2. */
  clearAfter?: number
}

export interface SampleMonitorInput extends WindowMonitorInput {
  /** With fewer rows (or labels) a window says nothing. Default 200. */
  minRows?: number
  /** Chance must be excluded at this level. Default 0.001. */
  alpha?: number
}

export interface ColumnMonitorInput extends SampleMonitorInput {
  /** Default: every input. */
  columns?: string[]
}

/** @example { keepLast: 10, idle: '14d', deleteAfter: '30d' } */
export interface RetirementInput {
  /** Of the versions out of service the newest so many stay, whatever else is said. Default 5. */
  keepLast?: number
  /** Propose what is older. Default `false`. */
  maxAge?: Duration | false
  /** Propose what nobody called for so long, and for twice its longest gap between calls. Default `'7d'`. */
  idle?: Duration | false
  /** Propose what was superseded and is neither champion nor previous. Default true. */
  superseded?: boolean
  /** What is stopped and cold is deleted after this. Default `'90d'`. */
  deleteAfter?: Duration
  /** A version called by its number counts as used for so long. Default `'30d'`. */
  pin?: Duration
  /** Measure what is in service again on the newest labelled window, and propose what falls below a constant's loss. */
  outdated?:
    | false
    | {
        /** Default `'7d'`. */
        window?: Duration
        /** With fewer labelled rows nothing is said. Default 500. */
        minRows?: number
        /** Worse than the constant by more than this, in units of the gate's loss. Default 0. */
        margin?: number
      }
}

/** @example { availability: 0.999, latency: { objective: 0.99, within: '100ms' }, modelAge: false } */
export interface ServiceLevelsInput {
  /** Runs that start in time after their trigger was due. */
  triggerPunctuality?: TimedLevelInput
  /** Runs that succeed. Spent: automatic release freezes. */
  runSuccess?: LevelInput
  /** Evaluations that come to a verdict. Spent: automatic release freezes. */
  evaluationValidity?: LevelInput
  /** From the end of training to the first answer of the new version. */
  leadTime?: TimedLevelInput
  /** Requests answered without failure. */
  availability?: LevelInput
  /** Requests answered in time; `within` is one of 1, 2, 5, 10, 20, 50, 100, 200, 500 ms, 1, 2, 5, 10 s. */
  latency?: TimedLevelInput
  /** How far the prediction log lags behind, looked at every five minutes. */
  logLag?: TimedLevelInput
  /** How late monitors evaluate a complete window, looked at every hour. */
  monitorFreshness?: TimedLevelInput
  /** How long ago the champion was trained, looked at every hour. */
  modelAge?: TimedLevelInput
  /** Retired versions that nobody had to bring back. */
  retirementSafety?: LevelInput
}

/** An objective, a share above 0 and below 1; `false`: not measured against one. */
export type LevelInput = false | number | LevelDetails

export type TimedLevelInput =
  | false
  | number
  | (LevelDetails & {
      /** What takes longer is bad. */
      within?: Duration
    })

export interface LevelDetails {
  objective?: number
  /** Default `'30d'`. */
  window?: Duration
  /** What a spent budget does: tell, or freeze automatic release until it is back. */
  then?: 'tell' | 'freeze'
}

/** @example { webhook: 'https://hooks.example/millrace' } */
export interface AlertsInput {
  /** Gets a POST with JSON for each alert that fires or is resolved. */
  webhook?: WebhookInput | WebhookInput[]
}

export type WebhookInput =
  | string
  | {
      url: string
      /** Default `'warning'`. */
      minSeverity?: 'info' | 'warning' | 'critical'
      /** Default `'5s'`. */
      timeout?: Duration
    }
