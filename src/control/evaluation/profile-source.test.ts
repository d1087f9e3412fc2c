import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openDuckDB } from '../../kernel/lake/duckdb.ts'
import type { OpenDuckDB } from '../../kernel/lake/duckdb.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { CategoricalProfile, NumericProfile } from './baseline-profile.ts'
import { profileColumns } from './profile-source.ts'

const SIGNATURE: Signature = {
  inputs: [
    { name: 'amount', datatype: 'FP32', shape: [-1, 1], columns: ['amount'] },
    { name: 'city', datatype: 'BYTES', shape: [-1, 1], columns: ['city'] },
    { name: 'open', datatype: 'BOOL', shape: [-1, 1], columns: ['open'] },
  ],
  outputs: [],
}
const RELATION = `(SELECT i AS amount, if(i % 4 = 0, NULL, 'city ' || (i % 3)) AS city, i % 2 = 0 AS open FROM range(5000) r(i))`

let database: OpenDuckDB
beforeAll(async () => {
  database = await openDuckDB({ threads: 1 })
})
afterAll(() => database.close())

describe('profileColumns', () => {
  it('profiles numbers by quantiles, text and booleans by value', async () => {
    const { columns } = await profile()
    const [amount, city, open] = columns as [NumericProfile, CategoricalProfile, CategoricalProfile]
    expect(amount).toMatchObject({ kind: 'numeric', count: 5000, min: 0, max: 4999, mean: 2499.5 })
    expect(amount.counts).toEqual(Array.from({ length: 10 }, () => 500))
    expect(city).toMatchObject({ kind: 'categorical', missing: 1250, distinct: 3 })
    expect(open.top).toEqual([
      { value: 'false', count: 2500 },
      { value: 'true', count: 2500 },
    ])
  })

  it('takes a sample of many rows, the same for the same seed', async () => {
    const sampled = await profile(1000)
    expect(sampled).toMatchObject({ rows: 5000, profiledRows: 1000 })
    const amount = sampled.columns[0] as NumericProfile
    expect(amount.count).toBe(1000)
    expect(Math.abs(amount.mean! - 2499.5)).toBeLessThan(150)
    expect(await profile(1000)).toEqual(sampled)
  })
})

function profile(limit?: number) {
  const from = { relation: RELATION, rows: 5000, source: 'holdout', seed: 5 } as const
  return profileColumns(database.connection, from, SIGNATURE, limit)
}
