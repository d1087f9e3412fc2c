import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'

import { sendLabels } from './feedback.ts'
import { modelMetadata, predict, requestFromRows } from './predict.ts'

describe('rows as a v2 request', () => {
  const perColumn = [
    { name: 'age', datatype: 'INT64' as const, shape: [-1, 1] },
    { name: 'city', datatype: 'BYTES' as const, shape: [-1] },
  ]

  it('gives each one-column input the column of its name', () => {
    expect(
      requestFromRows(perColumn, [
        { city: 'Ulm', age: 3 },
        { age: 4, city: 'Bonn' },
      ]),
    ).toEqual({
      inputs: [
        { name: 'age', datatype: 'INT64', shape: [2, 1], data: [3, 4] },
        { name: 'city', datatype: 'BYTES', shape: [2], data: ['Ulm', 'Bonn'] },
      ],
    })
  })

  it('lays several columns side by side in the order of the signature', () => {
    const table = [{ name: 'X', datatype: 'FP32' as const, shape: [-1, 2], columns: ['age', 'income'] }]
    expect(
      requestFromRows(table, [
        { income: 10, age: 1 },
        { income: 20, age: 2 },
      ]).inputs,
    ).toEqual([{ name: 'X', datatype: 'FP32', shape: [2, 2], data: [1, 10, 2, 20] }])
  })

  it.each([
    ['a missing column', [{ age: 1 }], 'Row 0 lacks city.'],
    [
      'an unknown column',
      [
        { age: 1, city: 'x' },
        { age: 1, city: 'x', agee: 2 },
      ],
      'Row 1 has unknown agee.',
    ],
    ['both', [{ age: 1, town: 'x' }], 'Row 0 lacks city and has unknown town.'],
  ])('names %s', (_what, rows, message) => {
    expect(() => requestFromRows(perColumn, rows)).toThrow(message)
  })

  it('says why a tensor without column names cannot be built', () => {
    const image = [{ name: 'image', datatype: 'FP32' as const, shape: [-1, 3, 224, 224] }]
    expect(() => requestFromRows(image, [{ image: 1 }])).toThrow('has shape [-1, 3, 224, 224] and no column names')
  })
})

describe('the gateway client', () => {
  let close = (): void => undefined
  afterEach(() => close())

  async function gateway(
    answer: (path: string, body: string) => { status: number; headers?: Record<string, string>; body: string },
  ) {
    const server = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += String(chunk)
      const { status, headers = {}, body: text } = answer(`${request.method} ${request.url}`, body)
      response.writeHead(status, headers).end(text)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    close = () => server.close().closeAllConnections()
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, timeoutMs: 30_000 }
  }

  it('returns outputs, version and the prediction id', async () => {
    const seen: string[] = []
    const at = await gateway((path, body) => {
      seen.push(`${path} ${body}`)
      const answer = {
        model_name: 'm',
        model_version: '7',
        outputs: [{ name: 'p', datatype: 'FP32', shape: [1], data: [0.5] }],
      }
      return { status: 200, headers: { 'millrace-prediction-id': 'abc' }, body: JSON.stringify(answer) }
    })
    const prediction = await predict(at, 'late flight', { inputs: [] }, '7')
    expect(prediction).toMatchObject({ predictionId: 'abc', modelVersion: '7', outputs: [{ data: [0.5] }] })
    expect(seen).toEqual(['POST /v2/models/late%20flight/versions/7/infer {"inputs":[]}'])
  })

  it.each([
    [404, 'not-found'],
    [400, 'invalid'],
    [413, 'too-large'],
    [429, 'exhausted'],
    [503, 'unavailable'],
  ])('turns %i into the kind %s with the text of the gateway', async (status, kind) => {
    const at = await gateway(() => ({ status, body: '{"error":"no such thing"}' }))
    await expect(modelMetadata(at, 'm')).rejects.toMatchObject({
      code: 'MR_GATEWAY',
      kind,
      message: expect.stringContaining('no such thing'),
    })
  })

  it('sends the key of a caller, and says where one is missing', async () => {
    const seen: (string | undefined)[] = []
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"a key is needed"}')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    close = () => server.close().closeAllConnections()
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const refused = { kind: 'unauthorized', fix: expect.stringContaining('MILLRACE_KEY') }
    await expect(modelMetadata({ url }, 'm')).rejects.toMatchObject(refused)
    await expect(modelMetadata({ url, key: 'millrace_x' }, 'm')).rejects.toMatchObject(refused)
    expect(seen).toEqual([undefined, 'Bearer millrace_x'])
  })

  it('says that the gateway cannot be reached, and what to do', async () => {
    const at = await gateway(() => ({ status: 200, body: '{}' }))
    close()
    await expect(modelMetadata(at, 'm')).rejects.toMatchObject({
      code: 'MR_GATEWAY',
      kind: 'unavailable',
      fix: expect.stringContaining('millrace up'),
    })
  })

  it.each([
    [400, 'invalid', 'Correct what it names.'],
    [404, 'not-found', 'millrace endpoints'],
    [413, 'too-large', 'serving.maxBody'],
    [503, 'unavailable', 'Try again in a moment'],
  ])('has a next move for an answer of %i', async (status, kind, fix) => {
    const at = await gateway(() => ({ status, body: '{"error":"no"}' }))
    const refused = { code: 'MR_GATEWAY', kind, fix: expect.stringContaining(fix) }
    await expect(modelMetadata(at, 'm')).rejects.toMatchObject(refused)
  })

  it('gives up in time', async () => {
    const server = createServer(() => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    close = () => server.close().closeAllConnections()
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await expect(modelMetadata({ url, timeoutMs: 50 }, 'm')).rejects.toMatchObject({ code: 'MR_CALL_TIMED_OUT' })
  })

  it('sends labels together and says how many were taken', async () => {
    const at = await gateway((path, body) => ({
      status: 202,
      body: JSON.stringify({ accepted: path === 'POST /feedback' ? JSON.parse(body).labels.length : 0 }),
    }))
    expect(
      await sendLabels(at, [
        { id: 'a', label: 1 },
        { id: 'b', label: false, row: 2 },
      ]),
    ).toBe(2)
  })
})
