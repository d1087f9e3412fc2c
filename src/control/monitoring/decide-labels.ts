import type { LossName, MonitorConfig } from '../../config/project.ts'
import { meanDifference } from '../../kernel/stats/mean-difference.ts'
import { predictedActual } from '../../kernel/stats/predicted-actual.ts'
import { count, duration, number } from './figures-text.ts'
import { insufficient, type Finding, type WindowFacts } from './finding.ts'
import type { QualitySums } from './observation.ts'

/** What the champion answered, held against the labels that have come since. Pure. */

export function decidePredictedActual(monitor: MonitorConfig, facts: WindowFacts): Finding {
  const { limit, alpha, minRows } = monitor
  const { quality } = facts
  if (quality === null || quality.labelled === 0) return noLabels(monitor, facts)
  const squaredErrors = squaredErrorsOf(quality, facts.loss)
  const { scoreSum: predicted, labelSum: actual, labelled: rows } = quality
  const found = predictedActual({ rows, predicted, actual, squaredErrors }, { limit: limit!, alpha, minRows })
  const { ratio: value, lower, upper, predictedMean, actualMean } = found
  const figures = {
    ratio: value,
    lower,
    upper,
    predictedMean,
    actualMean,
    labels: rows,
    predictions: quality.predictions,
  }
  if (found.verdict === 'insufficient') {
    return { ...insufficient('', limit, tooFewLabels(facts, minRows)), value, n: rows, figures }
  }
  const verdict = found.verdict === 'off' ? 'bad' : 'ok'
  const means = `mean prediction ${number(predictedMean)}, mean label ${number(actualMean)}`
  const interval = `${number(lower)} … ${upper === null ? '∞' : number(upper)}`
  const allowed = `allowed ${number(1 / limit!)} … ${number(limit)}`
  const why = `predicted ÷ actual ${value === null ? 'has no value' : number(value)} (${interval}; ${allowed}): ${means}, ${count(rows)} labels`
  return { subject: '', verdict, why, value, limit, n: rows, figures }
}

/** For values the spread of the errors; for classes it follows from the probabilities, and is left out. */
function squaredErrorsOf({ lossSum, lossSquares }: QualitySums, loss: LossName): number | undefined {
  if (loss === 'squaredError') return lossSum
  return loss === 'absoluteError' ? lossSquares : undefined
}

export function decideQuality(monitor: MonitorConfig, facts: WindowFacts): Finding {
  const { limit, alpha, minRows } = monitor
  const { quality, reference } = facts
  if (reference === null) {
    return insufficient('', limit, `${facts.versionId} has no evaluation to compare its live loss with`)
  }
  if (quality === null || quality.labelled === 0) return noLabels(monitor, facts)
  const { labelled: n, lossSum: sum, lossSquares: squares } = quality
  // The evaluation keeps its mean alone: its spread is taken to be the window's.
  const spread = Math.max(0, squares / n - (sum / n) ** 2)
  const before = reference.rows * (spread + reference.meanLoss ** 2)
  const baseline = { n: reference.rows, sum: reference.meanLoss * reference.rows, squares: before }
  const found = meanDifference(baseline, { n, sum, squares }, { limit: limit!, alpha, minRows })
  const { difference: value, lower, upper, currentMean, baselineMean } = found
  const figures = {
    meanLoss: currentMean,
    evaluatedLoss: baselineMean,
    difference: value,
    lower,
    upper,
    labels: n,
    predictions: quality.predictions,
  }
  if (found.verdict === 'insufficient') {
    return { ...insufficient('', limit, tooFewLabels(facts, minRows)), value, n, figures }
  }
  const verdict = found.verdict === 'worse' ? 'bad' : 'ok'
  const bounds = `${number(value)} (${number(lower)} … ${number(upper)}), limit ${limit}`
  const why = `mean ${facts.loss} ${number(currentMean)} against ${number(baselineMean)} of the evaluation: ${bounds}; ${count(n)} of ${count(quality.predictions)} predictions have labels`
  return { subject: '', verdict, why, value, limit, n, figures }
}

function noLabels({ limit }: MonitorConfig, facts: WindowFacts): Finding {
  const predictions = facts.quality?.predictions ?? 0
  const why =
    predictions === 0
      ? `${facts.versionId} made no live predictions in the window`
      : `no labels for ${count(predictions)} predictions within ${duration(facts.labelDelayMs)}`
  return { ...insufficient('', limit, why), figures: { predictions, labels: 0 } }
}

function tooFewLabels({ quality }: WindowFacts, minRows: number): string {
  return `${count(quality!.labelled)} labels for ${count(quality!.predictions)} predictions: fewer than ${count(minRows)} say nothing`
}
