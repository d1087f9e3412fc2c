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
    /** Address to listen on. Default `'127.0.0.1'`; anything beyond loopback also needs `anonymous: true`. */
    host?: string
    /** Default 8700. */
    port?: number
    /** Says that callers from other machines need no key. Default false. */
    anonymous?: boolean
  }
  storage?: {
    /** With less free disk than this, nothing new is started and nothing is written that can wait. Default `'200MB'`. */
    minFree?: Size
  }
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

/** @example { newData: 'data/weeks/*.parquet', atLeast: 2 } */
export interface TriggerInput {
  /** Glob, relative to the configuration file: train when files that match are new or changed. */
  newData: string
  /** So many files must be new or changed. Default 1. */
  atLeast?: number
  /** A file counts once its size and time have not changed for so long. Default `'5s'`. */
  settle?: Duration
}

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
}

export interface ReleaseInput {
  /**
   * `'better'` (default): when proven better than the champion; `'always'`: whatever passes the gate; `'manual'`: on
   * `millrace release`; `{ staleAfter: '7d' }`: when better, and also when the champion is older than that.
   */
  when?: 'better' | 'always' | 'manual' | { staleAfter: Duration }
  /** The whole traffic at once, with the previous version kept warm. */
  strategy?: 'immediate'
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

export interface ServingInput {
  /** Model-server processes per version. Default 2. */
  replicas?: number
  /** A request gets an answer or 504 within this. Default `'10s'`. */
  timeout?: Duration
  /** Larger requests get 413. Default `'16MB'`. */
  maxBody?: Size
  /** How long requests in flight may take to finish when a version goes. Default `'30s'`. */
  drain?: Duration
  /** Rows that one session run may take. Default 1024. */
  maxBatchRows?: number
}

export interface LogInput {
  /** `'relaxed'` (default): logged shortly after the answer; `'durable'`: on disk before the answer; `'off'`. */
  mode?: 'relaxed' | 'durable' | 'off'
  /** Percent of requests that are logged. Default 100. */
  sample?: number
}
