import { mkdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { META_COLUMNS } from './columns.ts'
import { openDuckDB } from './duckdb.ts'
import { runIngestJob } from './ingest.ts'
import { label, newLake, NOON_MS, prediction, schema, writeSegment } from './lake-builders.ts'
import { commitManifest, readManifest } from './manifest.ts'
import type { LakeColumn } from './manifest.ts'
import { copyToParquet } from './parquet-writer.ts'
import { runQueryJob } from './query.ts'

let root: string
let spoolDir: string
let lakeDir: string
beforeEach(async () => {
  ;({ root, spoolDir, lakeDir } = await newLake())
})

afterEach(() => rm(root, { recursive: true, force: true }))

const ingest = () => runIngestJob({ spoolDir, lakeDir, threads: 1 })

async function query(sql: string): Promise<unknown[][]> {
  return (await runQueryJob({ lakeDir, root, sql, asOfMs: NOON_MS, threads: 1 })).rows
}

/** Commits a file of `late-flight` as it was written before predictions had a trial, with one row of the model's values. */
async function oldFile(own: (LakeColumn & { value: string })[]): Promise<void> {
  const path = 'data/predictions/model=late-flight/day=2001-01-01/0000000001-old.parquet'
  const columns = [...META_COLUMNS.slice(0, 10), ...own.map(({ name, type }) => ({ name, type }))]
  const values = [`'old'`, '0', `TIMESTAMP '2001-01-01'`, `'e'`, `'late-flight'`, `'1'`, `'live'`, `'c'`, '1.5', '200']
  const database = await openDuckDB({ threads: 1 })
  const selected = [...values, ...own.map(({ value }) => value)]
    .map((value, at) => `${value}::${columns[at]!.type} AS "${columns[at]!.name}"`)
    .join(', ')
  await mkdir(dirname(join(lakeDir, path)), { recursive: true })
  await copyToParquet(database.connection, `SELECT ${selected}`, join(lakeDir, path))
  await database.close()
  const { size } = await stat(join(lakeDir, path))
  const before = await readManifest(lakeDir)
  const facts = { table: 'predictions', model: 'late-flight', day: '2001-01-01', schema: 'old' } as const
  await commitManifest(
    lakeDir,
    {
      ...before,
      number: before.number + 1,
      files: [...before.files, { path, ...facts, rows: 1, bytes: size, minId: 'old', maxId: 'old' }],
      schemas: { ...before.schemas, old: columns },
      models: { ...before.models, 'late-flight': { predictions: 1, rows: 1, labelled: 0, numericLabels: 0 } },
    },
    () => Promise.resolve(),
  )
}

describe('the views of the lake', () => {
  it('show the trial of a prediction, and what a copy was a copy of', async () => {
    const live = prediction({ trial: 'trial-7' })
    const copy = prediction({ origin: 'shadow', version: '2', trial: 'trial-7', shadowOf: live.predictionId })
    await writeSegment(spoolDir, [schema(), schema({ version: '2' }), prediction(), live, copy])
    await ingest()
    expect(await query('SELECT origin, trial, shadow_of FROM predictions_all ORDER BY origin, trial')).toEqual([
      ['live', 'trial-7', null],
      ['live', null, null],
      ['shadow', 'trial-7', live.predictionId],
    ])
  })

  it('label a copy with the label of the live prediction, row by row', async () => {
    const live = prediction({}, [1, 2])
    const copy = prediction({ origin: 'shadow', shadowOf: live.predictionId }, [1, 2])
    await writeSegment(spoolDir, [schema(), live, copy, label(live.predictionId, 5, { row: 1 })])
    await ingest()
    const sql = 'SELECT origin, "row", label FROM predictions_all ORDER BY origin, "row"'
    expect(await query(sql)).toEqual([
      ['live', 0, null],
      ['live', 1, 5],
      ['shadow', 0, null],
      ['shadow', 1, 5],
    ])
    expect((await readManifest(lakeDir)).labels).toMatchObject({ rows: 1, matched: 1, unmatched: 0 })
  })

  it('read files from before there were trials, alone and beside new ones', async () => {
    await oldFile([{ name: 'distance', type: 'FLOAT', value: '7' }])
    const sql = 'SELECT prediction_id, trial, shadow_of, distance FROM "late-flight" ORDER BY distance'
    expect(await query(sql)).toEqual([['old', null, null, 7]])
    const late = prediction({ trial: 'trial-1' })
    await writeSegment(spoolDir, [schema(), late])
    await ingest()
    expect(await query(sql)).toEqual([
      ['old', null, null, 7],
      [late.predictionId, 'trial-1', null, 100],
    ])
  })

  it("keep a model's own column of that time apart from what has its name now", async () => {
    await oldFile([
      { name: 'Trial', type: 'FLOAT', value: '3' },
      { name: 'input_trial', type: 'FLOAT', value: '4' },
    ])
    await writeSegment(spoolDir, [schema(), prediction({ trial: 'trial-1' })])
    await ingest()
    expect(await query('SELECT trial, "input_Trial_2", input_trial FROM predictions ORDER BY trial')).toEqual([
      ['trial-1', null, null],
      [null, 3, 4],
    ])
  })
})
