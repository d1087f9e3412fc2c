import type { LossName } from '../../config/project.ts'
import type { ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import type { BcaInterval } from '../../kernel/stats/bootstrap.ts'
import type { AucDifference } from '../../kernel/stats/delong.ts'
import type { Constant } from './losses.ts'
import type { Metrics } from './metrics.ts'

/** Everything that was measured on the holdout; the gate decides by it and by nothing else. Plain JSON. */
export interface EvaluationFigures {
  task: Task
  lossName: LossName
  rows: number
  /** Different values of the cluster column; null where none is declared. */
  clusters: number | null
  signature: Signature
  scoreOutput: ScoreOutput
  metrics: Metrics
  /** Mean of the per-row loss. */
  meanLoss: number
  constant: ConstantFigures
  champion: ChampionFigures | null
  /** The last versions on these rows; absent in evaluations of versions before 0.2. */
  stability?: StabilityFigures
  /** `sha256:…` of the holdout as Parquet. */
  holdoutDigest: string
}

export interface ConstantFigures extends Constant {
  meanLoss: number
  /** Of (constant's loss − model's loss): positive where the model is better. */
  gain: BcaInterval
}

/** The champion on the very same rows. */
export interface ChampionFigures {
  version: string
  signature: Signature
  scoreOutput: ScoreOutput
  metrics: Metrics
  meanLoss: number
  /** Of (champion's loss − model's loss): positive where the model is better. */
  gain: BcaInterval
  /** Model's AUC − champion's, by DeLong; null for regression and with fewer than two rows of a class. */
  aucDifference: AucDifference | null
}

/** What the spread across runs is judged by. */
export interface StabilityFigures {
  /** Rows that every version was measured on. */
  rows: number
  /** Fewer than the holdout has: drawn by the evaluation's seed. */
  isSample: boolean
  /** Mean of the per-row loss on these rows, oldest version first, the new one last. */
  versions: { version: string; meanLoss: number }[]
  /** Those that could not be measured. */
  leftOut: { version: string; why: string }[]
}
