import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { EXTENSIONS } from '../../kernel/protocol/inference.ts'
import * as onnx from '../../testing/onnx-builder.ts'
import type { BatcherLimits } from './batcher.ts'
import { createHttpFront } from './http.ts'
import type { HttpLimits } from './http.ts'
import { createModelServer } from './model-server.ts'
import { ServerPlane } from './server-plane.ts'
import { serveFile } from '../../testing/serve-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-http-'))
const running: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const server of running.splice(0)) await server.close()
})
afterAll(() => rmSync(folder, { recursive: true }))

let count = 0
async function serve(model: Uint8Array, limits: Partial<HttpLimits> = {}, batch: Partial<BatcherLimits> = {}) {
  const path = onnx.writeModel(join(folder, `${(count += 1)}.onnx`), model)
  const models = createModelServer({ limits: batch })
  await models.load({ model: 'm', version: '7', path, digest: null, features: null })
  const front = createHttpFront({
    plane: new ServerPlane({ models, server: { name: 'millrace', version: '0.1.0' } }),
    identity: { id: 'replica-1', token: 't', pid: 1 },
    limits: { lingerMs: 50, ...limits },
  })
  running.push(front)
  return { front, models, port: await front.listenOnPort('127.0.0.1', 0) }
}

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  text: string
  json: { error?: string; outputs?: { name: string; data: unknown[] }[]; [key: string]: unknown }
}

function ask(
  where: number | string,
  method: string,
  path: string,
  body?: string | Buffer,
  headers = {},
): Promise<Answer> {
  const target = typeof where === 'number' ? { port: where, host: '127.0.0.1' } : { socketPath: where }
  return new Promise((resolve, reject) => {
    const call = request({ ...target, method, path, headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          text,
          json: text === '' ? {} : JSON.parse(text),
        }),
      )
      response.on('error', reject)
    })
    call.on('error', reject)
    call.end(body)
  })
}

const rows = (values: number[], id?: string): string =>
  JSON.stringify({ id, inputs: [{ name: 'x', shape: [values.length, 1], datatype: 'FP32', data: values }] })
const linear = onnx.linearModel({ weights: [2], bias: 1 })

/** Sends bytes as they are and collects what comes back until the connection ends. */
function raw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString('latin1')))
    socket.on('close', () => resolve(text))
    socket.on('error', () => {}) // a reset ends in 'close' as well
  })
}

describe('the protocol', () => {
  it('answers an infer request with names, version and the id, needing no Content-Type and minding no query', async () => {
    const { port } = await serve(linear)
    for (const path of ['/v2/models/m/infer', '/v2/models/m/versions/7/infer?a=b&c']) {
      const { status, headers, json } = await ask(port, 'POST', path, rows([1, 2], 'q'))
      expect(status).toBe(200)
      expect(headers['content-type']).toBe('application/json')
      expect(headers['millrace-model-version']).toBe('7')
      expect(json).toEqual({
        model_name: 'm',
        model_version: '7',
        id: 'q',
        outputs: [{ name: 'y', datatype: 'FP32', shape: [2, 1], data: [3, 5] }],
      })
    }
  })

  it('describes server and model, and says that both are well', async () => {
    const { port } = await serve(linear)
    const bodies = Object.fromEntries(
      await Promise.all(
        [
          '/livez',
          '/readyz',
          '/v2/health/live',
          '/v2/health/ready',
          '/v2',
          '/v2/models/m',
          '/v2/models/m/versions/7',
          '/v2/models/m/ready',
        ].map(async (path) => [path, (await ask(port, 'GET', path)).json] as const),
      ),
    )
    const model = {
      name: 'm',
      versions: ['7'],
      platform: 'onnxruntime_onnx',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 1] }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }],
    }
    expect(bodies).toEqual({
      '/livez': { live: true },
      '/readyz': { ready: true },
      '/v2/health/live': { live: true },
      '/v2/health/ready': { ready: true },
      '/v2': { name: 'millrace', version: '0.1.0', extensions: EXTENSIONS },
      '/v2/models/m': model,
      '/v2/models/m/versions/7': model,
      '/v2/models/m/ready': { name: 'm', ready: true },
    })
  })

  it.each([
    ['GET', '/v2/models/nope', undefined, 404, `Request for unknown model: 'nope' is not found`],
    ['POST', '/v2/models/nope/infer', rows([1]), 404, `Request for unknown model: 'nope' is not found`],
    ['POST', '/v2/models/m/versions/8/infer', rows([1]), 404, `Request for unknown model: 'm' is not found`],
    ['GET', '/somewhere', undefined, 404, `There is nothing at '/somewhere'.`],
    ['GET', '/identity', undefined, 404, `There is nothing at '/identity'.`],
    ['GET', '/v2/models/m/infer', undefined, 405, 'Use POST here, not GET.'],
    ['POST', '/v2/models/m/infer', '{', 400, 'not valid JSON'],
    ['POST', '/v2/models/m/infer', '', 400, 'not valid JSON'],
    ['POST', '/v2/models/m/infer', rows([]).replace('FP32', 'INT32'), 400, 'datatype is INT32'],
  ])('answers %s %s %j with %i', async (method, path, body, status, says) => {
    const { port } = await serve(linear)
    const answer = await ask(port, method, path, body)
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toBe('application/json')
    expect(Object.keys(answer.json)).toEqual(['error'])
    expect(answer.json.error).toContain(says)
  })

  it('takes packed requests and binary tensors, as a gateway does', async () => {
    const { port } = await serve(linear)
    const packed = await ask(port, 'POST', '/v2/models/m/infer', gzipSync(rows([1])), { 'content-encoding': 'gzip' })
    expect(packed.json.outputs).toMatchObject([{ data: [3] }])
    const tensor = { name: 'x', shape: [1, 1], datatype: 'FP32', parameters: { binary_data_size: 4 } }
    const head = Buffer.from(JSON.stringify({ inputs: [tensor] }))
    const body = Buffer.concat([head, Buffer.from(new Float32Array([1]).buffer)])
    const headers = { 'inference-header-content-length': String(head.length) }
    const binary = await ask(port, 'POST', '/v2/models/m/infer', body, headers)
    expect(binary.json.outputs).toMatchObject([{ data: [3] }])
  })

  it('tells who it is on its unix socket alone, which only its user may open', async () => {
    const { front } = await serve(linear)
    const path = join(folder, 's.sock')
    await front.listenOnSocket(path)
    expect((await ask(path, 'GET', '/identity')).json).toEqual({ id: 'replica-1', token: 't', pid: 1 })
    expect((await ask(path, 'POST', '/v2/models/m/infer', rows([1]))).json.outputs![0]!.data).toEqual([3])
  })

  it('says which address it can not have', async () => {
    const { front, port } = await serve(linear)
    await expect(front.listenOnPort('127.0.0.1', port)).rejects.toMatchObject({
      code: 'MR_LISTEN',
      message: `Cannot listen on 127.0.0.1:${port}: something else does already.`,
    })
  })
})

describe('a crowd', () => {
  it('of 64 connections gets the answers that belong to its questions', async () => {
    const { port } = await serve(linear)
    await Promise.all(
      Array.from({ length: 64 }, async (_, client) => {
        for (let turn = 0; turn < 10; turn += 1) {
          const values = Array.from({ length: (client + turn) % 5 }, (_value, row) => client * 1_000 + turn * 10 + row)
          const { json } = await ask(port, 'POST', '/v2/models/m/infer', rows(values, `${client}/${turn}`))
          expect(json.id).toBe(`${client}/${turn}`)
          expect(json.outputs![0]!.data).toEqual(values.map((value) => value * 2 + 1))
        }
      }),
    )
  })

  it('that is too large is told to come back', async () => {
    const { port } = await serve(
      onnx.slowModel({ size: 1024, repeats: 50, width: 1 }),
      {},
      { maxQueued: 4, maxBatchRows: 1 },
    )
    const answers = await Promise.all(
      Array.from({ length: 32 }, () => ask(port, 'POST', '/v2/models/m/infer', rows([1]))),
    )
    const refused = answers.filter(({ status }) => status === 503)
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(4)
    expect(refused.length).toBeGreaterThan(0)
    expect(refused[0]).toMatchObject({
      headers: { 'retry-after': '1' },
      json: { error: expect.stringContaining('queue is full') },
    })
  })

  it('does not keep health checks waiting for more than a run', async () => {
    const { port } = await serve(onnx.slowModel({ size: 1024, repeats: 50, width: 1 }), {}, { maxBatchRows: 4 })
    let over = false
    const crowd = Promise.all(
      Array.from({ length: 40 }, () => ask(port, 'POST', '/v2/models/m/infer', rows([1]))),
    ).then(() => (over = true))
    let during = 0
    while (!over) {
      expect((await ask(port, 'GET', '/livez')).status).toBe(200)
      if (!over) during += 1
    }
    await crowd
    expect(during).toBeGreaterThan(2)
  })
})

describe('bad clients', () => {
  it('with 100 MB are refused, whether they say so before or not', async () => {
    const { port, front } = await serve(linear)
    const big = Buffer.alloc(100 * 1024 * 1024, 0x20)
    for (const headers of [{ 'content-length': String(big.length) }, { 'transfer-encoding': 'chunked' }]) {
      const answer = await ask(port, 'POST', '/v2/models/m/infer', big, headers)
      expect(answer).toMatchObject({
        status: 413,
        headers: { 'content-type': 'application/json', connection: 'close' },
      })
      expect(answer.json.error).toContain('larger than the limit of 67108864 bytes')
    }
    expect((await ask(port, 'POST', '/v2/models/m/infer', rows([1]))).status).toBe(200)
    expect(front.inFlight).toBe(0)
  })

  it('that ask before sending too much need not send it', async () => {
    const { port } = await serve(linear)
    const head =
      'POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n'
    expect(await raw(port, head)).toMatch(/^HTTP\/1.1 413 /)
  })

  it('that are slow are cut off with 408', async () => {
    const { port } = await serve(linear, { headMs: 300, requestMs: 300 })
    const half = 'POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{'
    for (const sent of [half, 'POST /v2/mod']) {
      const answer = await raw(port, sent)
      expect(answer).toMatch(/^HTTP\/1.1 408 Request Timeout\r\n/)
      expect(answer).toContain('{"error":"The request was not complete in time."}')
    }
  })

  it('that do not speak HTTP get one answer in it', async () => {
    const { port } = await serve(linear)
    for (const nonsense of [
      'hello\r\n\r\n',
      '\0\0\0\0\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
    ]) {
      expect(await raw(port, nonsense)).toMatch(
        /^HTTP\/1.1 400 Bad Request\r\n[^]*Content-Type: application\/json\r\n[^]*{"error":"The request is not valid HTTP/,
      )
    }
    expect(await raw(port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /)
  })

  it('that vanish leave nothing behind', async () => {
    const { port, front } = await serve(onnx.slowModel({ size: 256, repeats: 20, width: 1 }))
    const body = rows([1])
    const head = `POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`
    await Promise.all(
      [head, head + body.slice(0, 10), head + body, head + body].flatMap((bytes) =>
        Array.from({ length: 25 }, async (_, turn) => {
          const socket = connect(port, '127.0.0.1')
          socket.on('error', () => {})
          socket.write(bytes)
          await sleep(turn % 5)
          socket.destroy()
        }),
      ),
    )
    expect((await ask(port, 'POST', '/v2/models/m/infer', body)).status).toBe(200)
    for (let waited = 0; front.inFlight > 0 && waited < 2_000; waited += 20) await sleep(20)
    expect(front.inFlight).toBe(0)
  })
})

describe('the end', () => {
  it('comes after everything that was asked is answered', async () => {
    const { port, front } = await serve(onnx.slowModel({ size: 1024, repeats: 50, width: 1 }), {}, { maxBatchRows: 1 })
    const asked = Array.from({ length: 20 }, () => ask(port, 'POST', '/v2/models/m/infer', rows([1])))
    await sleep(30) // some are answered by now, some computed, some wait
    const drained = front.drain()
    expect(await ask(port, 'GET', '/readyz')).toMatchObject({
      status: 503,
      json: { error: 'Not ready: draining' },
      headers: { connection: 'close' },
    })
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
    expect(await drained).toEqual({ abandoned: 0 })
    await expect(ask(port, 'GET', '/livez')).rejects.toThrow('ECONNREFUSED')
  })

  it('does not wait longer than it may', async () => {
    const { port, front } = await serve(linear, { drainMs: 100 })
    const socket = connect(port, '127.0.0.1')
    socket.write('POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{')
    while (front.inFlight < 1) await sleep(1)
    expect(await front.drain()).toEqual({ abandoned: 1 })
    socket.destroy()
  })
})

it('serves one file with nothing else around', async () => {
  const path = onnx.writeModel(join(folder, 'price.onnx'), linear)
  const served = await serveFile({ path, port: 0 })
  expect(served).toMatchObject({ name: 'price', version: '1' })
  expect((await ask(served.port, 'POST', '/v2/models/price/infer', rows([1]))).json).toMatchObject({
    model_name: 'price',
    model_version: '1',
  })
  await expect(serveFile({ path, port: served.port })).rejects.toMatchObject({ code: 'MR_LISTEN' })
  await expect(serveFile({ path: join(folder, 'none.onnx'), port: 0 })).rejects.toMatchObject({
    code: 'MR_MODEL_MISSING',
  })
  await served.close()
})
