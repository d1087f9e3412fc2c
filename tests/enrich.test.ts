import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { writeTable } from '../src/testing/feature-tables.ts'
import { blocksOf } from './docs/markdown.ts'
import { install, query, request, serving, showLogsOnFailure, train, until, type Installation } from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * A model one column of which comes from a table that its training publishes: the whole loop, from the step that writes
 * the table to the rows of the lake.
 */

const COPY_BOTH =
  'cp good.onnx "$MILLRACE_MODEL_DIR/model.onnx" && cp "$MILLRACE_PARAM_TABLE" "$MILLRACE_MODEL_DIR/customers.parquet"'
/** What the guide shows. */
const guide = blocksOf('docs/guides/serving.md')
const declaredByTheGuide = parse(guide.find(({ text }) => text.includes('table: customers.parquet'))!.text) as {
  serving: object
}
const requestOfTheGuide = guide.find(({ text }) => text.includes('"name": "customer"'))!.text

const table = { table: 'customers.parquet', key: 'customer', columns: ['b'] }

const model = (params: object, ...enrich: object[]) => ({
  ...quickModel,
  train: { run: COPY_BOTH, args: false, timeout: '60s', retries: 0 },
  params: { table: 'first.parquet', ...params },
  serving: { replicas: 1, drain: '2s', enrich },
})

async function files(): Promise<Record<string, string | Uint8Array>> {
  const folder = mkdtempSync(join(tmpdir(), 'mr-enrich-'))
  const parquet = async (sql: string) => {
    await writeTable(join(folder, 't.parquet'), sql)
    return readFileSync(join(folder, 't.parquet'))
  }
  try {
    return {
      ...quickFiles({
        models: {
          churn: model({}, { ...table, missing: 'error' }),
          lenient: model({}, { ...table, key: { parameter: 'customer' }, missing: { b: 0 } }),
          stale: model({}, { ...table, staleness: '1s' }),
          twice: model({ table: 'twice.parquet' }, table),
          guide: {
            ...model({ table: 'visits.parquet' }),
            ...declaredByTheGuide,
            features: ['age', 'visits'],
            holdout: { sql: `select a as age, b as visits, y from 'holdout.csv'` },
          },
          absent: model({}, { ...table, table: 'nowhere.parquet' }),
        },
        endpoints: { group: { gather: { members: ['churn'], combine: 'first', join: { requests: 0 } } } },
      }),
      'first.parquet': await parquet(`select 'c' || i as customer, i / 10 as b from range(100) r(i)`),
      'second.parquet': await parquet(`select 'c' || i as customer, -i / 10 as b from range(100) r(i)`),
      'visits.parquet': await parquet(`select 'c' || i as customer, 12 * i as visits from range(10) r(i)`),
      'twice.parquet': await parquet(`select 'c' as customer, i as b from range(2) r(i)`),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const asked = (customer: string, a = 1) => [
  { name: 'x', datatype: 'FP32', shape: [1, 1], data: [a] },
  { name: 'customer', datatype: 'BYTES', shape: [1], data: [customer] },
]
const outputsOf = (body: unknown) => (body as { outputs: { data: number[] }[] }).outputs
const scoreOf = (body: unknown) => outputsOf(body).at(-1)!.data.at(-1)

describe('a model whose features come partly from a table', () => {
  let project: Installation

  beforeAll(async () => {
    project = install(await files())
    await project.up()
  })
  beforeEach(() => showLogsOnFailure(project))
  afterAll(() => project.remove())

  it('is evaluated on whole rows, and asked for the key alone', async () => {
    const { version } = await train(project, 'churn')
    expect(version!.gate).toMatchObject({ verdict: 'passed' })
    expect(version!.lineage.tables).toMatchObject([{ table: 'customers.parquet', columns: ['b'] }])
    const { url } = await serving(project, 'churn')
    const { body } = await request(url!.replace(/\/infer$/, ''))
    expect(body).toMatchObject({
      inputs: [
        { name: 'x', datatype: 'FP32', shape: [-1, 1] },
        { name: 'customer', datatype: 'BYTES', shape: [-1] },
      ],
    })
    const shown = await project.millrace(['models', 'show', 'churn@1'])
    expect(shown.stdout).toMatch(/table {4}customers\.parquet: b by customer/)
  })

  it('answers as if the client had sent what the table says, and logs it so', async () => {
    const { url } = await serving(project, 'churn')
    const byKey = await request(url!, { inputs: asked('c7') })
    const whole = await request(url!, { inputs: row(1, Math.fround(0.7)) })
    expect({ byKey: byKey.status, whole: whole.status }).toEqual({ byKey: 200, whole: 200 })
    expect(scoreOf(byKey.body)).toBe(scoreOf(whole.body))
    expect(byKey.headers.get('millrace-fed')).toBeNull()
    const rows = await until('both in the lake', async () => {
      const found = await query(
        project,
        `select customer, a, round(b::double, 4) from churn order by customer nulls last`,
      )
      return found.length === 2 ? found : null
    })
    expect(rows).toEqual([
      ['c7', 1, 0.7],
      [null, 1, 0.7],
    ])
  })

  it('is asked so by the other protocols too', async () => {
    const { url } = await serving(project, 'churn')
    const scored = scoreOf((await request(url!, { inputs: asked('c7') })).body)
    const instances = [{ x: [1], customer: 'c7' }]
    const byV1 = await request(url!.replace(/\/v2\/models\/churn.*/, '/v1/models/churn:predict'), { instances })
    const table = { columns: ['a', 'customer'], data: [[1, 'c7']] }
    const byMlflow = await request(
      url!.replace(/\/v2\/.*/, '/endpoints/churn/invocations'),
      { dataframe_split: table },
      { headers: { 'content-type': 'application/json' } },
    )
    for (const { status, body } of [byV1, byMlflow])
      expect({ status, text: JSON.stringify(body) }).toEqual({
        status: 200,
        text: expect.stringContaining(`${scored}`),
      })
  })

  it('refuses a key that is not in the table, and a request without one', async () => {
    const { url } = await serving(project, 'churn')
    const unknown = await request(url!, { inputs: asked('c100') })
    const error = `customer "c100" is not in the table 'customers.parquet'`
    expect({ status: unknown.status, body: unknown.body }).toEqual({ status: 400, body: { error } })
    const without = await request(url!, { inputs: asked('c1').slice(0, 1) })
    expect(without).toMatchObject({ status: 400, body: { error: expect.stringContaining(`'customer' is missing`) } })
  })

  it('brings its own table with each version', async () => {
    const { url } = await serving(project, 'churn')
    const before = await request(url!, { inputs: asked('c20') })
    await train(project, 'churn', { table: 'second.parquet' })
    const after = await until('an answer of the second version', async () => {
      const answer = await request(url!, { inputs: asked('c20') })
      return answer.headers.get('millrace-model-version') === '2' ? answer : null
    })
    const whole = await request(url!, { inputs: row(1, -2) })
    expect(scoreOf(after.body)).toBe(scoreOf(whole.body))
    expect(scoreOf(after.body)).not.toBe(scoreOf(before.body))
  })

  it('is a member of a gather like any other', async () => {
    const { url } = await serving(project, 'churn')
    const group = url!.replace('/churn/', '/group/')
    const answer = await until('an answer of the gather', async () => {
      const { status, body } = await request(group, { inputs: asked('c3', 5) })
      return status === 200 ? body : null
    })
    expect(scoreOf(answer)).toBe(scoreOf((await request(url!, { inputs: row(5, Math.fround(-0.3)) })).body))
    const rows = await until('the member in the lake', async () => {
      const sql = `select customer, round(b::double, 4) from predictions_all where endpoint = 'group' and a = 5 and model = 'churn'`
      const found = await query(project, sql)
      return found.length > 0 ? found : null
    })
    expect(rows[0]).toEqual(['c3', -0.3])
  })

  it('takes a key from a parameter, and values for keys that it does not know', async () => {
    await train(project, 'lenient')
    const { url } = await serving(project, 'lenient')
    const inputs = asked('').slice(0, 1)
    const known = await request(url!, { inputs, parameters: { customer: 'c5' } })
    const unknown = await request(url!, { inputs, parameters: { customer: 'nobody' } })
    expect(scoreOf(known.body)).toBe(scoreOf((await request(url!, { inputs: row(1, 0.5) })).body))
    expect(scoreOf(unknown.body)).toBe(scoreOf((await request(url!, { inputs: row(1, 0) })).body))
  })

  it('is asked as the guide says', async () => {
    await train(project, 'guide')
    const { url } = await serving(project, 'guide')
    const { status, body } = await request(url!, requestOfTheGuide)
    const whole = await request(url!, { inputs: [{ ...row(42, 7)[0], shape: [2, 2], data: [42, 84, 17, 0] }] })
    expect({ status, outputs: outputsOf(body) }).toEqual({ status: 200, outputs: outputsOf(whole.body) })
    // 0.8 · (2 · 42 − 84): neither row would be so without its table.
    expect(outputsOf(body).at(-1)!.data).toEqual([0.5, 0.5, 0, 1].map((score) => expect.closeTo(score, 5)))
  })

  it('says that its table is stale, and still answers whole requests', async () => {
    await train(project, 'stale')
    const { url } = await serving(project, 'stale')
    const refused = await until('a stale table', async () => {
      const answer = await request(url!, { inputs: asked('c1') })
      return answer.status === 200 ? null : answer
    })
    expect(refused.status).toBe(500)
    expect(refused.body).toEqual({
      error: expect.stringMatching(/^The table 'customers\.parquet' is stale: it is as of/),
    })
    expect((await request(url!, { inputs: row(1, 1) })).status).toBe(200)
  })

  it('is no version that could be served where a table is bad, or not there', async () => {
    const { version } = await train(project, 'twice')
    expect(version).toMatchObject({
      status: 'error',
      why: expect.stringContaining('the key customer = "c" is there more than once'),
    })
    const { run } = await train(project, 'absent')
    expect(run).toMatchObject({ status: 'failed' })
    expect(run.steps[0]!.why).toContain(`The feature table 'nowhere.parquet' can't be used: it is not beside the model`)
  })
})
