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

describe('compaction beside monitors', () => {
  const at = (manifest: number) => file({ path: `data/x/${String(manifest).padStart(10, '0')}-ab.parquet` })

  it('leaves predictions alone that monitors have not counted, and merges the others', () => {
    const held = Array.from({ length: 20 }, (_, i) => at(i + 1))
    expect(decideCompaction(held, 1e9, 8)).toEqual([])
    expect(decideCompaction(held, 1e9, 9)).toEqual([held.slice(0, 9)])
    expect(decideCompaction(held, 1e9)).toEqual([held])
  })

  it('knows of a merged file when its newest rows came', () => {
    const merged = { ...at(40), arrived: 9 }
    expect(decideCompaction([merged, ...files(8, { path: 'old' })], 1e9, 9)).toHaveLength(1)
    expect(decideCompaction([merged, ...files(8, { path: 'old' })], 1e9, 8)).toEqual([])
  })

  it('does not wait with labels, which nobody counts by file', () => {
    const labels = Array.from({ length: 9 }, (_, i) => ({ ...at(i + 1), table: 'labels' as const }))
    expect(decideCompaction(labels, 1e9, 0)).toHaveLength(1)
  })
})
