import { StatisticsInputError } from '../errors.ts'
import { logSumExp } from '../special-functions.ts'

/** Errors of both arms while the challenger's share was fixed: one step of a canary, or a shadow. */
export interface ErrorStep {
  /** Chance of a request to be drawn for the challenger, 0–1. A shadow's: see `shadowShare`. */
  share: number
  challengerErrors: number
  championErrors: number
}

export interface ErrorEvidence {
  /** ln of the e-value. Harm is proven, at whichever look, once it is at least −ln(alpha). */
  logE: number
  /** The same, held below 1e300. */
  eValue: number
  proven: boolean
  challengerErrors: number
  championErrors: number
  /** Errors of the challenger to expect among all these if its rate were `margin` times the champion's. */
  expectedErrors: number
  /** Most likely challenger's rate ÷ champion's rate; null without errors, or where the champion had none. */
  rateRatio: number | null
  /** The ratio is above this with confidence 1 − alpha, at all looks together; 0: nothing is known. */
  rateRatioAbove: number
  /** So many errors of the challenger in a row would prove harm; 0: proven, null: more than 1,000. */
  errorsToProve: number | null
}

/**
 * Does the challenger fail more often than `margin` times as often as the champion? Requests are shared out at random, so an
 * error falls on the challenger with chance θ = ρr / (ρr + 1 − ρ), where ρ is its share and r the ratio of the rates.
 * For each r above the margin, the likelihood ratio of r to the margin is a test supermartingale under every ratio
 * up to the margin; so is their average under a fixed distribution of r, here a half-normal of ln(r / margin) with
 * standard deviation 1. By Ville's inequality it ever exceeds 1/alpha with a chance of at most alpha: look as often
 * as you like. The rates themselves may change in any way, as long as they change for both.
 *
 * Averaging over the ratio, and not over θ, lets steps with different shares add to one piece of evidence.
 *
 * @param steps - whole numbers from 0; a step with share 0 or 1 compares nothing and is left out
 * @param options.margin - greatest acceptable ratio of the rates, at least 1
 * @param options.alpha - chance of harm being declared, ever, where there is none
 * @throws StatisticsInputError for a share, margin, alpha or count outside its range
 * @see Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022 (arXiv 2011.03567)
 * @see Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38, 2023
 */
export function errorEvidence(steps: readonly ErrorStep[], options: { margin: number; alpha: number }): ErrorEvidence {
  const { margin, alpha } = options
  check(steps, margin, alpha)
  const compared = steps.filter(({ share }) => share > 0 && share < 1)
  const needed = -Math.log(alpha)
  const challengerErrors = total(compared, (step) => step.challengerErrors)
  const championErrors = total(compared, (step) => step.championErrors)
  const logE = challengerErrors + championErrors === 0 ? 0 : logErrorEvidence(compared, margin)
  return {
    logE,
    eValue: plainEValue(logE),
    proven: logE >= needed,
    challengerErrors,
    championErrors,
    expectedErrors: expectedErrors(compared, margin),
    rateRatio: rateRatio(compared),
    rateRatioAbove: rateRatioAbove(compared, needed),
    errorsToProve: errorsToProve(compared, margin, needed),
  }
}

/**
 * The share to compare a shadow by: of all requests `mirrored` (0–1) are copied, each copy is an attempt of the
 * challenger beside the champion's own, so errors at equal rates fall on it in proportion mirrored : 1. That both
 * fail at the same request makes the evidence smaller, never greater.
 */
export const shadowShare = (mirrored: number): number => mirrored / (1 + mirrored)

/** e = exp(logE), held below 1e300 so that it stays a number in JSON. */
export const plainEValue = (logE: number): number => Math.min(1e300, Math.exp(logE))

/** ln of the e-value alone, of steps with shares between 0 and 1: all that simulations of many looks need. */
export function logErrorEvidence(steps: readonly ErrorStep[], margin: number): number {
  const logs = Float64Array.from(LOG_WEIGHTS)
  for (const { share, challengerErrors, championErrors } of steps) {
    const errors = challengerErrors + championErrors
    if (errors === 0) continue
    const scale = (share * margin) / (share * margin + 1 - share)
    // Likelihood of ratio margin · r over that of the margin: r^n₁ / (θr + 1 − θ)^(n₁ + n₀), θ being the chance at the margin.
    for (let node = 0; node < NODES; node++) {
      logs[node]! += challengerErrors * LOG_RATIOS[node]! - errors * Math.log1p(scale * RATIOS_LESS_1[node]!)
    }
  }
  return logSumExp(logs)
}

function expectedErrors(steps: readonly ErrorStep[], ratio: number): number {
  return total(steps, (step) => (step.challengerErrors + step.championErrors) * challengerChance(step.share, ratio))
}

const challengerChance = (share: number, ratio: number): number => (share * ratio) / (share * ratio + 1 - share)

/** Where the errors expected are those that were seen: the score of the likelihood is 0. */
function rateRatio(steps: readonly ErrorStep[]): number | null {
  const seen = total(steps, (step) => step.challengerErrors)
  const championErrors = total(steps, (step) => step.championErrors)
  if (championErrors === 0) return null
  if (seen === 0) return 0
  return Math.exp(bisect((logRatio) => expectedErrors(steps, Math.exp(logRatio)) < seen))
}

/** Every ratio that, taken as the margin, would be rejected at this level is left out. */
function rateRatioAbove(steps: readonly ErrorStep[], needed: number): number {
  const rejected = (logRatio: number) => logErrorEvidence(steps, Math.exp(logRatio)) >= needed
  return rejected(-MAX_LOG_RATIO) ? Math.exp(bisect(rejected)) : 0
}

/** The log ratio up to which `holds`, which it does below and not above. */
function bisect(holds: (logRatio: number) => boolean): number {
  let [low, high] = [-MAX_LOG_RATIO, MAX_LOG_RATIO]
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2
    if (holds(middle)) low = middle
    else high = middle
  }
  return low
}

function errorsToProve(steps: readonly ErrorStep[], margin: number, needed: number): number | null {
  const last = steps.at(-1)
  if (last === undefined) return null
  const after = (more: number) =>
    logErrorEvidence([...steps.slice(0, -1), { ...last, challengerErrors: last.challengerErrors + more }], margin)
  if (after(0) >= needed) return 0
  if (after(MAX_MORE_ERRORS) < needed) return null
  let [low, high] = [0, MAX_MORE_ERRORS]
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (after(middle) >= needed) high = middle
    else low = middle
  }
  return high
}

function total(steps: readonly ErrorStep[], of: (step: ErrorStep) => number): number {
  return steps.reduce((sum, step) => sum + of(step), 0)
}

function check(steps: readonly ErrorStep[], margin: number, alpha: number): void {
  if (!(margin >= 1 && margin < Infinity))
    throw new StatisticsInputError(`A margin of error rates is at least 1, not ${margin}.`)
  if (!(alpha > 0 && alpha < 1)) throw new StatisticsInputError(`An alpha is between 0 and 1, not ${alpha}.`)
  for (const { share, challengerErrors, championErrors } of steps) {
    if (!(share >= 0 && share <= 1)) throw new StatisticsInputError(`A share is between 0 and 1, not ${share}.`)
    if (!(isCount(challengerErrors) && isCount(championErrors))) {
      throw new StatisticsInputError(`Errors are counted from 0 up, not ${challengerErrors} and ${championErrors}.`)
    }
  }
}

const isCount = (value: number) => value >= 0 && value < Infinity

const MAX_LOG_RATIO = 14
const MAX_MORE_ERRORS = 1_000

/** Nodes of ln(r / margin) in geometric spacing, from a harm of 2% more errors to 60,000 times as many. */
const NODES = 48
const LOG_RATIOS = Array.from({ length: NODES }, (_, node) => 0.02 * 550 ** (node / (NODES - 1)))
const RATIOS_LESS_1 = LOG_RATIOS.map((logRatio) => Math.expm1(logRatio))
/** The weights of the half-normal, times the spacing; they add up to 1, which is all that validity needs. */
const LOG_WEIGHTS = normalised(LOG_RATIOS.map((logRatio) => Math.log(logRatio) - logRatio ** 2 / 2))

function normalised(logWeights: number[]): number[] {
  const all = logSumExp(logWeights)
  return logWeights.map((logWeight) => logWeight - all)
}
