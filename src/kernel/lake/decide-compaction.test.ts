import { describe, expect, it } from 'vitest'
import { decideCompaction } from './decide-compaction.ts'
import type { LakeFile } from './manifest.ts'

const file = (facts: Partial<LakeFile>): LakeFile => ({
  path: 'p',
  table: 'predictions',
  model: 'm',
  day: '2001-01-01',
  schema: 's',
  rows: 10,
  bytes: 1_000,
  minId: '',
  maxId: '',
  ...facts,
})
const files = (count: number, facts: Partial<LakeFile> = {}) => Array.from({ length: count }, () => file(facts))

describe('compaction', () => {
  it('leaves eight files alone and merges nine', () => {
    expect(decideCompaction(files(8), 1e9)).toEqual([])
    expect(decideCompaction(files(9), 1e9).map((group) => group.length)).toEqual([9])
  })

  it('never merges across models, schemas, days, tables or sizes', () => {
    const apart = [
      {},
      { model: 'n' },
      { schema: 't' },
      { day: '2001-01-02' },
      { table: 'labels' as const },
      { rows: 1_000 },
    ]
    expect(
      decideCompaction(
        apart.flatMap((facts) => files(5, facts)),
        1e9,
      ),
    ).toEqual([])
  })

  it('rewrites each row about once per eightfold growth', () => {
    let held: LakeFile[] = []
    let rewritten = 0
    for (let commit = 0; commit < 2_000; commit++) {
      held.push(file({ path: String(commit), rows: 1 }))
      for (const group of decideCompaction(held, 1e9)) {
        const rows = group.reduce((sum, { rows: n }) => sum + n, 0)
        rewritten += rows
        held = [...held.filter((one) => !group.includes(one)), file({ rows })]
      }
    }
    expect(held.reduce((sum, { rows }) => sum + rows, 0)).toBe(2_000)
    expect(held.length).toBeLessThanOrEqual(4 * 8)
    expect(rewritten / 2_000).toBeLessThan(5)
  })

  it('stops at what one commit may rewrite, but always takes one group', () => {
    const many = [...files(9), ...files(9, { day: '2001-01-02' })]
    expect(decideCompaction(many, 9_000)).toHaveLength(1)
    expect(decideCompaction(many, 1)).toHaveLength(1)
  })
})
