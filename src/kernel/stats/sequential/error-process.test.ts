import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from '../errors.ts'
import { seededRandom } from '../random.ts'
import { errorEvidence, logErrorEvidence, shadowShare, type ErrorStep } from './error-process.ts'

const step = (share: number, challengerErrors: number, championErrors: number): ErrorStep => ({
  share,
  challengerErrors,
  championErrors,
})
const options = { margin: 1, alpha: 0.01 }

describe('evidence of more errors', () => {
  it('is none at first, without errors, and where all traffic or none is the challenger’s', () => {
    for (const steps of [[], [step(0.1, 0, 0)], [step(0, 0, 50)], [step(1, 50, 0)]]) {
      expect(errorEvidence(steps, options)).toMatchObject({ logE: 0, eValue: 1, proven: false, rateRatioAbove: 0 })
    }
  })

  it('proves harm from a handful of errors that all fall on a tenth of the traffic', () => {
    const evidence = errorEvidence([step(0.1, 6, 1)], options)
    expect(evidence).toMatchObject({ proven: true, challengerErrors: 6, championErrors: 1, errorsToProve: 0 })
    expect(evidence.expectedErrors).toBeCloseTo(0.7, 12)
    expect(evidence.rateRatio).toBeCloseTo(54, 6)
    expect(evidence.rateRatioAbove).toBeGreaterThan(1)
  })

  it('stays small where errors fall as the traffic does', () => {
    const evidence = errorEvidence([step(0.1, 100, 900)], options)
    expect(evidence.logE).toBeLessThan(0)
    expect(evidence.rateRatio).toBeCloseTo(1, 9)
    expect(evidence.rateRatioAbove).toBeLessThan(1)
  })

  it('is held against the margin', () => {
    const twice = [step(0.5, 200, 100)]
    expect(errorEvidence(twice, { margin: 1, alpha: 0.01 }).proven).toBe(true)
    expect(errorEvidence(twice, { margin: 1.5, alpha: 0.01 }).proven).toBe(false)
    expect(errorEvidence(twice, { margin: 1.5, alpha: 0.01 }).expectedErrors).toBeCloseTo(180, 9)
    const { rateRatioAbove } = errorEvidence(twice, options)
    expect(rateRatioAbove).toBeGreaterThan(1.3)
    expect(logErrorEvidence(twice, rateRatioAbove - 0.001)).toBeGreaterThanOrEqual(-Math.log(0.01))
    expect(logErrorEvidence(twice, rateRatioAbove + 0.001)).toBeLessThan(-Math.log(0.01))
  })

  it('says how many errors more would prove it', () => {
    const before = [step(0.1, 1, 9)]
    const { errorsToProve } = errorEvidence(before, options)
    expect(errorEvidence([step(0.1, 1 + errorsToProve!, 9)], options).proven).toBe(true)
    expect(errorEvidence([step(0.1, errorsToProve!, 9)], options).proven).toBe(false)
    expect(errorEvidence([step(0.5, 0, 1_000_000)], options).errorsToProve).toBeNull()
  })

  it('adds up over steps with different shares to more than either says alone', () => {
    const both = errorEvidence([step(0.1, 8, 30), step(0.5, 20, 10)], options)
    expect(both.logE).toBeGreaterThan(errorEvidence([step(0.1, 8, 30)], options).logE)
    expect(both.logE).toBeGreaterThan(errorEvidence([step(0.5, 20, 10)], options).logE)
    expect(errorEvidence([step(0.1, 4, 15), step(0.1, 4, 15)], options).logE).toBeCloseTo(
      errorEvidence([step(0.1, 8, 30)], options).logE,
      9,
    )
  })

  it('stays a number at a billion errors', () => {
    const evidence = errorEvidence([step(0.5, 1e9, 0), step(0.001, 0, 1e9)], options)
    expect(Object.values(evidence).every((value) => value === null || !Number.isNaN(Number(value)))).toBe(true)
    expect(errorEvidence([step(0.5, 1e9, 0)], options)).toMatchObject({ eValue: 1e300, rateRatio: null, proven: true })
  })

  it('refuses counts, shares and margins that make no sense', () => {
    expect(() => errorEvidence([step(1.1, 0, 0)], options)).toThrow(StatisticsInputError)
    expect(() => errorEvidence([step(0.1, -1, 0)], options)).toThrow(StatisticsInputError)
    expect(() => errorEvidence([step(0.1, Number.NaN, 0)], options)).toThrow(StatisticsInputError)
    expect(() => errorEvidence([], { margin: 0.9, alpha: 0.01 })).toThrow(StatisticsInputError)
    expect(() => errorEvidence([], { margin: 1, alpha: 0 })).toThrow(StatisticsInputError)
  })
})

describe('the e-value, in simulation', () => {
  it('is a fair bet: without harm its mean over all outcomes of 12 errors is 1, at the margin', () => {
    for (const [share, margin] of [
      [0.1, 1],
      [0.5, 1.2],
    ] as const) {
      const chance = (share * margin) / (share * margin + 1 - share)
      let mean = 0
      let ways = 1
      for (let n = 0; n <= 12; n++) {
        const e = Math.exp(logErrorEvidence([step(share, n, 12 - n)], margin))
        mean += ways * chance ** n * (1 - chance) ** (12 - n) * e
        ways = (ways * (12 - n)) / (n + 1)
      }
      expect(mean).toBeCloseTo(1, 12)
    }
  })

  it('looked at after every error, crosses 1/0.05 in at most 5% of 300 canaries whose rates change but are equal', () => {
    const random = seededRandom(11)
    const crossed = count(300, () => everCrosses(random, 0.05, () => [0.1, 0.5]))
    expect(crossed / 300).toBeLessThan(0.05)
    expect(crossed / 300).toBeGreaterThan(0.005)
  })

  it('the same in shadows, where one request can fail in both arms', () => {
    const random = seededRandom(12)
    const mirrored = 0.6
    const share = shadowShare(mirrored)
    const crossed = count(300, () => {
      const seen = step(share, 0, 0)
      for (let request = 0; request < 4_000; request++) {
        const hard = random.uniform() < 0.1
        const fails = () => random.uniform() < (hard ? 0.4 : 0.01)
        const live = fails()
        const copied = random.uniform() < mirrored && fails()
        if (live) seen.championErrors += 1
        if (copied) seen.challengerErrors += 1
        if ((live || copied) && logErrorEvidence([seen], 1) >= Math.log(20)) return true
      }
      return false
    })
    expect(crossed / 300).toBeLessThan(0.05)
  })
})

/** 300 errors at the first share, 300 at the second. */
function everCrosses(random: ReturnType<typeof seededRandom>, alpha: number, shares: () => number[]): boolean {
  const steps: ErrorStep[] = []
  for (const share of shares()) {
    const seen = step(share, 0, 0)
    steps.push(seen)
    for (let error = 0; error < 300; error++) {
      if (random.uniform() < share) seen.challengerErrors += 1
      else seen.championErrors += 1
      if (logErrorEvidence(steps, 1) >= -Math.log(alpha)) return true
    }
  }
  return false
}

const count = (rounds: number, holds: () => boolean) =>
  Array.from({ length: rounds }, holds).filter((held) => held).length
