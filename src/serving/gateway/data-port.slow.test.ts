import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import { EXTENSIONS } from '../../kernel/protocol/inference.ts'
import { deploymentOf, fakeLog, inferBody, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { openLab, send, sendRaw } from '../../testing/gateway-lab.ts'
import type { Lab, Response } from '../../testing/gateway-lab.ts'
import { openLabGateway } from '../../testing/lab-gateway.ts'
import { ownMsOf } from '../../testing/stopwatch.ts'
import type { Gateway } from './gateway.ts'
import { saveRoutes } from './routes-file.ts'

const LIMIT_BYTES = 2_000
const log = fakeLog()
let lab: Lab
let gateway: Gateway
let port = 0
let received: { url: string; body: string; headers: Record<string, unknown> }[] = []

beforeAll(async () => {
  lab = openLab()
  const replica = await lab.replica('replica-1', (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts).toString()
      received.push({ url: request.url ?? '', body, headers: request.headers })
      if (body.includes('"wait"')) return
      const status = body.includes('"wrong"') ? 400 : 200
      response.writeHead(status, { 'content-type': 'application/json' })
      response.write('{"model_name":"late-flight",') // two writes and no length: chunked
      response.end(`"echo":${body.length}}`)
    })
  })
  const deployments = [deploymentOf({ deploymentId: 'deployment-1', replicas: [replica] })]
  const bare = deploymentOf({ deploymentId: 'deployment-2', replicas: [] })
  const routes = snapshotOf(1, [
    routeOf({ deployments, bodyLimitBytes: LIMIT_BYTES, timeoutMs: 400 }),
    routeOf({ endpoint: 'empty', model: 'empty', deployments: [bare] }),
  ])
  await saveRoutes(`${lab.dir}/gateway/routes.json`, routes)
  gateway = await openLabGateway(
    lab,
    { controlSocket: lab.socket('nobody') },
    { log, limits: { port: { headMs: 500, requestMs: 800 } } },
  )
  port = gateway.port
})
afterAll(async () => {
  await gateway.drain()
  await lab.close()
})

const get = (path: string): Promise<Response> => send({ port, path })
const post = (path: string, body: string | Buffer, headers = {}): Promise<Response> =>
  send({ port, path, method: 'POST', headers }, body)
const INFER = '/v2/models/late-flights/infer'

function expectError(response: Response, status: number, text: string): void {
  expect(response.status).toBe(status)
  expect(response.headers['content-type']).toBe('application/json')
  const body = JSON.parse(response.text) as Record<string, unknown>
  expect(Object.keys(body)).toEqual(['error'])
  expect(body['error']).toContain(text)
}

describe('the data port', () => {
  it('answers for the server and its models', async () => {
    expect(JSON.parse((await get('/v2')).text)).toEqual({ name: 'millrace', version: '1.2.3', extensions: EXTENSIONS })
    expect((await get('/v2/health/live')).text).toBe('{"live":true}')
    expect((await get('/v2/health/ready')).text).toBe('{"ready":true}')
    expect((await get('/livez')).status).toBe(200)
    expect((await get('/readyz')).status).toBe(200)
    expect((await get('/v2/models/late-flights/ready')).text).toBe('{"name":"late-flights","ready":true}')
    expect((await get('/v2/models/late-flights/versions/1/ready')).status).toBe(200)
    expect(JSON.parse((await get('/v2/models/late-flights')).text)).toEqual({
      name: 'late-flights',
      versions: ['1'],
      platform: 'onnxruntime_onnx',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
      outputs: [{ name: 'probability', datatype: 'FP32', shape: [-1] }],
    })
    expectError(await get('/v2/models/empty/ready'), 503, 'no replica that is ready')
  })

  it('answers HEAD like GET, without the body', async () => {
    const response = await send({ port, path: '/v2', method: 'HEAD' })
    expect([response.status, response.text]).toEqual([200, ''])
  })

  it('infers without a Content-Type, by endpoint or model, by version, with any query string', async () => {
    received = []
    for (const path of [INFER, '/v2/models/late-flight/infer', '/v2/models/late-flights/versions/1/infer?x=1']) {
      const response = await post(path, inferBody)
      expect(response.status).toBe(200)
      expect(response.text).toBe(`{"model_name":"late-flight","echo":${inferBody.length}}`)
      expect(response.headers['millrace-prediction-id']).toMatch(/^[0-9a-z]{26}$/)
      expect(response.headers['millrace-model-version']).toBe('1')
      expect(response.headers['millrace-endpoint']).toBe('late-flights')
      expect(response.headers['content-type']).toBe('application/json')
    }
    expect(received.map(({ url }) => url)).toEqual(Array(3).fill('/v2/models/late-flight/versions/1/infer'))
  })

  it('passes the trace on, and nothing else of the client', async () => {
    received = []
    await post(INFER, inferBody, {
      traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
      cookie: 'a=b',
      authorization: 'Basic x',
    })
    expect(received[0]?.headers['traceparent']).toContain(`00-${'a'.repeat(32)}-`)
    expect(received[0]?.headers).not.toHaveProperty('cookie')
    expect(received[0]?.headers).not.toHaveProperty('authorization')
  })

  it('refuses a key that nobody has, for predictions and for labels', async () => {
    received = []
    const headers = { authorization: 'Bearer x' }
    expectError(await post(INFER, inferBody, headers), 401, 'The key is not known')
    expectError(await post('/feedback', '[]', headers), 401, 'The key is not known')
    expectError(await send({ port, path: '/v2', headers }), 401, 'The key is not known')
    expect((await send({ port, path: '/livez', headers })).status).toBe(200)
    expect(received).toEqual([])
  })

  it('unpacks gzip, forwards and logs it plain', async () => {
    received = []
    const before = log.records.length
    expect((await post(INFER, gzipSync(inferBody), { 'content-encoding': 'gzip' })).status).toBe(200)
    expect(received[0]?.body).toBe(inferBody.toString())
    expect(log.records[before]?.record).toMatchObject({ request: inferBody })
    expectError(await post(INFER, 'no gzip', { 'content-encoding': 'gzip' }), 400, 'not valid gzip')
    expectError(await post(INFER, inferBody, { 'content-encoding': 'br' }), 415, "'br'")
    const bomb = gzipSync(Buffer.alloc(10_000_000, 0x20))
    expectError(await post(INFER, bomb.subarray(0), { 'content-encoding': 'gzip' }), 413, `${LIMIT_BYTES} bytes`)
  })

  it('says what is wrong with a path, a name, a version or a method', async () => {
    expectError(
      await post('/v2/models/x/infer', inferBody),
      404,
      "Request for unknown model: 'x' is not found. Endpoints: late-flights, empty.",
    )
    expectError(await get('/v2/models/x'), 404, "Request for unknown model: 'x' is not found")
    expectError(await post('/v2/models/late-flights/versions/9/infer', inferBody), 404, 'Live versions: 1.')
    expectError(await get('/nothing/here'), 404, "nothing at '/nothing/here'")
    expectError(await post('/v2/models/%/infer', inferBody), 400, 'Bad path')
    const wrongMethod = await get(INFER)
    expectError(wrongMethod, 405, 'Use POST here, not GET')
    expect(wrongMethod.headers['allow']).toBe('POST')
    expectError(await post('/v2', ''), 405, 'Use GET')
    const empty = await post('/v2/models/empty/infer', inferBody)
    expectError(empty, 503, 'no replica that is ready')
    expect(empty.headers['retry-after']).toBe('1')
  })

  it('refuses what can not be JSON itself, and passes the 400 of the model server on', async () => {
    received = []
    expectError(await post(INFER, ''), 400, 'empty')
    expectError(await post(INFER, '  [1]'), 400, 'not a JSON object')
    expect(received).toEqual([])
    const passed = await post(INFER, '{"wrong":1}')
    expect([passed.status, passed.text]).toEqual([400, '{"model_name":"late-flight","echo":11}'])
  })

  it('gives 504 at the deadline of the route', async () => {
    const late = await post(INFER, '{"wait":1}')
    expectError(late, 504, 'did not answer within 400 ms')
    expect(late.headers['millrace-prediction-id']).toBeUndefined()
  })

  it('keeps the connection after an error that leaves it in step', async () => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.on('data', (part) => (text += part.toString()))
    const request = (path: string, body: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    const statuses = () => text.match(/HTTP\/1\.1 \d+/g)
    socket.write(request('/v2/models/x/infer', '{}'))
    await expect.poll(statuses, { timeout: 10_000 }).toHaveLength(1)
    socket.write(request(INFER, '{}'))
    await expect.poll(statuses, { timeout: 10_000 }).toHaveLength(2)
    socket.destroy()
    expect(statuses()).toEqual(['HTTP/1.1 404', 'HTTP/1.1 200'])
  })
})

describe('labels', () => {
  const id = newPredictionId(Date.now())

  it('are accepted with 202, malformed ones refused with 400', async () => {
    const accepted = await post(
      '/feedback',
      JSON.stringify({
        labels: [
          { id, label: 1 },
          { id, label: 0, row: 1 },
        ],
      }),
    )
    expect([accepted.status, accepted.text]).toEqual([202, '{"accepted":2}'])
    expect(log.records.at(-1)).toMatchObject({
      mode: 'durable',
      record: { kind: 'label', predictionId: id, row: 1, label: 0 },
    })
    expectError(await post('/feedback', '{"id":"abc","label":1}'), 400, "'id' must be a prediction id")
    expectError(await post('/feedback', Buffer.alloc(5_000_000, 0x20)), 413, '4194304 bytes')
  })
})

describe('clients that misbehave', () => {
  it('with a body over the limit get 413, by length at once and by chunks when it is reached', async () => {
    received = []
    expectError(
      await post(INFER, Buffer.alloc(LIMIT_BYTES + 1, 0x20)),
      413,
      `larger than the limit of ${LIMIT_BYTES} bytes`,
    )
    expectError(await post(INFER, Buffer.alloc(3_000_000, 0x20)), 413, `${LIMIT_BYTES} bytes`)
    const chunk = `400\r\n${' '.repeat(1_024)}\r\n`
    const chunked = await sendRaw(
      port,
      `POST ${INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(200)}`,
    )
    expect(chunked).toMatch(/^HTTP\/1\.1 413 /)
    expect(chunked).toContain(`{"error":"The request body is larger than the limit of ${LIMIT_BYTES} bytes."}`)
    expect(received).toEqual([])
  })

  it('that ask first (Expect: 100-continue) are refused before they send', async () => {
    const head = (length: number): string =>
      `POST ${INFER} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`
    expect(await sendRaw(port, head(LIMIT_BYTES + 1))).toMatch(/^HTTP\/1\.1 413 /)
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.on('data', (part) => {
      if (text === '') socket.write('{}')
      text += part.toString()
    })
    socket.write(head(2))
    await expect.poll(() => text, { timeout: 10_000 }).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
    socket.destroy()
  })

  it('that expect anything else get 417', async () => {
    const response = await send({ port, path: '/v2', headers: { expect: 'miracles' } })
    expectError(response, 417, '100-continue')
    expect(response.headers['connection']).toBe('close')
  })

  it('with a head of 1 MB get 431', async () => {
    const response = await sendRaw(port, `GET /v2 HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`)
    expect(response).toMatch(/^HTTP\/1\.1 431 /)
    expect(response).toContain('{"error":"The request head is larger')
  })

  it.each([
    ['whose head never ends', 'GET /v2 HTTP/1.1\r\nHost: x\r\nX-Slow: '],
    ['whose body never ends', `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"inp`],
    ['that say nothing', ''],
  ])('%s get 408 and are closed', async (_name, bytes) => {
    let response = ''
    const tookMs = await ownMsOf(async () => (response = await sendRaw(port, bytes)))
    expect(response).toMatch(/^HTTP\/1\.1 408 /)
    expect(response).toContain('{"error":"The request was not complete in time."}')
    expect(tookMs).toBeLessThan(1_500) // 800 of them for the body
  })

  it.each([
    ['no HTTP at all', 'hello\r\n\r\n'],
    [
      'a length and chunks',
      `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['two lengths', `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\n{}x`],
    ['a bad chunk', `POST ${INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ['no Host', `GET /v2 HTTP/1.1\r\nConnection: close\r\n\r\n`],
    ['two Hosts', `GET /v2 HTTP/1.1\r\nHost: a\r\nhost: b\r\nConnection: close\r\n\r\n`],
  ])('with %s get 400 in JSON', async (_name, bytes) => {
    const response = await sendRaw(port, bytes)
    expect(response).toMatch(/^HTTP\/1\.1 400 /)
    expect(response).toMatch(/Content-Type: application\/json\r\n/i)
    expect(response).toMatch(/\{"error":"[^"]+"\}$/)
  })

  it('that pipeline a bad request behind a good one get both answers, in order', async () => {
    const good = `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}`
    const response = await sendRaw(port, `${good}${good}BROKEN\r\n\r\n`)
    expect(response.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 400'])
  })

  it('that leave before their answer are let go, and the replica is not kept busy for them', async () => {
    const logged = log.records.length
    const wait = '{"wait":1}'
    const head = `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: ${wait.length}\r\n\r\n`
    const tookMs = await ownMsOf(async () => {
      expect(await sendRaw(port, head + wait, { keepOpen: false })).toBe('')
    })
    expect(tookMs).toBeLessThan(300) // the route's own limit is 400 ms
    expect(log.records).toHaveLength(logged)
  })

  it('that close their side in the middle of a body are let go', async () => {
    const partly = `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{}`
    expect(await ownMsOf(() => sendRaw(port, partly, { keepOpen: false }))).toBeLessThan(300)
  })

  it('do not keep others from being served', async () => {
    const idle = Array.from({ length: 50 }, () => connect(port, '127.0.0.1').on('error', () => undefined))
    for (const socket of idle) socket.write('POST ')
    expect((await post(INFER, inferBody)).status).toBe(200)
    for (const socket of idle) socket.destroy()
  })
})
