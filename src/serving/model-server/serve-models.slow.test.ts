import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as onnx from '../../testing/onnx-builder.ts'
import { serveModels } from './serve-models.ts'
import type { ServedModels, ServeOptions } from './serve-models.ts'

let folder = ''
let served: ServedModels[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mr-serve-'))
  served = []
})
afterEach(async () => {
  for (const one of served) await one.close()
  rmSync(folder, { recursive: true })
})

const linear = (weight: number): Uint8Array => onnx.linearModel({ weights: [weight] })
const put = (path: string, bytes: Uint8Array): string => onnx.writeModel(join(folder, path), bytes)
async function serve(options: Omit<ServeOptions, 'port'>): Promise<ServedModels> {
  const one = await serveModels({ port: 0, drain: { idleMs: 50, limitMs: 10_000 }, ...options })
  served.push(one)
  return one
}

interface Answered {
  status: number
  json: { outputs: { name: string; data: number[] }[] } & { name: string }[]
}

function ask(where: number | string, method: string, path: string, body = ''): Promise<Answered> {
  const place = typeof where === 'number' ? { port: where, host: '127.0.0.1' } : { socketPath: where }
  return new Promise((resolve, reject) => {
    const call = request({ ...place, method, path, agent: false }, (response) => {
      let text = ''
      response.on('data', (part: Buffer) => (text += part.toString()))
      response.on('end', () =>
        resolve({ status: response.statusCode!, json: JSON.parse(text || 'null') as Answered['json'] }),
      )
    })
    call.on('error', reject)
    call.end(body)
  })
}
const rows = (values: number[]): string =>
  JSON.stringify({ inputs: [{ name: 'x', shape: [values.length, 1], datatype: 'FP32', data: values }] })
const y = async (port: number | string, model: string): Promise<number[]> =>
  (await ask(port, 'POST', `/v2/models/${model}/infer`, rows([1]))).json.outputs[0]!.data

/** So many bytes of values for a shape that takes one. */
function tooMany(bytes: number): string {
  const head = '{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1'
  return `${head}${',1'.repeat(bytes / 2)}]}]}`
}

describe('models without a control plane', () => {
  it('take requests of 64 MiB, or of what they are told to', async () => {
    const paths = [put('price.onnx', linear(2))]
    const MIB = 1024 * 1024
    const usual = await serve({ paths })
    const wide = await serve({ paths, bodyLimitBytes: 70 * MIB })
    const narrow = await serve({ paths, bodyLimitBytes: 1_000 })
    const asked = async ({ port }: ServedModels, body: string): Promise<number> =>
      (await ask(port, 'POST', '/v2/models/price/infer', body)).status
    const large = tooMany(66 * MIB)
    expect(await asked(usual, large)).toBe(413)
    expect(await asked(wide, large)).toBe(400) // it was read
    expect(await asked(narrow, tooMany(1_000))).toBe(413)
    expect(await y(narrow.port, 'price')).toEqual([2])
  })

  it('may be several files, on a port and a unix socket', async () => {
    const socket = join(folder, 's.sock')
    const paths = [put('price.onnx', linear(2)), put('risk.onnx', linear(3))]
    const { port, models } = await serve({ paths, socket })
    expect(models).toEqual([
      { name: 'price', version: '1', isolated: false },
      { name: 'risk', version: '1', isolated: false },
    ])
    expect(await y(port, 'price')).toEqual([2])
    expect(await y(socket, 'risk')).toEqual([3])
  })

  it('may be a folder, whose models clients load and unload', async () => {
    put('models/price/1/model.onnx', linear(2))
    put('models/risk/4/model.onnx', linear(3))
    const { port } = await serve({ paths: [join(folder, 'models')] })
    expect(await ask(port, 'GET', '/v2/models/risk')).toMatchObject({ json: { versions: ['4'] } })
    expect((await ask(port, 'POST', '/v2/repository/index')).json).toHaveLength(2)
    put('models/price/2/model.onnx', linear(5))
    expect(await y(port, 'price')).toEqual([2])
    expect((await ask(port, 'POST', '/v2/repository/models/price/load')).status).toBe(200)
    expect(await y(port, 'price')).toEqual([5])
    expect((await ask(port, 'POST', '/v2/repository/models/risk/unload')).status).toBe(200)
    expect((await ask(port, 'POST', '/v2/models/risk/infer', rows([1]))).status).toBe(404)
    expect((await ask(port, 'GET', '/v2/health/ready')).status).toBe(200)
    expect((await ask(port, 'POST', '/v2/repository/models/nope/load')).status).toBe(404)
  })

  it('follow their folder where that is asked for', async () => {
    put('models/price/1/model.onnx', linear(2))
    const { port } = await serve({ paths: [join(folder, 'models')], pollMs: 20 })
    put('models/price/2/model.onnx', linear(5))
    for (let waited = 0; waited < 5_000 && (await y(port, 'price'))[0] !== 5; waited += 20) await sleep(20)
    expect(await y(port, 'price')).toEqual([5])
  })

  it('are answered to the end, also while one replaces another and when it stops', async () => {
    put('models/price/1/model.onnx', linear(1))
    const server = await serve({ paths: [join(folder, 'models')] })
    const { port } = server
    const seen = new Set<unknown>()
    const failed: unknown[] = []
    let isOver = false
    const clients = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        const { status, json } = await ask(port, 'POST', '/v2/models/price/infer', rows([1]))
        if (status === 200) seen.add(json.outputs[0]!.data[0])
        else failed.push(json)
      }
    })
    for (const version of [2, 3, 4]) {
      put(`models/price/${version}/model.onnx`, linear(version))
      expect((await ask(port, 'POST', '/v2/repository/models/price/load')).status).toBe(200)
      await sleep(30)
    }
    isOver = true
    await Promise.all(clients)
    expect(failed).toEqual([])
    expect(seen).toEqual(new Set([1, 2, 3, 4]))
    expect(await server.close()).toEqual({ abandoned: 0 })
  })

  it('may be a classifier as converters write it', async () => {
    const { port } = await serve({ paths: [put('churn.onnx', onnx.zipMapModel([1, 2]))] })
    const { json } = await ask(port, 'GET', '/v2/models/churn')
    expect(json.outputs.map(({ name }) => name)).toContain('output_probability')
  })

  it.each([
    ['nothing', () => [], /nothing to serve/],
    ['two files of one name', () => [put('a/m.onnx', linear(1)), put('b/m.onnx', linear(1))], /would be called 'm'/],
    ['two folders', () => [folder, folder], /served alone/],
  ])('are refused where they are %s', async (_name, paths, why) => {
    await expect(serveModels({ paths: paths(), port: 0 })).rejects.toMatchObject({
      code: 'MR_SERVE_INPUT',
      message: expect.stringMatching(why),
    })
  })

  it('are not half served: one that can not be loaded is told at once', async () => {
    put('models/good/1/model.onnx', linear(1))
    put('models/bad/1/model.onnx', new Uint8Array(0))
    await expect(serveModels({ paths: [join(folder, 'models')], port: 0 })).rejects.toMatchObject({
      code: 'MR_MODEL_EMPTY',
    })
    mkdirSync(join(folder, 'none'))
    const { port } = await serve({ paths: [join(folder, 'none')] })
    expect((await ask(port, 'GET', '/v2/health/ready')).status).toBe(200)
  })
})
