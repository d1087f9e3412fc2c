import type { GateConfig } from '../../config/project.ts'
import type { ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import { pairedBca } from '../../kernel/stats/bootstrap.ts'
import type { BcaInterval } from '../../kernel/stats/bootstrap.ts'
import { deLong } from '../../kernel/stats/delong.ts'
import type { ChampionFigures, ConstantFigures, EvaluationFigures } from './evaluation.ts'
import type { Labels } from './labels.ts'
import { bestConstant, rowLosses } from './losses.ts'
import type { RowLosses } from './losses-file.ts'
import { binaryMetrics, regressionMetrics } from './metrics.ts'
import type { Metrics } from './metrics.ts'

/** A model and its score for every row of the holdout. */
export interface ScoredModel {
  signature: Signature
  scoreOutput: ScoreOutput
  scores: Float64Array
}

export interface Measurement {
  task: Task
  gate: GateConfig
  seed: number
  labels: Labels
  clusters: { ofRow: Uint32Array; count: number } | null
  model: ScoredModel
  champion: (ScoredModel & { version: string }) | null
}

/** Everything that the gate decides by, and the per-row losses behind it. Pure: the same input gives the same figures. */
export function measure(data: Measurement): { figures: Omit<EvaluationFigures, 'holdoutDigest'>; losses: RowLosses } {
  const { task, gate, labels, clusters, model, champion } = data
  const loss = rowLosses(gate.loss, model.scores, labels.values)
  const constant = constantFigures(data, loss)
  const rival = champion ? championFigures(data, champion, loss) : null
  return {
    figures: {
      task,
      lossName: gate.loss,
      rows: loss.length,
      clusters: clusters?.count ?? null,
      signature: model.signature,
      scoreOutput: model.scoreOutput,
      metrics: metricsOf(labels, model.scores),
      meanLoss: mean(loss),
      constant: constant.figures,
      champion: rival?.figures ?? null,
    },
    losses: {
      label: labels.values,
      score: model.scores,
      loss,
      constantLoss: constant.loss,
      championScore: champion?.scores ?? null,
      championLoss: rival?.loss ?? null,
    },
  }
}

function constantFigures(data: Measurement, modelLoss: Float64Array): { figures: ConstantFigures; loss: Float64Array } {
  const constant = bestConstant(data.gate.loss, data.labels.values)
  const scores = new Float64Array(modelLoss.length).fill(constant.value)
  const loss = rowLosses(data.gate.loss, scores, data.labels.values)
  return { figures: { ...constant, meanLoss: mean(loss), gain: gainOf(data, loss, modelLoss) }, loss }
}

function championFigures(
  data: Measurement,
  champion: ScoredModel & { version: string },
  modelLoss: Float64Array,
): { figures: ChampionFigures; loss: Float64Array } {
  const { labels, gate, model } = data
  const loss = rowLosses(gate.loss, champion.scores, labels.values)
  const figures = {
    version: champion.version,
    signature: champion.signature,
    scoreOutput: champion.scoreOutput,
    metrics: metricsOf(labels, champion.scores),
    meanLoss: mean(loss),
    gain: gainOf(data, loss, modelLoss),
    aucDifference: labels.positive ? deLong(model.scores, champion.scores, labels.positive) : null,
  }
  return { figures, loss }
}

/** Of (other's loss − model's loss): positive where the model is better. */
function gainOf({ gate, seed, clusters }: Measurement, otherLoss: Float64Array, modelLoss: Float64Array): BcaInterval {
  const { alpha, resamples } = gate
  return pairedBca(otherLoss, modelLoss, { alpha, resamples, seed, clusters: clusters?.ofRow ?? null })
}

function metricsOf({ values, positive }: Labels, scores: Float64Array): Metrics {
  return positive ? binaryMetrics(scores, positive) : regressionMetrics(scores, values)
}

function mean(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0) / values.length
}
