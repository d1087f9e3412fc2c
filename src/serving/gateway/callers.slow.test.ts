import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js'
import type { ChannelCredentials, ClientDuplexStream } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { deploymentOf, fakeLog, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import type { FakeLog } from '../../testing/gateway-fakes.ts'
import { openLab, send } from '../../testing/gateway-lab.ts'
import type { FakeControlPlane, Lab, Response } from '../../testing/gateway-lab.ts'
import { openLabGateway } from '../../testing/lab-gateway.ts'
import { protobufSchema } from '../front/grpc/schema.ts'
import type { Gateway } from './gateway.ts'

const digest = (key: string) => createHash('sha256').update(key).digest('hex')
let lab: Lab
let log: FakeLog
let control: FakeControlPlane
let gateway: Gateway
let snapshot: RoutingSnapshot

beforeEach(async () => {
  lab = openLab()
  log = fakeLog()
  control = await lab.controlPlane()
  gateway = await openLabGateway(lab, { grpcPort: 0 }, { log })
  const replicas = [await lab.replicaProcess('a', 300)]
  const deployments = [deploymentOf({ deploymentId: 'deployment-1', replicas })]
  const other = routeOf({ endpoint: 'tumours', model: 'tumour', deployments: [] })
  const callers = [
    { name: 'clinic', keyDigests: [digest('key-1')], commonNames: [], endpoints: ['late-flights'], concurrency: 2 },
  ]
  snapshot = { ...snapshotOf(1, [routeOf({ deployments }), other]), callers }
  control.publish(snapshot)
  await control.reported((report) => report.revision === 1)
})
afterEach(async () => {
  await gateway.drain({ idleMs: 50, limitMs: 1_000 })
  await lab.close()
})

function ask(key: string | null, endpoint = 'late-flights'): Promise<Response> {
  const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` }
  return send({ port: gateway.port, path: `/v2/models/${endpoint}/infer`, method: 'POST', headers }, '{"id":"x"}')
}

const loggedCallers = () => log.records.flatMap(({ record }) => (record.kind === 'prediction' ? [record.caller] : []))

it('knows callers by their key, and logs by whom each prediction was asked for', async () => {
  expect((await ask('key-1')).status).toBe(200)
  expect((await ask(null)).status).toBe(200)
  expect(loggedCallers()).toEqual(['clinic', 'anonymous'])
})

it('refuses an unknown key with 401, another endpoint with 403, and a revoked key within a second', async () => {
  const unknown = await ask('key-2')
  expect([unknown.status, unknown.headers['www-authenticate']]).toEqual([401, 'Bearer error="invalid_token"'])
  expect((await ask('key-1', 'tumours')).status).toBe(403)
  const labels = { port: gateway.port, path: '/feedback', method: 'POST', headers: { authorization: 'Bearer key-2' } }
  expect((await send(labels, '{}')).status).toBe(401)
  expect((await ask('key-1')).status).toBe(200)
  control.publish({ ...snapshot, revision: 2, callers: [] })
  await control.reported((report) => report.revision === 2)
  expect((await ask('key-1')).status).toBe(401)
})

it('lists to a caller what it may call, and nothing else', async () => {
  const read = async (path: string, key: string | null, method = 'GET') => {
    const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` }
    return JSON.parse((await send({ port: gateway.port, path, method, headers }, '')).text) as unknown
  }
  const index = (key: string | null) => read('/v2/repository/index', key, 'POST')
  expect(await index('key-1')).toMatchObject([{ name: 'late-flights' }])
  expect(await read('/v2/models/stats', 'key-1')).toMatchObject({ model_stats: [{ name: 'late-flights' }] })
  expect(await read('/v1/models', 'key-1')).toEqual({ models: ['late-flights'] })
  expect(await read('/v1/models', null)).toEqual({ models: ['late-flights', 'tumours'] })
  expect(JSON.stringify(await read('/invocations', 'key-1', 'POST'))).not.toContain('tumours')
  expect(JSON.stringify(await read('/ping', 'key-1'))).not.toContain('tumours')
  expect(JSON.stringify(await read('/ping', null))).toContain('tumours')
})

it('holds a caller to its requests at once, and nobody else', async () => {
  const statuses = await Promise.all(['key-1', 'key-1', 'key-1', null].map((key) => ask(key)))
  expect(statuses.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 200, 429])
  const refused = statuses.find(({ status }) => status === 429)
  expect(refused?.headers['retry-after']).toBe('1')
  expect(refused?.text).toBe(`{"error":"Caller 'clinic' already has 2 requests under way, its limit."}`)
  expect((await ask('key-1')).status).toBe(200)
})

it('ends a request when the time is over that its header gives', async () => {
  const headers = { 'x-request-timeout-ms': '100' }
  const path = '/v2/models/late-flights/infer'
  const late = await send({ port: gateway.port, path, method: 'POST', headers }, '{"id":"x"}')
  expect([late.status, late.text]).toEqual([
    504,
    `{"error":"Endpoint 'late-flights' did not answer within 100 ms, the time that the request gives; the endpoint's own is 5000 ms."}`,
  ])
})

it('refuses a revoked key also on connections and streams that were opened with it', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  lab.onClose(() => agent.destroy())
  const headers = { authorization: 'Bearer key-1' }
  const path = '/v2/models/late-flights/infer'
  const kept = () => send({ port: gateway.port, path, method: 'POST', headers, agent }, '{"id":"x"}')
  const stream = streamOf(gateway.grpcPort!, 'key-1')
  expect((await kept()).status).toBe(200)
  // It got as far as the replica, which reads no tensors.
  expect(await stream.ask('late-flights')).toBe('The request is not JSON.')

  control.publish({ ...snapshot, revision: 2, callers: [] })
  await control.reported((report) => report.revision === 2)
  const [{ status }, said] = [await kept(), await stream.ask('late-flights')]
  expect([status, said]).toEqual([401, 'The key is not known, or was revoked.'])
  expect(loggedCallers()).toEqual(['clinic'])
})

interface Stream {
  /** @returns the error of the answer; empty: there is none */
  ask(model: string): Promise<string>
}

/** A stream of inferences that was opened with a key. */
function streamOf(port: number, key: string): Stream {
  const { inference } = loadPackageDefinition(fromJSON(protobufSchema, { keepCase: true })) as unknown as {
    inference: { GRPCInferenceService: new (address: string, how: ChannelCredentials) => InferenceClient }
  }
  const client = new inference.GRPCInferenceService(`127.0.0.1:${port}`, credentials.createInsecure())
  lab.onClose(() => client.close())
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${key}`)
  const stream = client.ModelStreamInfer(metadata)
  return {
    ask(model_name) {
      const answered = once(stream, 'data') as Promise<[{ error_message: string }]>
      const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, 2], contents: { fp32_contents: [1, 2] } }]
      stream.write({ model_name, inputs })
      return answered.then(([{ error_message }]) => error_message)
    },
  }
}

interface InferenceClient {
  ModelStreamInfer(metadata: Metadata): ClientDuplexStream<object, object>
  close(): void
}
