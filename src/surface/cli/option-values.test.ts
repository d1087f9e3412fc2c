import { expect, it } from 'vitest'

import { parseDuration, parseInteger, parseParams, parsePort, parseSize, parseTime } from './option-values.ts'

it('reads parameters with the types a trainer expects', () => {
  expect(parseParams(['depth=6', 'rate=0.1', 'fast=true', 'name=x=y', 'zip="01"', 'code=007', 'empty='])).toEqual({
    depth: 6,
    rate: 0.1,
    fast: true,
    name: 'x=y',
    zip: '01',
    code: '007',
    empty: '',
  })
  expect(parseParams(['huge=1e999', 'id=123456789012345678901'])).toEqual({
    huge: '1e999',
    id: '123456789012345678901',
  })
  expect(parseParams([])).toBeUndefined()
})

it('reads times with a zone, and dates as midnight UTC', () => {
  expect(parseTime('--at', '2001-03-01')).toBe(Date.UTC(2001, 2, 1))
  expect(parseTime('--at', '2001-03-01T06:00:00+01:00')).toBe(Date.UTC(2001, 2, 1, 5))
})

const upToGiB = { min: '1kB', max: '1GiB' }

it('reads sizes as the configuration does', () => {
  expect(parseSize('--max-body', '64MB', upToGiB)).toBe(64_000_000)
  expect(parseSize('--max-body', '1GiB', upToGiB)).toBe(2 ** 30)
})

it.each([
  ['a size without a unit', () => parseSize('--max-body', '5', upToGiB), '--max-body must be a size from 1kB to 1GiB'],
  ['a size that is too large', () => parseSize('--max-body', '2GB', upToGiB), "to 1GiB, not '2GB'."],
  ['a parameter twice', () => parseParams(['depth=6', 'depth=7']), '--param depth is given twice: 6 and 7.'],
  ['a parameter without a value', () => parseParams(['depth']), "--param must be name=value, not 'depth'."],
  ['a time without a zone', () => parseTime('--at', '2001-03-01T06:00:00'), '--at must be a time with its zone'],
  ['a day that is not', () => parseTime('--at', '2001-02-31T25:00:00Z'), '--at must be a time'],
  ['a duration without a unit', () => parseDuration('--every', '5'), "--every must be a duration, not '5'."],
  ['a duration of nothing', () => parseDuration('--every', '0s'), '--every must be a duration longer than nothing'],
  [
    'a duration that is too short',
    () => parseDuration('--every', '1s', 60_000),
    "--every must be 1m at least, not '1s'.",
  ],
  ['a fraction', () => parseInteger('--seed', '1.5'), '--seed must be a whole number'],
  ['a port that is too high', () => parsePort('--port', '65536'), '--port must be a whole number from 0 to 65535'],
])('refuses %s, naming option and value', (_what, parse, message) => {
  expect(parse).toThrow(message)
})
