import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { httpUpstreams } from './http.ts'
import type { Upstream, UpstreamRequest } from './upstream.ts'

interface Seen {
  url: string | undefined
  headers: IncomingMessage['headers']
  body: Buffer
}

let server: Server | null = null
let upstream: Upstream | null = null
afterEach(() => {
  upstream?.close()
  server?.closeAllConnections()
  server?.close()
})

/** A v2 server of someone else's, on a port. */
async function open(
  answer: (seen: Seen, response: ServerResponse) => void,
): Promise<{ upstream: Upstream; seen: Seen[] }> {
  const seen: Seen[] = []
  server = createServer((asked, response) => {
    const parts: Buffer[] = []
    asked.on('data', (part: Buffer) => parts.push(part))
    asked.on('end', () => {
      const one = { url: asked.url, headers: asked.headers, body: Buffer.concat(parts) }
      seen.push(one)
      answer(one, response)
    })
  })
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  upstream = httpUpstreams()({ replicaId: 'r', socketPath: '', httpPort: port })
  return { upstream, seen }
}

const request = (change: Partial<UpstreamRequest> = {}): UpstreamRequest => ({
  model: 'm',
  version: '3',
  body: Buffer.from('{}'),
  jsonBytes: null,
  headers: [],
  ...change,
})

describe("a server of someone else's", () => {
  it('is called on its port, with all that it needs to understand a binary request', async () => {
    const { upstream: replica, seen } = await open(({ body }, response) => {
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Inference-Header-Content-Length': '2' })
      response.end(body)
    })
    const body = Buffer.from('{}\x01\x02\x03\x04', 'latin1')
    const answer = await replica.call(request({ body, jsonBytes: 2, timeoutMs: 400 })).answer
    expect(answer).toMatchObject({ status: 200, body, jsonBytes: 2 })
    expect(seen[0]).toMatchObject({
      url: '/v2/models/m/versions/3/infer',
      body,
      headers: {
        'content-type': 'application/octet-stream',
        'inference-header-content-length': '2',
        'x-request-timeout-ms': '400',
        'content-length': '6',
      },
    })
  })

  it('is told the type of plain JSON, and its version only where it has one', async () => {
    const { upstream: replica, seen } = await open((_seen, response) => response.end('{}'))
    expect(await replica.call(request({ model: 'a b', version: '' })).answer).toMatchObject({ jsonBytes: null })
    await replica.call(request({ headers: ['content-type', 'application/x-mine', 'traceparent', 't'] })).answer
    expect(seen).toMatchObject([
      { url: '/v2/models/a%20b/infer', headers: { 'content-type': 'application/json' } },
      { headers: { 'content-type': 'application/x-mine', traceparent: 't' } },
    ])
  })

  it.each(['7', 'x', '-1'])('that says its JSON has %s of 2 bytes is not believed', async (length) => {
    const { upstream: replica } = await open((_seen, response) => {
      response.setHeader('Inference-Header-Content-Length', length)
      response.end('{}')
    })
    await expect(replica.call(request()).answer).rejects.toMatchObject({ fault: 'garbled' })
  })

  it('is probed on its port', async () => {
    const { upstream: replica, seen } = await open((_seen, response) => response.end('{"ready":true}'))
    expect(await replica.probe(1_000)).toBe(true)
    expect(seen[0]?.url).toBe('/v2/health/ready')
    const nobody = httpUpstreams()({ replicaId: 'r', socketPath: '', httpPort: 1 })
    expect(await nobody.probe(1_000)).toBe(false)
    await expect(nobody.call(request()).answer).rejects.toMatchObject({ fault: 'refused' })
  })
})
