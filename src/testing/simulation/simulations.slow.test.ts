import { describe, expect, it } from 'vitest'
import { errorCanaries } from './error-canaries.ts'
import { fixedHorizonRequests } from './fixed-horizon.ts'
import { lossCoverage } from './loss-coverage.ts'
import { quietDays } from './quiet-days.ts'
import { wholeCanaries } from './whole-canaries.ts'

/*
 * The short form of `npm run bench -- S1 S5`, with its seeds. Bounds are the promise and three standard errors of so few rounds.
 */

const steps = [
  { share: 0.1, requests: 2_000 },
  { share: 0.5, requests: 2_000 },
]

describe('simulated canaries', () => {
  it('without harm are rolled back by their errors in at most 1% of cases, looked at after every request', () => {
    const ends = errorCanaries({
      steps: steps.map((step) => ({ ...step, requests: 10_000 })),
      championRate: 0.02,
      challengerRate: 0.02,
      alpha: 0.01,
      canaries: 2_000,
      seed: 1,
    })
    expect(ends.filter(Number.isFinite).length / 2_000).toBeLessThan(0.01 + 0.0067)
  })

  it('with two points more errors at a tenth of the traffic are found, in the median, in 1.5 times a fixed test’s requests', () => {
    const question = { share: 0.1, championRate: 0.02, challengerRate: 0.04, alpha: 0.01 }
    const found = errorCanaries({ ...question, steps: [{ share: 0.1, requests: 1e6 }], canaries: 300, seed: 2 })
    const fixed = fixedHorizonRequests({ ...question, power: 0.8 })
    expect(found.toSorted()[150]! / fixed).toBeLessThan(1.5)
    expect(found.every(Number.isFinite)).toBe(true)
  })

  it('without harm in any respect end well in at least 99% of cases', () => {
    const ends = wholeCanaries({ steps, harm: {}, alpha: 0.01, canaries: 400, lookEvery: 100, seed: 3 })
    expect(ends.filter(({ by }) => by !== null).length / 400).toBeLessThan(0.01 + 0.015)
    expect(ends[0]!.atRequest).toBe(4_000)
  })

  it.each([
    ['errors', { errors: 0.2 }],
    ['latency', { latency: 3 }],
    ['shift', { logit: 1.5 }],
  ] as const)('find great harm by %s in the first step', (by, harm) => {
    const ends = wholeCanaries({ steps, harm, alpha: 0.01, canaries: 20, lookEvery: 100, seed: 4 })
    expect(ends.filter((end) => end.by === by && end.atRequest <= 2_000).length).toBeGreaterThanOrEqual(19)
  })

  it.each(['shadow', 'canary'] as const)('bound the loss of a %s as they promise', (kind) => {
    const missed = lossCoverage({ kind, sequences: 400, requests: 2_000, alpha: 0.01, seed: 5 })
    expect(missed.lower).toBeLessThan(0.01 + 0.015)
    expect(missed.upper).toBeLessThan(0.01 + 0.015)
  })
})

describe('the fixed test', () => {
  it('has the power at its number of requests that it was asked for, as far as the normal approximation goes', () => {
    const question = { share: 0.5, championRate: 0.02, challengerRate: 0.04, alpha: 0.01 }
    // The approximation by normal distributions, of which the exact test needs some more.
    const [z, power] = [2.3263, 0.8416]
    const [pooled, apart] = [0.03 * 0.97 * 4, (0.04 * 0.96 + 0.02 * 0.98) * 2]
    const approximate = (z * Math.sqrt(pooled) + power * Math.sqrt(apart)) ** 2 / 0.02 ** 2
    const exact = fixedHorizonRequests({ ...question, power: 0.8 })
    expect(exact / approximate).toBeGreaterThan(1)
    expect(exact / approximate).toBeLessThan(1.15)
  })
})

describe('90 quiet days', () => {
  it('raise at most one alarm a month and monitor, though days differ', () => {
    const models = 10
    const world = { models, days: 90, baselineRows: 20_000, dayEffect: 0.15 }
    const found = quietDays({ ...world, rowsPerDay: 600, seed: 6 })
    const judged = Object.entries(found).filter(([, { windows, insufficient }]) => windows >= 900 && insufficient === 0)
    expect(judged.map(([monitor]) => monitor)).toEqual(Object.keys(found))
    expect(judged.filter(([, { alarms }]) => alarms / models / 3 > 1)).toEqual([])
  })
})
