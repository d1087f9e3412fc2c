import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.ts'
import { Cancellation } from '../front/cancellation.ts'
import type { InferAnswer, InferCall } from '../front/data-plane.ts'
import * as onnx from '../../testing/onnx-builder.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServer } from './model-server.ts'
import { ServerPlane } from './server-plane.ts'

const folder = mkdtempSync(join(tmpdir(), 'mr-plane-'))
afterAll(() => rmSync(folder, { recursive: true }))

const opened: ModelServer[] = []
afterEach(async () => {
  for (const models of opened.splice(0)) await models.close()
})

let count = 0
async function plane(versions: Record<string, Uint8Array> = { 3: linear }, clock = systemClock) {
  const models = createModelServer({ isolate: 'never', clock })
  opened.push(models)
  for (const [version, model] of Object.entries(versions)) {
    const path = onnx.writeModel(join(folder, `${(count += 1)}.onnx`), model)
    await models.load({ model: 'm', version, path, digest: null, features: null })
  }
  return { models, plane: new ServerPlane({ models, server: { name: 'millrace', version: '9' }, clock }) }
}

const linear = onnx.linearModel({ weights: [2], bias: 1 })
const json = (values: number[], more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({ inputs: [{ name: 'x', shape: [values.length, 1], datatype: 'FP32', data: values }], ...more }),
  )
const call = (body: Buffer, change: Partial<InferCall> = {}): InferCall => ({
  name: 'm',
  version: null,
  headers: {},
  body,
  jsonBytes: null,
  caller: 'test',
  cancellation: new Cancellation(),
  ...change,
})
const read = (answer: InferAnswer | null): unknown => JSON.parse(answer!.body.toString())

describe('the model server as a data plane', () => {
  it('answers JSON with JSON, and says which version it was', async () => {
    const { plane: server } = await plane()
    const answer = await server.infer(call(json([1, 2], { id: 'q' })))
    expect(answer).toMatchObject({
      status: 200,
      jsonBytes: null,
      headers: ['Content-Type', 'application/json', 'millrace-model-version', '3'],
    })
    expect(read(answer)).toEqual({
      model_name: 'm',
      model_version: '3',
      id: 'q',
      outputs: [{ name: 'y', datatype: 'FP32', shape: [2, 1], data: [3, 5] }],
    })
  })

  it('answers binary tensors with binary tensors, where they are wanted', async () => {
    const { plane: server } = await plane()
    const inputs = [{ name: 'x', shape: [2, 1], datatype: 'FP32', parameters: { binary_data_size: 8 } }]
    const head = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } }))
    const body = Buffer.concat([head, Buffer.from(Float32Array.of(4, 5).buffer)])
    const answer = await server.infer(call(body, { jsonBytes: head.length }))
    expect(answer!.headers).toContain('application/octet-stream')
    const bytes = answer!.body.subarray(answer!.jsonBytes!)
    expect([bytes.readFloatLE(0), bytes.readFloatLE(4), bytes.length]).toEqual([9, 11, 8])
  })

  it('answers a raw request', async () => {
    const { plane: server } = await plane()
    const answer = await server.infer(call(Buffer.from(Float32Array.of(4).buffer), { jsonBytes: 0 }))
    expect(answer!.body.readFloatLE(answer!.jsonBytes!)).toBe(9)
  })

  it('tells what it can not answer', async () => {
    const { plane: server } = await plane()
    await expect(server.infer(call(json([1]), { name: 'other' }))).rejects.toMatchObject({ status: 404 })
    await expect(server.infer(call(json([1]), { version: '4' }))).rejects.toMatchObject({ status: 404 })
    await expect(server.infer(call(Buffer.from('{')))).rejects.toMatchObject({ status: 400 })
  })

  it('answers nobody who has left', async () => {
    const { plane: server } = await plane()
    const gone = call(json([1]))
    const asked = server.infer(gone)
    gone.cancellation.cancel('client-gone')
    expect(await asked).toBeNull()
  })

  it.each([
    ['its protocol', { timeoutMs: 1 }, {}],
    ['a header', { headers: { 'x-request-timeout-ms': '1' } }, {}],
    ['a parameter', {}, { parameters: { timeout: 1_000 } }],
  ])('computes nothing for a client whose time is over, be it said by %s', async (_name, change, more) => {
    let nowMs = 0
    const { plane: server } = await plane({ 3: linear }, { ...systemClock, monotonicMs: () => nowMs })
    const late = server.infer(call(json([1], more), change))
    nowMs += 1
    await expect(late).rejects.toMatchObject({ status: 504 })
    const patient = server.infer(call(json([1])))
    nowMs += 1_000
    expect(await patient).toMatchObject({ status: 200 })
  })

  it('describes the version that is asked for, else the newest', async () => {
    const { plane: server } = await plane({ 9: linear, 10: onnx.linearModel({ weights: [1, 2] }) })
    expect(server.describe('m', null)).toMatchObject({
      name: 'm',
      version: '10',
      versions: ['9', '10'],
      platform: 'onnxruntime_onnx',
      maxBatchRows: 64,
    })
    expect(server.describe('m', '9')).toMatchObject({ version: '9', signature: { inputs: [{ shape: [-1, 1] }] } })
    expect(server.modelNames()).toEqual(['m'])
    expect(() => server.describe('n', null)).toThrow(expect.objectContaining({ status: 404 }))
  })

  it('is ready when there is something and it can compute, and no longer when it drains', async () => {
    const empty = new ServerPlane({ models: createModelServer(), server: { name: '', version: '' } })
    expect(empty.readiness()).toEqual({ ready: false, why: 'Not ready: no model is loaded' })
    const { plane: server, models } = await plane()
    expect(server.readiness()).toEqual({ ready: true })
    expect(server.modelReadiness('m', '3')).toEqual({ ready: true })
    const loading = models.load({
      model: 'n',
      version: '1',
      path: join(folder, '1.onnx'),
      digest: null,
      features: null,
    })
    expect(server.readiness()).toEqual({ ready: false, why: "Not ready: model 'n': it is being loaded" })
    expect(server.modelReadiness('n', null)).toMatchObject({ ready: false })
    await loading
    server.startDraining()
    expect(server.readiness()).toEqual({ ready: false, why: 'Not ready: draining' })
    expect(server.modelReadiness('m', null)).toMatchObject({ ready: false })
    expect(await server.infer(call(json([1])))).toMatchObject({ status: 200 })
  })

  it('counts what it computed', async () => {
    const { plane: server } = await plane()
    await Promise.all([server.infer(call(json([1, 2]))), server.infer(call(json([3])))])
    await expect(server.infer(call(Buffer.from('{')))).rejects.toMatchObject({ status: 400 })
    const [seen] = server.statistics('m', null)
    expect(seen).toMatchObject({
      name: 'm',
      version: '3',
      inferenceCount: 3,
      executionCount: 1,
      success: { count: 2 },
      fail: { count: 1 },
    })
    for (const part of ['queue', 'computeInput', 'computeInfer', 'computeOutput'] as const) {
      expect(seen![part].count).toBe(2)
      expect(seen![part].ns).toBeGreaterThan(0)
      expect(seen![part].ns).toBeLessThanOrEqual(seen!.success.ns)
    }
    expect(Math.abs(seen!.lastInferenceMs - Date.now())).toBeLessThan(5_000)
    expect(server.statistics(null, null)).toHaveLength(1)
    expect(() => server.statistics('n', null)).toThrow(expect.objectContaining({ status: 404 }))
  })

  it('lists its versions, and lets no client choose them', async () => {
    const { plane: server } = await plane()
    expect(server.repository.index(false)).toEqual([{ name: 'm', version: '3', state: 'READY', reason: '' }])
    await expect(server.repository.load('m')).rejects.toMatchObject({ status: 400 })
    await expect(server.repository.unload('m')).rejects.toMatchObject({ status: 400 })
  })
})
