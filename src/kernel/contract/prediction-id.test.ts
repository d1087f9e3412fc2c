import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { newPredictionId, parsePredictionId, PREDICTION_ID_LENGTH } from './prediction-id.ts'

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const anyTime = fc.integer({ min: 0, max: 2 ** 48 - 1 })
const anyRandom = fc.uint8Array({ minLength: 8, maxLength: 8 })

describe('prediction ids', () => {
  it('gives back the time it was made at, in a fixed length and lower case', () => {
    fc.assert(
      fc.property(anyTime, anyRandom, (ms, random) => {
        const id = newPredictionId(ms, () => random)
        expect(id).toMatch(new RegExp(`^[0-7][${ALPHABET}]{${PREDICTION_ID_LENGTH - 1}}$`))
        expect(parsePredictionId(id)).toEqual({ atMs: ms })
      }),
    )
  })

  it('sorts by time', () => {
    fc.assert(
      fc.property(anyTime, anyTime, (a, b) => {
        fc.pre(a !== b)
        expect(newPredictionId(a) < newPredictionId(b)).toBe(a < b)
      }),
    )
  })

  it('catches every single wrong character', () => {
    const id = newPredictionId(1_700_000_000_123)
    for (let at = 0; at < id.length; at++) {
      for (const other of ALPHABET) {
        if (other === id[at]) continue
        expect(parsePredictionId(id.slice(0, at) + other + id.slice(at + 1))).toBeNull()
      }
    }
  })

  it('catches two swapped neighbours', () => {
    for (let round = 0; round < 200; round++) {
      const id = newPredictionId(1_700_000_000_000 + round)
      for (let at = 0; at + 1 < id.length; at++) {
        if (id[at] === id[at + 1]) continue
        expect(parsePredictionId(id.slice(0, at) + id[at + 1] + id[at] + id.slice(at + 2))).toBeNull()
      }
    }
  })

  it('refuses other lengths, other alphabets and upper case', () => {
    const id = newPredictionId(5)
    for (const bad of [
      '',
      id.slice(1),
      `${id}0`,
      id.toUpperCase().replace(/^./, 'A'),
      `${id.slice(0, 25)}é`,
      ' '.repeat(26),
    ])
      expect(parsePredictionId(bad)).toBeNull()
  })

  it('is never the same twice, across refills of the random pool', () => {
    const ids = new Set(Array.from({ length: 20_000 }, () => newPredictionId(42)))
    expect(ids.size).toBe(20_000)
  })

  it('refuses a time that it cannot hold', () => {
    for (const bad of [-1, 2 ** 48, Number.NaN, Infinity]) expect(() => newPredictionId(bad)).toThrow(RangeError)
  })
})
