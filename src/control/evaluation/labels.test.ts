import { describe, expect, it } from 'vitest'
import { LabelError } from './errors.ts'
import { readClusters, readLabels } from './labels.ts'
import type { LabelQuestion } from './labels.ts'

describe('labels of a binary task', () => {
  it.each<[string, unknown[]]>([
    ['numbers', [1, 0, 1]],
    ['bigints', [1n, 0n, 1n]],
    ['booleans', [true, false, true]],
    ['text', ['yes', 'no', 'yes']],
    ['capitals', ['True', 'False', 'True']],
  ])('are read from %s', (_, raw) => {
    expect(Array.from(readLabels(raw, binary()).positive!)).toEqual([1, 0, 1])
  })

  it('follow the declared positive value, all others being negative', () => {
    const labels = readLabels(['late', 'early', 'on time'], binary({ positive: 'late' }))
    expect(Array.from(labels.positive!)).toEqual([1, 0, 0])
    expect(Array.from(readLabels([2, 3], binary({ positive: '2' })).positive!)).toEqual([1, 0])
  })

  it('of one class are refused either way, with the count', () => {
    expect(() => readLabels([1, 1, 1], binary())).toThrow(
      `Label 'late' is positive in all 3 rows of the holdout ("1" (3 rows))`,
    )
    expect(() => readLabels([0, 0], binary())).toThrow(
      `No row of the holdout has 1, true or yes as its label 'late'; it holds "0" (2 rows)`,
    )
  })

  it('of three values need to be told which one is positive', () => {
    expect(fixOf(() => readLabels([0, 1, 2], binary()))).toContain(`with 'positive'`)
  })

  it('in words that are not known say which word to declare', () => {
    expect(fixOf(() => readLabels(['late', 'early'], binary()))).toBe('Say which value is positive: positive: "late".')
    expect(() => readLabels(['late', 'early'], binary({ positive: 'Late' }))).toThrow(
      'No row of the holdout has "Late"',
    )
  })

  it('that are missing are counted and placed', () => {
    expect(() => readLabels([1, null, 0, null], binary())).toThrow(
      `missing in 2 of 4 rows of the holdout, first in row 1`,
    )
  })
})

describe('labels of a regression', () => {
  it('are read from numbers, bigints and numbers as text', () => {
    expect(Array.from(readLabels([1.5, 2n, '3.25'], regression).values)).toEqual([1.5, 2, 3.25])
  })

  it.each<[unknown, string]>([
    ['far', '"far"'],
    ['', '""'],
    [true, 'true'],
    [Infinity, 'Infinity'],
  ])('refuse %j', (value, shown) => {
    expect(() => readLabels([1, value], regression)).toThrow(
      `Label 'late' is ${shown} in row 1 of the holdout, which is no number`,
    )
  })
})

describe('clusters', () => {
  it('are numbered in order of first sight', () => {
    const { ofRow, count } = readClusters(['mon', 'tue', 'mon'], 'day')
    expect([Array.from(ofRow), count]).toEqual([[0, 1, 0], 2])
  })

  it('must be there for every row', () => {
    expect(() => readClusters(['mon', null], 'day')).toThrow(`Cluster column 'day' is missing in row 1`)
  })
})

const regression: LabelQuestion = { column: 'late', task: 'regression', positive: null }

function binary(question: Partial<LabelQuestion> = {}): LabelQuestion {
  return { column: 'late', task: 'binary', positive: null, ...question }
}

function fixOf(act: () => unknown): string | undefined {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof LabelError) return thrown.fix
    throw thrown
  }
  return undefined
}
