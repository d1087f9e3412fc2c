import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import { runIngestJob } from '../../kernel/lake/ingest.ts'
import { body, label, newLake, NOON_MS, prediction, schema, writeSegment } from '../../kernel/lake/lake-builders.ts'
import type { SegmentRecord } from '../../kernel/lake/spool-format.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { logisticModel, writeModel } from '../../testing/onnx-builder.ts'
import { runReevaluateJob, type ReevaluateJobInput } from './reevaluate-job.ts'

const DAY_MS = 86_400_000
const fromMs = Math.floor(NOON_MS / DAY_MS) * DAY_MS

/** `label` is a feature here, which the lake must call otherwise than the label. */
const signature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'label'] }],
  outputs: [
    { name: 'label', datatype: 'INT64', shape: [-1], columns: null },
    { name: 'probabilities', datatype: 'FP32', shape: [-1, 2], columns: null },
  ],
}

let root: string
let spoolDir: string
let lakeDir: string
beforeEach(async () => {
  ;({ root, spoolDir, lakeDir } = await newLake())
})
afterEach(() => rm(root, { recursive: true, force: true }))

/** One row each; the truth follows the first feature's sign. */
async function served(
  rows: { a: number; label: number | string | boolean | null; atMs?: number; origin?: 'live' | 'shadow' }[],
) {
  const records: SegmentRecord[] = [schema({ model: 'm', signature })]
  for (const row of rows) {
    const atMs = row.atMs ?? NOON_MS
    const predictionId = newPredictionId(atMs)
    records.push(
      prediction({
        predictionId,
        model: 'm',
        endpoint: 'm',
        origin: row.origin ?? 'live',
        atMs,
        request: body('inputs', [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [row.a, 0] }]),
        response: body('outputs', [
          { name: 'label', datatype: 'INT64', shape: [1], data: [0] },
          { name: 'probabilities', datatype: 'FP32', shape: [1, 2], data: [0.5, 0.5] },
        ]),
      }),
    )
    if (row.label !== null) records.push(label(predictionId, row.label))
  }
  await writeSegment(spoolDir, records)
  await runIngestJob({ spoolDir, lakeDir, threads: 1 })
}

const version = (versionId: string, weights: number[]) => ({
  versionId,
  modelPath: writeModel(join(root, `${versionId}.onnx`), logisticModel({ weights })),
  signature,
  scoreOutput: { output: 'probabilities', index: 1 },
})

function measure(versions: ReevaluateJobInput['versions'], rest: Partial<ReevaluateJobInput> = {}) {
  return runReevaluateJob({
    lakeDir,
    root,
    model: 'm',
    fromMs,
    toMs: fromMs + DAY_MS,
    task: 'binary',
    positive: null,
    loss: 'logLoss',
    maxRows: 1_000,
    rowsPath: join(root, 'rows', 'rows.parquet'),
    versions,
    ...rest,
  })
}

const mixed = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ a: i % 2 === 0 ? 2 : -2, label: i % 2 === 0 }))

describe('measuring versions on what was served and labelled', () => {
  it('scores every model file on the same rows, and the best constant beside them', async () => {
    await served([...mixed(40), { a: 1, label: null }])
    const measured = await measure([version('m@1', [2, 0]), version('m@2', [-2, 0])])
    expect(measured).toMatchObject({ predictions: 41, labelled: 40, dataTrouble: null })
    expect(measured.constantLoss).toBeCloseTo(Math.log(2), 6)
    // The first is right on every row by 4 logits, the second wrong by as many.
    expect(measured.versions[0]).toMatchObject({ versionId: 'm@1', rows: 40, why: null })
    expect(measured.versions[0]!.meanLoss).toBeCloseTo(Math.log(1 + Math.exp(-4)), 4)
    expect(measured.versions[1]!.meanLoss).toBeCloseTo(Math.log(1 + Math.exp(4)), 4)
  })

  it('takes the rows of the window only, and live ones only', async () => {
    await served([
      ...mixed(10),
      ...mixed(6).map((r) => ({ ...r, atMs: NOON_MS - DAY_MS })),
      ...mixed(4).map((r) => ({ ...r, origin: 'shadow' as const })),
    ])
    expect(await measure([version('m@1', [2, 0])])).toMatchObject({ predictions: 10, labelled: 10 })
  })

  it('takes no more rows than it is told', async () => {
    await served(mixed(40))
    const measured = await measure([version('m@1', [2, 0])], { maxRows: 30 })
    expect(measured.versions[0]!.rows).toBe(30)
    expect(measured.labelled).toBe(40)
  })

  it('says that a version can’t run on these rows, and measures the others', async () => {
    await served(mixed(10))
    const strange = {
      ...version('m@2', [1, 1]),
      signature: { ...signature, inputs: [{ ...signature.inputs[0]!, columns: ['a', 'unknown'] }] },
    }
    const measured = await measure([version('m@1', [2, 0]), strange])
    expect(measured.versions[0]!.meanLoss).not.toBeNull()
    expect(measured.versions[1]).toMatchObject({ meanLoss: null, why: expect.stringContaining('unknown') as string })
  })

  it('suspects the data where labels are of one class, and where hardly any came', async () => {
    await served(mixed(6).map((r) => ({ ...r, label: true })))
    expect((await measure([version('m@1', [2, 0])])).dataTrouble).toContain('positive in all 6 rows')
  })

  it('suspects labels that came for a few rows only', async () => {
    await served([...mixed(4), ...Array.from({ length: 60 }, () => ({ a: 1, label: null }))])
    expect((await measure([version('m@1', [2, 0])])).dataTrouble).toBe('only 6.3% of 64 rows have a label')
  })

  it('finds nothing in an empty lake', async () => {
    expect(await measure([version('m@1', [2, 0])])).toMatchObject({ predictions: 0, labelled: 0, constantLoss: null })
  })
})
