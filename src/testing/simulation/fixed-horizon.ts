import { logGamma } from '../../kernel/stats/special-functions.ts'

/**
 * Requests that a test with one look at its end needs, to find a challenger that fails at another rate: of all errors, are
 * more the challenger's than its share explains? Exact and one-sided, the counterpart of the sequential one.
 *
 * @returns the smallest number of requests, to 1%, from which the power is reached
 * @see Przyborowski and Wilenski, "Homogeneity of results in testing samples from Poisson series", Biometrika 31, 1940
 */
export function fixedHorizonRequests(question: {
  share: number
  championRate: number
  challengerRate: number
  alpha: number
  power: number
}): number {
  const { share, championRate, challengerRate, alpha, power } = question
  const rate = share * challengerRate + (1 - share) * championRate
  const theta = (share * challengerRate) / rate
  let requests = 10
  while (powerAt(requests * rate, share, theta, alpha) < power) requests = Math.ceil(requests * 1.01)
  return requests
}

/** Over the number of errors, which is taken as Poisson. */
function powerAt(expectedErrors: number, share: number, theta: number, alpha: number): number {
  const reach = 6 * Math.sqrt(expectedErrors) + 10
  let power = 0
  for (let errors = Math.max(0, Math.floor(expectedErrors - reach)); errors < expectedErrors + reach; errors++) {
    const weight = Math.exp(errors * Math.log(expectedErrors) - expectedErrors - logGamma(errors + 1))
    power += weight * upperTail(criticalCount(errors, share, alpha), errors, theta)
  }
  return power
}

/** The smallest count that so many errors reach with a chance of at most alpha. */
function criticalCount(errors: number, share: number, alpha: number): number {
  let tail = 0
  for (let count = errors; count >= 0; count--) {
    tail += binomial(count, errors, share)
    if (tail > alpha) return count + 1
  }
  return 0
}

function upperTail(from: number, errors: number, theta: number): number {
  let tail = 0
  for (let count = from; count <= errors; count++) tail += binomial(count, errors, theta)
  return tail
}

function binomial(count: number, all: number, chance: number): number {
  if (chance === 1) return count === all ? 1 : 0
  const ways = logGamma(all + 1) - logGamma(count + 1) - logGamma(all - count + 1)
  return Math.exp(ways + count * Math.log(chance) + (all - count) * Math.log1p(-chance))
}
