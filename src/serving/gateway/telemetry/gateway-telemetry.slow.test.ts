import type { EventEmitter } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { credentials, loadPackageDefinition, Metadata, status } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hasPromtool, promtoolFindings, readExposition, valueOf } from '../../../testing/exposition.ts'
import { deploymentOf, routeOf, snapshotOf } from '../../../testing/gateway-fakes.ts'
import { openLab, send } from '../../../testing/gateway-lab.ts'
import type { Lab } from '../../../testing/gateway-lab.ts'
import { openLabGateway } from '../../../testing/lab-gateway.ts'
import { protobufSchema } from '../../front/grpc/schema.ts'
import type { Gateway } from '../gateway.ts'
import type { AccessLine } from './access-lines.ts'

const INFER = '/v2/models/late-flights/infer'
const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
let lab: Lab
beforeEach(() => void (lab = openLab()))
afterEach(() => lab.close())

async function gatewayOver(
  answer: Parameters<Lab['replica']>[1],
  options: { accessLogPercent?: number; grpcPort?: number } = {},
): Promise<Gateway> {
  const control = await lab.controlPlane()
  const replica = await lab.replica('a', answer)
  control.publish(
    snapshotOf(1, [routeOf({ deployments: [deploymentOf({ deploymentId: 'deployment-1', replicas: [replica] })] })]),
  )
  const gateway = await openLabGateway(lab, options)
  lab.onClose(() => gateway.drain({ idleMs: 10, limitMs: 100 }))
  await control.reported((report) => report.revision === 1)
  return gateway
}

const fine: Parameters<Lab['replica']>[1] = (request, response) => {
  request
    .resume()
    .on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{"outputs":[]}'))
}

const infer = (gateway: Gateway, headers: Record<string, string> = {}) =>
  send({ port: gateway.port, path: INFER, method: 'POST', headers }, '{"inputs":[]}')

interface InferenceClient {
  ModelInfer(message: object, metadata: Metadata, done: (error: Error | null) => void): EventEmitter
  close(): void
}

/** @returns the metadata of the answer */
async function inferByGrpc(port: number, model: string, metadata: Metadata): Promise<Metadata> {
  const { inference } = loadPackageDefinition(fromJSON(protobufSchema, { keepCase: true })) as unknown as {
    inference: { GRPCInferenceService: new (address: string, how: object) => InferenceClient }
  }
  const client = new inference.GRPCInferenceService(`127.0.0.1:${port}`, credentials.createInsecure())
  try {
    return await new Promise((resolve, reject) => {
      let received = new Metadata()
      const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, 2], contents: { fp32_contents: [1, 2] } }]
      const call = client.ModelInfer({ model_name: model, inputs }, metadata, (error) =>
        error === null ? resolve(received) : reject(error),
      )
      call.on('metadata', (got: Metadata) => (received = got))
    })
  } finally {
    client.close()
  }
}

async function accessLines(count: number): Promise<(AccessLine & { msg: string; at: string; process: string })[]> {
  const path = join(lab.dir, 'logs', 'gateway-1.access.log')
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 50) {
    const lines = existsSync(path)
      ? readFileSync(path, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
      : []
    if (lines.length >= count)
      return lines.map((line) => JSON.parse(line) as Awaited<ReturnType<typeof accessLines>>[number])
    await sleep(50)
  }
  throw new Error(`there are no ${count} lines in ${path}`)
}

describe('a gateway under way', () => {
  it('tells Prometheus what it does, on its port and on its own socket', async () => {
    const gateway = await gatewayOver(fine)
    const asked = 20
    for (let i = 0; i < asked; i++) expect((await infer(gateway)).status).toBe(200)
    await send({ port: gateway.port, path: '/nothing-here' })
    const answer = await send({ port: gateway.port, path: '/metrics' })
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    const metrics = readExposition(answer.text)
    const of = (name: string, labels: Record<string, string>) => valueOf(metrics, name, labels)
    const duration = 'http_server_request_duration_seconds_count'
    const post = {
      http_request_method: 'POST',
      http_route: '/v2/models/{model}/infer',
      http_response_status_code: '200',
    }
    expect(of(duration, post)).toBe(asked)
    expect(of('millrace_requests_total', { outcome: 'answered', endpoint: 'late-flights', version: '1' })).toBe(asked)
    expect(of('millrace_request_duration_seconds_count', { version: '1' })).toBe(asked)
    expect(of(duration, { http_response_status_code: '404' })).toBe(1)
    expect(of('millrace_control_plane_connected', {})).toBe(1)
    expect(hasPromtool ? promtoolFindings(answer.text) : []).toEqual([])
    const onSocket = await send({ socketPath: lab.socket('gateway'), path: '/metrics' })
    expect(valueOf(readExposition(onSocket.text), duration, post)).toBe(asked)
  })

  it('hands a trace on to the replica with its own span, and back to who asks', async () => {
    const seen: (string | string[] | undefined)[][] = []
    const gateway = await gatewayOver((request, response) => {
      seen.push([request.headers['traceparent'], request.headers['tracestate']])
      fine(request, response)
    })
    const first = await infer(gateway, { traceparent: parent, tracestate: 'x=1', 'millrace-return-trace': '1' })
    expect(seen[0]![0]).toMatch(new RegExp(`^00-${'a'.repeat(32)}-[0-9a-f]{16}-01$`))
    expect(seen[0]).not.toContain(parent)
    expect(seen[0]![1]).toBe('x=1')
    expect(first.headers['traceresponse']).toBe(seen[0]![0])
    const second = await infer(gateway, { traceparent: 'garbage', tracestate: 'x=1' })
    expect(seen[1]![0]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
    expect(seen[1]![1]).toBeUndefined()
    expect(second.headers['traceresponse']).toBeUndefined()
    await infer(gateway)
    expect(seen[2]).toEqual([undefined, undefined])
  })

  it('writes a line of its access log for each request that is drawn, with its trace and prediction', async () => {
    const seen: (string | string[] | undefined)[] = []
    const gateway = await gatewayOver(
      (request, response) => {
        seen.push(request.headers['traceparent'])
        fine(request, response)
      },
      { accessLogPercent: 100 },
    )
    const answer = await infer(gateway, { traceparent: parent })
    await infer(gateway)
    await send({ port: gateway.port, path: '/livez' })
    const lines = await accessLines(3)
    expect(lines[0]).toMatchObject({
      process: 'gateway-1',
      msg: 'request',
      method: 'POST',
      target: INFER,
      route: '/v2/models/{model}/infer',
      endpoint: 'late-flights',
      version: '1',
      status: 200,
      bytesIn: 13,
      bytesOut: 14,
      caller: 'anonymous',
      peer: '127.0.0.1',
      traceId: 'a'.repeat(32),
      predictionId: answer.headers['millrace-prediction-id'],
      retries: 0,
      sampled: true,
    })
    expect(lines[0]!.latencyMs).toBeGreaterThan(0)
    expect(Math.abs(Date.parse(lines[0]!.at) - Date.now())).toBeLessThan(30_000)
    // Without a trace of the client's one begins here, and the replica is in it.
    expect(String(seen[1]).split('-')[1]).toBe(lines[1]!.traceId)
    expect(lines[2]).toMatchObject({ target: '/livez', status: 200, predictionId: null })
  })

  it('does the same over gRPC: traces by metadata, durations, lines', async () => {
    const seen: (string | string[] | undefined)[] = []
    const gateway = await gatewayOver(
      (request, response) => {
        seen.push(request.headers['traceparent'])
        const body = '{"model_name":"late-flight","model_version":"1","outputs":[]}'
        request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end(body))
      },
      { accessLogPercent: 100, grpcPort: 0 },
    )
    const metadata = new Metadata()
    metadata.set('traceparent', parent)
    metadata.set('millrace-return-trace', '1')
    const back = await inferByGrpc(gateway.grpcPort!, 'late-flights', metadata)
    expect(seen[0]).toMatch(new RegExp(`^00-${'a'.repeat(32)}-[0-9a-f]{16}-01$`))
    expect(back.get('traceresponse')).toEqual([seen[0]])
    await expect(inferByGrpc(gateway.grpcPort!, 'nobody', new Metadata())).rejects.toMatchObject({
      code: status.NOT_FOUND,
    })
    const route = '/inference.GRPCInferenceService/ModelInfer'
    expect(await accessLines(2)).toMatchObject([
      { route, status: 200, endpoint: 'late-flights', version: '1', traceId: 'a'.repeat(32), peer: '127.0.0.1' },
      { route, status: 404, endpoint: null, caller: 'anonymous' },
    ])
    const { text } = await send({ port: gateway.port, path: '/metrics' })
    const count = (code: string) =>
      valueOf(readExposition(text), 'http_server_request_duration_seconds_count', {
        http_route: route,
        http_response_status_code: code,
      })
    expect([count('200'), count('404')]).toEqual([1, 1])
    expect(valueOf(readExposition(text), 'millrace_grpc_calls_in_flight')).toBe(0)
  })

  it('writes one for errors without being asked, and for nothing else', async () => {
    const gateway = await gatewayOver((request, response) => {
      request.resume().on('end', () => response.writeHead(500).end('{"error":"no"}'))
    })
    await send({ port: gateway.port, path: '/livez' })
    expect((await infer(gateway)).status).toBe(500)
    expect(await accessLines(1)).toMatchObject([{ status: 500, sampled: false, level: 50 }])
    const { text } = await send({ port: gateway.port, path: '/metrics' })
    expect(valueOf(readExposition(text), 'millrace_access_log_lines_total')).toBe(1)
  })
})
