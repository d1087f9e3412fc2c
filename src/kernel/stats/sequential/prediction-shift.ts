import { StatisticsInputError } from '../errors.ts'
import { stabilityIndex } from '../histogram.ts'
import { logSumExp } from '../special-functions.ts'
import { plainEValue } from './error-process.ts'

/** Predictions per bin and arm while the challenger's share was fixed. */
export interface ShiftStep {
  /** Chance of a request to be drawn for the challenger, 0–1. A shadow's: see `shadowShare`. */
  share: number
  /** Over the same bins, in every step. Rows of one request of r rows count 1/r each: only requests are drawn at random. */
  challenger: readonly number[]
  champion: readonly number[]
}

export interface ShiftEvidence {
  /** ln of the e-value against equal distributions. Chance is excluded once it is at least −ln(alpha). */
  logE: number
  eValue: number
  chanceExcluded: boolean
  /** Population stability index of challenger against champion, of steps in proportion to what they can tell. */
  psi: number
  /** psi less what sampling alone would give, at least 0: how far the distributions lie apart. */
  psiBeyondChance: number
  /** Both: the distance exceeds the limit, and chance is excluded. */
  proven: boolean
  challengerRequests: number
  championRequests: number
}

/**
 * Are the challenger's predictions distributed otherwise than those of the champion? If not, a prediction in whichever bin
 * is the challenger's with chance ρ, its share. In each bin, the likelihood ratio of "r times as frequent" to that,
 * averaged over a normal distribution of ln r, is an e-process; each prediction moves one of them, so their
 * product is one as well: it ever exceeds 1/alpha with a chance of at most alpha.
 *
 * That the arms' totals are not as the share says is no shift: an arm that fails or is down makes no predictions, in whichever
 * bin. So the product is divided by the greatest likelihood that any other share would have.
 *
 * Versions are meant to differ a little, which enough requests always show; so there is harm only where the distance
 * exceeds a limit too. In a shadow the two answers to one request are of both arms: the bound holds as long as they
 * don't avoid each other's bins.
 *
 * @param steps - counts from 0, fractions allowed; a step with share 0 or 1, or without bins, compares nothing
 * @param options.limit - of psiBeyondChance, e.g. 0.25
 * @param options.alpha - chance of excluding chance, ever, where the distributions are equal
 * @throws StatisticsInputError for a share, alpha or count outside its range, or where the bins of the arms differ
 * @see Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022 (arXiv 2011.03567)
 * @see Wasserman, Ramdas and Balakrishnan, "Universal inference", PNAS 117, 2020: the best share in the denominator
 */
export function predictionShift(steps: readonly ShiftStep[], options: { limit: number; alpha: number }): ShiftEvidence {
  check(steps, options.alpha)
  const compared = steps.filter(({ share }) => share > 0 && share < 1)
  const bins = compared.reduce((most, { challenger }) => Math.max(most, challenger.length), 0)
  let logE = 0
  for (let bin = 0; bin < bins; bin++) logE += logShiftEvidence(compared, bin)
  logE -= logShareEvidence(compared)
  const { psi, byChance } = distance(compared)
  const psiBeyondChance = Math.max(0, psi - byChance)
  const chanceExcluded = logE >= -Math.log(options.alpha)
  return {
    logE,
    eValue: plainEValue(logE),
    chanceExcluded,
    psi,
    psiBeyondChance,
    proven: chanceExcluded && psiBeyondChance > options.limit,
    challengerRequests: total(compared.flatMap(({ challenger }) => challenger)),
    championRequests: total(compared.flatMap(({ champion }) => champion)),
  }
}

/** ln of one bin's factor of the e-value, of steps with shares between 0 and 1: all that simulations of many looks need. */
export function logShiftEvidence(steps: readonly ShiftStep[], bin: number): number {
  if (steps.every(({ challenger, champion }) => (challenger[bin] ?? 0) + (champion[bin] ?? 0) === 0)) return 0
  const logs = Float64Array.from(LOG_WEIGHTS)
  for (const { share, challenger, champion } of steps) {
    const ours = challenger[bin] ?? 0
    const both = ours + (champion[bin] ?? 0)
    if (both === 0) continue
    for (let node = 0; node < NODES; node++) {
      logs[node]! += ours * LOG_RATIOS[node]! - both * Math.log1p(share * RATIOS_LESS_1[node]!)
    }
  }
  return logSumExp(logs)
}

/** ln of how much likelier the totals are under the share that fits them best than under the one declared; at least 0. */
function logShareEvidence(steps: readonly ShiftStep[]): number {
  return steps.reduce((sum, { share, challenger, champion }) => {
    const [n, m] = [total(challenger), total(champion)]
    const ours = n === 0 ? 0 : n * (Math.log(n / (n + m)) - Math.log(share))
    const theirs = m === 0 ? 0 : m * (Math.log(m / (n + m)) - Math.log1p(-share))
    return sum + ours + theirs
  }, 0)
}

/**
 * The mean of the steps' PSI, each weighed by n·m / (n + m), which gives what chance adds the same variance in each.
 * Distributions are compared within steps only: pooled, two arms of changing shares would differ by time of day.
 */
function distance(steps: readonly ShiftStep[]): { psi: number; byChance: number } {
  let [weights, psi, byChance] = [0, 0, 0]
  for (const { challenger, champion } of steps) {
    const [n, m] = [total(challenger), total(champion)]
    if (n === 0 || m === 0) continue
    const weight = (n * m) / (n + m)
    const index = stabilityIndex(champion, challenger)
    weights += weight
    psi += weight * index.psi
    byChance += weight * index.expectedByChance
  }
  return weights === 0 ? { psi: 0, byChance: 0 } : { psi: psi / weights, byChance: byChance / weights }
}

const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0)

function check(steps: readonly ShiftStep[], alpha: number): void {
  if (!(alpha > 0 && alpha < 1)) throw new StatisticsInputError(`An alpha is between 0 and 1, not ${alpha}.`)
  for (const { share, challenger, champion } of steps) {
    if (!(share >= 0 && share <= 1)) throw new StatisticsInputError(`A share is between 0 and 1, not ${share}.`)
    if (challenger.length !== champion.length) {
      throw new StatisticsInputError(`The bins differ: ${challenger.length} and ${champion.length}.`)
    }
    const wrong = [...challenger, ...champion].find((count) => !(count >= 0 && count < Infinity))
    if (wrong !== undefined) throw new StatisticsInputError(`Predictions are counted from 0 up, not ${wrong}.`)
  }
}

const STANDARD_DEVIATION = 0.7
/** ± nodes in geometric spacing from 5% more (or fewer) to 16 times; weights of a normal distribution, times the spacing. */
const SIZES = Array.from({ length: 16 }, (_, node) => 0.05 * 56 ** (node / 15))
const LOG_RATIOS = [...SIZES.map((size) => -size), ...SIZES]
const NODES = LOG_RATIOS.length
const RATIOS_LESS_1 = LOG_RATIOS.map((logRatio) => Math.expm1(logRatio))
const LOG_WEIGHTS = normalised(
  LOG_RATIOS.map((logRatio) => Math.log(Math.abs(logRatio)) - 0.5 * (logRatio / STANDARD_DEVIATION) ** 2),
)

function normalised(logWeights: number[]): number[] {
  const all = logSumExp(logWeights)
  return logWeights.map((logWeight) => logWeight - all)
}
