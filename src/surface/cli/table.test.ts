import { describe, expect, it } from 'vitest'

import { table, textWidth, wrapText } from './table.ts'

const rows = [
  { name: 'late-flight', n: 12, why: 'better than late-flight@1 by 0.012 log loss on 5000 rows' },
  { name: 'churn', n: 1_204, why: '' },
]
const columns = [
  { title: 'model', value: (r: (typeof rows)[0]) => r.name },
  { title: 'n', value: (r: (typeof rows)[0]) => String(r.n), align: 'right' as const },
  { title: 'why', value: (r: (typeof rows)[0]) => r.why },
]

describe('table', () => {
  it('lines columns up, numbers at the right, without trailing spaces', () => {
    expect(table(rows, columns, null)).toEqual([
      'model           n  why',
      'late-flight    12  better than late-flight@1 by 0.012 log loss on 5000 rows',
      'churn        1204',
    ])
  })

  it('shortens the widest column until the line fits', () => {
    const lines = table(rows, columns, 40)
    expect(lines.every((line) => textWidth(line) <= 40)).toBe(true)
    expect(lines[1]).toBe('late-flight    12  better than late-fli…')
  })

  it('puts a text that is to be read whole under its row where the line does not fit, and only there', () => {
    const whole = columns.map((column) => ({ ...column, mayGoUnder: column.title === 'why' }))
    expect(table(rows, whole, 40)).toEqual([
      'model           n',
      'late-flight    12',
      '    better than late-flight@1 by 0.012',
      '    log loss on 5000 rows',
      'churn        1204',
    ])
    expect(table(rows, whole, 80)).toEqual(table(rows, columns, null))
  })

  it('leaves out first what says nothing, then spare columns from the last, and shortens only then', () => {
    const empty = { title: 'alert', value: () => '–' }
    const spare = columns.map((column) => ({ ...column, spare: column.title !== 'model' }))
    expect(table(rows, [columns[0]!, empty], null)).toEqual(['model        alert', 'late-flight  –', 'churn        –'])
    expect(table(rows, [columns[0]!, empty], 12)).toEqual(['model', 'late-flight', 'churn'])
    expect(table(rows, spare, 40)).toEqual(['model           n', 'late-flight    12', 'churn        1204'])
    expect(table(rows, spare, 12)).toEqual(['model', 'late-flight', 'churn'])
    expect(table(rows, spare, 10)).toEqual(['model', 'late-flig…', 'churn'])
  })

  it('says once above its rows what they have in common, where the line does not fit', () => {
    const levels = [
      { model: 'churn', level: 'latency' },
      { model: 'churn', level: 'retirementSafety' },
      { model: 'late-flight', level: 'latency' },
    ]
    const both = [
      { title: 'model', value: (r: (typeof levels)[0]) => r.model, group: true },
      { title: 'level', value: (r: (typeof levels)[0]) => r.level },
    ]
    expect(table(levels, both, 29)).toEqual([
      'model        level',
      'churn        latency',
      'churn        retirementSafety',
      'late-flight  latency',
    ])
    expect(table(levels, both, 28)).toEqual([
      'level',
      'churn:',
      'latency',
      'retirementSafety',
      'late-flight:',
      'latency',
    ])
  })

  it('breaks words for people between them, styles not counted', () => {
    expect(wrapText('  passed  better than a constant', 21, '  ', '    ')).toEqual([
      '  passed  better than',
      '    a constant',
    ])
    expect(wrapText('\u001b[32mpassed\u001b[39m it is', 12, '', '')).toEqual(['\u001b[32mpassed\u001b[39m it is'])
    expect(wrapText('a-word-beyond-the-width b', 10, '', ' ')).toEqual(['a-word-beyond-the-width', ' b'])
  })

  it('keeps foreign control characters away from the terminal', () => {
    expect(table([{ ...rows[0]!, name: 'a\u001b[31mb\nc' }], columns, null)[1]).toMatch(/^a \[31mb c /)
  })

  it('counts wide characters as two cells', () => {
    expect([textWidth('abc'), textWidth('日本'), textWidth('e\u0301'), textWidth('🚀')]).toEqual([3, 4, 1, 2])
  })

  it('styles a cell after it was fitted, so that colours take no space', () => {
    const styled = [{ ...columns[0]!, style: (text: string) => `<${text}>` }, columns[1]!]
    expect(table(rows, styled, null)[2]).toBe('<churn      >  1204')
  })
})
