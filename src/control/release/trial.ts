import type { CanaryConfig, ModelConfig, ShadowConfig } from '../../config/project.ts'
import type { Trial } from './release.ts'

/** The nouns of a comparison under live traffic: what is planned, what was counted, and what a look made of it. */

export interface TrialPlan {
  strategy: 'immediate' | 'canary' | 'shadow'
  canary: CanaryConfig
  shadow: ShadowConfig
  /** Of the requests that are logged, percent; 0: there is no log to compare predictions and losses by. */
  loggedPercent: number
  /** Whether labels can be read: a task is declared. */
  labels: boolean
}

export function trialPlanOf(model: ModelConfig): TrialPlan {
  return {
    strategy: model.release.strategy,
    canary: model.release.canary,
    shadow: model.release.shadow,
    loggedPercent: model.log.mode === 'off' ? 0 : model.log.samplePercent,
    labels: model.task !== null,
  }
}

export interface NextTrial {
  kind: 'shadow' | 'canary'
  step: number
  weightPercent: number
}

/** The trial a release begins with; null: it takes all traffic at once. */
export function firstTrial(plan: TrialPlan): NextTrial | null {
  if (plan.strategy === 'immediate') return null
  if (plan.strategy === 'shadow') return { kind: 'shadow', step: 0, weightPercent: plan.shadow.sharePercent }
  return canaryStep(plan, 0)
}

/**
 * The trial after this one; null: all traffic. By the share and not by the place, since the steps may have been
 * declared anew meanwhile: a share never shrinks.
 */
export function trialAfter(plan: TrialPlan, trial: Pick<Trial, 'kind' | 'step' | 'weightPercent'>): NextTrial | null {
  if (trial.kind === 'shadow') return canaryStep(plan, 0)
  const next = plan.canary.steps.findIndex((step) => step.weightPercent > trial.weightPercent)
  return next === -1 ? null : { ...canaryStep(plan, next)!, step: trial.step + 1 }
}

function canaryStep(plan: TrialPlan, index: number): NextTrial | null {
  const step = plan.canary.steps[index]
  return step === undefined ? null : { kind: 'canary', step: index + 1, weightPercent: step.weightPercent }
}

/** What must pass and be counted within a trial before it is judged to have gone well. Never nothing at all. */
export function demandsOf(plan: TrialPlan, trial: Pick<Trial, 'kind' | 'step' | 'weightPercent'>): TrialDemands {
  if (trial.kind === 'shadow') return { ...plan.shadow, minRequests: Math.max(1, plan.shadow.minRequests) }
  const { steps, minRequests, minLabels, maxTimeMs } = plan.canary
  const step = steps.find((s) => s.weightPercent >= trial.weightPercent) ?? steps.at(-1)
  return { soakMs: step?.soakMs ?? 0, minRequests: Math.max(1, minRequests), minLabels, maxTimeMs }
}

export interface TrialDemands {
  soakMs: number
  minRequests: number
  minLabels: number
  maxTimeMs: number
}

/** What gateways counted of one arm of a trial, in all. */
export interface ArmCounts {
  requests: number
  failed: number
  interrupted: number
  /** Counts by index of a fine latency bucket. */
  latency: Record<string, number>
}

export const NO_COUNTS: ArmCounts = { requests: 0, failed: 0, interrupted: 0, latency: {} }

/** What the lake holds of one arm of a trial. Each request has one voice, however many rows it brought. */
export interface ArmFigures {
  /** Requests answered with a prediction. */
  requests: number
  /** Requests by bin of the baseline profile's predictions, in fractions; the last: no finite score. Empty: not counted. */
  bins: number[]
  /** Of the requests' mean losses. */
  losses: Moments
}

/** Of a sample: its size, the sum and the sum of squares. */
export interface Moments {
  n: number
  sum: number
  squares: number
  /** Of the truths, where they are yes or no; null: numbers. */
  positives?: number | null
}

export const NO_MOMENTS: Moments = { n: 0, sum: 0, squares: 0 }

export interface TrialFigures {
  trialId: string
  challenger: ArmFigures
  champion: ArmFigures
  /** Of a shadow: challenger's loss − champion's on the same request. */
  paired: Moments
}

/** One trial as it is looked at. */
export interface TrialSeen {
  trial: Trial
  /** Real time since it began, as far as it can be known across restarts and clocks that were set. */
  elapsedMs: number
  challenger: ArmCounts
  champion: ArmCounts
  /** Null: not measured (yet). */
  figures: TrialFigures | null
}

export type LookDecision = 'wait' | 'next' | 'promote' | 'hold' | 'rollBack'

/** Why, as a kind: a look is kept when it changes. */
export type LookReason =
  | 'soaking'
  | 'noTraffic'
  | 'fewRequests'
  | 'notMeasured'
  | 'fewLabels'
  | 'championDown'
  | 'bothFailing'
  | 'harm'
  | 'harmWithoutChampion'
  | 'passed'

/** What one look at a trial saw and decided: kept with the trial, and shown by `millrace canary`. */
export interface Look {
  decision: LookDecision
  reason: LookReason
  why: string
  atMs: number
  elapsedMs: number
  tests: TestFigures[]
  /** What must still come before it goes on. */
  missing: string[]
  /** Set for good once harm was proven: it is acted on as soon as the champion can take the traffic. */
  harm: string | null
  /** Real time (epoch) of the figures from the lake that it used; null: it had none. */
  measuredAtMs: number | null
  /** Of the challenger, within this trial. */
  requests: number
  labels: number
}

export type TestName = 'errors' | 'latency p50' | 'latency p99' | 'prediction shift' | 'loss'

export interface TestFigures {
  test: TestName
  /** `harm`: worse than the margin allows, proven; `fine`: proven not to be; `open`: neither; `off`: not compared. */
  verdict: 'harm' | 'fine' | 'open' | 'off'
  why: string
  /** Challenger's and champion's own figures, in the unit of the test; null where there is none. */
  challenger: number | null
  champion: number | null
  /** The compared quantity (ratio, index, difference), with its time-uniform interval where the method has one. */
  value: number | null
  low: number | null
  high: number | null
  /** Evidence against "no worse than the margin", where the method is an e-process; harm at 1/alpha. */
  eValue: number | null
  /** What the quantity is held against. */
  limit: number
  alpha: number
  /** Requests (labelled ones for the loss) of each arm. */
  challengerN: number
  championN: number
}
