import fc from 'fast-check'
import { expect, it } from 'vitest'
import { halfToNumber, numberToHalf } from './float16.ts'

it('reads and writes every half-precision value but NaN without a change', () => {
  const all = Array.from({ length: 0x10000 }, (_, bits) => bits)
  const changed = all.filter((bits) => !Number.isNaN(halfToNumber(bits)) && numberToHalf(halfToNumber(bits)) !== bits)
  expect(changed).toEqual([])
})

it('keeps NaN a NaN, and rounds to nearest with ties to even', () => {
  expect(halfToNumber(numberToHalf(NaN))).toBeNaN()
  expect(numberToHalf(1 + 2 ** -11)).toBe(0x3c00)
  expect(numberToHalf(1 + 3 * 2 ** -11)).toBe(0x3c02)
  expect(numberToHalf(65_519.9)).toBe(0x7bff)
  expect(numberToHalf(65_520)).toBe(0x7c00)
  expect(numberToHalf(2 ** -25)).toBe(0)
  expect(numberToHalf(2 ** -25 * 1.0001)).toBe(1)
})

it.runIf('Float16Array' in globalThis)('agrees with Float16Array', () => {
  const Half = (globalThis as unknown as { Float16Array: new (values: number[]) => { buffer: ArrayBuffer } })
    .Float16Array
  const agrees = () =>
    fc.assert(
      fc.property(
        fc.oneof(fc.float({ noNaN: true }), fc.double({ min: -70_000, max: 70_000, noNaN: true })),
        (value) => {
          return numberToHalf(value) === new Uint16Array(new Half([value]).buffer)[0]
        },
      ),
      { numRuns: 2_000, seed: 7 },
    )
  expect(agrees).not.toThrow()
})
