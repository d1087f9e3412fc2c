import type { LogMode } from '../kernel/contract/prediction.ts'
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
  gateway: { host: string; port: number }
  storage: { minFreeBytes: number }
  models: ModelConfig[]
}

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
}

/**
 * Files are Parquet or CSV by their ending, globs allowed. SQL is DuckDB's, run at the project's root over files and
 * the lake (`predictions`, one view per model, `labels`), with `getvariable('as_of')` as TIMESTAMP.
 */
export type DataSource = { kind: 'file'; path: string } | { kind: 'sql'; sql: string }

export type TriggerConfig = {
  kind: 'newData'
  /** Glob relative to `root`. */
  path: string
  /** A file counts once its size and time have not changed for so long. */
  settleMs: number
  /** Fires when at least so many files are new or changed since the last firing. */
  minFiles: number
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
}

export type LossName = 'logLoss' | 'brier' | 'squaredError' | 'absoluteError'

export interface ReleaseConfig {
  /** `better`: proven better than the champion; `staleAfter`: also when the champion is older; `always`; `manual`. */
  when: { kind: 'better' } | { kind: 'staleAfter'; ageMs: number } | { kind: 'always' } | { kind: 'manual' }
  strategy: 'immediate'
  preflight: { goldenRows: number; tolerance: number; timeoutMs: number }
}

export interface ServingConfig {
  replicas: number
  timeoutMs: number
  bodyLimitBytes: number
  drainMs: number
  /** Rows that one session run may take. */
  maxBatchRows: number
}

export interface LogConfig {
  mode: LogMode
  samplePercent: number
}
