import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MillraceError } from '../../kernel/errors.ts'
import { openDuckDB, quoteText } from '../../kernel/lake/duckdb.ts'
import { openModel } from '../../kernel/model/onnx-model.ts'
import { parseInferRequest } from '../../kernel/protocol/inference.ts'
import { seededRandom } from '../../kernel/stats/random.ts'
import { areaUnderCurve } from '../../kernel/stats/ranks.ts'
import { gateConfigOf } from '../../testing/control-builders.ts'
import {
  columnModel,
  ELEMENT,
  identityModel,
  linearModel,
  logisticModel,
  node,
  onnxModel,
  tensorValue,
  writeModel,
} from '../../testing/onnx-builder.ts'
import type { BaselineProfile } from './baseline-profile.ts'
import { decideGate } from './decide-gate.ts'
import { runEvaluateJob } from './evaluate-job.ts'
import type { EvaluateJobInput } from './evaluate-job.ts'
import type { GoldenFile } from './golden-rows.ts'
import { goldenMismatch } from './golden-rows.ts'

let dir = ''
const at = (name: string) => join(dir, name)

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-evaluate-'))
  writeFileSync(at('holdout.csv'), flightsCsv(3000, 1))
  writeModel(at('good.onnx'), logisticModel({ weights: [1.5, -1], metadata: { 'millrace.features': '["a","b"]' } }))
  writeModel(at('weak.onnx'), logisticModel({ weights: [0.3, 0.4], metadata: { 'millrace.features': '["a","b"]' } }))
  writeModel(at('unnamed.onnx'), logisticModel({ weights: [1.5, -1] }))
})

afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('an evaluation', () => {
  it('measures a model on its holdout and keeps all that the verdict rests on', async () => {
    const progress: number[] = []
    const output = await runEvaluateJob(job({ gate: gateConfigOf({ cluster: 'day' }) }), (fraction) =>
      progress.push(fraction),
    )
    expect(output).toMatchObject({
      rows: 3000,
      clusters: 30,
      champion: null,
      scoreOutput: { output: 'probabilities', index: 1 },
    })
    expect(output.signature.inputs[0]!.columns).toEqual(['a', 'b'])
    expect(output.metrics.values.auc).toBeGreaterThan(0.8)
    expect(output.constant.gain.lower).toBeGreaterThan(0.1)
    expect(output.constant.value).toBe(output.metrics.values.positiveRate)
    expect(progress).toEqual(progress.toSorted((a, b) => a - b))
    expect(progress.at(-1)).toBe(1)
    expect(JSON.parse(JSON.stringify(output))).toEqual(output)
    expect(decideGate({ config: gateConfigOf(), figures: output }).verdict).toBe('passed')
  })

  it('gives the same figures and the same holdout, byte for byte, when run again', async () => {
    const first = await runEvaluateJob(job(), ignore)
    const second = await runEvaluateJob(job({ holdoutPath: at('again.parquet') }), ignore)
    expect({ ...second, durations: null }).toEqual({ ...first, durations: null })
    const digest = createHash('sha256')
      .update(readFileSync(at('again.parquet')))
      .digest('hex')
    expect(first.holdoutDigest).toBe(`sha256:${digest}`)
  })

  it('compares with the champion on the very same rows, and the gate passes the better one', async () => {
    const champion = { version: 'late@3', modelPath: at('weak.onnx'), features: null, scoreOutput: null }
    const output = await runEvaluateJob(job({ champion }), ignore)
    const [row] = await rowsOf(
      `SELECT avg(champion_loss - loss), avg(loss), avg(champion_loss), count(*) FROM 'losses.parquet'`,
    )
    expect(output.champion!.gain.mean).toBeCloseTo(Number(row![0]), 10)
    expect(output.meanLoss).toBeCloseTo(Number(row![1]), 10)
    expect(output.champion!.meanLoss).toBeCloseTo(Number(row![2]), 10)
    expect(Number(row![3])).toBe(3000)
    expect(output.champion!.aucDifference!.difference).toBeGreaterThan(0)
    const verdict = decideGate({ config: gateConfigOf(), figures: output })
    expect(verdict).toMatchObject({ verdict: 'passed', provenBetter: true })
  })

  it('measures the last versions on the same rows, the champion among them, and leaves out what no longer fits', async () => {
    const { champion: other } = otherChampion()
    const before = (version: string, file: string) => ({
      version,
      modelPath: at(file),
      features: null,
      scoreOutput: null,
    })
    const champion = before('late@2', 'weak.onnx')
    const predecessors = [before('late@1', 'good.onnx'), champion, { ...other!, version: 'late@3' }]
    const predecessorsLeftOut = [{ version: 'late@0', why: 'its file is gone' }]
    const output = await runEvaluateJob(job({ champion, predecessors, predecessorsLeftOut }), ignore)
    expect(output.stability).toMatchObject({ rows: 3000, isSample: false })
    expect(output.stability!.versions.map(({ version }) => version)).toEqual(['late@1', 'late@2', 'late@4'])
    const [good, weak, newest] = output.stability!.versions.map(({ meanLoss }) => meanLoss)
    expect([good, weak, newest]).toEqual([
      expect.closeTo(output.meanLoss, 12),
      expect.closeTo(output.champion!.meanLoss, 12),
      expect.closeTo(output.meanLoss, 12),
    ])
    expect(output.stability!.leftOut).toEqual([
      predecessorsLeftOut[0],
      { version: 'late@3', why: expect.stringContaining("late@3 needs column 'c'") as string },
    ])
  })

  it('measures the last versions on a sample of a large holdout, the same one every time', async () => {
    writeFileSync(at('large.csv'), flightsCsv(15_000, 2))
    const predecessors = [
      { version: 'late@1', modelPath: at('good.onnx'), features: null, scoreOutput: null },
      { version: 'late@2', modelPath: at('weak.onnx'), features: null, scoreOutput: null },
    ]
    const large = {
      holdout: { kind: 'file', path: 'large.csv' },
      predecessors,
      gate: gateConfigOf({ resamples: 200 }),
    } as const
    const { stability, meanLoss } = await runEvaluateJob(job({ ...large, predecessors }), ignore)
    expect(stability).toMatchObject({ rows: 10_000, isSample: true })
    const [first, weak, newest] = stability!.versions
    // The same model on the same rows.
    expect(first!.meanLoss).toBeCloseTo(newest!.meanLoss, 12)
    expect(Math.abs(newest!.meanLoss - meanLoss)).toBeLessThan(0.02)
    expect(weak!.meanLoss).toBeGreaterThan(newest!.meanLoss + 0.1)
    const again = await runEvaluateJob(job({ ...large, predecessors }), ignore)
    expect(again.stability).toEqual(stability)
  })

  it('keeps label, score and losses of each row in the order of the holdout', async () => {
    const output = await runEvaluateJob(job(), ignore)
    const rows = await rowsOf(`SELECT label, score, loss, champion_loss, "row" FROM 'losses.parquet' ORDER BY "row"`)
    const csv = readFileSync(at('holdout.csv'), 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(','))
    expect(rows.map(([label]) => Number(label))).toEqual(csv.map((cells) => Number(cells[2])))
    expect(rows[7]!.slice(3)).toEqual([null, 7])
    const logit = 1.5 * Number(csv[7]![0]) - Number(csv[7]![1])
    expect(rows[7]![1]).toBeCloseTo(1 / (1 + Math.exp(-logit)), 6)
    const auc = areaUnderCurve(
      Float64Array.from(rows, (row) => Number(row[1])),
      Uint8Array.from(rows, (row) => Number(row[0])),
    )
    expect(output.metrics.values.auc).toBeCloseTo(auc!, 12)
  })

  it('keeps golden rows that the model answers alike when they come as requests', async () => {
    await runEvaluateJob(job({ goldenRows: 16 }), ignore)
    const golden = JSON.parse(readFileSync(at('golden.json'), 'utf8')) as GoldenFile
    expect(golden.rows).toHaveLength(16)
    expect(golden.why).toBeNull()
    expect(golden.rows.at(-1)!.row).toBeGreaterThan(2500)
    const model = await openModel(at('good.onnx'))
    for (const row of golden.rows) {
      const { inputs } = parseInferRequest(Buffer.from(row.request), model.signature)
      const answered = await model.run(inputs)
      const plain = Object.fromEntries(
        Object.entries(answered).map(([name, { datatype, shape, data }]) => [
          name,
          { datatype, shape, data: Array.from(data as ArrayLike<number>) },
        ]),
      )
      expect(goldenMismatch(row, plain, 1e-6)).toBeNull()
      plain.probabilities!.data[1] = Number(plain.probabilities!.data[1]) + 0.01
      expect(goldenMismatch(row, plain, 1e-6)).toContain(`row ${row.row}: output 'probabilities'`)
    }
    await model.close()
  })

  it('passes over rows with missing numbers for golden ones, and says so where too few are left', async () => {
    writeModel(at('is-missing.onnx'), isMissingModel())
    const holdout = (share: number) => sql(`SELECT if(i % 10 < ${share}, NULL, i) AS a, i AS late FROM range(40) r(i)`)
    const input = regression({ modelPath: at('is-missing.onnx'), goldenRows: 8 })
    const output = await runEvaluateJob({ ...input, holdout: holdout(3) }, ignore)
    expect(output).toMatchObject({ goldenRows: 8, goldenWhy: null })
    const { rows } = JSON.parse(readFileSync(at('golden.json'), 'utf8')) as GoldenFile
    expect(rows.every(({ row }) => row % 10 >= 3)).toBe(true)
    expect(await runEvaluateJob({ ...input, holdout: holdout(9) }, ignore)).toMatchObject({
      goldenRows: 4,
      goldenWhy: 'only 4 rows have no missing number',
    })
  })

  it('profiles the inputs of the training rows and the predictions of the holdout', async () => {
    writeFileSync(at('train.csv'), flightsCsv(500, 2))
    await runEvaluateJob(job({ trainingRows: { kind: 'file', path: 'train.csv' } }), ignore)
    const profile = JSON.parse(readFileSync(at('profile.json'), 'utf8')) as BaselineProfile
    expect(profile).toMatchObject({ source: 'training', rows: 500, profiledRows: 500 })
    expect(profile.columns.map(({ name, count }) => [name, count])).toEqual([
      ['a', 500],
      ['b', 500],
    ])
    expect(profile.prediction).toMatchObject({ kind: 'numeric', name: 'probabilities', count: 3000 })
    expect(profile.prediction.counts).toHaveLength(10)
  })

  it('takes the columns of the holdout in order where nobody names them', async () => {
    const output = await runEvaluateJob(
      job({ modelPath: at('unnamed.onnx'), gate: gateConfigOf({ cluster: 'day' }) }),
      ignore,
    )
    expect(output.signature.inputs[0]!.columns).toEqual(['a', 'b'])
    await expect(runEvaluateJob(job({ modelPath: at('unnamed.onnx') }), ignore)).rejects.toMatchObject({
      code: 'MR_SOURCE_COLUMN',
      message: `Input 'x' of the model takes 2 columns without naming them; besides the label the holdout has 3: a, b, day.`,
    })
  })

  it('reads SQL with the calendar time of the run, over files of the project', async () => {
    const query = `SELECT a, b, late FROM 'holdout.csv' WHERE getvariable('as_of') > TIMESTAMP '2001-01-01' AND day < 10; -- today`
    const output = await runEvaluateJob(job({ holdout: sql(query), asOfMs: Date.UTC(2001, 5, 1) }), ignore)
    expect(output.rows).toBe(1000)
    await expect(runEvaluateJob(job({ holdout: sql(query), asOfMs: 0 }), ignore)).rejects.toMatchObject({
      code: 'MR_SOURCE_EMPTY',
    })
  })

  it('reads the views of the lake, which may hold nothing yet', async () => {
    const overLake = job({ lakeDir: at('lake'), holdout: sql('SELECT label AS late, 1 AS a, 2 AS b FROM predictions') })
    await expect(runEvaluateJob(overLake, ignore)).rejects.toMatchObject({ code: 'MR_SOURCE_EMPTY' })
  })

  it('reads many Parquet files by a glob', async () => {
    await rowsOf(`COPY (FROM 'holdout.csv' LIMIT 700) TO 'part-1.parquet'`)
    await rowsOf(`COPY (FROM 'holdout.csv' OFFSET 700) TO 'part-2.parquet'`)
    const output = await runEvaluateJob(job({ holdout: { kind: 'file', path: 'part-*.parquet' } }), ignore)
    const whole = await runEvaluateJob(job(), ignore)
    expect(output.rows).toBe(3000)
    expect(output.metrics).toEqual(whole.metrics)
  })

  it('feeds one input per column: text, integers, floats, booleans', async () => {
    writeModel(
      at('columns.onnx'),
      columnModel([
        { name: 'city', values: { Oslo: 0.5, Rome: -0.5 } },
        { name: 'hour', weight: 0.01, element: 'int64' },
        { name: 'distance', weight: 0.001, element: 'double' },
        { name: 'weekend', weight: 0.1 },
      ]),
    )
    const holdout = sql(`SELECT CASE WHEN i % 2 = 0 THEN 'Oslo' ELSE 'Rome' END AS city, (i % 24)::HUGEINT AS hour,
      i::DECIMAL(9, 2) AS distance, i % 7 > 4 AS weekend, i * 0.001 + 0.2 AS delay FROM range(300) r(i)`)
    const output = await runEvaluateJob(regression({ holdout, modelPath: at('columns.onnx'), label: 'delay' }), ignore)
    expect(output.metrics.values.n).toBe(300)
    const [row] = await rowsOf(`SELECT score FROM 'losses.parquet' WHERE "row" = 13`)
    expect(row![0]).toBeCloseTo(-0.5 + 13 * 0.01 + 0.013 + 0.1, 6)
    const profile = JSON.parse(readFileSync(at('profile.json'), 'utf8')) as BaselineProfile
    expect(profile.columns.map(({ kind }) => kind)).toEqual(['categorical', 'numeric', 'numeric', 'numeric'])
  })

  it('runs a model of a fixed batch, whatever the number of rows', async () => {
    writeModel(
      at('fixed.onnx'),
      linearModel({ weights: [2, 0], bias: 1, rows: 7, metadata: { 'millrace.features': '["a","b"]' } }),
    )
    const output = await runEvaluateJob(
      regression({
        modelPath: at('fixed.onnx'),
        holdout: sql(`SELECT *, b AS delay FROM 'holdout.csv' LIMIT 20`),
        label: 'delay',
      }),
      ignore,
    )
    expect(output).toMatchObject({ rows: 20, goldenRows: 0, goldenWhy: 'the model takes 7 rows at a time, not one' })
    const rows = await rowsOf(`SELECT l.score - (2 * h.a + 1) FROM 'losses.parquet' l POSITIONAL JOIN 'kept.parquet' h`)
    expect(Math.max(...rows.map(([off]) => Math.abs(Number(off))))).toBeLessThan(1e-5)
  })
})

describe('an evaluation that can not be made says why', () => {
  it.each<[string, () => Partial<EvaluateJobInput>, string, string | RegExp]>([
    [
      'a file that is not there',
      () => ({ holdout: { kind: 'file', path: 'gone.parquet' } }),
      'MR_SOURCE_MISSING',
      `The holdout 'gone.parquet' is not there`,
    ],
    [
      'a glob without a match',
      () => ({ holdout: { kind: 'file', path: 'gone-*.csv' } }),
      'MR_SOURCE_MISSING',
      `'gone-*.csv' is not there`,
    ],
    [
      'a file of another kind',
      () => ({ holdout: { kind: 'file', path: 'holdout.xlsx' } }),
      'MR_SOURCE_FORMAT',
      'neither Parquet nor CSV',
    ],
    ['a broken file', () => broken(), 'MR_SOURCE_QUERY', `The holdout 'broken.parquet' can't be read`],
    [
      'wrong SQL',
      () => ({ holdout: sql('SELEC 1') }),
      'MR_SOURCE_QUERY',
      /query "SELEC 1" can't be read: .*syntax error/,
    ],
    ['no rows', () => ({ holdout: sql(`FROM 'holdout.csv' WHERE a > 1e9`) }), 'MR_SOURCE_EMPTY', 'holds no rows'],
    [
      'no label column',
      () => ({ label: 'delayed' }),
      'MR_SOURCE_COLUMN',
      `The evaluation needs column 'delayed', which the holdout lacks; it has a, b, late, day.`,
    ],
    [
      'one class',
      () => ({ holdout: sql(`FROM 'holdout.csv' WHERE late = 0`) }),
      'MR_LABEL',
      'No row of the holdout has 1, true or yes',
    ],
    [
      'a label that is missing',
      () => ({ holdout: sql(`SELECT * REPLACE (nullif(late, 1) AS late) FROM 'holdout.csv'`) }),
      'MR_LABEL',
      /Label 'late' is missing in \d+ of 3000 rows/,
    ],
    [
      'text for a regression',
      () => ({
        task: 'regression',
        gate: gateConfigOf({ loss: 'squaredError' }),
        holdout: sql(`SELECT * REPLACE ('x' AS late) FROM 'holdout.csv'`),
      }),
      'MR_LABEL',
      'which is no number',
    ],
    [
      'a time as label',
      () => ({ holdout: sql(`SELECT * REPLACE (TIMESTAMP '2001-01-01' AS late) FROM 'holdout.csv'`) }),
      'MR_SOURCE_COLUMN',
      `Column 'late' of the holdout is TIMESTAMP`,
    ],
    ['the label as one of its columns', () => ({ features: ['a', 'late'] }), 'MR_LABEL', `'late' as an input (in 'x')`],
    ['the label as an input', () => toldModel(), 'MR_LABEL', `The model takes the label 'late' as an input: it would`],
    [
      'no feature column',
      () => ({ holdout: sql(`SELECT a, b AS B2, late FROM 'holdout.csv'`) }),
      'MR_SOURCE_COLUMN',
      `the model needs column 'b', which the holdout lacks; it has a, B2, late.`,
    ],
    [
      'a time as feature',
      () => ({ holdout: sql(`SELECT * REPLACE (DATE '2001-01-01' AS b) FROM 'holdout.csv'`) }),
      'MR_SOURCE_COLUMN',
      `Column 'b' of the holdout is DATE`,
    ],
    [
      'text where numbers are due',
      () => ({ holdout: sql(`SELECT * REPLACE (if(day = 20, 'far', b::TEXT) AS b) FROM 'holdout.csv'`) }),
      'MR_SOURCE_VALUE',
      `Column 'b' is "far" in row 20 of the holdout, but input 'x' of the model takes FP32.`,
    ],
    [
      'a cluster column that is missing',
      () => ({ gate: gateConfigOf({ cluster: 'week' }) }),
      'MR_SOURCE_COLUMN',
      `gate.cluster needs column 'week'`,
    ],
    [
      'a missing value that makes the score NaN',
      () => ({ holdout: sql(`SELECT * REPLACE (if(day = 20, NULL, b) AS b) FROM 'holdout.csv'`) }),
      'MR_SCORE_VALUE',
      `Output 'probabilities' of the model is NaN at row 20 of the holdout`,
    ],
    [
      'training rows without a feature',
      () => ({ trainingRows: sql(`SELECT a FROM 'holdout.csv'`) }),
      'MR_SOURCE_COLUMN',
      `The baseline profile needs column 'b', which the training rows lacks`,
    ],
    [
      'a missing integer',
      () => integers(),
      'MR_SOURCE_VALUE',
      `Column 'hour' is missing in row 2 of the holdout, but input 'hour' of the model takes INT64.`,
    ],
    ['scores that are no probabilities', () => logits(), 'MR_SCORE_VALUE', 'which is no probability'],
    ['text as output', () => textOutput(), 'MR_SCORE_OUTPUT', `it has 'y' BYTES`],
    ['a model that is not there', () => ({ modelPath: at('gone.onnx') }), 'MR_MODEL_MISSING', 'gone.onnx'],
    [
      'a champion that needs other columns',
      () => otherChampion(),
      'MR_SOURCE_COLUMN',
      `the champion late@3 needs column 'c'`,
    ],
  ])('%s', async (_, change, code, message) => {
    const thrown = await runEvaluateJob(job(change()), ignore).then(
      () => null,
      (error: unknown) => error,
    )
    expect(thrown).toBeInstanceOf(MillraceError)
    expect(thrown).toMatchObject({
      code,
      message: expect.stringMatching(typeof message === 'string' ? escaped(message) : message),
    })
    expect((thrown as MillraceError).fix).toMatch(/\.$/)
  })

  it('points at a column whose name differs by case only', async () => {
    await expect(runEvaluateJob(job({ label: 'Late' }), ignore)).rejects.toMatchObject({
      fix: `Names are compared exactly: it has 'late'.`,
    })
  })
})

function broken(): Partial<EvaluateJobInput> {
  writeFileSync(at('broken.parquet'), 'this is no parquet file at all')
  return { holdout: { kind: 'file', path: 'broken.parquet' } }
}

function toldModel(): Partial<EvaluateJobInput> {
  writeModel(at('told.onnx'), columnModel([{ name: 'late', weight: 1 }]))
  return { modelPath: at('told.onnx') }
}

function integers(): Partial<EvaluateJobInput> {
  writeModel(at('hours.onnx'), columnModel([{ name: 'hour', weight: 0.01, element: 'int64' }]))
  return { modelPath: at('hours.onnx'), holdout: sql('SELECT nullif(i, 2) AS hour, i % 2 AS late FROM range(5) r(i)') }
}

/** y = 1 where the float column `a` is missing, else 0. */
function isMissingModel(): Uint8Array {
  return onnxModel({
    nodes: [node('IsNaN', ['a'], ['missing']), node('Cast', ['missing'], ['y'], { to: { int: ELEMENT.float } })],
    inputs: [tensorValue('a', 'float', ['N', 1])],
    outputs: [tensorValue('y', 'float', ['N', 1])],
  })
}

function logits(): Partial<EvaluateJobInput> {
  writeModel(at('logits.onnx'), linearModel({ weights: [5, 5], metadata: { 'millrace.features': '["a","b"]' } }))
  return { modelPath: at('logits.onnx') }
}

function textOutput(): Partial<EvaluateJobInput> {
  writeModel(at('text.onnx'), identityModel('string', ['N', 1], { input: 'day' }))
  return { modelPath: at('text.onnx') }
}

function otherChampion(): Partial<EvaluateJobInput> {
  writeModel(at('other.onnx'), logisticModel({ weights: [1, 1], metadata: { 'millrace.features': '["a","c"]' } }))
  return { champion: { version: 'late@3', modelPath: at('other.onnx'), features: null, scoreOutput: null } }
}

/** Columns a, b, late, day: late follows 1.5 a − b by a logistic law. */
function flightsCsv(rows: number, seed: number): string {
  const random = seededRandom(seed)
  const lines = Array.from({ length: rows }, (_, i) => {
    const [a, b] = [random.normal(), random.normal()]
    const late = random.uniform() < 1 / (1 + Math.exp(b - 1.5 * a)) ? 1 : 0
    return `${a},${b},${late},${i % 30}`
  })
  return `a,b,late,day\n${lines.join('\n')}\n`
}

function job(change: Partial<EvaluateJobInput> = {}): EvaluateJobInput {
  return {
    version: 'late@4',
    modelPath: at('good.onnx'),
    features: null,
    scoreOutput: null,
    champion: null,
    predecessors: [],
    predecessorsLeftOut: [],
    task: 'binary',
    label: 'late',
    positive: null,
    holdout: { kind: 'file', path: 'holdout.csv' },
    trainingRows: null,
    projectRoot: dir,
    lakeDir: null,
    asOfMs: Date.UTC(2001, 0, 1),
    gate: gateConfigOf(),
    goldenRows: 64,
    seed: 7,
    holdoutPath: at('kept.parquet'),
    lossesPath: at('losses.parquet'),
    goldenPath: at('golden.json'),
    profilePath: at('profile.json'),
    ...change,
  }
}

function regression(change: Partial<EvaluateJobInput>): EvaluateJobInput {
  return job({ task: 'regression', gate: gateConfigOf({ loss: 'squaredError' }), ...change })
}

function sql(text: string): { kind: 'sql'; sql: string } {
  return { kind: 'sql', sql: text }
}

async function rowsOf(query: string): Promise<unknown[][]> {
  const database = await openDuckDB({ root: dir })
  await database.connection.run(`SET file_search_path = ${quoteText(dir)}`)
  try {
    return (await database.connection.runAndReadAll(query.replaceAll(/TO '/g, `TO '${dir}/`))).getRows()
  } finally {
    await database.close()
  }
}

function ignore(): void {}

function escaped(text: string): RegExp {
  return new RegExp(text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
}
