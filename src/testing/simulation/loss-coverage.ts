import { seededRandom, type Random } from '../../kernel/stats/random.ts'
import {
  lossDifference,
  pairedLossDifference,
  type LossDifference,
  type Sums,
} from '../../kernel/stats/sequential/loss-difference.ts'

export interface CoverageScenario {
  /** `shadow`: log losses of two models on the same row; `canary`: on different ones, the challenger having a tenth. */
  kind: 'shadow' | 'canary'
  sequences: number
  /** Labelled requests, each followed by a look. */
  requests: number
  /** Of each bound. */
  alpha: number
  seed: number
}

/**
 * How often a confidence sequence is ever wrong about two models that are equally good: log losses of predictions with a
 * random error in the logit, a fifth positives, so that some losses are many times the mean.
 *
 * @returns share of sequences whose lower bound was ever above 0, and of those whose upper was ever below
 */
export function lossCoverage({ kind, sequences, requests, alpha, seed }: CoverageScenario): {
  lower: number
  upper: number
} {
  const random = seededRandom(seed)
  let [lower, upper] = [0, 0]
  for (let sequence = 0; sequence < sequences; sequence++) {
    const next = kind === 'shadow' ? shadow(random, alpha) : canary(random, alpha)
    let [isAbove, isBelow] = [false, false]
    for (let request = 0; request < requests; request++) {
      const found = next()
      isAbove ||= found.lower !== null && found.lower > 0
      isBelow ||= found.upper !== null && found.upper < 0
    }
    lower += isAbove ? 1 : 0
    upper += isBelow ? 1 : 0
  }
  return { lower: lower / sequences, upper: upper / sequences }
}

function shadow(random: Random, alpha: number): () => LossDifference {
  const differences = { n: 0, sum: 0, squares: 0 }
  return () => {
    const row = labelledRow(random)
    count(differences, lossOn(row, random) - lossOn(row, random))
    return pairedLossDifference(differences, { alpha })
  }
}

function canary(random: Random, alpha: number): () => LossDifference {
  const steps = [{ challenger: { n: 0, sum: 0, squares: 0 }, champion: { n: 0, sum: 0, squares: 0 } }]
  return () => {
    const arm = random.uniform() < 0.1 ? steps[0]!.challenger : steps[0]!.champion
    count(arm, lossOn(labelledRow(random), random))
    return lossDifference(steps, { alpha })
  }
}

interface Row {
  logit: number
  positive: boolean
}

function labelledRow(random: Random): Row {
  const logit = -2 + 1.5 * random.normal()
  return { logit, positive: random.uniform() < 1 / (1 + Math.exp(-logit)) }
}

function lossOn({ logit, positive }: Row, random: Random): number {
  const predicted = logit + 0.7 * random.normal()
  return Math.log1p(Math.exp(positive ? -predicted : predicted))
}

function count(sums: Sums, value: number): void {
  sums.n += 1
  sums.sum += value
  sums.squares += value * value
}
