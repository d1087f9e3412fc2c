import { posix } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { partitionDir, partitionValue } from './lake-files.ts'

describe('partition folders', () => {
  it('stay inside the lake, free of globs and short enough, whatever a model is called', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (model) => {
        const dir = partitionDir('predictions', model, '2001-01-01')
        expect(posix.normalize(dir)).toBe(dir)
        expect(dir).toMatch(/^data\/predictions\/model=[A-Za-z0-9._%~-]*\/day=2001-01-01$/)
        expect(partitionValue(model).length).toBeLessThan(200)
      }),
    )
  })

  it('differ where names do', () => {
    const long = 'x'.repeat(500)
    const names = ['', '.', '..', '../..', 'a/b', 'a%2Fb', 'a b', 'A', 'a', 'é', `${long}1`, `${long}2`]
    expect(new Set(names.map(partitionValue)).size).toBe(names.length)
  })
})
