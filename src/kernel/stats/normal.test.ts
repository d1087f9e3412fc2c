import { describe, expect, it } from 'vitest'
import { StatisticsInputError } from './errors.ts'
import { normalCdf, normalQuantile } from './normal.ts'

// From scipy.stats.norm 1.17.1.
const CDF: [z: number, probability: number][] = [
  [0, 0.5],
  [0.5, 0.6914624612740131],
  [1, 0.8413447460685429],
  [-1, 0.15865525393145707],
  [-3, 0.0013498980316300933],
  [-6, 9.865876450376946e-10],
  [-7.5, 3.1908916729108844e-14],
  [-10, 7.61985302416047e-24],
  [-37, 5.7255712225239266e-300],
  [5, 0.9999997133484281],
]
const QUANTILE: [probability: number, z: number][] = [
  [1e-300, -37.0470962993612],
  [1e-20, -9.262340089798409],
  [1e-6, -4.753424308822899],
  [0.001, -3.090232306167813],
  [0.025, -1.9599639845400545],
  [0.05, -1.6448536269514729],
  [0.3, -0.5244005127080409],
  [0.5, 0],
  [0.7, 0.5244005127080407],
  [0.925, 1.4395314709384563],
  [0.999999, 4.753424308817087],
]

describe('the standard normal distribution', () => {
  it.each(CDF)('has P(Z ≤ %s) = %s', (z, probability) => {
    expect(Math.abs(normalCdf(z) / probability - 1)).toBeLessThan(2e-8)
  })

  it.each(QUANTILE)('has its %s quantile at %s', (probability, z) => {
    expect(normalQuantile(probability)).toBeCloseTo(z, 11)
  })

  it('inverts itself from the far tail to the centre', () => {
    for (const p of [1e-12, 1e-6, 0.01, 0.2, 0.5, 0.9, 0.9999]) {
      expect(Math.abs(normalCdf(normalQuantile(p)) / p - 1)).toBeLessThan(2e-8)
    }
  })

  it('ends at the infinities', () => {
    expect([normalQuantile(0), normalQuantile(1)]).toEqual([-Infinity, Infinity])
    expect([normalCdf(-Infinity), normalCdf(Infinity)]).toEqual([0, 1])
  })

  it('refuses what is no probability', () => {
    expect(() => normalQuantile(1.01)).toThrow(StatisticsInputError)
    expect(() => normalQuantile(NaN)).toThrow(StatisticsInputError)
    expect(() => normalCdf(NaN)).toThrow(StatisticsInputError)
  })
})
