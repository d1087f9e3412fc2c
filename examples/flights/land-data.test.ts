import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { DuckDBInstance } from '@duckdb/node-api'
import { landWeek, WrongDataError } from './land-data.ts'

describe('landing a week of flights', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flights-land-'))
    return () => rm(folder, { recursive: true })
  })

  it('writes the flights of Monday to Sunday in order and leaves out those with an impossible delay', async () => {
    const landed = await landWeek('2001-W05', folder)
    expect(landed).toMatchObject({ week: '2001-W05', flights: 115_319, wrong: 2 })
    const [rows] = await query(
      `select count(*)::int, min(date)::varchar, max(date)::varchar, min(delay)::int, max(delay)::int from '${landed.path}'`,
    )
    expect(rows!.slice(0, 3)).toEqual([115_319, '2001-01-29 00:00:00', '2001-02-04 23:59:00'])
    expect(rows![3]).toBeGreaterThanOrEqual(-90)
    expect(rows![4]).toBeLessThanOrEqual(1_440)
    expect(await query(`select column_name from (describe from '${landed.path}')`)).toEqual(
      ['date', 'delay', 'distance', 'origin', 'destination'].map((name) => [name]),
    )
  })

  it('leaves nothing but the whole file behind', async () => {
    await landWeek('2001-W26', folder)
    expect(await readdir(folder)).toEqual(['2001-W26.parquet'])
  })

  it('lands nothing from a feed in which too many rows are wrong', async () => {
    const source = join(folder, 'source.parquet')
    await query(
      `copy (select timestamp '2001-01-30' as date, if(i % 100 = 0, -999, 5) as delay, 300 as distance,
                    'ATL' as origin, 'ORD' as destination from range(1000) numbers(i)) to '${source}'`,
    )
    const target = join(folder, 'weeks')
    await expect(landWeek('2001-W05', target, source)).rejects.toThrow(WrongDataError)
    await expect(landWeek('2001-W05', target, source)).rejects.toThrow('10 of 1000 flights')
    await expect(readdir(target)).rejects.toThrow('ENOENT')
  })

  it('says so where the source has no such week', async () => {
    await expect(landWeek('2001-W40', folder)).rejects.toThrow('2001-W40: the source has no flights in this week')
    await expect(landWeek('week 5', folder)).rejects.toThrow("'week 5' is not an ISO week")
  })
})

async function query(sql: string): Promise<unknown[][]> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const rows = (await connection.runAndReadAll(sql)).getRowsJS()
  instance.closeSync()
  return rows as unknown[][]
}
