import { describe, expect, it } from 'vitest'
import { categoricalProfile, numericProfile } from './baseline-profile.ts'

describe('numericProfile', () => {
  it('describes a column and cuts it into ten bins of equal counts', () => {
    const profile = numericProfile(
      'age',
      Float64Array.from({ length: 100 }, (_, i) => i),
    )
    expect(profile).toMatchObject({ count: 100, missing: 0, infinite: 0, mean: 49.5, min: 0, max: 99 })
    expect(profile.standardDeviation).toBeCloseTo(29.011, 3)
    expect(profile.counts).toEqual(Array.from({ length: 10 }, () => 10))
  })

  it('counts missing and infinite values apart', () => {
    const profile = numericProfile('age', Float64Array.of(1, NaN, 2, Infinity, NaN))
    expect(profile).toMatchObject({ count: 3, missing: 2, infinite: 1, mean: 1.5, min: 1, max: 2 })
    expect(profile.counts.reduce((total, count) => total + count, 0)).toBe(2)
  })

  it('has no figures for a column without a value, and stays JSON', () => {
    const profile = numericProfile('age', Float64Array.of(NaN, NaN))
    expect(profile).toMatchObject({ count: 0, missing: 2, mean: null, standardDeviation: null, min: null, max: null })
    expect(JSON.parse(JSON.stringify(profile))).toEqual(profile)
  })

  it('keeps the digits of a narrow column far from zero', () => {
    expect(numericProfile('t', Float64Array.of(1e9, 1e9 + 1, 1e9 + 2)).standardDeviation).toBeCloseTo(1, 9)
  })
})

describe('categoricalProfile', () => {
  it('lists values by frequency and counts the missing ones', () => {
    expect(categoricalProfile('city', ['b', 'a', 'b', null, 'c'])).toEqual({
      kind: 'categorical',
      name: 'city',
      count: 4,
      missing: 1,
      distinct: 3,
      top: [
        { value: 'b', count: 2 },
        { value: 'a', count: 1 },
        { value: 'c', count: 1 },
      ],
      other: 0,
    })
  })

  it('keeps the fifty most frequent and sums up the rest', () => {
    const profile = categoricalProfile(
      'id',
      Array.from({ length: 80 }, (_, i) => `v${i}`),
    )
    expect(profile.top).toHaveLength(50)
    expect(profile).toMatchObject({ distinct: 80, other: 30 })
  })
})
