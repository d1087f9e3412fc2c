import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { httpUpstreams } from './http.ts'
import type { Upstream, UpstreamRequest } from './upstream.ts'

/** A server of someone else, on a port, that answers as a test wants it. */
let server: Server
let asked: { url: string; headers: NodeJS.Dict<string | string[]>; body: string }[]
let answer: { status: number; headers: Record<string, string>; body: Buffer | string }
let upstream: Upstream

beforeEach(async () => {
  asked = []
  answer = { status: 200, headers: {}, body: '{"model_name":"theirs","outputs":[]}' }
  server = createServer((call, response) => {
    let body = ''
    call.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
    call.on('end', () => {
      asked.push({ url: call.url!, headers: call.headers, body })
      response.writeHead(answer.status, answer.headers)
      response.end(answer.body)
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
  answerAs: { model: 'ours', version: '7' },
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
    const json = '{"outputs":[]}'
    const tensors = Buffer.from([1, 2, 3, 4])
    const headers = { 'Inference-Header-Content-Length': String(json.length) }
    answer = { status: 200, headers, body: Buffer.concat([Buffer.from(json), tensors]) }
    const given = await upstream.call(request).answer
    const named = '{"model_name":"ours","model_version":"7","outputs":[]}'
    expect(given.jsonBytes).toBe(named.length)
    expect(given.headers.get('inference-header-content-length')).toBe(String(named.length))
    expect(given.body).toEqual(Buffer.concat([Buffer.from(named), tensors]))
  })

  it('is taken by its word where it refuses', async () => {
    answer = { status: 422, headers: {}, body: 'not {JSON}' }
    const { status, body } = await upstream.call(request).answer
    expect({ status, body: body.toString() }).toEqual({ status: 422, body: 'not {JSON}' })
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
