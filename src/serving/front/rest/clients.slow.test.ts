import { spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasCommand } from '../../../testing/has-command.ts'
import * as onnx from '../../../testing/onnx-builder.ts'
import { call, openServingLab } from '../../../testing/serving-lab.ts'
import type { Reply, ServingLab } from '../../../testing/serving-lab.ts'

/* The other routes, and real clients, at a model server and at a gateway in front of it. */

let lab: ServingLab
beforeAll(async () => {
  lab = await openServingLab({
    linear: onnx.linearModel({ weights: [1, 2], bias: 0.5 }),
    vector: onnx.identityModel('float', ['N']),
    'ä b/c': onnx.identityModel('float', ['N']),
  })
})
afterAll(() => lab?.close())

const rows = (...values: number[][]): string =>
  JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [values.length, 2], data: values }] })
const many = Array.from({ length: 2_000 }, (_, row) => row)
const long = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [many.length], data: many }] })

describe.each(['modelServer', 'gateway'] as const)('at the %s', (place) => {
  const get = (path: string) => call(lab[place], 'GET', path)
  const post = (path: string, body?: string | Buffer, headers?: Record<string, string>) =>
    call(lab[place], 'POST', path, { body, headers })

  describe('the routes of v2', () => {
    it('describe the server with its extensions', async () => {
      const { json } = await get('/v2')
      expect(json).toEqual({
        name: 'millrace',
        version: '1.2.3',
        extensions: ['binary_tensor_data', 'model_repository', 'model_configuration', 'statistics', 'parameters'],
      })
    })

    it('take a name and a version of any letters, percent-encoded', async () => {
      const path = `/v2/models/${encodeURIComponent('ä b/c')}`
      expect((await get(path)).json).toMatchObject({ name: 'ä b/c', versions: ['7'] })
      expect((await get(`${path}/versions/%37`)).status).toBe(200)
      const { json, headers } = await post(`${path}/infer`, long)
      expect(json).toMatchObject({ model_name: 'ä b/c', model_version: '7' })
      expect(headers['millrace-model-version']).toBe('7')
    })

    it('describe a model as a configuration', async () => {
      const { json } = await get('/v2/models/linear/config')
      expect(json).toMatchObject({ name: 'linear', platform: 'onnxruntime_onnx' })
      const batched = place === 'modelServer'
      expect(Number(json['max_batch_size']) > 0).toBe(batched)
      expect(json['input']).toMatchObject([{ name: 'x', data_type: 'TYPE_FP32', dims: batched ? [2] : [-1, 2] }])
      expect((await get('/v2/models/linear/versions/7/config')).json).toEqual(json)
      expect((await get('/v2/models/nope/config')).status).toBe(404)
    })

    it('count what was answered and what was not, of one version, one model and all', async () => {
      const stats = async (path: string) =>
        (await get(path)).json['model_stats'] as {
          name: string
          version: string
          inference_count: number
          inference_stats: Record<string, { count: number; ns: number }>
        }[]
      const [before] = await stats('/v2/models/linear/stats')
      await post('/v2/models/linear/infer', rows([1, 2], [3, 4]))
      await post('/v2/models/linear/infer', rows([1, 2]))
      await post('/v2/models/linear/infer', '{"inputs":[]}')
      const [after] = await stats('/v2/models/linear/versions/7/stats')
      const grown = (what: string): number => after!.inference_stats[what]!.count - before!.inference_stats[what]!.count
      expect([grown('success'), grown('fail')]).toEqual([2, 1])
      expect(after!.inference_stats['success']!.ns).toBeGreaterThan(before!.inference_stats['success']!.ns)
      expect(after!.inference_count - before!.inference_count).toBe(place === 'modelServer' ? 3 : 2)
      const fields = ['queue', 'compute_input', 'compute_infer', 'compute_output', 'cache_hit', 'cache_miss']
      for (const field of fields)
        expect(after!.inference_stats[field]).toEqual({ count: expect.any(Number), ns: expect.any(Number) })
      const all = await stats('/v2/models/stats')
      expect(all.map(({ name, version }) => `${name} ${version}`).toSorted()).toEqual([
        'linear 7',
        'vector 7',
        'ä b/c 7',
      ])
      expect((await get('/v2/models/nope/stats')).status).toBe(404)
      expect((await get('/v2/models/linear/versions/9/stats')).status).toBe(404)
    })

    it('list the repository, for requests with and without a body, and let no client change it', async () => {
      const entry = (name: string) => ({ name, version: '7', state: 'READY', reason: '' })
      const index = await post('/v2/repository/index', '{"ready":true}')
      const sorted = (entries: unknown) =>
        (entries as { name: string }[]).toSorted((a, b) => a.name.localeCompare(b.name))
      expect(sorted(index.json)).toEqual(sorted([entry('linear'), entry('vector'), entry('ä b/c')]))
      expect((await post('/v2/repository/index')).json).toEqual(index.json)
      const bare = await raw(lab[place], 'POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
      expect(bare).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*"state":"READY"/)
      expect((await post('/v2/repository/index', '[]')).status).toBe(400)
      for (const act of ['load', 'unload']) {
        const refused = await post(`/v2/repository/models/linear/${act}`)
        expect([refused.status, refused.json]).toEqual([400, { error: expect.stringMatching(/client/) }])
      }
      expect((await post('/v2/repository/models/m/load', '{"parameters":{"config":"{}"}}')).json).toEqual({
        error: expect.stringMatching(/^Parameter 'config' is not supported/),
      })
    })
  })

  describe('KServe v1', () => {
    it('is alive, lists models, and says which are ready', async () => {
      expect((await get('/')).json).toEqual({ status: 'alive' })
      expect((await get('/v1/models')).json['models']).toEqual(expect.arrayContaining(['linear', 'vector', 'ä b/c']))
      expect((await get('/v1/models/linear')).json).toEqual({ name: 'linear', ready: true })
      expect((await get('/v1/models/nope')).status).toBe(404)
    })

    it('predicts by instances and by inputs, and says what is wrong as v2 does', async () => {
      const path = '/v1/models/linear:predict'
      expect((await post(path, '{"instances":[[1,2],[3,4]]}')).json).toEqual({ predictions: [[5.5], [11.5]] })
      expect((await post(path, '{"inputs":[[1,2]]}')).json).toEqual({ predictions: [[5.5]] })
      const { status, headers, json } = await post(path, '{"rows":[]}')
      expect([status, headers['content-type'], Object.keys(json)]).toEqual([400, 'application/json', ['error']])
      expect((await post('/v1/models/nope:predict', '{"instances":[[1,2]]}')).json['error']).toMatch(
        /^Request for unknown model: 'nope' is not found/,
      )
      const packed = await post(path, gzipSync('{"instances":[[1,2]]}'), { 'content-encoding': 'gzip' })
      expect(packed.json).toEqual({ predictions: [[5.5]] })
    })
  })

  describe('MLflow', () => {
    const invocations = '/endpoints/linear/invocations'
    const json = { 'content-type': 'application/json' }

    it('answers below the path of each model, and not at the root of several', async () => {
      for (const path of ['ping', 'health', 'version']) {
        expect((await get(`/endpoints/linear/${path}`)).status).toBe(200)
        expect((await get(`/endpoints/nope/${path}`)).status).toBe(404)
        expect((await get(`/${path}`)).json['error']).toMatch(/several models here, at \/endpoints\/NAME/)
      }
      expect((await get('/endpoints/linear/ping')).body.toString()).toBe('\n')
      expect((await get('/endpoints/linear/version')).body.toString()).toBe('1.2.3')
      const root = await post('/invocations', '{"inputs":[[1,2]]}', json)
      expect([root.status, root.json['error_code']]).toEqual([404, 'RESOURCE_DOES_NOT_EXIST'])
    })

    it('scores JSON and CSV', async () => {
      const bodies = [
        { instances: [[1, 2]] },
        { inputs: [[1, 2]] },
        { dataframe_split: { data: [[1, 2]] }, params: {} },
      ]
      for (const body of bodies) {
        expect((await post(invocations, JSON.stringify(body), json)).json).toEqual({ predictions: [[5.5]] })
      }
      const charset = { 'content-type': 'application/json; charset=utf-8' }
      expect((await post(invocations, '{"inputs":[[1,2]]}', charset)).status).toBe(200)
      expect((await post('/endpoints/vector/invocations', 'x\n1\n2\n', { 'content-type': 'text/csv' })).json).toEqual({
        predictions: [1, 2],
      })
    })

    it('says what is wrong in its own words', async () => {
      const wrong = await post(invocations, '{"rows":[]}', json)
      expect([wrong.status, wrong.json]).toEqual([
        400,
        { error_code: 'BAD_REQUEST', message: expect.stringContaining('exactly one of') },
      ])
      for (const headers of [undefined, { 'content-type': 'text/plain' }]) {
        expect((await post(invocations, '{"inputs":[[1,2]]}', headers)).status).toBe(415)
      }
      expect((await post('/endpoints/nope/invocations', '{"inputs":[]}', json)).json).toEqual({
        error_code: 'RESOURCE_DOES_NOT_EXIST',
        message: expect.stringMatching(/^Request for unknown model: 'nope' is not found/),
      })
    })
  })

  describe('a client', () => {
    it('of node:http keeps one connection for everything', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      const ports = new Set<number | undefined>()
      const statuses: (number | undefined)[] = []
      for (const [method, path, body] of [
        ['GET', '/v2', ''],
        ['POST', '/v2/models/linear/infer', rows([1, 2])],
        ['HEAD', '/v2/models/linear', ''],
        ['POST', '/v2/models/nope/infer', rows([1, 2])],
        ['GET', '/v2/health/ready', 'a body that nobody wants'],
        ['DELETE', '/v2', ''],
        ['POST', '/v2/models/linear/infer', ''],
        ['POST', '/v2/models/linear/infer', rows([3, 4])],
      ]) {
        await new Promise<void>((resolve, reject) => {
          const headers = { 'content-length': Buffer.byteLength(body ?? '') } // node:http leaves it out for GET
          const asked = request({ host: '127.0.0.1', port: lab[place], method, path, headers, agent }, (response) => {
            statuses.push(response.statusCode)
            ports.add(response.socket.localPort)
            response.resume().on('end', () => resolve())
          })
          asked.on('error', reject)
          asked.end(body)
        })
      }
      agent.destroy()
      expect(statuses).toEqual([200, 200, 200, 404, 200, 405, 400, 200])
      expect(ports.size).toBe(1)
    })

    it('of fetch gets packed answers without asking, and may send chunks', async () => {
      const url = `http://127.0.0.1:${lab[place]}/v2/models/vector/infer`
      const answer = await fetch(url, { method: 'POST', body: long })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json'])
      expect(answer.headers.get('content-encoding')).toBe('gzip')
      const { outputs } = (await answer.json()) as { outputs: { data: number[] }[] }
      expect(outputs[0]!.data).toEqual(many)
      const chunks = new ReadableStream<Uint8Array>({
        start(controller) {
          for (let at = 0; at < long.length; at += 1_000) controller.enqueue(Buffer.from(long.slice(at, at + 1_000)))
          controller.close()
        },
      })
      const streamed = await fetch(url, { method: 'POST', body: chunks, duplex: 'half' } as RequestInit)
      expect(((await streamed.json()) as { outputs: { data: number[] }[] }).outputs[0]!.data).toEqual(many)
      const head = await fetch(`http://127.0.0.1:${lab[place]}/v2`, { method: 'HEAD' })
      expect([head.status, await head.text()]).toEqual([200, ''])
    })

    const curl = hasCommand('curl')
    if (!curl) console.warn('Skipped: curl as a client. To run it: install curl.')
    it.skipIf(!curl)(`of curl sends and gets packed bodies, and asks before it sends much`, async () => {
      const url = `http://127.0.0.1:${lab[place]}`
      expect(await run(['-s', `${url}/v2/models/linear/infer`, '-d', rows([1, 2])])).toContain('"data":[5.5]')
      const headers = ['-H', 'Content-Encoding: gzip', '-H', 'Expect: 100-continue', '-H', 'Content-Type:']
      const args = ['-s', '--compressed', `${url}/v2/models/vector/infer`, ...headers, '--data-binary', '@-']
      expect(await run(args, gzipSync(long))).toContain('"data":[0,1,2,3,')
      expect(await run(['-s', '-X', 'POST', `${url}/v2/repository/index`])).toContain('"state":"READY"')
      expect(await run(['-s', '-I', `${url}/v2/health/live`])).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
      expect(await run(['-s', '--http1.0', `${url}/v1/models/linear`])).toBe('{"name":"linear","ready":true}')
    })
  })
})

/** Float32 values that belong to one request alone. */
const valuesOf = (client: number, turn: number): number[] =>
  Array.from({ length: ((client * 7 + turn * 3) % 40) * 60 + 1 }, (_, row) => client * 65_536 + turn * 4_096 + row)

interface Form {
  binaryIn: boolean
  binaryOut: boolean
  coding: 'gzip' | 'deflate' | 'identity'
  accept: string
}

/** Every form of request and answer, in turn. */
function formOf(client: number, turn: number): Form {
  const at = client + turn * 5
  const coding = (['gzip', 'deflate', 'identity'] as const)[at % 3]!
  return { binaryIn: at % 2 === 0, binaryOut: at % 4 < 2, coding, accept: ['gzip', 'deflate', ''][turn % 3]! }
}

function packedRequest(id: string, values: number[], { binaryIn, binaryOut, coding }: Form) {
  const bytes = Buffer.from(new Float32Array(values).buffer)
  const x = { name: 'x', datatype: 'FP32', shape: [values.length] }
  const input = binaryIn ? { ...x, parameters: { binary_data_size: bytes.length } } : { ...x, data: values }
  const head = Buffer.from(JSON.stringify({ id, inputs: [input], parameters: { binary_data_output: binaryOut } }))
  const whole = binaryIn ? Buffer.concat([head, bytes]) : head
  const body = coding === 'identity' ? whole : coding === 'gzip' ? gzipSync(whole) : deflateSync(whole)
  return { body, jsonBytes: binaryIn ? head.length : null }
}

function readAnswer({ body, headers }: Reply): { id: unknown; values: number[] } {
  const coding = headers['content-encoding']
  const whole = coding === undefined ? body : coding === 'gzip' ? gunzipSync(body) : inflateSync(body)
  const jsonBytes = headers['inference-header-content-length']
  const end = jsonBytes === undefined ? whole.length : Number(jsonBytes)
  const { id, outputs } = JSON.parse(whole.toString('utf8', 0, end)) as { id: string; outputs: { data?: number[] }[] }
  const bytes = Uint8Array.from(whole.subarray(end))
  return { id, values: outputs[0]?.data ?? [...new Float32Array(bytes.buffer)] }
}

it.each(['modelServer', 'gateway'] as const)(
  'gives each of a crowd at the %s its own answer, in the form that it asked for',
  async (place) => {
    const forms = new Set<string>()
    const client = async (name: number): Promise<void> => {
      for (let turn = 0; turn < 12; turn++) {
        const form = formOf(name, turn)
        const values = valuesOf(name, turn)
        const { body, jsonBytes } = packedRequest(`${name}/${turn}`, values, form)
        const headers: Record<string, string> = { 'content-encoding': form.coding, 'accept-encoding': form.accept }
        if (jsonBytes !== null) headers['inference-header-content-length'] = String(jsonBytes)
        const reply = await call(lab[place], 'POST', '/v2/models/vector/infer', { body, headers })
        expect(reply.status).toBe(200)
        expect(reply.headers['inference-header-content-length'] !== undefined).toBe(form.binaryOut)
        expect(readAnswer(reply)).toEqual({ id: `${name}/${turn}`, values })
        forms.add(`${form.coding} → ${reply.headers['content-encoding'] ?? 'plain'}`)
      }
    }
    await Promise.all(Array.from({ length: 24 }, (_, name) => client(name)))
    expect(forms.size).toBe(9)
  },
)

describe('MLflow where there is one model', () => {
  let alone: ServingLab
  beforeAll(async () => {
    alone = await openServingLab({ only: onnx.identityModel('float', ['N']) })
  })
  afterAll(() => alone?.close())

  it.each(['modelServer', 'gateway'] as const)('answers at the root of the %s as well', async (place) => {
    for (const path of ['/ping', '/health', '/version'])
      expect((await call(alone[place], 'GET', path)).status).toBe(200)
    const headers = { 'content-type': 'text/csv' }
    const scored = await call(alone[place], 'POST', '/invocations', { body: 'x\n1\n2\n', headers })
    expect([scored.status, scored.json]).toEqual([200, { predictions: [1, 2] }])
    expect(scored.headers['millrace-prediction-id'] !== undefined).toBe(place === 'gateway')
  })
})

function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    socket.on('data', (part) => (text += part.toString()))
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
}

function run(args: string[], input: Buffer = Buffer.alloc(0)): Promise<string> {
  const child = spawn('curl', args, { stdio: ['pipe', 'pipe', 'inherit'], timeout: 20_000 })
  let text = ''
  child.stdout.on('data', (part: Buffer) => (text += part.toString()))
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(text) : reject(new Error(`curl ended with ${code}: ${text}`))))
  })
}
