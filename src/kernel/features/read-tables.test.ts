import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Signature } from '../model/signature.ts'
import { writeTable } from '../../testing/feature-tables.ts'
import type { PlacedTable } from './feature-source.ts'
import { readFeatureTables } from './read-tables.ts'

const folder = mkdtempSync(join(tmpdir(), 'mr-features-'))
afterAll(() => rmSync(folder, { recursive: true }))

const signature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 3], columns: ['a', 'visits', 'spent'] }],
  outputs: [],
}
let count = 0

async function read(sql: string | null, change: Partial<PlacedTable> = {}) {
  const path = join(folder, `${(count += 1)}.parquet`)
  if (sql === null) writeFileSync(path, 'no Parquet')
  else await writeTable(path, sql)
  const digest = `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`
  const facts = { stalenessMs: null, missing: 'error', stale: 'error', asOfMs: 0 } as const
  const columns = ['visits', 'spent']
  const table = { ...facts, table: 't.parquet', key: { column: 'id' }, columns, path, digest, ...change }
  return await readFeatureTables([table], signature)
}

describe('a table of features', () => {
  it('is read with its keys as text, and its columns in the type of the model', async () => {
    const { tables, signature: made } = await read(
      `select i as id, i * 2 as visits, i / 4 as spent from range(5000) r(i)`,
    )
    const [table] = tables
    expect(table!.rows).toBe(5_000)
    const row = table!.rowOf('4321')!
    expect([table!.column('visits')[row], table!.column('spent')[row]]).toEqual([8_642, 1_080.25])
    expect(table!.rowOf('5000')).toBeNull()
    expect(made.enriched!.asked).toEqual([
      { name: 'x', datatype: 'FP32', shape: [-1, 1], columns: ['a'] },
      { name: 'id', datatype: 'INT64', shape: [-1], columns: ['id'] },
    ])
  })

  it.each([
    ['that is none', null, {}, /can't be read as Parquet/],
    ['without its key', `select 1 as visits, 1 as spent`, {}, /it has no column 'id'; its columns are visits, spent/],
    ['without a column', `select 1 as id, 1 as visits`, {}, /it has no column 'spent'/],
    [
      'with a key twice',
      `select * from (values ('k', 1, 1), ('k', 2, 2)) t(id, visits, spent)`,
      {},
      /the key id = "k" is there more than once/,
    ],
    ['with a row without a key', `select null::int as id, 1 as visits, 1 as spent`, {}, /row 0 has no key/],
    [
      'with keys that have a fraction',
      `select 1.5::double as id, 1 as visits, 1 as spent`,
      {},
      /its key 'id' is DOUBLE/,
    ],
    [
      'with text in place of a number',
      `select 1 as id, 'many' as visits, 1 as spent`,
      {},
      /column 'visits' of key "1" is "many", and the model takes FP32/,
    ],
    ['of dates', `select 1 as id, date '2026-01-01' as visits, 1 as spent`, {}, /its column 'visits' is DATE/],
    ['for another model', `select 1 as id, 1 as age`, { columns: ['age'] }, /the model has no column 'age'/],
    [
      'that was changed',
      `select 1 as id, 1 as visits, 1 as spent`,
      { digest: 'sha256:00' },
      /and sha256:00 was registered/,
    ],
    [
      'with a value for unknown keys that does not fit',
      `select 1 as id, 1 as visits, 1 as spent`,
      { missing: { visits: 'none', spent: 0 } },
      /column 'visits' of 'missing' is "none"/,
    ],
    [
      'with too many rows',
      `select i as id, 1 as visits, 1 as spent from range(1000001) r(i)`,
      {},
      /it has 1000001 rows, of 1000000 at most/,
    ],
  ] as const)('%s is refused', async (_, sql, change, expected) => {
    await expect(read(sql, change as Partial<PlacedTable>)).rejects.toThrow(expected)
  })
})
