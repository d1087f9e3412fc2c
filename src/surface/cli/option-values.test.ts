import { expect, it } from 'vitest'

import { parseDuration, parseInteger, parseParams, parsePort, parseTime } from './option-values.ts'

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
  expect(parseParams([])).toBeUndefined()
})

it('reads times with a zone, and dates as midnight UTC', () => {
  expect(parseTime('--at', '2001-03-01')).toBe(Date.UTC(2001, 2, 1))
  expect(parseTime('--at', '2001-03-01T06:00:00+01:00')).toBe(Date.UTC(2001, 2, 1, 5))
})

it.each([
  ['a parameter without a value', () => parseParams(['depth']), "--param must be name=value, not 'depth'."],
  ['a time without a zone', () => parseTime('--at', '2001-03-01T06:00:00'), '--at must be a time with its zone'],
  ['a day that is not', () => parseTime('--at', '2001-02-31T25:00:00Z'), '--at must be a time'],
  ['a duration without a unit', () => parseDuration('--every', '5'), "--every must be a duration, not '5'."],
  ['a duration of nothing', () => parseDuration('--every', '0s'), '--every must be a duration'],
  ['a fraction', () => parseInteger('--seed', '1.5'), '--seed must be a whole number'],
  ['a port that is too high', () => parsePort('--port', '65536'), '--port must be a whole number from 0 to 65535'],
])('refuses %s, naming option and value', (_what, parse, message) => {
  expect(parse).toThrow(message)
})
