import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from '../errors.ts'
import { seededRandom, type Random } from '../random.ts'
import { lossDifference, pairedLossDifference, type LossDifference, type Sums } from './loss-difference.ts'

const options = { alpha: 0.01 }
const sums = (values: number[]): Sums => values.reduce(add, { n: 0, sum: 0, squares: 0 })
const add = ({ n, sum, squares }: Sums, value: number): Sums => ({
  n: n + 1,
  sum: sum + value,
  squares: squares + value * value,
})
const EMPTY: Sums = { n: 0, sum: 0, squares: 0 }

describe('a difference of losses', () => {
  it('is unknown without labels, and without bounds on a few', () => {
    expect(pairedLossDifference(EMPTY, options)).toMatchObject({ estimate: null, lower: null, upper: null })
    expect(pairedLossDifference(sums([0.5]), options)).toMatchObject({ estimate: 0.5, lower: null, upper: null })
    expect(pairedLossDifference(sums([1, 2, 3]), options)).toMatchObject({ estimate: 2, lower: null, challenger: 3 })
    expect(lossDifference([], options)).toMatchObject({ estimate: null, challenger: 0, champion: 0 })
    expect(lossDifference([{ challenger: EMPTY, champion: sums([1, 2]) }], options)).toMatchObject({
      estimate: null,
      challenger: 0,
      champion: 2,
    })
    expect(lossDifference([{ challenger: sums([3]), champion: sums([1]) }], options)).toMatchObject({
      estimate: 2,
      standardError: null,
      lower: null,
    })
  })

  it('of a constant is exactly that, with an error of 0', () => {
    const constant = pairedLossDifference(sums(Array.from({ length: 200 }, () => 0.1)), options)
    expect(constant.standardError).toBe(0)
    expect(constant.lower).toBeCloseTo(0.1, 12)
    expect(constant.upper).toBeCloseTo(0.1, 12)
  })

  it('has bounds some three to five standard errors away that come closer with every label', () => {
    const widths = [200, 1_000, 10_000].map((n) => {
      const { lower, upper, standardError } = pairedLossDifference({ n, sum: 0, squares: n }, options)
      expect((upper! - lower!) / 2 / standardError!).toBeGreaterThan(3)
      expect((upper! - lower!) / 2 / standardError!).toBeLessThan(5)
      return upper! - lower!
    })
    expect(widths).toEqual(widths.toSorted((a, b) => b - a))
  })

  it('of means compares within steps: a harder hour is not held against the arm that had more of it', () => {
    const hard = (n: number) => ({ n, sum: 2 * n, squares: 5 * n })
    const easy = (n: number) => ({ n, sum: n, squares: 2 * n })
    const { estimate } = lossDifference(
      [
        { challenger: easy(100), champion: easy(900) },
        { challenger: hard(500), champion: hard(500) },
      ],
      options,
    )
    expect(estimate).toBeCloseTo(0, 12)
  })

  it('refuses sums that are none', () => {
    expect(() => pairedLossDifference({ n: 1, sum: Number.NaN, squares: 1 }, options)).toThrow(StatisticsInputError)
    expect(() => pairedLossDifference({ n: -1, sum: 0, squares: 1 }, options)).toThrow(StatisticsInputError)
    expect(() => pairedLossDifference(EMPTY, { alpha: 0.5 })).toThrow(StatisticsInputError)
    expect(() => pairedLossDifference(EMPTY, { alpha: 0.1, minimum: 1 })).toThrow(StatisticsInputError)
    expect(() => pairedLossDifference({ n: 5, sum: 0, squares: 1, positives: 6 }, options)).toThrow(
      StatisticsInputError,
    )
  })
})

describe('with labels of yes and no', () => {
  const pairs = (n: number, positives: number) => ({ n, sum: 0, squares: n, positives })

  it('says nothing before the rarer of them has come thirty times, in both arms of a canary together', () => {
    const bounded = (sums: Sums) => pairedLossDifference(sums, options).lower !== null
    expect([0, 29, 30, 970, 971, 1_000].map((positives) => bounded(pairs(1_000, positives)))).toEqual([
      false,
      false,
      true,
      true,
      false,
      false,
    ])
    expect(bounded({ n: 1_000, sum: 0, squares: 1_000, positives: null })).toBe(true)
    const canary = (ours: number, theirs: number) =>
      lossDifference([{ challenger: pairs(200, ours), champion: pairs(800, theirs) }], options)
    expect([canary(0, 29).lower, canary(0, 29).estimate]).toEqual([null, 0])
    expect(canary(2, 28).lower).toBeLessThan(0)
  })

  it('is not deceived by a hundred pairs without a positive, in 300 shadows of two rare risks that differ', () => {
    const random = seededRandom(23)
    const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit))
    // The mean difference of log losses, label by label: both are miscalibrated, the challenger upwards.
    const difference = (logit: number, chance: number) =>
      chance * (Math.log1p(Math.exp(-logit - 0.4)) - Math.log1p(Math.exp(-logit + 0.35))) +
      (1 - chance) * (Math.log1p(Math.exp(logit + 0.4)) - Math.log1p(Math.exp(logit - 0.35)))
    let truth = 0
    for (let draw = 0; draw < 200_000; draw++) {
      const logit = -4.6 + random.normal()
      truth += difference(logit, sigmoid(logit)) / 200_000
    }
    const missed = misses(300, truth, () => () => rareShadow(random, difference, sigmoid))
    expect(missed.low / 300).toBeLessThan(0.02)
    expect(missed.high / 300).toBeLessThan(0.02)
  })

  function* rareShadow(
    random: Random,
    difference: (logit: number, chance: number) => number,
    sigmoid: (logit: number) => number,
  ) {
    let seen: Sums = { n: 0, sum: 0, squares: 0, positives: 0 }
    for (let pair = 0; pair < 4_000; pair++) {
      const logit = -4.6 + random.normal()
      const label = random.uniform() < sigmoid(logit) ? 1 : 0
      seen = { ...add(seen, difference(logit, label)), positives: seen.positives! + label }
      if (pair % 10 === 0) yield pairedLossDifference(seen, { alpha: 0.0025 })
    }
  }
})

describe('of labels beyond all measure', () => {
  it('knows the numbers of both, and no more, also where JSON has made null of them', () => {
    const nothing = { estimate: null, lower: null, upper: null, challenger: 300, champion: 300 }
    for (const sum of [Infinity, -Infinity, null as unknown as number]) {
      const beyond = { n: 300, sum, squares: Infinity }
      expect(pairedLossDifference(beyond, options)).toMatchObject(nothing)
      expect(lossDifference([{ challenger: beyond, champion: { n: 300, sum: 1, squares: 1 } }], options)).toMatchObject(
        nothing,
      )
    }
    const squared = { n: 300, sum: 1e200, squares: null as unknown as number }
    expect(pairedLossDifference(squared, options)).toMatchObject(nothing)
  })
})

describe('its confidence sequence, looked at after every label', () => {
  const rounds = 200
  const alpha = 0.05

  it('excludes the true difference in at most 5% of 200 shadows on either side, up to 2,000 pairs of skewed losses', () => {
    const random = seededRandom(21)
    const missed = misses(rounds, 0, () => {
      let seen = EMPTY
      return function* () {
        for (let pair = 0; pair < 2_000; pair++) {
          // A log-normal loss of each model on the same row.
          const row = 0.5 * random.normal()
          seen = add(seen, Math.exp(row + 0.5 * random.normal()) - Math.exp(row + 0.5 * random.normal()))
          yield pairedLossDifference(seen, { alpha })
        }
      }
    })
    expect(missed.low / rounds).toBeLessThan(0.05)
    expect(missed.high / rounds).toBeLessThan(0.05)
  })

  it('and of 200 canaries at a fifth of the traffic', () => {
    const random = seededRandom(22)
    const missed = misses(rounds, 0, () => {
      const seen = { challenger: EMPTY, champion: EMPTY }
      return function* () {
        for (let request = 0; request < 2_000; request++) {
          const arm = random.uniform() < 0.2 ? 'challenger' : 'champion'
          seen[arm] = add(seen[arm], -Math.log(random.uniform() + 1e-7))
          yield lossDifference([seen], { alpha })
        }
      }
    })
    expect(missed.low / rounds).toBeLessThan(0.05)
    expect(missed.high / rounds).toBeLessThan(0.05)
  })
})

/** Of so many sequences, those whose lower (upper) bound is ever above (below) the truth. */
function misses(rounds: number, truth: number, begin: () => () => Generator<LossDifference>) {
  const missed = { low: 0, high: 0 }
  for (let round = 0; round < rounds; round++) {
    let [low, high] = [false, false]
    for (const { lower, upper } of begin()()) {
      low ||= lower !== null && lower > truth
      high ||= upper !== null && upper < truth
    }
    if (low) missed.low += 1
    if (high) missed.high += 1
  }
  return missed
}
