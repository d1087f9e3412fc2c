import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Signature } from '../../../kernel/model/signature.ts'
import { httpUpstreams } from './http.ts'
import type { Upstream, UpstreamRequest } from './upstream.ts'

/** A server of someone else, on a port, that answers as a test wants it. */
let server: Server
let asked: { url: string; headers: NodeJS.Dict<string | string[]>; body: string }[]
let answer: { status: number; headers: Record<string, string>; body: Buffer | string }
let upstream: Upstream
/** Null: answered at once. */
let release: Promise<void> | null

beforeEach(async () => {
  asked = []
  release = null
  answer = { status: 200, headers: {}, body: '{"model_name":"theirs","outputs":[]}' }
  server = createServer((call, response) => {
    let body = ''
    call.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
    call.on('end', () => {
      asked.push({ url: call.url!, headers: call.headers, body })
      const { status, headers, body: given } = answer
      void (release ?? Promise.resolve()).then(() => {
        response.writeHead(status, headers)
        response.end(given)
      })
    })
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  upstream = httpUpstreams()({ replicaId: 'replica-1', socketPath: '', httpPort: port })
})
afterEach(async () => {
  upstream.close()
  server.closeAllConnections()
  await new Promise((closed) => server.close(closed))
})

const request: UpstreamRequest = {
  model: 'their model',
  version: '',
  body: Buffer.from('{"inputs":[]}'),
  jsonBytes: null,
  headers: [],
  answerAs: { model: 'ours', version: '7', signature: { inputs: [], outputs: [] } },
}

describe('a server of someone else', () => {
  it('is asked for its own model without a version, in the type of the protocol', async () => {
    await upstream.call(request).answer
    expect(asked).toMatchObject([
      {
        url: '/v2/models/their%20model/infer',
        headers: { 'content-type': 'application/json', 'content-length': '13' },
        body: '{"inputs":[]}',
      },
    ])
  })

  it('answers under the names that clients know', async () => {
    const { status, body, jsonBytes } = await upstream.call(request).answer
    expect({ status, jsonBytes }).toEqual({ status: 200, jsonBytes: null })
    expect(body.toString()).toBe('{"model_name":"ours","model_version":"7","outputs":[]}')
  })

  it('keeps its binary tensors behind the longer JSON', async () => {
    const output = '{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}'
    const json = `{"outputs":[${output}]}`
    const tensors = Buffer.from([1, 2, 3, 4])
    const headers = { 'Inference-Header-Content-Length': String(json.length) }
    answer = { status: 200, headers, body: Buffer.concat([Buffer.from(json), tensors]) }
    const given = await upstream.call(request).answer
    const named = `{"model_name":"ours","model_version":"7","outputs":[${output}]}`
    expect(given.jsonBytes).toBe(named.length)
    expect(given.headers.get('inference-header-content-length')).toBe(String(named.length))
    expect(given.body).toEqual(Buffer.concat([Buffer.from(named), tensors]))
  })

  it('is taken by its word where it refuses', async () => {
    answer = { status: 422, headers: {}, body: 'not {JSON}' }
    const { status, body } = await upstream.call(request).answer
    expect({ status, body: body.toString() }).toEqual({ status: 422, body: 'not {JSON}' })
  })

  describe('that owes one row of y', () => {
    const signature: Signature = {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1], columns: null }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1], columns: null }],
    }
    const owing = (rows: number, data: string): UpstreamRequest => ({
      ...request,
      body: Buffer.from(`{"inputs":[{"name":"x","datatype":"FP32","shape":[${rows}],"data":${data}}]}`),
      answerAs: { model: 'ours', version: '7', signature },
    })
    const outputs = (rows: number, data: string) =>
      `{"outputs":[{"name":"y","datatype":"FP32","shape":[${rows}],"data":${data}}]}`

    it.each([
      ['two rows', outputs(2, '[1,2]'), "output 'y' has 2 rows, and the request has 1"],
      ['two values for one', outputs(1, '[1,2]'), "output 'y' has 2 values, and its shape [1] takes 1"],
      ['no y', '{"outputs":[]}', "output 'y' is missing"],
      ['NaN', outputs(1, '[NaN]'), /it holds NaN, which JSON can't carry/],
    ])('and gives %s has failed, which is said with 502', async (_what, body, why) => {
      answer = { status: 200, headers: {}, body }
      const given = await upstream.call(owing(1, '[1]')).answer
      expect([given.status, given.jsonBytes]).toEqual([502, null])
      const { error } = JSON.parse(given.body.toString()) as { error: string }
      expect(error).toMatch(/^The server of model 'ours' version '7' answered wrongly: .*\.$/)
      expect(error).toMatch(why)
    })
  })

  it('keeps an exchange that has taken over the connection of one that is given up too late', async () => {
    const first = upstream.call(request)
    await first.answer
    let goOn = (): void => undefined
    release = new Promise((resolve) => (goOn = resolve))
    const second = upstream.call(request)
    await expect.poll(() => asked.length).toBe(2)
    first.abort()
    goOn()
    expect((await second.answer).status).toBe(200)
  })

  it('counts as broken where its 200 is no answer', async () => {
    answer = { status: 200, headers: {}, body: '<html>' }
    await expect(upstream.call(request).answer).rejects.toMatchObject({ fault: 'garbled' })
  })

  it.each([204, 206, 302])(
    'counts as broken where it says %i, which is neither an answer nor an error',
    async (status) => {
      answer = { status, headers: { location: '/elsewhere' }, body: '' }
      await expect(upstream.call(request).answer).rejects.toMatchObject({ fault: 'garbled' })
    },
  )

  it('is probed on its port', async () => {
    expect(await upstream.probe(2_000)).toBe(true)
    expect(asked[0]!.url).toBe('/v2/health/ready')
  })
})
