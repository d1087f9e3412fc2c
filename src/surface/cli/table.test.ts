import { describe, expect, it } from 'vitest'

import { table, textWidth } from './table.ts'

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
