import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { GatewayClient, type FlightFeatures } from './gateway-client.ts'

const flight: FlightFeatures = {
  origin: 'ATL',
  destination: 'ORD',
  route: 'ATL-ORD',
  route_slot: 'ATL-ORD@6',
  distance: 606,
  hour: 13.5,
  dow: 1,
  origin_late: 0.2,
  destination_late: 0.1,
  origin_recent: 0.3,
}

describe('asking the gateway', () => {
  let server: Server | null = null
  let client: GatewayClient | null = null

  afterEach(() => {
    client?.close()
    server?.close()
  })

  it('sends one row with every feature and reads id, version and probability', async () => {
    const bodies: string[] = []
    const gateway = await listen((body, _, response) => {
      bodies.push(body)
      response.setHeader('millrace-prediction-id', 'p-1')
      response.end(JSON.stringify({ model_version: '3', outputs: [{ name: 'late_probability', data: [0.25] }] }))
    })
    expect(await gateway.predict(flight)).toEqual({
      kind: 'answered',
      predictionId: 'p-1',
      version: '3',
      probability: 0.25,
    })
    const { inputs } = JSON.parse(bodies[0]!) as { inputs: { name: string; datatype: string; data: unknown[] }[] }
    expect(Object.fromEntries(inputs.map(({ name, data }) => [name, data[0]]))).toEqual(flight)
    expect(inputs.map(({ datatype }) => datatype)).toEqual([...Array(4).fill('BYTES'), ...Array(6).fill('FP32')])
  })

  it('counts an error answer as failed, with its text', async () => {
    const gateway = await listen((_, __, response) => response.writeHead(503).end('{"error":"no live version"}'))
    expect(await gateway.predict(flight)).toEqual({ kind: 'failed', why: '503: {"error":"no live version"}' })
  })

  it('counts a 200 without an id as failed', async () => {
    const gateway = await listen((_, __, response) =>
      response.end('{"model_version":"1","outputs":[{"name":"late_probability","data":[0.5]}]}'),
    )
    expect(await gateway.predict(flight)).toMatchObject({ kind: 'failed' })
  })

  it('counts a connection that dies before the answer as interrupted', async () => {
    const gateway = await listen((_, request) => request.socket.destroy())
    expect(await gateway.predict(flight)).toMatchObject({ kind: 'interrupted' })
  })

  it('counts an answer that breaks off as interrupted', async () => {
    const gateway = await listen((_, request, response) => {
      response.writeHead(200, { 'content-length': 1_000 })
      response.write('{"model', () => request.socket.destroy())
    })
    expect(await gateway.predict(flight)).toMatchObject({ kind: 'interrupted' })
  })

  it('says how many labels were accepted, and throws if they were refused', async () => {
    const gateway = await listen((body, _, response) => {
      const { labels } = JSON.parse(body) as { labels: unknown[] }
      response.writeHead(labels.length < 3 ? 202 : 400).end(JSON.stringify({ accepted: labels.length }))
    })
    const label = { id: 'p-1', label: 1, at: '2001-02-03T00:00:00.000Z' } as const
    expect(await gateway.feedback([label, label])).toBe(2)
    await expect(gateway.feedback([label, label, label])).rejects.toThrow('Labels were refused: 400')
  })

  async function listen(
    answer: (body: string, request: IncomingMessage, response: ServerResponse) => unknown,
  ): Promise<GatewayClient> {
    server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => answer(Buffer.concat(chunks).toString(), request, response))
    })
    await new Promise<void>((ready) => server!.listen(0, '127.0.0.1', ready))
    const { port } = server.address() as { port: number }
    client = new GatewayClient(`http://127.0.0.1:${port}`, 'late-flight', 2)
    return client
  }
})
