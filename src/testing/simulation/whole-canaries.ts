import { FINE_LATENCY_MAX, fineLatencyBoundMs, fineLatencyBucket } from '../../kernel/contract/routing.ts'
import { seededRandom, type Random } from '../../kernel/stats/random.ts'
import { logErrorEvidence } from '../../kernel/stats/sequential/error-process.ts'
import { latencyBands } from '../../kernel/stats/sequential/latency-bands.ts'
import { lossDifference } from '../../kernel/stats/sequential/loss-difference.ts'
import { predictionShift } from '../../kernel/stats/sequential/prediction-shift.ts'

export type CanaryTest = 'errors' | 'latency' | 'shift' | 'loss'

/** How a challenger differs from its champion; nothing: not at all. */
export interface Harm {
  /** Added to the rate of errors, which is about 2% and changes with the hour. */
  errors?: number
  /** Times as slow. */
  latency?: number
  /** Added to the logit of every prediction; the labels stay. */
  logit?: number
  /** Standard deviation of noise on the logit: predictions are no more or less on the whole, but worse. */
  noise?: number
}

export interface CanaryScenario {
  steps: { share: number; requests: number }[]
  harm: Harm
  /** Of the whole canary: a quarter for each comparison, the latency's shared out over the steps. */
  alpha: number
  canaries: number
  /** Requests between two looks at latency and prediction shift; errors and losses are looked at after each request. */
  lookEvery: number
  seed: number
}

export interface CanaryEnd {
  /** The first comparison to prove harm; null: none did. */
  by: CanaryTest | null
  atRequest: number
}

/**
 * Canaries with all that one has: errors in bursts, latencies with a tail and slow hours, predictions whose level
 * changes over the day, and log losses of labels that come with every request. Both arms live through the same hours.
 */
export function wholeCanaries(scenario: CanaryScenario): CanaryEnd[] {
  const random = seededRandom(scenario.seed)
  return Array.from({ length: scenario.canaries }, () => oneCanary(scenario, random))
}

interface Step {
  share: number
  challenger: Arm
  champion: Arm
}

interface Arm {
  errors: number
  latency: Record<string, number>
  bins: number[]
  losses: { n: number; sum: number; squares: number }
}

function oneCanary({ steps, harm, alpha, lookEvery }: CanaryScenario, random: Random): CanaryEnd {
  const each = alpha / 4
  const seen: Step[] = []
  let request = 0
  for (const { share, requests } of steps) {
    const step = { share, challenger: emptyArm(), champion: emptyArm() }
    seen.push(step)
    const end = request + requests
    while (request < end) {
      request += 1
      const isChallenger = random.uniform() < share
      const failed = serve(isChallenger ? step.challenger : step.champion, isChallenger ? harm : {}, request, random)
      if (failed && errorsProve(seen, each)) return { by: 'errors', atRequest: request }
      if (lossesProve(seen, each)) return { by: 'loss', atRequest: request }
      if (request % lookEvery > 0) continue
      if (latencyProves(step, each / steps.length)) return { by: 'latency', atRequest: request }
      if (shiftProves(seen, each)) return { by: 'shift', atRequest: request }
    }
  }
  return { by: null, atRequest: request }
}

/** @returns whether the request failed */
function serve(
  arm: Arm,
  { errors = 0, latency = 1, logit = 0, noise = 0 }: Harm,
  request: number,
  random: Random,
): boolean {
  const hour = Math.sin(request / 500)
  const burst = request % 1_000 < 50 ? 0.1 : 0
  const failed = random.uniform() < 0.015 + burst + errors
  const slow = random.uniform() < 0.02 ? 8 : 1
  const bucket = fineLatencyBucket(5 * latency * slow * Math.exp(0.4 * random.normal() + 0.3 * hour))
  arm.latency[bucket] = (arm.latency[bucket] ?? 0) + 1
  if (failed) {
    arm.errors += 1
    return true
  }
  const truth = -1.5 + 0.5 * hour + 1.2 * random.normal()
  const label = random.uniform() < sigmoid(truth)
  const predicted = sigmoid(truth + logit + (noise > 0 ? noise * random.normal() : 0))
  arm.bins[Math.min(9, Math.floor(12 * predicted))]! += 1
  const loss = -Math.log(Math.max(1e-7, label ? predicted : 1 - predicted))
  arm.losses.n += 1
  arm.losses.sum += loss
  arm.losses.squares += loss * loss
  return false
}

function errorsProve(seen: Step[], alpha: number): boolean {
  const steps = seen.map(({ share, challenger, champion }) => ({
    share,
    challengerErrors: challenger.errors,
    championErrors: champion.errors,
  }))
  return logErrorEvidence(steps, 1) >= -Math.log(alpha)
}

function lossesProve(seen: Step[], alpha: number): boolean {
  if (!mayBeWorse(seen)) return false
  const steps = seen.map(({ challenger, champion }) => ({ challenger: challenger.losses, champion: champion.losses }))
  const { lower } = lossDifference(steps, { alpha })
  return lower !== null && lower > 0
}

/** A bound is never nearer than two standard errors, nor they smaller than these: for speed, the same answer. */
function mayBeWorse(seen: Step[]): boolean {
  let [difference, squaredError] = [0, 0]
  for (const { challenger, champion } of seen) {
    const [ours, theirs] = [challenger.losses, champion.losses]
    if (ours.n === 0 || theirs.n === 0) continue
    if (ours.n === 1 || theirs.n === 1) return true
    const weight = (ours.n * theirs.n) / (ours.n + theirs.n)
    difference += weight * (ours.sum / ours.n - theirs.sum / theirs.n)
    const variance =
      (ours.squares - ours.sum ** 2 / ours.n) / ours.n ** 2 +
      (theirs.squares - theirs.sum ** 2 / theirs.n) / theirs.n ** 2
    squaredError += weight * weight * variance
  }
  return difference > 0 && difference * difference > 4 * squaredError
}

function latencyProves({ challenger, champion }: Step, alpha: number): boolean {
  const counts = { challenger: challenger.latency, champion: champion.latency }
  const buckets = { boundMs: fineLatencyBoundMs, lastBucket: FINE_LATENCY_MAX }
  return latencyBands(counts, { alpha, margin: 1.5, ...buckets }).harm !== null
}

function shiftProves(seen: Step[], alpha: number): boolean {
  const steps = seen.map(({ share, challenger, champion }) => ({
    share,
    challenger: challenger.bins,
    champion: champion.bins,
  }))
  return predictionShift(steps, { limit: 0.25, alpha }).proven
}

const emptyArm = (): Arm => ({
  errors: 0,
  latency: {},
  bins: Array.from({ length: 10 }, () => 0),
  losses: { n: 0, sum: 0, squares: 0 },
})
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
