import { describe, expect, it } from 'vitest'
import { encodeTarget, type KeyCount } from './target-encoding.ts'

const count = (key: string, fold: number, flights: number, late: number, feature = 'origin'): KeyCount => ({
  feature,
  key,
  fold,
  flights,
  late,
})

describe('target encoding', () => {
  it('draws rates towards the usual one, the more the fewer flights there are', () => {
    const { rates, usualRate } = encodeTarget([count('ATL', 0, 6_000, 3_000), count('XNA', 0, 4_000, 0)], 'origin')
    expect(usualRate).toBeCloseTo(0.3, 6)
    expect(rates.get('ATL')).toBeCloseTo((3_000 + 60 * 0.3) / 6_060, 6)
    expect(rates.get('XNA')).toBeCloseTo((60 * 0.3) / 4_060, 6)
  })

  it("keeps a row's own fold out of the rate that it is trained on", () => {
    const others = [count('ATL', 1, 100, 20), count('ATL', 2, 100, 40)]
    const calm = encodeTarget([count('ATL', 0, 10, 0), count('ATL', 3, 10, 10), ...others], 'origin')
    const stormy = encodeTarget([count('ATL', 0, 10, 10), count('ATL', 3, 10, 0), ...others], 'origin')
    // The totals are the same; only the outcomes of fold 0 and 3 have changed places.
    expect(calm.outOfFold('ATL', 0)).toBeCloseTo((70 + 60 * calm.usualRate) / 270, 6)
    expect(stormy.outOfFold('ATL', 0)).toBeCloseTo((60 + 60 * stormy.usualRate) / 270, 6)
    expect(calm.rates.get('ATL')).toBe(stormy.rates.get('ATL'))
  })

  it('says the usual rate for a key that only its own fold has seen', () => {
    const { outOfFold, usualRate } = encodeTarget([count('XNA', 4, 1, 1), count('ATL', 0, 99, 9)], 'origin')
    expect(outOfFold('XNA', 4)).toBeCloseTo(usualRate, 6)
    expect(outOfFold('never seen', 0)).toBeCloseTo(usualRate, 6)
  })

  it('reads only the counts of its own feature', () => {
    const { rates } = encodeTarget([count('ATL', 0, 10, 1), count('ATL', 0, 10, 9, 'destination')], 'origin')
    expect(rates.get('ATL')).toBeCloseTo(0.1, 6)
  })

  it('refuses a feature without flights', () => {
    expect(() => encodeTarget([count('ATL', 0, 10, 1)], 'route')).toThrow('no flights')
  })
})
