import { access, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LakeQueryError, LakeQueryTimeoutError } from './errors.ts'
import { runIngestJob } from './ingest.ts'
import { label, newLake, NOON_MS, prediction, schema, writeSegment } from './lake-builders.ts'
import type { LakeSqlInput } from './query.ts'
import { materialiseSql, runQueryJob } from './query.ts'

let root: string
let spoolDir: string
let lakeDir: string
beforeEach(async () => {
  ;({ root, spoolDir, lakeDir } = await newLake())
})

afterEach(() => rm(root, { recursive: true, force: true }))

const query = (sql: string, more: Partial<LakeSqlInput & { limitRows: number }> = {}) =>
  runQueryJob({ lakeDir, root, sql, asOfMs: NOON_MS, threads: 1, ...more })

describe('a query over the lake', () => {
  it('finds the views, without a row, before anything was logged', async () => {
    expect((await query('SHOW TABLES')).rows).toEqual([['labels'], ['predictions'], ['predictions_all']])
    const { columns, rows, manifest } = await query('SELECT prediction_id, predicted_at, label FROM predictions')
    expect({ columns, rows, manifest }).toEqual({
      columns: [
        { name: 'prediction_id', type: 'VARCHAR' },
        { name: 'predicted_at', type: 'TIMESTAMP' },
        { name: 'label', type: 'DOUBLE' },
      ],
      rows: [],
      manifest: 0,
    })
  })

  it('shows live predictions unless told otherwise', async () => {
    const origins = ['live', 'shadow', 'preflight', 'fallback', 'ui'] as const
    await writeSegment(spoolDir, [schema(), ...origins.map((origin) => prediction({ origin }))])
    await runIngestJob({ spoolDir, lakeDir })
    const sql = 'SELECT list_sort(list(origin)) FROM predictions'
    expect((await query(sql)).rows).toEqual([[['live']]])
    expect((await query(sql, { origins: ['live', 'ui'] })).rows).toEqual([[['live', 'ui']]])
    expect((await query('SELECT count(*) FROM predictions_all')).rows).toEqual([[5]])
    expect((await query('SELECT count(*) FROM "late-flight"')).rows).toEqual([[1]])
  })

  it('knows as_of, and files by paths that start at the project', async () => {
    await mkdir(join(root, 'data'))
    await writeFile(join(root, 'data', 'more.csv'), 'a,b\n1,x\n2,y\n')
    const { rows } = await query(`SELECT a, b, getvariable('as_of') FROM 'data/*.csv' ORDER BY a`)
    expect(rows).toEqual([
      [1, 'x', '2001-01-02T12:00:00.000Z'],
      [2, 'y', '2001-01-02T12:00:00.000Z'],
    ])
  })

  it('gives every kind of value as JSON, without losing a digit', async () => {
    const sql = `SELECT 9007199254740993::BIGINT, 5::HUGEINT, 18446744073709551615::UBIGINT, 1.10::DECIMAL(9,2), 0.1::DOUBLE, 'nan'::DOUBLE,
      DATE '2001-01-02', TIMESTAMP '2001-01-02 03:04:05.000006', TIMESTAMPTZ '2001-01-02 03:04:05.5+02:00', TIMESTAMP '1969-12-31 23:59:59.999999',
      [1, NULL, 3], {'a': [true], 'b': 'x'}, MAP {'k': 1}, encode('ä'), NULL, TIME '01:02:03', 'infinity'::TIMESTAMP`
    const numbers = ['9007199254740993', 5, '18446744073709551615', '1.10', 0.1, 'NaN']
    const times = [
      '2001-01-02',
      '2001-01-02T03:04:05.000006Z',
      '2001-01-02T01:04:05.500Z',
      '1969-12-31T23:59:59.999999Z',
    ]
    const nested = [[1, null, 3], { a: [true], b: 'x' }, [['k', 1]]]
    const others = [Buffer.from('ä').toString('base64'), null, '01:02:03', 'infinity']
    expect((await query(sql)).rows[0]).toEqual([...numbers, ...times, ...nested, ...others])
    expect(JSON.parse(JSON.stringify((await query(sql)).rows))).toEqual((await query(sql)).rows)
  })

  it('stops at the limit and says that there was more', async () => {
    expect(await query('FROM range(5000)', { limitRows: 4_999 })).toMatchObject({
      truncated: true,
      rows: { length: 4_999 },
    })
    expect(await query('FROM range(5000)', { limitRows: 5_000 })).toMatchObject({
      truncated: false,
      rows: { length: 5_000 },
    })
    expect((await query('FROM range(10000000000)', { limitRows: 2 })).rows).toEqual([[0], [1]])
  })

  it('is stopped when its time is up', async () => {
    const slow = query('SELECT count(*) FROM range(100000000000) a, range(1000) b', { timeoutMs: 100 })
    await expect(slow).rejects.toThrow(LakeQueryTimeoutError)
  })

  it.each([
    [`SELECT nope FROM predictions`, /Referenced column "nope" not found/],
    [`SELEC 1`, /syntax error at or near "SELEC"/],
    [`SELECT 1; SELECT 2`, /One statement is needed, not 2/],
    [``, /empty/],
    [`-- nothing`, /no statement/],
    [`COPY predictions TO 'x.csv'`, /A query reads .*: not 'x.csv'/],
    [`CREATE TABLE t AS SELECT 1`, /CREATE is not SELECT/],
    [`INSERT INTO labels VALUES (1)`, /not.*SELECT|Can only insert|not an table|not a table/],
    [`ATTACH 'x.db'`, /ATTACH is not SELECT/],
    [`INSTALL httpfs`, /LOAD is not SELECT/],
    [`SET threads = 4`, /SET is not SELECT/],
    [`EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'`, /A query reads .*: not 'x.csv'/],
    [`EXPLAIN ANALYZE SELECT 1`, /EXPLAIN is not SELECT/],
  ])('refuses %s with words that help', async (sql, message) => {
    await expect(query(sql)).rejects.toThrow(LakeQueryError)
    await expect(query(sql)).rejects.toThrow(message)
    await expect(access(join(root, 'x.csv'))).rejects.toThrow('ENOENT')
  })
})

describe('a query that asks for more than it should have', () => {
  let data: string
  beforeEach(async () => {
    data = join(root, 'project', '.millrace')
    await mkdir(join(root, 'project', 'data'), { recursive: true })
    await mkdir(join(data, 'run'), { recursive: true })
    for (const file of ['outside.txt', 'project/top.csv', 'project/data/a.csv', 'project/.millrace/run/gateway.json'])
      await writeFile(join(root, file), 'a\n1\n')
    lakeDir = join(data, 'lake')
    await writeSegment(spoolDir, [schema(), prediction()])
    await runIngestJob({ spoolDir, lakeDir })
  })

  const inProject = (sql: string) => query(sql, { lakeDir, root: join(root, 'project') })

  it('reads the lake, and the files of the project by either name', async () => {
    expect((await inProject('SELECT count(*) FROM predictions')).rows).toEqual([[1]])
    const { rows } = await inProject(
      `SELECT count(*) FROM read_csv(['top.csv', './data/a.csv', '${root}/project/top.csv'])`,
    )
    expect(rows).toEqual([[3]])
    for (const pattern of ['data/*.csv', '*.csv'])
      expect((await inProject(`SELECT count(*) FROM '${pattern}'`)).rows).toEqual([[1]])
  })

  it.each([
    ['/etc/passwd', 'a file of the machine'],
    ['/proc/self/environ', 'its own environment'],
    ['../outside.txt', 'what lies above the project'],
    ['data/../../outside.txt', 'the same by a detour'],
    ['.millrace/run/gateway.json', 'the tokens of processes'],
    ['data/../.millrace/run/*', 'the same by a detour'],
    ['https://127.0.0.1/x.csv', 'the network'],
    ['s3://bucket/x.csv', 'a store of objects'],
  ])('is refused %s: %s', async (path) => {
    for (const sql of [`FROM read_text('${path}')`, `FROM read_csv('${path}')`, `FROM glob('${path}')`])
      await expect(inProject(sql)).rejects.toThrow(`A query reads the lake and the project's own files: not '${path}'.`)
  })

  it('is refused the tokens of processes by their whole path, and by way of the lake', async () => {
    for (const path of [`${data}/run/gateway.json`, `${lakeDir}/../run/gateway.json`, '*/*/*.json', '**/*.json'])
      await expect(inProject(`FROM read_text('${path}')`)).rejects.toThrow(LakeQueryError)
  })

  it('is refused an answer that would not go through', async () => {
    const large = query(`SELECT repeat('x', 15_000_000) FROM range(5)`)
    await expect(large).rejects.toThrow('The answer exceeds 32 MB after 2 rows.')
  })

  it('while a materialised one, which a project declares, may read what its author can', async () => {
    const outPath = join(root, 'out.parquet')
    const sql = `FROM read_csv('${root}/outside.txt')`
    expect(await materialiseSql({ lakeDir, root: join(root, 'project'), asOfMs: 0, sql, outPath })).toMatchObject({
      rows: 1,
    })
  })
})

describe('a project folder with an odd name', () => {
  it.each(["it's", 'a [b] c', 'st*r', 'qu?st', '{x}', 'ü"'])('works: %s', async (odd) => {
    const inner = join(root, odd)
    await mkdir(inner)
    const [spool, lake] = [join(inner, 'spool'), join(inner, 'lake')]
    await writeSegment(spool, [schema(), prediction()])
    await runIngestJob({ spoolDir: spool, lakeDir: lake })
    const input = { lakeDir: lake, root: inner, asOfMs: 0 }
    await materialiseSql({ ...input, sql: 'FROM predictions', outPath: join(inner, 'x.parquet') })
    expect((await runQueryJob({ ...input, sql: `SELECT count(*) FROM 'x.parquet'` })).rows).toEqual([[1]])
  })

  it('is refused where DuckDB could not find its files', async () => {
    await expect(query('SELECT 1', { root: '/a,b' })).rejects.toMatchObject({ code: 'MR_LAKE_ROOT' })
  })
})

describe('materialising a query', () => {
  it('writes a Parquet file and says at which manifest it was read', async () => {
    for (const sequence of [1, 2]) {
      const one = prediction({ atMs: NOON_MS + sequence }, [sequence])
      await writeSegment(spoolDir, [schema(), one, label(one.predictionId, true)], { sequence })
    }
    await runIngestJob({ spoolDir, lakeDir, batchBytes: 1 })
    const outPath = join(root, 'inputs', 'rows.parquet')
    const input = {
      lakeDir,
      root,
      asOfMs: NOON_MS,
      outPath,
      sql: 'SELECT distance, label FROM "late-flight" ORDER BY 1; -- done',
    }
    expect(await materialiseSql({ ...input, manifest: 1 })).toMatchObject({ manifest: 1, rows: 1 })
    const now = await materialiseSql(input)
    expect(now).toMatchObject({ rows: 2 })
    expect(now.manifest).toBeGreaterThanOrEqual(2)
    expect((await query(`FROM 'inputs/rows.parquet'`)).rows).toEqual([
      [1, 1],
      [2, 1],
    ])
    expect(await readdir(join(root, 'inputs'))).toEqual(['rows.parquet'])
  })

  it('leaves nothing behind where the query fails', async () => {
    const outPath = join(root, 'inputs', 'rows.parquet')
    const wrong = materialiseSql({ lakeDir, root, asOfMs: 0, outPath, sql: `SELECT CAST('x' AS INTEGER)` })
    await expect(wrong).rejects.toThrow(/Could not convert string 'x' to INT32/)
    expect(await readdir(join(root, 'inputs'))).toEqual([])
  })
})
