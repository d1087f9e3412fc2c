import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as onnx from '../src/testing/onnx-builder.ts'
import {
  install,
  predict,
  processesOf,
  query,
  request,
  serving,
  showLogsOnFailure,
  train,
  until,
  type Installation,
} from './harness.ts'
import { blocksOf } from './docs/markdown.ts'
import { hasPython } from './docs/running-project.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * Models that are more than one plain ONNX file, each through the whole loop: training, registration, evaluation,
 * preflight, serving, log and lake.
 */

const SERVER = readFileSync(resolve(import.meta.dirname, '../src/testing/v2-server.mjs'))
const WEIGHTS = [2, -1]
/** Whose child a process is, is looked up there. */
const noProc = process.platform !== 'linux'

/** The classifier of the quick project with its weights in a file of their own. */
const outsideModel = onnx.onnxModel({
  nodes: [onnx.node('MatMul', ['x', 'w'], ['logit']), onnx.node('Sigmoid', ['logit'], ['probability'])],
  initializers: [onnx.externalTensor('w', [2, 1], 'weights/w.bin')],
  inputs: [onnx.tensorValue('x', 'float', ['N', 2])],
  outputs: [onnx.tensorValue('probability', 'float', ['N', 1])],
})

/** Labels are text, and the positive one comes first, as sorting has it. */
const zippedModel = onnx.onnxModel({
  nodes: [
    onnx.node('MatMul', ['x', 'w'], ['logit']),
    onnx.node('Sigmoid', ['logit'], ['p']),
    onnx.node('Sub', ['one', 'p'], ['q']),
    onnx.node('Concat', ['p', 'q'], ['probabilities'], { axis: { int: 1 } }),
    onnx.node(
      'ZipMap',
      ['probabilities'],
      ['output_probability'],
      { classlabels_strings: { texts: ['leaves', 'stays'] } },
      'ai.onnx.ml',
    ),
  ],
  initializers: [onnx.floatTensor('w', [2, 1], WEIGHTS), onnx.floatTensor('one', [1], [1])],
  inputs: [onnx.tensorValue('x', 'float', ['', 2])],
  outputs: [onnx.sequenceOfMapsValue('output_probability')],
})

/** What the guide shows. */
const serverOfTheGuide = blocksOf('docs/guides/serving.md').find(({ text }) =>
  text.includes('"""Serves weights.json'),
)!.text

const step = (run: string) => ({ run, args: false, timeout: '60s' })

function files(): Record<string, string | Uint8Array> {
  const quick = quickFiles({
    models: {
      zipped: {
        ...quickModel,
        label: 'said',
        positive: 'leaves',
        holdout: { sql: `select a, b, if(y = 1, 'leaves', 'stays') as said from 'holdout.csv'` },
        params: { file: 'zipped.onnx' },
      },
      outside: {
        ...quickModel,
        params: {},
        train: step(
          'mkdir "$MILLRACE_MODEL_DIR/weights" && cp outside.onnx "$MILLRACE_MODEL_DIR/model.onnx" && cp w.bin "$MILLRACE_MODEL_DIR/weights/"',
        ),
      },
      byhand: {
        ...quickModel,
        params: { file: 'weights.json' },
        train: step('cp "$MILLRACE_PARAM_FILE" "$MILLRACE_MODEL_DIR/weights.json"'),
        serving: {
          replicas: 2,
          drain: '2s',
          server: { command: 'exec node server.mjs', readyTimeout: '30s', model: 'mine' },
        },
      },
      inpython: {
        ...quickModel,
        params: {},
        train: step('cp weights.json "$MILLRACE_MODEL_DIR"'),
        serving: { replicas: 1, drain: '2s', server: { command: 'exec python3 server.py' } },
      },
    },
  })
  return {
    ...quick,
    'server.py': serverOfTheGuide,
    'zipped.onnx': zippedModel,
    'outside.onnx': outsideModel,
    'w.bin': new Uint8Array(Float32Array.from(WEIGHTS).buffer),
    'server.mjs': SERVER,
    'weights.json': JSON.stringify({ weights: WEIGHTS, bias: 0 }),
    'broken.json': 'no JSON',
  }
}

describe('models that are more than one plain ONNX file', () => {
  let project: Installation

  beforeAll(async () => {
    project = install(files())
    await project.up()
  })
  beforeEach(() => showLogsOnFailure(project))
  afterAll(() => project.remove())

  const logged = (model: string, columns: string) =>
    until(`a prediction of ${model} in the lake`, async () => {
      const rows = await query(project, `select ${columns} from "${model}"`)
      return rows.length > 0 ? rows : null
    })

  it('serves a classifier that ends in ZipMap with its probabilities as a tensor', async () => {
    const { run, version } = await train(project, 'zipped')
    expect(run.steps[0]!.why).toMatch(/^model\.onnx: output 'output_probability' came as a list of dictionaries/)
    expect(version!.gate).toMatchObject({ verdict: 'passed', metrics: { auc: expect.any(Number) } })
    expect(version!.gate!.metrics['auc']).toBeGreaterThan(0.8)
    expect(version!.lineage.registration).toMatchObject({ original: expect.stringMatching(/^sha256:/) })
    expect(version!.signature!.outputs).toEqual([
      { name: 'output_probability', datatype: 'FP32', shape: [-1, 2], columns: ['leaves', 'stays'] },
    ])
    const { url } = await serving(project, 'zipped')
    const { body } = await request(url!, { inputs: row(0, 0) })
    expect(body).toMatchObject({ outputs: [{ name: 'output_probability', shape: [1, 2], data: [0.5, 0.5] }] })
    expect(await logged('zipped', 'output_probability_leaves, output_probability_stays')).toEqual([[0.5, 0.5]])
  })

  it('serves a model with its weights in another file', async () => {
    const { version } = await train(project, 'outside')
    expect(version!.gate).toMatchObject({ verdict: 'passed' })
    const { url } = await serving(project, 'outside')
    expect(await predict(url!, row(1, 0))).toMatchObject({ score: Math.fround(1 / (1 + Math.exp(-2))) })
    expect(await logged('outside', 'round(probability::double, 4)')).toEqual([[0.8808]])
  })

  describe('with a server of its own', () => {
    let url: string

    it('is measured, preflighted and served through that server', async () => {
      const { version } = await train(project, 'byhand')
      expect(version!.gate).toMatchObject({ verdict: 'passed', champion: null })
      expect(version!.signature).toEqual({
        inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'b'] }],
        outputs: [{ name: 'probability', datatype: 'FP32', shape: [-1, 1], columns: ['probability'] }],
      })
      const endpoint = await serving(project, 'byhand')
      url = endpoint.url!
      const release = (await project.api.releases.list({ limit: 10 })).find((r) => r.version === 'byhand@1')!
      const { steps } = await project.api.releases.get({ id: release.id })
      expect(steps.map((step) => step.why).join('\n')).toContain('20 golden rows answered as evaluated')
      const { status, headers, body } = await request(url, { id: 'one', inputs: row(1, 0) })
      expect({ status, version: headers.get('millrace-model-version') }).toEqual({ status: 200, version: '1' })
      // The server's own name for the model is its own business.
      const names = { id: 'one', model_name: 'byhand', model_version: '1' }
      expect(body).toMatchObject({ ...names, outputs: [{ data: [1 / (1 + Math.exp(-2))] }] })
      expect(await logged('byhand', 'a, round(probability::double, 4)')).toEqual([[1, 0.8808]])
    })

    it('is asked in JSON by who sends binary tensors', async () => {
      const head = JSON.stringify({
        inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], parameters: { binary_data_size: 8 } }],
      })
      const body = Buffer.concat([Buffer.from(head), Buffer.from(Float32Array.of(1, 0).buffer)])
      const headers = { 'Inference-Header-Content-Length': String(head.length) }
      const answer = await request(url, undefined, { method: 'POST', body, headers })
      expect(answer).toMatchObject({ status: 200, body: { outputs: [{ data: [1 / (1 + Math.exp(-2))] }] } })
    })

    it('says in the words of the server why a request is refused', async () => {
      const { status, body } = await request(url, {
        inputs: [{ name: 'y', datatype: 'FP32', shape: [1, 1], data: [1] }],
      })
      expect({ status, body }).toEqual({ status: 400, body: { error: expect.stringContaining('destructure') } })
    })

    it.skipIf(noProc)('goes on without an error while one of its servers dies, and gets another', async () => {
      const before = await serversOf(project)
      expect(before).toHaveLength(2)
      process.kill(before[0]!, 'SIGKILL')
      for (let i = 0; i < 100; i++) expect((await request(url, { inputs: row(i / 50, 0) })).status).toBe(200)
      await until('another server', async () => {
        const now = await serversOf(project)
        return now.length === 2 && !now.includes(before[0]!) ? now : null
      })
    })

    it.skipIf(noProc)(
      'loses no server to the death of the process beside it: that server goes too, and both are replaced',
      async () => {
        const [server] = await serversOf(project)
        process.kill(parentOf(server!), 'SIGKILL')
        await until('other servers', async () => {
          const now = await serversOf(project)
          return now.length === 2 && !now.includes(server!) ? now : null
        })
        expect((await request(url, { inputs: row(1, 0) })).status).toBe(200)
      },
    )

    it('registers a version whose server does not start as an error, with its last words', async () => {
      const { version } = await train(project, 'byhand', { file: 'broken.json' })
      expect(version).toMatchObject({ ref: 'byhand@2', status: 'error' })
      expect(version!.why).toMatch(/did not get ready: it ended with exit status 1\. Its last words: .*JSON/)
      expect((await request(url, { inputs: row(1, 0) })).status).toBe(200)
    })

    it('is imported as a folder, or as any file', async () => {
      const imported = await project.millrace(['import', 'weights.json', '--model', 'byhand'])
      expect(imported).toMatchObject({ code: 0, stdout: expect.stringContaining('byhand@3') })
      const compared = await until('the verdict on byhand@3', async () => {
        const { gate } = await project.api.versions.get({ ref: 'byhand@3' })
        return gate?.verdict ? gate : null
      })
      expect(compared).toMatchObject({ verdict: 'passed', champion: 'byhand@1' })
      const refused = await project.millrace(['import', 'broken.json', '--model', 'byhand'])
      expect(refused.code).not.toBe(0)
      expect(refused.stderr).toContain('did not get ready')
    })
  })

  it.skipIf(!hasPython())("is served by the guide's server in Python", async () => {
    const { version } = await train(project, 'inpython')
    expect(version!.gate).toMatchObject({ verdict: 'passed' })
    const { url } = await serving(project, 'inpython')
    const { status, body } = await request(url!, { inputs: [...row(1, 0)] })
    expect(status).toBe(200)
    expect(body).toMatchObject({ model_name: 'inpython', outputs: [{ data: [1 / (1 + Math.exp(-2))] }] })
    expect(await request(url!, { inputs: [] })).toMatchObject({ status: 400 })
  })

  it('leaves no process behind', async () => {
    await project.down()
    expect(await processesOf(project)).toEqual([])
  })
})

const parentOf = (pid: number) => Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1])

/** Pids of the commands that serve, without the Millrace processes beside them. */
async function serversOf(project: Installation): Promise<number[]> {
  const lines = await processesOf(project)
  return lines.filter((line) => /node server\.mjs/.test(line)).map((line) => Number.parseInt(line, 10))
}
