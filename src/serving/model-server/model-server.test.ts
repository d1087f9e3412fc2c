import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import * as onnx from '../../testing/onnx-builder.ts'
import { createModelServer } from './model-server.ts'
import type { LoadedModel, LoadOrder } from './loaded-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-models-'))
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
const digestOf = (path: string): string => `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`
function order(model: Uint8Array, change: Partial<LoadOrder> = {}): LoadOrder {
  const path = onnx.writeModel(join(folder, `${(count += 1)}.onnx`), model)
  return { model: 'm', version: '1', path, digest: digestOf(path), features: null, ...change }
}
const floats = (values: number[], width = 1) => ({
  inputs: { x: { datatype: 'FP32' as const, shape: [values.length / width, width], data: Float32Array.from(values) } },
  rows: values.length / width,
  outputs: null,
  deadlineMs: null,
})
const yOf = async (loaded: LoadedModel, values: number[]) => [
  ...((await loaded.infer(floats(values))).y!.data as Float32Array),
]

describe('loading a version', () => {
  it('makes it ready once it is verified, loaded and warm', async () => {
    const models = createModelServer()
    expect(models.isReady).toBe(false)
    const loading = models.load(order(onnx.linearModel({ weights: [2] })))
    expect(models.states()).toMatchObject([{ kind: 'loading' }])
    expect(() => models.find('m', null)).toThrow(expect.objectContaining({ status: 503 }))
    await loading
    expect(models.isReady).toBe(true)
    expect(await yOf(models.find('m', '1'), [21])).toEqual([42])
    await models.close()
  })

  it('refuses a file that is not the registered one', async () => {
    const models = createModelServer()
    const tampered = order(onnx.linearModel({ weights: [2] }))
    writeFileSync(tampered.path, onnx.linearModel({ weights: [3] }))
    await expect(models.load(tampered)).rejects.toMatchObject({
      code: 'MR_MODEL_DIGEST',
      message: expect.stringContaining('was registered'),
    })
    expect(models.states()).toMatchObject([{ kind: 'failed', why: expect.stringContaining('digest') }])
    expect(() => models.find('m', '1')).toThrow(/not ready: .*digest/)
    expect(models.isReady).toBe(false)
  })

  it('verifies weights in other files as well', async () => {
    const path = join(folder, 'weights.bin')
    writeFileSync(path, Buffer.from(Float32Array.of(5).buffer))
    const model = onnx.externalDataModel(1, 'weights.bin')
    const models = createModelServer()
    await expect(models.load(order(model))).rejects.toMatchObject({ code: 'MR_MODEL_EXTERNAL_DATA' })
    await expect(
      models.load(order(model, { externalDigests: { 'weights.bin': `sha256:${'0'.repeat(64)}` } })),
    ).rejects.toMatchObject({ code: 'MR_MODEL_DIGEST' })
    await models.load(order(model, { externalDigests: { 'weights.bin': digestOf(path) } }))
    expect(await yOf(models.find('m', null), [2])).toEqual([10])
    await models.close()
  })

  it('tries the row that came with it', async () => {
    const request = (value: number) => ({ inputs: [{ name: 'x', shape: [1], datatype: 'INT64', data: [value] }] })
    const models = createModelServer()
    const table = onnx.lookupModel([1, 2])
    await expect(models.load(order(table, { warmUpRequest: request(9) }))).rejects.toMatchObject({
      code: 'MR_MODEL_WARM_UP',
    })
    await models.load(order(table, { warmUpRequest: request(1) }))
    expect(models.isReady).toBe(true)
    await models.close()
  })

  it('keeps the old one when the new one fails', async () => {
    const models = createModelServer()
    await models.load(order(onnx.linearModel({ weights: [2] })))
    await expect(models.load(order(new Uint8Array(0)))).rejects.toMatchObject({ code: 'MR_MODEL_EMPTY' })
    expect(await yOf(models.find('m', '1'), [1])).toEqual([2])
    await models.close()
  })
})

describe('several versions', () => {
  it('are told apart; without a number the newest that is ready answers', async () => {
    const models = createModelServer()
    for (const version of ['2', '10', '9'])
      await models.load(order(onnx.linearModel({ weights: [Number(version)] }), { version }))
    await expect(models.load(order(new Uint8Array(0), { version: '11' }))).rejects.toThrow(/empty/)
    expect(await yOf(models.find('m', '9'), [1])).toEqual([9])
    expect(models.find('m', null).version).toBe('10')
    expect(models.versionsOf('m')).toEqual(['2', '10', '9', '11'])
    await models.unload('m', '10')
    expect(models.find('m', null).version).toBe('9')
    expect(() => models.find('m', '10')).toThrow(/^Request for unknown model: 'm' is not found/)
    expect(() => models.find('other', null)).toThrow(/^Request for unknown model: 'other' is not found/)
    await models.close()
  })
})

describe('computing rows together', () => {
  const stacking = async (model: Uint8Array) => {
    const models = createModelServer()
    const loaded = await models.load(order(model))
    await models.close()
    return loaded.stacking.stackable
  }

  it('is for models that are shown to keep rows apart', async () => {
    expect(await stacking(onnx.linearModel({ weights: [1, 2] }))).toBe(true)
    expect(await stacking(onnx.logisticModel({ weights: [1, 2] }))).toBe(true)
    expect(
      await stacking(
        onnx.columnModel([
          { name: 'a', weight: 1 },
          { name: 'b', values: { x: 1 } },
        ]),
      ),
    ).toBe(true)
    expect(await stacking(onnx.identityModel('int64', ['N']))).toBe(true)
  })

  it('is not for those that mix rows, fix their number or have none', async () => {
    expect(await stacking(onnx.centringModel(2))).toBe(false)
    expect(await stacking(onnx.linearModel({ weights: [1], rows: 1 }))).toBe(false)
    expect(await stacking(onnx.identityModel('float', []))).toBe(false)
  })

  it('gives the same answers as computing them alone', async () => {
    const models = createModelServer()
    const loaded = await models.load(order(onnx.linearModel({ weights: [3] })))
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => yOf(loaded, [i, i + 0.5])))
    expect(answers).toEqual(Array.from({ length: 200 }, (_, i) => [i * 3, i * 3 + 1.5]))
    await models.close()
  })
})

it('tells values that a model can not compute from a model that is broken', async () => {
  const models = createModelServer()
  const loaded = await models.load(order(onnx.lookupModel([1, 2, 3])))
  const ask = (value: bigint) =>
    loaded.infer({
      inputs: { x: { datatype: 'INT64', shape: [1], data: BigInt64Array.of(value) } },
      rows: 1,
      outputs: null,
      deadlineMs: null,
    })
  const [good, bad] = await Promise.allSettled([ask(2n), ask(99n)])
  expect(good).toMatchObject({ status: 'fulfilled', value: { y: { data: Float32Array.of(3) } } })
  expect(bad).toMatchObject({
    status: 'rejected',
    reason: { status: 400, message: expect.stringContaining('out of data bounds') },
  })
  await models.close()
})
