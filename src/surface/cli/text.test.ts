import { expect, it } from 'vitest'

import { ago, bar, bytes, duration, figures, number, time } from './text.ts'

it.each([
  [12.4, '12 ms'],
  [2_950, '3.0 s'],
  [75_000, '1m 15s'],
  [3_600_000, '1h'],
  [90_000_000, '1d 1h'],
])('writes %d ms as %s', (ms, text) => expect(duration(ms)).toBe(text))

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [12_345, '12.3 kB'],
  [5e9, '5.0 GB'],
])('writes %d bytes as %s', (size, text) => expect(bytes(size)).toBe(text))

it.each([
  [null, '–'],
  [12_345, '12,345'],
  [0.71712, '0.7171'],
  [0.00001234, '1.23e-5'],
])('writes the number %s as %s', (value, text) => expect(number(value)).toBe(text))

it('writes times in UTC and ages from now', () => {
  expect(time(Date.UTC(2001, 1, 5, 12))).toBe('2001-02-05 12:00:00Z')
  expect(ago(1_000, 61_000)).toBe('1m ago')
  expect(ago(null, 0)).toBe('–')
})

it('writes figures with their names and without control characters', () => {
  expect(figures({ auc: 0.71712, rows: 5_000, note: 'a\nb', none: null })).toBe('auc 0.7171, rows 5,000, note a b')
})

it('draws bars that never leave their width', () => {
  expect([bar(-1, 4), bar(0.5, 4), bar(9, 4)]).toEqual(['░░░░', '██░░', '████'])
})
