import { copyFileSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { GateView } from '../src/surface/api/gate-schemas.ts'
import type { QueryResult, Reconciliation } from '../src/surface/api/prediction-log-schemas.ts'
import type { LiveSpan } from '../src/surface/api/version-schemas.ts'
import { testPostgresDatabase } from '../src/testing/test-store.ts'
import {
  install,
  predict,
  processesOf,
  query,
  request,
  serving,
  settled,
  showLogsOnFailure,
  socketsOf,
  until,
  type Installation,
  type Prediction,
} from './harness.ts'
import { quickFiles, quickModel, row, table } from './quick-project.ts'

/* The whole loop, from an empty folder to a rollback, as a newcomer would go through it. */

const CUSTOMER = {
  tenure_months: 3,
  monthly_fee: 49.9,
  support_calls: 4,
  days_since_login: 21,
  discount: 0,
  plan: 'basic',
}

/** As the README's curl has it: one input per column. */
const customerInputs = Object.entries(CUSTOMER).map(([name, value]) => ({
  name,
  datatype: typeof value === 'string' ? 'BYTES' : 'FP32',
  shape: [1, 1],
  data: [value],
}))

describe('the starter, from init to down', () => {
  let starter: Installation
  let url: string
  const predictions: Prediction[] = []
  const liveFromMs: Record<string, number> = {}
  let firstServedMs: number

  beforeAll(() => {
    starter = install({}, { isFirstStart: true })
  })
  beforeEach(() => showLogsOnFailure(starter))
  afterAll(() => starter.remove())

  it('trains its first version by itself, because of the data that are there, and serves it', async () => {
    const made = await starter.millrace(['init', '.'])
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining('millrace up') })
    await starter.up()
    const endpoint = await serving(starter, 'churn')
    url = endpoint.url!
    expect(endpoint).toMatchObject({ name: 'churn', members: [{ version: 'churn@1', weightPercent: 100 }] })
    const [run] = await starter.api.runs.list({})
    expect(run).toMatchObject({ id: 'run-1', status: 'succeeded', cause: expect.stringContaining('newData') })
    const { gate, lineage } = await starter.api.versions.get({ ref: 'churn@1' })
    expect(gate).toMatchObject({ verdict: 'passed', champion: null, metrics: { auc: expect.any(Number) } })
    expect(lineage).toMatchObject({
      run: 'run-1',
      params: { rounds: 300 },
      codeDigest: expect.stringMatching(/^sha256:/),
    })
    firstServedMs = Date.now()
  })

  it('answers a plain HTTP request and the command line alike', async () => {
    const { status, headers, body } = await request(url, { inputs: customerInputs })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      model_name: 'churn',
      model_version: '1',
      outputs: [{ datatype: 'FP32', shape: [1, 1] }],
    })
    const [score] = (body as { outputs: { data: number[] }[] }).outputs[0]!.data
    expect(score).toBeGreaterThan(0)
    expect(score).toBeLessThan(1)
    predictions.push({ id: headers.get('millrace-prediction-id')!, version: '1', score: score! })

    const said = await starter.json<{ predictionId: string; outputs: { data: number[] }[] }>([
      'predict',
      'churn',
      '--row',
      JSON.stringify(CUSTOMER),
    ])
    expect(said).toMatchObject({ modelName: 'churn', modelVersion: '1', outputs: [{ data: [score] }] })
    expect(said.predictionId).not.toBe(predictions[0]!.id)
    predictions.push({ id: said.predictionId, version: '1', score: score! })
    const forPeople = await starter.millrace(['predict', 'churn', '--row', JSON.stringify(CUSTOMER)])
    expect(forPeople).toMatchObject({ code: 0, stdout: expect.stringMatching(/churn@1 {2}prediction \S+/) })
  })

  it('joins labels that come later with their predictions, in the lake', async () => {
    const [first, second] = predictions as [Prediction, Prediction]
    expect(await starter.millrace(['feedback', first.id, '1'])).toMatchObject({ code: 0, stdout: '1 label accepted\n' })
    const labelled = await request(new URL('/feedback', url).href, { labels: [{ id: second.id, label: 0 }] })
    expect(labelled).toMatchObject({ status: 202, body: { accepted: 1 } })
    const sql = 'select prediction_id, label, plan, round(tenure_months) from churn where label is not null'
    const rows = async () => (await starter.json<QueryResult>(['lake', 'query', sql])).rows as [string, ...unknown[]][]
    await expect.poll(rows, { timeout: 60_000, interval: 500 }).toHaveLength(2)
    expect(Object.fromEntries((await rows()).map(([id, ...rest]) => [id, rest]))).toEqual({
      [first.id]: [1, 'basic', 3],
      [second.id]: [0, 'basic', 3],
    })
  })

  it('trains again when data arrive, compares with the champion on the same rows, and releases what may be', async () => {
    copyFileSync(join(starter.folder, 'later/2026-03.csv'), join(starter.folder, 'data/customers/2026-03.part'))
    renameSync(join(starter.folder, 'data/customers/2026-03.part'), join(starter.folder, 'data/customers/2026-03.csv'))
    await until('a second run', async () => (await starter.api.runs.list({})).length > 1)
    const run = await settled(starter, 'run-2')
    expect(run).toMatchObject({ status: 'succeeded', cause: expect.stringContaining('2026-03.csv') })
    const gate = await starter.json<GateView>(['gate', 'show', 'churn@2'])
    expect(gate).toMatchObject({ version: 'churn@2', champion: 'churn@1', verdict: 'passed', rows: 800 })
    const champion = gate.checks.find((check) => check.name === 'champion')
    expect(champion?.figures).toMatchObject({ champion: 'churn@1', rows: 800, gain: expect.any(Number) })
    // The starter releases whatever passes.
    await serving(starter, 'churn', 'churn@2')
    expect(await predict(url, customerInputs)).toMatchObject({ version: '2' })
    liveFromMs['churn@2'] = Date.now()
  })

  it('gives the traffic back at a word', async () => {
    const ended = await starter.millrace(['rollback', 'churn', '--why', 'complaints'])
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('churn@1') })
    await serving(starter, 'churn', 'churn@1')
    expect(await predict(url, customerInputs)).toMatchObject({ version: '1', score: predictions[0]!.score })
    liveFromMs['churn@1'] = Date.now()
  })

  it('knows which version was live when', async () => {
    const live = (atMs: number) =>
      starter.json<LiveSpan>(['models', 'live', 'churn', '--at', new Date(atMs).toISOString()])
    expect(await live(firstServedMs)).toMatchObject({ version: 'churn@1', untilMs: expect.any(Number) })
    expect(await live(liveFromMs['churn@2']!)).toMatchObject({ version: 'churn@2' })
    expect(await live(liveFromMs['churn@1']!)).toMatchObject({
      version: 'churn@1',
      untilMs: null,
      why: expect.stringContaining('complaints'),
    })
    expect(await live(firstServedMs - 86_400_000)).toMatchObject({ version: null })
  })

  it('can account for every answer and every label', async () => {
    const sent = 5
    const reconciliation = () => starter.api.predictionLog.status()
    await expect.poll(reconciliation, { timeout: 60_000, interval: 500 }).toMatchObject({
      agrees: true,
      answered: sent,
      logged: sent,
      inLake: sent,
      inSpool: 0,
      dropped: 0,
      labels: 2,
      labelsMatched: 2,
    } satisfies Partial<Reconciliation>)
    expect(await starter.millrace(['lake', 'status'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`agrees: ${sent} answered`),
    })
    expect(await starter.millrace(['status'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`agrees: ${sent} answered`),
    })
    const versions = await query(starter, 'select version, count(*) from predictions group by 1 order by 1')
    expect(versions.map(([version, count]) => [String(version), Number(count)])).toEqual([
      ['1', 4],
      ['2', 1],
    ])
  })

  it('leaves no process and no socket behind when it goes down, and comes back as it was', async () => {
    expect(await processesOf(starter)).not.toEqual([])
    await starter.down()
    expect(await processesOf(starter)).toEqual([])
    expect(socketsOf(starter)).toEqual([])
    expect(await starter.millrace(['status'])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('No Millrace runs'),
    })

    await starter.up()
    const { url: again } = await serving(starter, 'churn', 'churn@1')
    expect(await predict(again!, customerInputs)).toMatchObject({ version: '1', score: predictions[0]!.score })
    expect(await starter.api.runs.list({})).toHaveLength(2)
    await starter.down()
    expect(await processesOf(starter)).toEqual([])
  })
})

/** The loop in short, on the quick project. */
async function shortLoop(quick: Installation): Promise<void> {
  await quick.up()
  const { url } = await serving(quick, 'coin', 'coin@1')
  const first = await predict(url!, row(1, 0))
  expect(first).toMatchObject({ version: '1' })
  expect(first.score).toBeCloseTo(1 / (1 + Math.exp(-1.6)), 5)
  await request(new URL('/feedback', url!).href, { id: first.id, label: 1 })

  quick.write('data/2.csv', table(10, 2))
  quick.write(
    'millrace.yaml',
    readFileSync(join(quick.folder, 'millrace.yaml'), 'utf8').replace('good.onnx', 'better.onnx'),
  )
  expect(await quick.millrace(['apply'])).toMatchObject({ code: 0 })
  const { url: second } = await trainedAgain(quick)
  expect((await predict(second!, row(1, 0))).score).toBeCloseTo(1 / (1 + Math.exp(-2)), 5)

  const joined = async () => query(quick, `select label from predictions where prediction_id = '${first.id}'`)
  await expect.poll(joined, { timeout: 60_000, interval: 500 }).toEqual([[1]])
  await expect
    .poll(() => quick.api.predictionLog.status(), { timeout: 60_000, interval: 500 })
    .toMatchObject({ agrees: true, answered: 2, inLake: 2 })
  await quick.down()
  expect(await processesOf(quick)).toEqual([])
}

/** The new data may have started a run under the first configuration: then the next one makes the better version. */
async function trainedAgain(quick: Installation): ReturnType<typeof serving> {
  await quick.api.runs.start({ model: 'coin', by: 'test' })
  return until('the better version to be live', async () => {
    const endpoint = await serving(quick, 'coin')
    const live = endpoint.members.find((member) => member.weightPercent > 0)!.version
    const { lineage } = await quick.api.versions.get({ ref: live })
    return lineage.params['file'] === 'better.onnx' ? endpoint : null
  })
}

const quickProject = () => ({
  ...quickFiles({ models: { coin: { ...quickModel, on: { newData: 'data/*.csv', settle: '300ms' } } } }),
  'data/1.csv': table(10),
})

describe('the loop in short', () => {
  it('runs by a YAML configuration', async ({ onTestFinished }) => {
    const quick = install(quickProject())
    showLogsOnFailure(quick)
    onTestFinished(() => quick.remove())
    await shortLoop(quick)
    expect(await quick.millrace(['status'])).toMatchObject({ code: 3 })
  })

  const noServer = process.env['MILLRACE_TEST_POSTGRES_URL'] === undefined
  const howToRun = ' (set MILLRACE_TEST_POSTGRES_URL=postgresql://user:password@host:5432/postgres to run)'
  it.skipIf(noServer)(`runs on PostgreSQL${noServer ? howToRun : ''}`, async ({ onTestFinished }) => {
    const { databaseUrl, drop } = await testPostgresDatabase()
    onTestFinished(drop)
    const quick = install(quickProject(), { env: { MILLRACE_DATABASE_URL: databaseUrl } })
    showLogsOnFailure(quick)
    onTestFinished(() => quick.remove())
    await shortLoop(quick)
    expect(await quick.millrace(['status'])).toMatchObject({ code: 3 })
  })
})
