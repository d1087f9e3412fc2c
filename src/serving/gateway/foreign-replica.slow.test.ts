import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { credentials, loadPackageDefinition, status as codes } from '@grpc/grpc-js'
import type { ChannelCredentials, ServiceError } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { deploymentOf, fakeLog, inferBody, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import type { FakeLog } from '../../testing/gateway-fakes.ts'
import { openLab, send } from '../../testing/gateway-lab.ts'
import type { FakeControlPlane, Lab } from '../../testing/gateway-lab.ts'
import { openLabGateway } from '../../testing/lab-gateway.ts'
import { protobufSchema } from '../front/grpc/schema.ts'
import type { Gateway } from './gateway.ts'

/** A server of somebody else's behind the gateway, which answers what a test wants. */
let answer: object
let server: Server
let lab: Lab
let log: FakeLog
let control: FakeControlPlane
let gateway: Gateway

const probability = (shape: number[], data: unknown[]) => ({
  outputs: [{ name: 'probability', datatype: 'FP32', shape, data }],
})

beforeEach(async () => {
  server = createServer((asked, response) => {
    asked.resume()
    asked.on('end', () => response.end(JSON.stringify(answer)))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port: httpPort } = server.address() as AddressInfo
  lab = openLab()
  log = fakeLog()
  control = await lab.controlPlane()
  gateway = await openLabGateway(lab, { grpcPort: 0 }, { log })
  const replicas = [{ replicaId: 'replica-1', socketPath: '', httpPort }]
  const deployments = [deploymentOf({ deploymentId: 'deployment-1', foreignModel: 'theirs', replicas })]
  control.publish(snapshotOf(1, [routeOf({ deployments })]))
  await control.reported((report) => report.revision === 1)
})
afterEach(async () => {
  await gateway.drain({ idleMs: 50, limitMs: 1_000 })
  await lab.close()
  server.closeAllConnections()
  await new Promise((closed) => server.close(closed))
})

const post = (path: string, body: string | Buffer) =>
  send({ port: gateway.port, path, method: 'POST', headers: { 'content-type': 'application/json' } }, body)

interface InferClient {
  ModelInfer(request: object, done: (error: ServiceError | null) => void): void
  close(): void
}

function askByGrpc(): Promise<ServiceError | null> {
  type Constructor = new (address: string, how: ChannelCredentials) => InferClient
  const { inference } = loadPackageDefinition(fromJSON(protobufSchema)) as unknown as {
    inference: { GRPCInferenceService: Constructor }
  }
  const client = new inference.GRPCInferenceService(`127.0.0.1:${gateway.grpcPort}`, credentials.createInsecure())
  const input = { name: 'x', datatype: 'FP32', shape: [1, 2], contents: { fp32_contents: [1, 2] } }
  return new Promise<ServiceError | null>((resolve) => {
    client.ModelInfer({ model_name: 'late-flights', inputs: [input] }, resolve)
  }).finally(() => client.close())
}

const said =
  "The server of model 'late-flight' version '1' answered wrongly: output 'probability' has 3 rows, and the request has 1."

it('that answers with other rows than were asked for is told of with 502 over every protocol, and never logged', async () => {
  answer = probability([3], [0.1, 0.2, 0.3])
  const v2 = await post('/v2/models/late-flights/infer', inferBody)
  expect([v2.status, JSON.parse(v2.text)]).toEqual([502, { error: said }])
  const v1 = await post('/v1/models/late-flights:predict', '{"instances":[[1,2]]}')
  expect([v1.status, JSON.parse(v1.text)]).toEqual([502, { error: said }])
  const mlflow = await post('/endpoints/late-flights/invocations', '{"inputs":[[1,2]]}')
  expect([mlflow.status, mlflow.text]).toEqual([502, expect.stringContaining('has 3 rows, and the request has 1')])
  expect(await askByGrpc()).toMatchObject({ code: codes.UNAVAILABLE, details: said })
  expect(log.records.filter(({ record }) => record.kind === 'prediction')).toEqual([])
  await control.reported(({ traffic }) => traffic.some(({ version, failed }) => version === '1' && failed > 0))
})

it('is passed on, under the names that clients know, and logged where its answer is what is owed', async () => {
  answer = probability([1], [0.5])
  const { status, text } = await post('/v2/models/late-flights/infer', inferBody)
  expect([status, JSON.parse(text)]).toEqual([200, { model_name: 'late-flight', model_version: '1', ...answer }])
  expect(await askByGrpc()).toBe(null)
  expect(log.records.filter(({ record }) => record.kind === 'prediction')).toHaveLength(2)
})
