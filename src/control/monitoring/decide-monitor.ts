import type { LossName, MonitorConfig } from '../../config/project.ts'
import { unreachable } from '../../kernel/errors.ts'
import { driftVerdict } from '../../kernel/stats/drift.ts'
import { meanDifference } from '../../kernel/stats/mean-difference.ts'
import { predictedActual } from '../../kernel/stats/predicted-actual.ts'
import { shareDifference } from '../../kernel/stats/proportions.ts'
import type { BaselineProfile, ColumnProfile } from '../evaluation/baseline-profile.ts'
import type { AlertFigures } from './alert.ts'
import { count, duration, number, percent, probability } from './figures-text.ts'
import { baselineCounts, type BucketCounts, type ColumnCounts, type QualitySums } from './observation.ts'
import type { Window } from './windows.ts'

/** What is known of a champion in one window. */
export interface WindowFacts {
  window: Window
  versionId: string
  /** Null: the version has none. */
  profile: BaselineProfile | null
  /** Live rows of the champion over the bins of its profile; null where there were none. */
  counts: BucketCounts | null
  /** Live requests of the model, of whatever version, as logged. */
  requests: number
  /** Share of the requests that is logged, 0 … 1. */
  logShare: number
  /** The champion's matured labels; null where nothing was measured. */
  quality: QualitySums | null
  labelDelayMs: number
  /** The evaluation that let the champion through; null where it has none. */
  reference: { meanLoss: number; rows: number } | null
  /** The loss that both are measured by. */
  loss: LossName
  /** Calendar times, for monitors that look at now and not at a window. */
  nowMs: number
  championSinceMs: number
  lastRequestMs: number | null
  trainedMs: number
}

export type Verdict =
  | 'ok'
  | 'bad'
  /** Too little to say anything: neither raises an alarm nor clears one. */
  | 'insufficient'

export interface Finding {
  /** A column; empty where the monitor has one value. */
  subject: string
  verdict: Verdict
  /** One sentence with the numbers. */
  why: string
  value: number | null
  limit: number | null
  /** Rows, labels or requests behind it. */
  n: number
  figures: AlertFigures
}

/** One finding for each subject of a monitor; there is always at least one. Pure. */
export function decideMonitor(monitor: MonitorConfig, facts: WindowFacts): Finding[] {
  switch (monitor.name) {
    case 'drift':
      return ofColumns(monitor, facts, () => true, judgeDrift)
    case 'missing':
      return ofColumns(monitor, facts, () => true, judgeMissing)
    case 'unseen':
      return ofColumns(monitor, facts, ({ kind }) => kind === 'categorical', judgeUnseen)
    case 'predictionDrift':
      return [judgePredictions(monitor, facts)]
    case 'predictedActual':
      return [judgePredictedActual(monitor, facts)]
    case 'quality':
      return [judgeQuality(monitor, facts)]
    case 'traffic':
      return [judgeTraffic(monitor, facts)]
    case 'silence':
      return [judgeSilence(monitor, facts)]
    case 'modelAge':
      return [judgeAge(monitor, facts)]
    default:
      return unreachable(monitor.name)
  }
}

interface Question {
  name: string
  baseline: ColumnCounts
  current: ColumnCounts
  limit: number
  /** Shared out over the columns, so that many of them alarm no more often than one. */
  alpha: number
  minRows: number
}

type Judgement = Omit<Finding, 'subject' | 'limit'>

function ofColumns(
  monitor: MonitorConfig,
  facts: WindowFacts,
  applies: (profile: ColumnProfile) => boolean,
  judge: (question: Question) => Judgement,
): Finding[] {
  const { profile, counts } = facts
  if (profile === null) return [insufficient('', monitor.limit, noProfile(facts))]
  const watched = profile.columns.filter(
    (column) => monitor.columns.length === 0 || monitor.columns.includes(column.name),
  )
  const columns = watched.filter(applies)
  const unknown = monitor.columns
    .filter((name) => !columns.some((column) => column.name === name))
    .map((name) => insufficient(name, monitor.limit, `'${name}' is no input that '${monitor.name}' can watch`))
  if (columns.length === 0 && unknown.length === 0) {
    return [insufficient('', monitor.limit, `${facts.versionId} has no input that '${monitor.name}' can watch`)]
  }
  const alpha = monitor.alpha / columns.length
  const found = columns.map((column): Finding => {
    const current = counts?.columns[column.name]
    if (current === undefined) return insufficient(column.name, monitor.limit, nothingOf(column.name, facts))
    const { limit, minRows } = monitor
    const question = { name: column.name, baseline: baselineCounts(column), current, limit: limit!, alpha, minRows }
    return { subject: column.name, limit, ...judge(question) }
  })
  return [...found, ...unknown]
}

function judgeDrift({ name, baseline, current, limit, alpha, minRows }: Question): Judgement {
  const found = driftVerdict(baseline, current, { limit, alpha, minRows })
  const { psi, psiBeyondChance: value, jensenShannonBeyondChance, pValue, baselineRows, currentRows } = found
  const figures = { psi, psiBeyondChance: value, jensenShannonBeyondChance, pValue, rows: currentRows, baselineRows }
  if (found.verdict === 'insufficient') {
    return { verdict: 'insufficient', why: tooFew(currentRows, baselineRows, minRows), value, n: currentRows, figures }
  }
  const verdict = found.verdict === 'drifted' ? 'bad' : 'ok'
  const against = `${count(currentRows)} rows against ${count(baselineRows)} of the baseline profile`
  const jensenShannon = `Jensen-Shannon ${number(jensenShannonBeyondChance)} bits, ${probability(pValue)}`
  const beyond = value! > limit ? (verdict === 'bad' ? 'exceeds' : 'exceeds, by chance,') : 'is within'
  const why = `PSI ${number(value)} of ${name} beyond chance ${beyond} ${limit} (${jensenShannon}; ${against})`
  return { verdict, why, value, n: currentRows, figures }
}

function judgePredictions(monitor: MonitorConfig, facts: WindowFacts): Finding {
  const { profile, counts } = facts
  if (profile === null) return insufficient('', monitor.limit, noProfile(facts))
  const current = counts?.prediction
  if (!current) return insufficient('', monitor.limit, nothingOf('the prediction', facts))
  const { limit, alpha, minRows } = monitor
  const baseline = baselineCounts(profile.prediction)
  return {
    subject: '',
    limit,
    ...judgeDrift({ name: 'the predictions', baseline, current, limit: limit!, alpha, minRows }),
  }
}

function judgeMissing(question: Question): Judgement {
  return judgeShare(
    question,
    'missing',
    { count: question.baseline[0]!, rows: rowsOf(question.baseline) },
    {
      count: question.current[0]!,
      rows: rowsOf(question.current),
    },
  )
}

/** Of the values that are there, those that are not among the profile's most frequent. */
function judgeUnseen(question: Question): Judgement {
  const share = (counts: ColumnCounts) => ({ count: counts[1]!, rows: rowsOf(counts) - counts[0]! })
  return judgeShare(question, 'unknown to the baseline profile', share(question.baseline), share(question.current))
}

function judgeShare(
  { name, limit, alpha, minRows }: Question,
  what: string,
  baseline: { count: number; rows: number },
  current: { count: number; rows: number },
): Judgement {
  const found = shareDifference(baseline, current, { limit, alpha, minRows })
  const { baselineShare, currentShare, difference, lower, upper, pValue } = found
  const figures = { share: currentShare, baselineShare, difference, lower, upper, pValue, rows: current.rows }
  const [value, n] = [difference, current.rows]
  if (found.verdict === 'insufficient') {
    return { verdict: 'insufficient', why: tooFew(n, baseline.rows, minRows), value, n, figures }
  }
  const verdict = found.verdict === 'raised' ? 'bad' : 'ok'
  const rise = `${percent(currentShare)} of ${name} ${what}, ${percent(baselineShare)} before`
  const bounds = `a rise of ${number(difference)} (${number(lower)} … ${number(upper)}), limit ${limit}`
  return { verdict, why: `${rise}: ${bounds}; ${count(n)} rows`, value, n, figures }
}

function judgePredictedActual(monitor: MonitorConfig, facts: WindowFacts): Finding {
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

function judgeQuality(monitor: MonitorConfig, facts: WindowFacts): Finding {
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

function judgeTraffic({ min, max }: MonitorConfig, facts: WindowFacts): Finding {
  if (facts.logShare === 0) return insufficient('', min ?? max, 'predictions are not logged')
  const requests = Math.round(facts.requests / facts.logShare)
  const low = min !== null && requests < min
  const high = max !== null && requests > max
  const allowed = `${min === null ? 'at most' : max === null ? 'at least' : `${count(min)} to`} ${count(max ?? min ?? 0)}`
  const sampled = facts.logShare < 1 ? `, estimated from the ${percent(facts.logShare)} that is logged` : ''
  const verdict = low || high ? 'bad' : 'ok'
  const why = `${count(requests)} requests in the window, ${allowed} expected${sampled}`
  const figures = { requests, min, max }
  return { subject: '', verdict, why, value: requests, limit: low ? min : (max ?? min), n: facts.requests, figures }
}

function judgeSilence({ limit }: MonitorConfig, facts: WindowFacts): Finding {
  if (facts.logShare === 0) return insufficient('', limit, 'predictions are not logged')
  const lastMs = Math.max(facts.lastRequestMs ?? facts.championSinceMs, facts.championSinceMs)
  const value = Math.max(0, facts.nowMs - lastMs)
  const verdict = value > limit! ? 'bad' : 'ok'
  const last = facts.lastRequestMs === null ? 'there was none yet' : 'the last one'
  const why = `no request for ${duration(value)} (${last}), at most ${duration(limit!)} expected`
  return { subject: '', verdict, why, value, limit, n: facts.requests, figures: { silentMs: value, limitMs: limit } }
}

function judgeAge({ limit }: MonitorConfig, { nowMs, trainedMs, versionId }: WindowFacts): Finding {
  const value = Math.max(0, nowMs - trainedMs)
  const verdict = value > limit! ? 'bad' : 'ok'
  const why = `${versionId} was made ${duration(value)} ago, at most ${duration(limit!)} expected`
  return { subject: '', verdict, why, value, limit, n: 1, figures: { ageMs: value, limitMs: limit } }
}

function insufficient(subject: string, limit: number | null, why: string): Finding {
  return { subject, verdict: 'insufficient', why, value: null, limit, n: 0, figures: {} }
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

function tooFew(rows: number, baselineRows: number, minRows: number): string {
  const [side, n] = rows < minRows ? ['in the window', rows] : ['in the baseline profile', baselineRows]
  return `${count(n)} rows ${side}: fewer than ${count(minRows)} say nothing`
}

function noProfile({ versionId }: WindowFacts): string {
  return `${versionId} has no baseline profile: its model declares neither a holdout nor training rows that name its inputs`
}

function nothingOf(what: string, { versionId, counts }: WindowFacts): string {
  return counts === null
    ? `${versionId} made no live predictions in the window`
    : `${what} of ${versionId} is not in the prediction log`
}

function rowsOf(counts: ColumnCounts): number {
  return counts.reduce((sum, rows) => sum + rows, 0)
}
