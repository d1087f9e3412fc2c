import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as onnx from '../../testing/onnx-builder.ts'
import { openRunnable } from './open-runnable.ts'
import type { PreparePlan } from './server-plan.ts'

const STEP = resolve(import.meta.dirname, '../../testing/prepare-server.mjs')

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mr-prepared-'))
  mkdirSync(join(dir, 'files'))
  writeFileSync(join(dir, 'files', 'factor.json'), '10')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const plan = (env: Record<string, string> = {}): PreparePlan => ({
  role: 'prepare',
  command: `exec node '${STEP}'`,
  cwd: dir,
  env,
  modelDir: join(dir, 'files'),
  modelName: 'features',
  version: '3',
  readyTimeoutMs: 20_000,
  timeoutMs: 1_000,
  logPath: join(dir, 'prepare.log'),
})
const open = (env: Record<string, string> = {}, rows: string | number = 'N') => {
  const modelPath = onnx.writeModel(join(dir, 'model.onnx'), onnx.linearModel({ weights: [100, 1], rows }))
  return openRunnable({ modelPath, prepare: plan(env) }, { features: null })
}
const inputs = (names: string[], sizes: number[]) => ({
  name: { datatype: 'BYTES' as const, shape: [names.length, 1], data: names },
  size: { datatype: 'FP32' as const, shape: [names.length, 1], data: Float32Array.from(sizes) },
})

describe('a model behind the step that feeds it', () => {
  it('is asked as one model, and its step is gone afterwards', async () => {
    const model = await open()
    expect(model.signature).toMatchObject({
      inputs: [
        { name: 'name', datatype: 'BYTES', shape: [-1, 1], columns: ['name'] },
        { name: 'size', datatype: 'FP32', shape: [-1, 1], columns: ['size'] },
      ],
      outputs: [{ name: 'y', shape: [-1, 1] }],
      prepared: { fed: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: null }] },
    })
    expect(await model.run(inputs(['ab', 'c'], [1, 2]))).toMatchObject({ y: { data: Float32Array.of(210, 120) } })
    const port = Number(/listening on (\d+)/.exec(readFileSync(join(dir, 'prepare.log'), 'utf8'))![1])
    await model.close()
    await expect(fetch(`http://127.0.0.1:${port}/v2/health/ready`)).rejects.toThrow('fetch failed')
  })

  it('takes so many rows at a time as the model does', async () => {
    const model = await open({}, 1)
    expect(model.signature.inputs.map(({ shape }) => shape)).toEqual([
      [1, 1],
      [1, 1],
    ])
    await model.close()
  })

  it('says what the step says against values', async () => {
    const model = await open()
    try {
      await expect(model.run(inputs(['refuse'], [1]))).rejects.toMatchObject({
        code: 'MR_PREPARE_ANSWER',
        message: `The preparing step failed: it refuses values with 400: nobody is called "refuse".`,
      })
      await expect(model.run(inputs(['ab'], [NaN]))).rejects.toMatchObject({
        code: 'MR_PREPARE_ANSWER',
        message: expect.stringContaining(`input 'size' is NaN in row 0 of 1`),
      })
    } finally {
      await model.close()
    }
  })

  it.each([
    ['does not fit', 'other-outputs', 'MR_PREPARE_FIT', 'which is none of its outputs'],
    ['ends at once', 'exit', 'MR_SERVER_START', 'Its last words: no licence'],
  ])('is refused with the reason where its step %s', async (_, trouble, code, why) => {
    await expect(open({ TROUBLE: trouble })).rejects.toMatchObject({ code, message: expect.stringContaining(why) })
  })

  it('mixes up no rows where the step answers fewer', async () => {
    const model = await open({ TROUBLE: 'fewer-rows' })
    try {
      await expect(model.run(inputs(['ab', 'c'], [1, 2]))).rejects.toThrow(
        `it answered 1 rows of 'x' where 2 were asked`,
      )
    } finally {
      await model.close()
    }
  })
})
