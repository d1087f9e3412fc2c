import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { blocksOf } from './docs/markdown.ts'
import {
  install,
  processesOf,
  query,
  request,
  serving,
  showLogsOnFailure,
  train,
  until,
  type Installation,
} from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * A model with a step of the user's own before it: the whole loop, from the training that leaves what the step reads to
 * the rows of the lake, and what becomes of requests while steps are killed.
 */

/** price "1.5 EUR", b → x [price · factor / divisor, b]; the factor is the training's, the rest the code's. */
const STEP = (currency: RegExp, divisor: number) => `
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const { MILLRACE_MODEL_DIR: dir, MILLRACE_MODEL_NAME: name, PORT: port, WIDTH = '2' } = process.env
const factor = Number(readFileSync(dir + '/factor', 'utf8'))
const inputs = [{ name: 'price', datatype: 'BYTES', shape: [-1, 1] }, { name: 'b', datatype: 'FP32', shape: [-1, 1] }]
const outputs = [{ name: 'x', datatype: 'FP32', shape: [-1, Number(WIDTH)] }]

function prepare({ inputs }) {
  const [prices, bs] = ['price', 'b'].map((name) => inputs.find((input) => input.name === name).data)
  const wrong = prices.find((price) => !${currency}.test(price))
  if (wrong !== undefined) throw new Error(wrong + ' is no price')
  const data = prices.flatMap((price, row) => [(parseFloat(price) * factor) / ${divisor}, bs[row]])
  return { outputs: [{ name: 'x', datatype: 'FP32', shape: [prices.length, 2], data }] }
}

createServer((request, response) => {
  const say = (status, body) => response.writeHead(status).end(JSON.stringify(body))
  if (request.url.endsWith('/ready')) return say(200, { ready: true })
  if (request.method === 'GET') return say(200, { name, inputs, outputs })
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    try {
      const answer = prepare(JSON.parse(Buffer.concat(chunks)))
      setTimeout(() => say(200, answer), 20)
    } catch (error) {
      say(400, { error: error.message })
    }
  })
}).listen(Number(port), '127.0.0.1')
`

const TRAIN =
  'cp "$MILLRACE_PARAM_FILE" "$MILLRACE_MODEL_DIR/model.onnx" && echo "$MILLRACE_PARAM_FACTOR" > "$MILLRACE_MODEL_DIR/factor"'
const model = (prepare: object, change: object = {}) => ({
  ...quickModel,
  train: { run: TRAIN, args: false, timeout: '60s', retries: 0 },
  params: { file: 'good.onnx', factor: 1 },
  features: undefined,
  holdout: { sql: `select concat(a, ' EUR') as price, b, y from 'holdout.csv'` },
  serving: { replicas: 2, drain: '2s', prepare: { command: 'exec node prepare.mjs', ...prepare } },
  ...change,
})

/** What the guide shows. */
const guide = blocksOf('docs/guides/serving.md')
const declaredByTheGuide = parse(guide.find(({ text }) => text.includes('command: python prepare.py'))!.text) as {
  serving: { prepare: { command: string } }
}
const stepOfTheGuide = guide.find(({ text }) => text.includes('"""Prepares'))!.text
const requestOfTheGuide = guide.find(({ text }) =>
  text.includes('"name": "city", "datatype": "BYTES", "shape": [2, 1]'),
)!.text
const MEANS = '{"Bari": 20, "Rome": 10}'

const files = (): Record<string, string | Uint8Array> => ({
  ...quickFiles({
    models: {
      churn: model({ model: 'features' }),
      unfit: model({ env: { WIDTH: 3 } }),
      guide: model(
        {},
        {
          train: {
            run: `cp good.onnx "$MILLRACE_MODEL_DIR/model.onnx" && echo '${MEANS}' > "$MILLRACE_MODEL_DIR/means.json"`,
            args: false,
          },
          params: {},
          holdout: { sql: `select 'Rome' as city, a + 10 as amount, b as visits, y from 'holdout.csv'` },
          serving: {
            replicas: 1,
            prepare: { command: declaredByTheGuide.serving.prepare.command.replace('python', 'exec python3') },
          },
        },
      ),
    },
    endpoints: { group: { gather: { members: ['churn'], combine: 'first', join: { requests: 0 } } } },
  }),
  'prepare.mjs': STEP(/ EUR$/, 1),
  'prepare.py': stepOfTheGuide,
})

const parentOf = (pid: number) => Number(/\) . (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1])

const asked = (price: string, b = 1) => [
  { name: 'price', datatype: 'BYTES', shape: [1, 1], data: [price] },
  { name: 'b', datatype: 'FP32', shape: [1, 1], data: [b] },
]
const outputsOf = (body: unknown) => (body as { outputs: { data: number[] }[] }).outputs
const scoreOf = (body: unknown) => outputsOf(body).at(-1)!.data.at(-1)!
/** Of good.onnx. */
const scoreFor = (a: number, b: number) => 1 / (1 + Math.exp(-(1.6 * a - 0.8 * b)))

describe('a model with a step before it', () => {
  let project: Installation
  let url: string

  const steps = async () =>
    (await processesOf(project)).filter((line) => line.includes('prepare.mjs')).map((line) => Number.parseInt(line, 10))
  const twoSteps = () =>
    until('a step beside each of two replicas', async () => {
      const pids = await steps()
      const { members } = await serving(project, 'churn')
      const ready = members.find(({ weightPercent }) => weightPercent > 0)!.replicasReady
      return pids.length === 2 && ready === 2 ? pids : null
    })

  /** Requests without pause until their outcomes are asked for: how many ended with which status. */
  function underLoad(): { outcomes(): Promise<Map<number, number>> } {
    const statuses = new Map<number, number>()
    let isOver = false
    const callers = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        const { status } = await request(url, { inputs: asked('1 EUR') })
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    })
    const outcomes = async () => {
      isOver = true
      await Promise.all(callers)
      return statuses
    }
    return { outcomes }
  }

  beforeAll(async () => {
    project = install(files())
    await project.up()
  })
  beforeEach(() => showLogsOnFailure(project))
  afterAll(() => project.remove())

  it('is measured on what callers send, through the step, and asked for it', async () => {
    const { version } = await train(project, 'churn')
    expect(version!.gate).toMatchObject({ verdict: 'passed' })
    expect(version!.signature!.inputs.map(({ name }) => name)).toEqual(['price', 'b'])
    expect(version!.lineage.prepare).toMatchObject({ command: 'exec node prepare.mjs' })
    url = (await serving(project, 'churn')).url!
    const { body } = await request(url.replace(/\/infer$/, ''))
    expect(body).toMatchObject({
      inputs: [
        { name: 'price', datatype: 'BYTES', shape: [-1, 1] },
        { name: 'b', datatype: 'FP32', shape: [-1, 1] },
      ],
    })
    const shown = await project.millrace(['models', 'show', 'churn@1'])
    expect(shown.stdout).toMatch(/prepare {2}exec node prepare\.mjs/)
    expect(shown.stdout).toMatch(/fed {6}x FP32\[-1, 2\]/)
  })

  it('answers by what the step makes of a request, and logs both', async () => {
    const { status, body, headers } = await request(url, { inputs: asked('1.5 EUR', 2) })
    expect({ status, score: scoreOf(body) }).toEqual({ status: 200, score: expect.closeTo(scoreFor(1.5, 2), 5) })
    expect(headers.get('millrace-fed')).toBeNull()
    const rows = await until('the prediction in the lake', async () => {
      const found = await query(project, `select price, b, fed_x::varchar from churn where price = '1.5 EUR'`)
      return found.length > 0 ? found : null
    })
    expect(rows).toEqual([['1.5 EUR', 2, '[1.5, 2.0]']])
  })

  it("passes on the step's refusal, and refuses what is not its input", async () => {
    const refused = await request(url, { inputs: asked('1.5 USD') })
    expect(refused).toMatchObject({ status: 400, body: { error: '1.5 USD is no price' } })
    const whole = await request(url, { inputs: row(1, 1) })
    expect(whole).toMatchObject({ status: 400, body: { error: expect.stringContaining(`Unknown input 'x'`) } })
  })

  it('is asked so by the other protocols too, and as a member of a gather', async () => {
    const instances = [{ price: ['1.5 EUR'], b: [2] }]
    const byV1 = await request(url.replace(/\/v2\/models\/churn.*/, '/v1/models/churn:predict'), { instances })
    const byMlflow = await request(
      url.replace(/\/v2\/.*/, '/endpoints/churn/invocations'),
      { dataframe_split: { columns: ['price', 'b'], data: [['1.5 EUR', 2]] } },
      { headers: { 'content-type': 'application/json' } },
    )
    expect([byV1.status, byMlflow.status]).toEqual([200, 200])
    const group = url.replace('/churn/', '/group/')
    const answer = await until('an answer of the gather', async () => {
      const { status, body } = await request(group, { inputs: asked('2.5 EUR', 2) })
      return status === 200 ? body : null
    })
    expect(scoreOf(answer)).toBeCloseTo(scoreFor(2.5, 2), 5)
    const rows = await until('the member in the lake', async () => {
      const sql = `select price, fed_x::varchar from predictions_all where endpoint = 'group' and model = 'churn'`
      const found = await query(project, sql)
      return found.length > 0 ? found : null
    })
    expect(rows[0]).toEqual(['2.5 EUR', '[2.5, 2.0]'])
  })

  it('loses no request to a step that is killed, nor to a replica, and leaves nothing of either behind', async () => {
    const [step] = await twoSteps()
    const load = underLoad()
    process.kill(step!, 'SIGKILL')
    await until('another step in its place', async () => ((await twoSteps()).includes(step!) ? null : true))
    const [kept] = await twoSteps()
    const replica = parentOf(kept!)
    process.kill(replica, 'SIGKILL')
    await until('another pair in its place', async () => ((await twoSteps()).includes(kept!) ? null : true))
    const outcomes = await load.outcomes()
    expect([...outcomes.keys()]).toEqual([200])
    expect(outcomes.get(200)).toBeGreaterThan(100)
  })

  it('brings the step of its own code, and what its training left for it, with each version', async () => {
    project.write('prepare.mjs', STEP(/ (EUR|USD)$/, 10))
    const load = underLoad()
    const { version } = await train(project, 'churn', { factor: 10, file: 'better.onnx' })
    // The champion was measured through its own step and factor: through the new ones it would be a bad constant.
    const { metrics, championMetrics } = version!.gate!
    expect(version!.gate!.verdict).toBe('passed')
    expect(Math.abs(championMetrics!['auc']! - metrics['auc']!)).toBeLessThan(0.01)
    await serving(project, 'churn', 'churn@2')
    const ofBoth = await Promise.all(
      [url, url.replace('/churn/', '/churn/versions/1/')].map((at) => request(at, { inputs: asked('1 USD', 0) })),
    )
    expect(ofBoth).toMatchObject([{ status: 200 }, { status: 400, body: { error: '1 USD is no price' } }])
    expect(scoreOf(ofBoth[0]!.body)).toBeCloseTo(1 / (1 + Math.exp(-2)), 5)
    expect([...(await load.outcomes()).keys()]).toEqual([200])
  })

  it('is no version where step and model do not fit, with what differs', async () => {
    const { version } = await train(project, 'unfit')
    expect(version).toMatchObject({
      status: 'error',
      why: expect.stringContaining(`its output 'x' is [-1, 3], and the model takes [-1, 2]`),
    })
  })

  it('is imported as a folder with what the step reads, and not without it', async () => {
    project.write('exported/model.onnx', files()['good.onnx']!)
    const refused = await project.millrace(['import', 'exported', '--model', 'unfit'])
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain('did not get ready')
    project.write('exported/factor', '1')
    const unfit = await project.millrace(['import', 'exported', '--model', 'unfit'])
    expect(unfit.stderr).toContain('The preparing step does not fit the model')
    const imported = await project.millrace(['import', 'exported', '--model', 'churn'])
    expect(imported).toMatchObject({ code: 0, stdout: expect.stringMatching(/churn@\d/) })
    const { signature } = await project.api.versions.get({ ref: /churn@\d/.exec(imported.stdout)![0] })
    expect(signature!.inputs.map(({ name }) => name)).toEqual(['price', 'b'])
  })

  it('is prepared as the guide says', async () => {
    const { version } = await train(project, 'guide')
    expect(version!.gate).toMatchObject({ verdict: 'passed' })
    const { url: guided } = await serving(project, 'guide')
    const { status, body } = await request(guided!, requestOfTheGuide)
    expect({ status, scores: outputsOf(body).at(-1)!.data }).toEqual({
      status: 200,
      scores: [scoreFor(2, 3), scoreFor(-1, 0)].flatMap((score) => [
        expect.closeTo(1 - score, 5),
        expect.closeTo(score, 5),
      ]) as number[],
    })
    const unknown = await request(guided!, requestOfTheGuide.replace('Bari', 'Nowhere'))
    expect(unknown.status).toBe(400)
    expect(unknown.body).toEqual({ error: "no mean for 'Nowhere'" })
  })

  it('leaves no process behind', async () => {
    await project.down()
    expect(await processesOf(project)).toEqual([])
  })
})
