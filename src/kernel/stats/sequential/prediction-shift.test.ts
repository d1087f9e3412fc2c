import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from '../errors.ts'
import { seededRandom } from '../random.ts'
import { predictionShift, type ShiftStep } from './prediction-shift.ts'

const options = { limit: 0.25, alpha: 0.01 }
const step = (share: number, challenger: number[], champion: number[]): ShiftStep => ({ share, challenger, champion })

describe('evidence of shifted predictions', () => {
  it('is none without predictions, with one arm empty, without bins, and where nothing is shared out', () => {
    const nothing = { logE: 0, eValue: 1, psiBeyondChance: 0, proven: false }
    expect(predictionShift([], options)).toMatchObject(nothing)
    expect(predictionShift([step(0.1, [], [])], options)).toMatchObject(nothing)
    expect(predictionShift([step(0.1, [0, 0], [0, 0])], options)).toMatchObject(nothing)
    expect(predictionShift([step(1, [5, 5], [0, 0])], options)).toMatchObject(nothing)
    expect(predictionShift([step(0.1, [0, 0], [9, 9])], options)).toMatchObject({ psiBeyondChance: 0, proven: false })
  })

  it('is proven where the challenger puts everything into one bin', () => {
    const evidence = predictionShift([step(0.1, [0, 0, 0, 20], [40, 50, 45, 45])], options)
    expect(evidence).toMatchObject({ proven: true, challengerRequests: 20, championRequests: 180 })
    expect(evidence.psiBeyondChance).toBeGreaterThan(1)
  })

  it('is no harm where chance is excluded but the distance is a trifle', () => {
    const evidence = predictionShift([step(0.5, [530_000, 470_000], [500_000, 500_000])], options)
    expect(evidence).toMatchObject({ chanceExcluded: true, proven: false })
    expect(evidence.psiBeyondChance).toBeLessThan(0.01)
  })

  it('compares arms within steps: traffic that changes from step to step is not the challenger’s doing', () => {
    const evidence = predictionShift([step(0.1, [100, 0], [900, 0]), step(0.5, [0, 1000], [0, 1000])], options)
    expect(evidence.psiBeyondChance).toBe(0)
    expect(evidence.chanceExcluded).toBe(false)
  })

  it('does not take an arm that was down for a shift', () => {
    const evidence = predictionShift([step(0.1, [300, 310, 290], [910, 900, 890])], options)
    expect(evidence).toMatchObject({ chanceExcluded: false, psiBeyondChance: 0 })
  })

  it('takes fractions and millions, and stays a number', () => {
    const evidence = predictionShift([step(0.001, [0.25, 1e7, 0], [0.5, 0, 1e9])], options)
    for (const value of Object.values(evidence)) expect(Number.isNaN(Number(value))).toBe(false)
    expect(evidence.eValue).toBe(1e300)
  })

  it('refuses bins that differ and counts below 0', () => {
    expect(() => predictionShift([step(0.1, [1], [1, 2])], options)).toThrow(StatisticsInputError)
    expect(() => predictionShift([step(0.1, [-1], [1])], options)).toThrow(StatisticsInputError)
    expect(() => predictionShift([step(Number.NaN, [1], [1])], options)).toThrow(StatisticsInputError)
  })
})

describe('the e-value of shifts, in simulation', () => {
  it('looked at after every request, crosses 1/0.05 in at most 5% of 100 canaries with equal predictions', () => {
    const random = seededRandom(5)
    let crossed = 0
    for (let round = 0; round < 100; round++) {
      const seen = { share: 0.2, challenger: [0, 0, 0, 0], champion: [0, 0, 0, 0] }
      for (let request = 0; request < 200; request++) {
        const bin = Math.floor(4 * random.uniform() ** 2)
        const arm = random.uniform() < seen.share ? seen.challenger : seen.champion
        arm[bin]! += 1
        if (!predictionShift([seen], { limit: 0, alpha: 0.05 }).chanceExcluded) continue
        crossed += 1
        break
      }
    }
    expect(crossed / 100).toBeLessThan(0.05)
  })
})
