import { fineLatencyBoundMs, FINE_LATENCY_MAX } from '../../kernel/contract/routing.ts'
import { errorEvidence } from '../../kernel/stats/sequential/error-process.ts'
import { latencyBands, type QuantileBand } from '../../kernel/stats/sequential/latency-bands.ts'
import {
  LOSSES_MIN,
  lossDifference,
  pairedLossDifference,
  type LossDifference,
} from '../../kernel/stats/sequential/loss-difference.ts'
import { predictionShift } from '../../kernel/stats/sequential/prediction-shift.ts'
import type { TestFigures, TestName, TrialPlan, TrialSeen } from './trial.ts'
import { NO_MOMENTS } from './trial.ts'

/**
 * The comparisons of one look. Each may be made at every look: the methods are valid whenever they are read. The error
 * budget of the whole canary is shared out evenly: over the four comparisons, over shadow and canary where both are
 * planned, and the latency's over the steps, as it alone starts anew in each.
 */
export function compareArms(trials: TrialSeen[], plan: TrialPlan): TestFigures[] {
  const now = trials.at(-1)!
  const same = trials.filter(({ trial }) => trial.kind === now.trial.kind)
  const alpha = plan.canary.alpha / COMPARISONS / (plan.strategy === 'shadow' ? 2 : 1)
  const steps = now.trial.kind === 'shadow' ? 1 : Math.max(plan.canary.steps.length, same.length)
  return [
    compareErrors(same, plan, alpha),
    ...compareLatency(now, plan, alpha / steps),
    compareShift(same, plan, alpha),
    compareLoss(same, plan, alpha),
  ]
}

const COMPARISONS = 4
/** Nobody is harmed by less, whatever the ratio: fractions of a millisecond differ by how warm a replica is. */
const LATENCY_SLACK_MS = 5

/** Chance of a request to count for the challenger. Of a shadow: what share of all attempts its copies were. */
function shareOf({ trial }: TrialSeen, challengerN: number, championN: number): number {
  if (trial.kind === 'canary') return trial.weightPercent / 100
  return challengerN + championN === 0 ? 0 : challengerN / (challengerN + championN)
}

function compareErrors(trials: TrialSeen[], plan: TrialPlan, alpha: number): TestFigures {
  const limit = plan.canary.margins.errors
  const steps = trials.map((seen) => ({
    share: shareOf(seen, answered(seen.challenger), answered(seen.champion)),
    challengerErrors: seen.challenger.failed,
    championErrors: seen.champion.failed,
  }))
  const found = errorEvidence(steps, { margin: limit, alpha })
  const [challengerN, championN] = [total(trials, 'challenger'), total(trials, 'champion')]
  const [ours, theirs] = [failed(trials, 'challenger'), failed(trials, 'champion')]
  const rates = `${ours} of ${challengerN} failed (${percent(ours, challengerN)}), of the champion ${theirs} of ${championN} (${percent(theirs, championN)})`
  const evidence = `e = ${figure(found.eValue)}, harm from ${figure(1 / alpha)}`
  const why = found.proven
    ? `${rates}: at least ${figure(found.rateRatioAbove)} times as often, up to ${limit} is allowed; ${evidence}`
    : `${rates}; ${evidence}${found.errorsToProve === null ? '' : `, proven by ${found.errorsToProve} more in a row`}`
  return {
    test: 'errors',
    verdict: found.proven ? 'harm' : 'open',
    why,
    challenger: share(ours, challengerN),
    champion: share(theirs, championN),
    value: found.rateRatio,
    low: found.rateRatioAbove,
    high: null,
    eValue: found.eValue,
    limit,
    alpha,
    challengerN,
    championN,
  }
}

function compareLatency({ trial, challenger, champion }: TrialSeen, plan: TrialPlan, alpha: number): TestFigures[] {
  const limit = plan.canary.margins.latency
  const found = latencyBands(
    { challenger: challenger.latency, champion: champion.latency },
    { alpha, margin: limit, boundMs: fineLatencyBoundMs, lastBucket: FINE_LATENCY_MAX },
  )
  return (['p50', 'p99'] as const).map((quantile): TestFigures => {
    const [ours, theirs] = [found.challenger[quantile], found.champion[quantile]]
    const low = found.ratioAbove[quantile]
    const high = ratioBelow(ours, theirs)
    // Copies are sent when the gateway has time for them: what they take is told, and not held against anybody.
    const isShadow = trial.kind === 'shadow'
    const isHarm = !isShadow && low > limit && ours.lowerMs - (theirs.upperMs ?? Infinity) > LATENCY_SLACK_MS
    const bands = `${milliseconds(ours)} (${band(ours)}) against ${milliseconds(theirs)} (${band(theirs)})`
    return {
      test: `latency ${quantile}`,
      verdict: isShadow ? 'off' : isHarm ? 'harm' : high !== null && high <= limit ? 'fine' : 'open',
      why: isShadow
        ? `${bands}; copies wait for the live requests, so this is not compared`
        : isHarm
          ? `${bands}: at least ${figure(low)} times as long, up to ${limit} is allowed`
          : bands,
      challenger: ours.estimateMs,
      champion: theirs.estimateMs,
      value: ours.estimateMs === null || theirs.estimateMs === null ? null : ours.estimateMs / theirs.estimateMs,
      low,
      high,
      eValue: null,
      limit,
      alpha,
      challengerN: found.challenger.requests,
      championN: found.champion.requests,
    }
  })
}

function compareShift(trials: TrialSeen[], plan: TrialPlan, alpha: number): TestFigures {
  const limit = plan.canary.margins.predictionShift
  const off = (why: string): TestFigures => ({ ...nothing('prediction shift', limit, alpha), verdict: 'off', why })
  if (plan.loggedPercent === 0) return off('predictions are not logged')
  const measured = trials.flatMap((seen) => (seen.figures === null ? [] : [{ seen, figures: seen.figures }]))
  if (measured.length === 0) return { ...off('not measured yet'), verdict: 'open' }
  if (measured.every(({ figures }) => figures.challenger.bins.length === 0))
    return off('neither version has a baseline profile whose bins predictions could be counted by')
  const steps = measured.map(({ seen, figures: { challenger, champion } }) => ({
    share: shareOf(seen, sum(challenger.bins), sum(champion.bins)),
    challenger: challenger.bins,
    champion: champion.bins,
  }))
  const found = predictionShift(steps, { limit, alpha })
  const numbers = `index ${figure(found.psiBeyondChance)} beyond chance, up to ${limit} is allowed; e = ${figure(found.eValue)}, chance is excluded from ${figure(1 / alpha)}`
  return {
    test: 'prediction shift',
    verdict: found.proven ? 'harm' : 'open',
    why: found.proven ? `predictions are distributed otherwise: ${numbers}` : numbers,
    challenger: null,
    champion: null,
    value: found.psiBeyondChance,
    low: null,
    high: null,
    eValue: found.eValue,
    limit,
    alpha,
    challengerN: Math.round(found.challengerRequests),
    championN: Math.round(found.championRequests),
  }
}

function compareLoss(trials: TrialSeen[], plan: TrialPlan, alpha: number): TestFigures {
  const limit = plan.canary.margins.loss
  const off = (why: string): TestFigures => ({ ...nothing('loss', limit, alpha), verdict: 'off', why })
  if (!plan.labels) return off(`no task is declared, so that labels can't be read`)
  if (plan.loggedPercent === 0) return off('predictions are not logged')
  const figures = trials.flatMap((seen) => (seen.figures === null ? [] : [seen.figures]))
  const found =
    trials.at(-1)!.trial.kind === 'shadow'
      ? pairedLossDifference(figures.at(-1)?.paired ?? NO_MOMENTS, { alpha })
      : lossDifference(
          figures.map((f) => ({ challenger: f.challenger.losses, champion: f.champion.losses })),
          { alpha },
        )
  const isHarm = found.lower !== null && found.lower > limit
  return {
    test: 'loss',
    verdict: isHarm ? 'harm' : found.upper !== null && found.upper <= limit ? 'fine' : 'open',
    why: lossText(found, limit, isHarm),
    challenger: meanLoss(figures.map((f) => f.challenger.losses)),
    champion: meanLoss(figures.map((f) => f.champion.losses)),
    value: found.estimate,
    low: found.lower,
    high: found.upper,
    eValue: null,
    limit,
    alpha,
    challengerN: found.challenger,
    championN: found.champion,
  }
}

function lossText(found: LossDifference, limit: number, isHarm: boolean): string {
  const labelled = `${found.challenger} and ${found.champion} labelled requests`
  if (found.estimate === null)
    return found.challenger > 0 && found.champion > 0
      ? `labels far beyond the predictions, whose losses can't be added up (${labelled})`
      : `no labels of both (${labelled})`
  if (found.lower === null || found.upper === null)
    return `difference ${signed(found.estimate)} on ${labelled}: too few${isMany(found) ? ' of the rarer label' : ''} for an interval`
  const interval = `difference ${signed(found.estimate)}, between ${signed(found.lower)} and ${signed(found.upper)}, on ${labelled}`
  return `${interval}; up to ${limit} is allowed${isHarm ? '' : found.upper <= limit ? ': no worse' : ''}`
}

const isMany = ({ challenger, champion }: LossDifference) => Math.min(challenger, champion) >= LOSSES_MIN

function nothing(test: TestName, limit: number, alpha: number): Omit<TestFigures, 'verdict' | 'why'> {
  const figures = { challenger: null, champion: null, value: null, low: null, high: null, eValue: null }
  return { test, ...figures, limit, alpha, challengerN: 0, championN: 0 }
}

/** Clients that left count neither way. */
export const answered = ({ requests, interrupted }: TrialSeen['challenger']): number => requests - interrupted

type Arm = 'challenger' | 'champion'
const total = (trials: TrialSeen[], arm: Arm) => trials.reduce((n, seen) => n + answered(seen[arm]), 0)
const failed = (trials: TrialSeen[], arm: Arm) => trials.reduce((n, seen) => n + seen[arm].failed, 0)
const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0)
const share = (part: number, whole: number) => (whole === 0 ? null : part / whole)

function meanLoss(all: { n: number; sum: number }[]): number | null {
  return share(
    all.reduce((s, m) => s + m.sum, 0),
    all.reduce((n, m) => n + m.n, 0),
  )
}

/** The greatest ratio of the two quantiles that is not excluded; null: any. */
function ratioBelow(ours: QuantileBand, theirs: QuantileBand): number | null {
  return ours.upperMs === null || theirs.lowerMs === 0 ? null : ours.upperMs / theirs.lowerMs
}

const percent = (part: number, whole: number) => (whole === 0 ? '–' : `${figure((100 * part) / whole)}%`)
const signed = (value: number) => `${value > 0 ? '+' : ''}${figure(value)}`
const milliseconds = ({ estimateMs }: QuantileBand) => (estimateMs === null ? 'unknown' : `${figure(estimateMs)} ms`)
const band = ({ lowerMs, upperMs }: QuantileBand) =>
  `${figure(lowerMs)} to ${upperMs === null ? 'any' : `${figure(upperMs)} ms`}`

/** Up to 3 significant digits: 0.0213, 12.4, 12300, 1.23e+9. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  const rounded = Number(value.toPrecision(3))
  // Nobody counts twenty zeros, as an e-value soon has.
  return Math.abs(rounded) < 1e9 ? String(rounded) : rounded.toExponential()
}
