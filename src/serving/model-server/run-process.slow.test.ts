import { fork, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Tensor } from '../../kernel/model/tensor.ts'
import * as onnx from '../../testing/onnx-builder.ts'
import { createHttpFront } from './http.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServerOptions } from './model-server.ts'
import { openIsolated } from './run-process.ts'
import type { IsolatedModel, IsolatedOptions } from './run-process.ts'
import { ServerPlane } from './server-plane.ts'

const folder = mkdtempSync(join(tmpdir(), 'mr-run-'))
const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
const write = (model: Uint8Array): string => onnx.writeModel(join(folder, `${(count += 1)}.onnx`), model)
const floats = (values: number[], width = 1): Tensor => ({
  datatype: 'FP32',
  shape: [values.length / width, width],
  data: Float32Array.from(values),
})
/** Seconds for a model of 20 products of 512 × 512, and yet quickly loaded. */
const manyRows = floats(Array.from({ length: 20_000 }, () => 1))
const linear = onnx.linearModel({ weights: [2] })

async function open(model: Uint8Array, options: IsolatedOptions = {}): Promise<IsolatedModel> {
  const isolated = await openIsolated(write(model), options)
  closers.push(() => isolated.close())
  return isolated
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
async function until(holds: () => boolean, limitMs = 15_000): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    if (waited > limitMs) throw new Error(`waited ${limitMs} ms in vain`)
    await sleep(10)
  }
}

describe('a model in a process of its own', () => {
  it('computes what it would compute here, whatever the type', async () => {
    const here = await open(linear)
    expect(here.pid).not.toBe(process.pid)
    expect(here.signature.inputs[0]).toMatchObject({ name: 'x', datatype: 'FP32', shape: [-1, 1] })
    expect((await here.run({ x: floats([1, 2, 3]) })).y).toEqual(floats([2, 4, 6]))
    const texts = await open(onnx.identityModel('string', ['N']))
    const text: Tensor = { datatype: 'BYTES', shape: [2], data: ['ä', ''] }
    expect(Object.values(await texts.run({ x: text }))).toEqual([text])
    const integers = await open(onnx.identityModel('int64', ['N']))
    const big: Tensor = { datatype: 'INT64', shape: [2], data: BigInt64Array.of(2n ** 62n, -1n) }
    expect(Object.values(await integers.run({ x: big }))).toEqual([big])
    // A view of a larger buffer takes only itself along.
    const view = { datatype: 'FP32' as const, shape: [1, 1], data: Float32Array.of(7, 8, 9).subarray(1, 2) }
    expect((await here.run({ x: view })).y).toEqual(floats([16]))
  })

  it('says as here what it can not compute, and what can not be loaded', async () => {
    const table = await open(onnx.lookupModel([1, 2, 3]))
    const run = table.run({ x: { datatype: 'INT64', shape: [1], data: BigInt64Array.of(99n) } })
    await expect(run).rejects.toMatchObject({ code: 'MR_MODEL_RUN', message: expect.stringContaining('out of data') })
    await expect(openIsolated(write(new Uint8Array(0)))).rejects.toMatchObject({ code: 'MR_MODEL_EMPTY' })
    await expect(openIsolated(join(folder, 'none.onnx'))).rejects.toMatchObject({ code: 'MR_MODEL_MISSING' })
  })

  it('fails what it was computing when it dies, refuses what comes, and is there again', async () => {
    const told: string[] = []
    const model = await open(onnx.slowModel({ size: 512, repeats: 400, width: 1 }), {
      limits: { restartMs: 300 },
      onDown: (why) => told.push(`down: ${why}`),
      onUp: () => told.push('up'),
    })
    const computing = model.run({ x: floats([1]) })
    await sleep(5)
    process.kill(model.pid!, 'SIGKILL')
    await expect(computing).rejects.toMatchObject({
      status: 503,
      message: expect.stringContaining('it died of SIGKILL'),
    })
    expect(model.downWhy).toBe('it died of SIGKILL')
    await expect(model.run({ x: floats([1]) })).rejects.toMatchObject({
      status: 503,
      message: "The model's process is down, and is started again: it died of SIGKILL",
    })
    await until(() => model.downWhy === null)
    expect((await model.run({ x: floats([1]) })).y!.shape).toEqual([1, 1])
    expect(told).toEqual(['down: it died of SIGKILL', 'up'])
  })

  it('is tried again for as long as it can not be started', async () => {
    const path = write(linear)
    const model = await openIsolated(path, { limits: { restartMs: 20, restartMaxMs: 50 } })
    closers.push(() => model.close())
    writeFileSync(path, '')
    process.kill(model.pid!, 'SIGKILL')
    await until(() => model.downWhy?.includes('is empty') === true)
    writeFileSync(path, linear)
    await until(() => model.downWhy === null)
    expect((await model.run({ x: floats([4]) })).y).toEqual(floats([8]))
  })

  it('is taken for hung when a run takes longer than any may', async () => {
    const model = await open(onnx.slowModel({ size: 512, repeats: 20, width: 1 }), { limits: { runMs: 50 } })
    await expect(model.run({ x: manyRows })).rejects.toMatchObject({
      status: 503,
      message: expect.stringContaining('no answer in 50 ms'),
    })
  })

  it('ends when it is closed', async () => {
    const model = await open(linear)
    const { pid } = model
    await model.close()
    expect(isAlive(pid!)).toBe(false)
    await expect(model.run({ x: floats([1]) })).rejects.toMatchObject({ status: 503 })
  })

  it('does not outlive its server, not even one that was killed while it computes', async () => {
    const path = write(onnx.slowModel({ size: 512, repeats: 20, width: 1 }))
    const script = join(folder, 'server.ts')
    const entry = fileURLToPath(new URL('./run-process.ts', import.meta.url))
    writeFileSync(
      script,
      `import { openIsolated } from ${JSON.stringify(entry)}
       const model = await openIsolated(${JSON.stringify(path)})
       void model.run({ x: { datatype: 'FP32', shape: [20_000, 1], data: new Float32Array(20_000) } })
       process.send(model.pid)`,
    )
    const server = fork(script, { execArgv: [] })
    const pid = await new Promise<number>((resolve) => server.once('message', (said) => resolve(said as number)))
    await sleep(50)
    expect(isAlive(pid)).toBe(true)
    server.kill('SIGKILL')
    await until(() => !isAlive(pid), 3_000)
    expect(spawnSync('ps', ['-p', String(pid), '-o', 'stat=']).stdout.toString()).not.toMatch(/^[RS]/)
  })
})

/** Two models on one server: one slow, one not. */
async function serve(slow: Uint8Array, options: ModelServerOptions = {}) {
  const models = createModelServer(options)
  const plane = new ServerPlane({ models, server: { name: 'millrace', version: '' } })
  const front = createHttpFront({ plane, limits: { lingerMs: 20, quietMs: 20, drainMs: 120_000 } })
  closers.push(() => models.close())
  closers.push(() => front.close())
  const load = (model: string, bytes: Uint8Array) =>
    models.load({ model, version: '1', path: write(bytes), digest: null, features: null })
  const loaded = { slow: await load('slow', slow), quick: await load('quick', linear) }
  return { models, front, loaded, port: await front.listenOnPort('127.0.0.1', 0) }
}

interface Asked {
  status: number
  text: string
  tookMs: number
}

function ask(port: number, method: string, path: string, body = '', headers = {}): Promise<Asked> {
  const startMs = performance.now()
  return new Promise((resolve, reject) => {
    const call = request({ port, host: '127.0.0.1', method, path, headers, agent: false }, (response) => {
      let text = ''
      response.on('data', (part: Buffer) => (text += part.toString()))
      response.on('end', () => resolve({ status: response.statusCode!, text, tookMs: performance.now() - startMs }))
    })
    call.on('error', reject)
    call.end(body)
  })
}
const rows = (values: number[]): string =>
  JSON.stringify({ inputs: [{ name: 'x', shape: [values.length, 1], datatype: 'FP32', data: values }] })

const quantile = (values: number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!

describe('a server with a heavy model', () => {
  it('puts it into a process of its own, and no other', async () => {
    const { loaded } = await serve(onnx.slowModel({ size: 1024, repeats: 300, width: 1 }))
    expect(loaded.slow.isolation.why).toMatch(/^a run of one row takes [\d.]+ ms, more than 15$/)
    expect(loaded.slow.isolation.pid).not.toBeNull()
    expect(loaded.quick.isolation.pid).toBeNull()
  })

  it('does as it is told about that', async () => {
    const never = await serve(onnx.slowModel({ size: 1024, repeats: 300, width: 1 }), { isolate: 'never' })
    expect(never.loaded.slow.isolation.pid).toBeNull()
    const always = await serve(linear, { isolate: 'always' })
    expect(always.loaded.quick.isolation.pid).not.toBeNull()
  })

  it('answers health and other models at once while that one is busy', async () => {
    const { port } = await serve(onnx.slowModel({ size: 1024, repeats: 600, width: 1 }))
    let isOver = false
    const slow: number[] = []
    const heavy = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        const { status, tookMs } = await ask(port, 'POST', '/v2/models/slow/infer', rows([1]))
        expect(status).toBe(200)
        slow.push(tookMs)
      }
    })
    await sleep(200)
    const health: number[] = []
    const quick: number[] = []
    for (let i = 0; i < 60; i += 1) {
      const [live, ready, answer] = await Promise.all([
        ask(port, 'GET', '/livez'),
        ask(port, 'GET', '/v2/models/slow/ready'),
        ask(port, 'POST', '/v2/models/quick/infer', rows([i])),
      ])
      expect([live.status, ready.status, answer.status]).toEqual([200, 200, 200])
      expect(JSON.parse(answer.text)).toMatchObject({ outputs: [{ data: [i * 2] }] })
      health.push(live.tookMs, ready.tookMs)
      quick.push(answer.tookMs)
    }
    isOver = true
    await Promise.all(heavy)
    // In the same process each of these would wait for a run, and the slow ones wait for two. Tens of milliseconds at
    // most where the machine has nothing else to do.
    const bound = Math.max(50, quantile(slow, 0.5) / 3)
    expect(quantile(health, 0.9)).toBeLessThan(bound)
    expect(quantile(quick, 0.9)).toBeLessThan(bound)
  })

  it('tells who waits longer than it may, forgets who has left, and waits for the others when it drains', async () => {
    const { port, front, loaded } = await serve(onnx.slowModel({ size: 512, repeats: 20, width: 1 }), {
      isolate: 'always',
      limits: { maxBatchRows: 20_000, targetRunMs: 10_000 },
    })
    const many = rows(Array.from({ length: 10_000 }, () => 1))
    const timed = { inputs: JSON.parse(rows([1])).inputs, parameters: { timeout: 50_000 } }
    const [first, late] = await Promise.all([
      ask(port, 'POST', '/v2/models/slow/infer', many),
      ask(port, 'POST', '/v2/models/slow/infer', JSON.stringify(timed)),
    ])
    expect(first.status).toBe(200)
    expect(late.status).toBe(504)
    expect(late.tookMs).toBeLessThan(first.tookMs)
    const running = ask(port, 'POST', '/v2/models/slow/infer', many)
    await sleep(100)
    const waiting = ask(port, 'POST', '/v2/models/slow/infer', rows([3]))
    const left = connect(port, '127.0.0.1')
    left.write(
      `POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${rows([4]).length}\r\n\r\n${rows([4])}`,
    )
    await until(() => loaded.slow.underWay === 3)
    left.destroy()
    await until(() => loaded.slow.underWay === 2)
    const drained = front.drain()
    expect((await Promise.all([running, waiting])).map(({ status }) => status)).toEqual([200, 200])
    expect(await drained).toEqual({ abandoned: 0 })
  })
})
