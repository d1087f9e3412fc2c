import { expect, it } from 'vitest'
import { figure } from './canary-tests.ts'

it.each([
  [0, '0'],
  [0.021_34, '0.0213'],
  [12_345, '12300'],
  [-0.000_000_123_4, '-1.23e-7'],
  [999_499_999, '999000000'],
  [999_600_000, '1e+9'],
  [7.2e20, '7.2e+20'],
  [1e300, '1e+300'],
  [Infinity, 'Infinity'],
])('a figure of a comparison, %d, is written %s', (value, text) => {
  expect(figure(value)).toBe(text)
})
