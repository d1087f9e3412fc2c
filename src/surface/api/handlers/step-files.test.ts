import { expect, it } from 'vitest'
import { flatMetrics } from './step-files.ts'

it('gives each number of a trainer a name of its own', () => {
  expect(flatMetrics({ rows: 1_400, train: { logLoss: 0.4, by: { jfk: 0.7 } } })).toEqual({
    rows: 1_400,
    'train.logLoss': 0.4,
    'train.by.jfk': 0.7,
  })
  expect(flatMetrics({})).toEqual({})
  expect(flatMetrics(null)).toBeNull()
})
