import { seededRandom } from '../../kernel/stats/random.ts'
import { logErrorEvidence, type ErrorStep } from '../../kernel/stats/sequential/error-process.ts'

export interface ErrorScenario {
  /** So many requests at each share; the last step goes on until `requests` in all. */
  steps: { share: number; requests: number }[]
  championRate: number
  challengerRate: number
  alpha: number
  canaries: number
  seed: number
}

/**
 * Canaries that are judged by their errors alone, after every request. The evidence changes only where a request fails, so
 * the requests between are leapt over: their number is geometric.
 *
 * @returns for each canary the requests until harm was proven, of both arms together; Infinity: never
 */
export function errorCanaries(scenario: ErrorScenario): Float64Array {
  const random = seededRandom(scenario.seed)
  return Float64Array.from({ length: scenario.canaries }, () => requestsToProof(scenario, () => random.uniform()))
}

function requestsToProof({ steps, championRate, challengerRate, alpha }: ErrorScenario, uniform: () => number): number {
  const proven = -Math.log(alpha)
  const seen: ErrorStep[] = []
  let before = 0
  for (const { share, requests } of steps) {
    const step = { share, challengerErrors: 0, championErrors: 0 }
    seen.push(step)
    const rate = share * challengerRate + (1 - share) * championRate
    const ofChallenger = (share * challengerRate) / rate
    for (let request = leap(uniform, rate); request <= requests; request += leap(uniform, rate)) {
      if (uniform() < ofChallenger) step.challengerErrors += 1
      else step.championErrors += 1
      if (logErrorEvidence(seen, 1) >= proven) return before + request
    }
    before += requests
  }
  return Infinity
}

/** Requests up to and including the next one that fails. */
const leap = (uniform: () => number, rate: number) =>
  rate >= 1 ? 1 : 1 + Math.floor(Math.log(1 - uniform()) / Math.log1p(-rate))
