import { StatisticsInputError } from '../errors.ts'
import { logBeta, logGamma } from '../special-functions.ts'

/** Requests by number of their bucket, `{ "57": 12 }`: bucket i holds what took longer than boundMs(i − 1), up to boundMs(i). */
export type BucketCounts = Readonly<Record<string, number>>

export interface LatencyOptions {
  /** For both quantiles of both arms together, at all looks. */
  alpha: number
  /** Greatest acceptable ratio of the challenger's quantile to the champion's, e.g. 1.5. */
  margin: number
  /** Upper bound of a bucket, ms, ascending: `fineLatencyBoundMs`. */
  boundMs: (bucket: number) => number
  /** The bucket that also holds all above it, `FINE_LATENCY_MAX`. */
  lastBucket: number
}

/** A quantile to the resolution of the buckets. */
export interface QuantileBand {
  /** Upper bound of the bucket that holds it; null without requests, or above the last bound. */
  estimateMs: number | null
  /** It is above this, at all looks together; 0: nothing is known. */
  lowerMs: number
  /** It is not above this; null: nothing is known. */
  upperMs: number | null
}

export interface ArmLatency {
  requests: number
  p50: QuantileBand
  p99: QuantileBand
}

export interface LatencyBands {
  challenger: ArmLatency
  champion: ArmLatency
  /** The challenger's quantile is more than so many times the champion's, as far as is proven; 0: nothing is. */
  ratioAbove: { p50: number; p99: number }
  /** The quantile whose bands lie apart by more than the margin. */
  harm: 'p50' | 'p99' | null
}

/**
 * Time-uniform confidence bands of both arms' latencies. Whether a request is faster than the true p-quantile is a coin with
 * chance p; at each bucket's bound, a beta mixture of likelihood ratios to that coin is a test martingale, and what it
 * rejects at 4/alpha is outside the band: at all looks together, one of the four bands is wrong with a chance of at most alpha.
 * Counts are to be those of one step, in which the share is fixed: then a slow hour is in both arms alike.
 *
 * @throws StatisticsInputError for counts, bucket numbers or options outside their ranges
 * @see Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
 *   identification", Bernoulli 28, 2022 (arXiv 1906.09712), the beta-binomial bound for a fixed quantile
 */
export function latencyBands(
  counts: { challenger: BucketCounts; champion: BucketCounts },
  options: LatencyOptions,
): LatencyBands {
  if (!(options.alpha > 0 && options.alpha < 1 && options.margin > 0)) {
    throw new StatisticsInputError(`No bands for an alpha of ${options.alpha} and a margin of ${options.margin}.`)
  }
  const challenger = armLatency(counts.challenger, options)
  const champion = armLatency(counts.champion, options)
  const ratioAbove = { p50: ratio(challenger.p50, champion.p50), p99: ratio(challenger.p99, champion.p99) }
  const harm = ratioAbove.p50 > options.margin ? 'p50' : ratioAbove.p99 > options.margin ? 'p99' : null
  return { challenger, champion, ratioAbove, harm }
}

function ratio(challenger: QuantileBand, champion: QuantileBand): number {
  return champion.upperMs === null || champion.upperMs === 0 ? 0 : challenger.lowerMs / champion.upperMs
}

function armLatency(counts: BucketCounts, options: LatencyOptions): ArmLatency {
  const buckets = cumulated(counts, options.lastBucket)
  const requests = buckets.at(-1)?.below ?? 0
  const band = (share: number) => quantileBand(buckets, requests, share, options)
  return { requests, p50: band(0.5), p99: band(0.99) }
}

/** Buckets that hold requests, ascending, with how many requests there are up to each. */
function cumulated(counts: BucketCounts, lastBucket: number): { bucket: number; below: number }[] {
  const entries = Object.entries(counts).map(([bucket, count]) => ({ bucket: Number(bucket), count }))
  const wrong = entries.find(
    ({ bucket, count }) =>
      !(Number.isInteger(bucket) && bucket >= 0 && bucket <= lastBucket && count >= 0 && count < Infinity),
  )
  if (wrong) throw new StatisticsInputError(`There is no bucket ${wrong.bucket} with ${wrong.count} requests.`)
  let below = 0
  return entries
    .filter(({ count }) => count > 0)
    .sort((a, b) => a.bucket - b.bucket)
    .map(({ bucket, count }) => ({ bucket, below: (below += count) }))
}

function quantileBand(
  buckets: readonly { bucket: number; below: number }[],
  requests: number,
  share: number,
  { alpha, boundMs, lastBucket }: LatencyOptions,
): QuantileBand {
  const boundOf = (bucket: number | undefined) =>
    bucket === undefined || bucket >= lastBucket ? null : boundMs(bucket)
  const expected = requests * share
  const excluded = exclusion(requests, share, -Math.log(alpha / 4))
  const tooFew = (below: number) => below < expected && excluded(below)
  const tooMany = (below: number) => below > expected && excluded(below)
  // Nothing changes between two buckets that hold requests: what is too low is so until just before the next one.
  const first = tooFew(0) ? firstWhere(buckets, (below) => !tooFew(below)) : undefined
  return {
    estimateMs: boundOf(firstWhere(buckets, (below) => below >= expected)),
    lowerMs: first === undefined || first === 0 ? 0 : boundMs(first - 1),
    upperMs: boundOf(firstWhere(buckets, tooMany)),
  }
}

/** Whether ∫ Beta(θ) θ^k (1 − θ)^(t − k) dθ ≥ exp(limit) · p^k (1 − p)^(t − k), k of t requests being faster. */
function exclusion(requests: number, share: number, limit: number): (below: number) => boolean {
  const [a, b] = [STRENGTH * share, STRENGTH * (1 - share)]
  const [logShare, logRest] = [Math.log(share), Math.log1p(-share)]
  const fixed = logBeta(a, b) + logGamma(STRENGTH + requests) + limit
  return (below) => {
    const above = requests - below
    return logGamma(a + below) + logGamma(b + above) - below * logShare - above * logRest >= fixed
  }
}

/** The first bucket up to which `holds`, which it does from there on. */
function firstWhere(
  buckets: readonly { bucket: number; below: number }[],
  holds: (below: number) => boolean,
): number | undefined {
  let [low, high] = [0, buckets.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (holds(buckets[middle]!.below)) high = middle
    else low = middle + 1
  }
  return buckets[low]?.bucket
}

/** Of the beta distribution around the quantile: the bands are tightest at some 14 times as many requests. */
const STRENGTH = 70
