import { StatisticsInputError } from './errors.ts'

/** ln Γ(x) for x > 0, relative error about 1e-15: Stirling's series, after stepping small arguments up by Γ(x + 1) = x Γ(x). */
export function logGamma(x: number): number {
  if (!(x > 0 && x < Infinity)) throw new StatisticsInputError(`ln Γ is wanted at a number above 0, not at ${x}.`)
  let factor = 1
  let at = x
  while (at < STIRLING_FROM) {
    factor *= at
    at += 1
  }
  const inverse = 1 / (at * at)
  let series = 0
  for (const coefficient of STIRLING) series = series * inverse + coefficient
  return (at - 0.5) * Math.log(at) - at + HALF_LOG_TWO_PI + series / at - Math.log(factor)
}

/** ln B(a, b) of the beta function, a and b above 0; they need not be whole. */
export function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b)
}

/** ln Σ exp(xᵢ) without overflow; −∞ for nothing. */
export function logSumExp(values: ArrayLike<number>): number {
  let greatest = -Infinity
  for (let i = 0; i < values.length; i++) if (values[i]! > greatest) greatest = values[i]!
  if (!Number.isFinite(greatest)) return greatest
  let total = 0
  for (let i = 0; i < values.length; i++) total += Math.exp(values[i]! - greatest)
  return greatest + Math.log(total)
}

/**
 * P(X ≥ x) of a χ² distribution, relative error about 1e-12, down to 1e-300; 1 for no degrees of freedom.
 * @param x - at least 0
 * @param degrees - of freedom, at least 0
 * @see Press et al., "Numerical Recipes", 3rd edition, 2007, 6.2: series below the mean, continued fraction above
 */
export function chiSquaredTail(x: number, degrees: number): number {
  if (!(x >= 0 && degrees >= 0 && degrees < Infinity)) {
    throw new StatisticsInputError(`χ² is not defined at ${x} with ${degrees} degrees of freedom.`)
  }
  if (degrees === 0 || x === 0) return 1
  if (x === Infinity) return 0
  const [shape, at] = [degrees / 2, x / 2]
  const logFront = shape * Math.log(at) - at - logGamma(shape)
  return at < shape + 1
    ? Math.max(0, 1 - Math.exp(logFront) * gammaSeries(shape, at))
    : Math.min(1, Math.exp(logFront) * gammaFraction(shape, at))
}

/**
 * The x with P(X ≤ x) = probability, by bisection of the tail: 14 digits.
 * @param probability - above 0 and below 1
 * @param degrees - of freedom, above 0
 */
export function chiSquaredQuantile(probability: number, degrees: number): number {
  if (!(probability > 0 && probability < 1 && degrees > 0)) {
    throw new StatisticsInputError(`χ² with ${degrees} degrees of freedom has no quantile ${probability}.`)
  }
  let high = degrees + 10
  while (1 - chiSquaredTail(high, degrees) < probability) high *= 2
  // In the logarithm: with one degree of freedom the quantiles near 0 are of the order of probability².
  let [low, top] = [Math.log(high) - 200, Math.log(high)]
  for (let step = 0; step < 90; step++) {
    const middle = (low + top) / 2
    if (chiSquaredBelow(Math.exp(middle), degrees) < probability) low = middle
    else top = middle
  }
  return Math.exp((low + top) / 2)
}

/** P(X ≤ x), accurate where it is small. */
function chiSquaredBelow(x: number, degrees: number): number {
  const [shape, at] = [degrees / 2, x / 2]
  if (at >= shape + 1) return 1 - chiSquaredTail(x, degrees)
  return Math.exp(shape * Math.log(at) - at - logGamma(shape)) * gammaSeries(shape, at)
}

function gammaSeries(shape: number, at: number): number {
  let term = 1 / shape
  let total = term
  for (let n = 1; n < MAX_TERMS; n++) {
    term *= at / (shape + n)
    total += term
    if (term < total * PRECISION) return total
  }
  throw new StatisticsInputError(`The series of χ² does not end at shape ${shape} and ${at}.`)
}

/** Lentz's method. */
function gammaFraction(shape: number, at: number): number {
  let b = at + 1 - shape
  let c = 1 / TINY
  let d = 1 / b
  let value = d
  for (let n = 1; n < MAX_TERMS; n++) {
    const a = -n * (n - shape)
    b += 2
    d = 1 / awayFromZero(a * d + b)
    c = awayFromZero(b + a / c)
    value *= d * c
    if (Math.abs(d * c - 1) < PRECISION) return value
  }
  throw new StatisticsInputError(`The fraction of χ² does not end at shape ${shape} and ${at}.`)
}

const awayFromZero = (value: number) => (Math.abs(value) < TINY ? TINY : value)

const PRECISION = 1e-15
const TINY = 1e-300
/** Near the mean about √shape terms are needed: enough for shapes up to 10^9. */
const MAX_TERMS = 1_000_000
const STIRLING_FROM = 15
const HALF_LOG_TWO_PI = 0.9189385332046728
/** Of 1/x, 1/x³, … in reverse order. */
const STIRLING = [1 / 156, -691 / 360_360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12]
