import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import { openGrpcFront } from '../serving/front/grpc/grpc-front.ts'
import { saveRoutes } from '../serving/gateway/routes-file.ts'
import { createHttpFront } from '../serving/model-server/http.ts'
import { createModelServer } from '../serving/model-server/model-server.ts'
import { ServerPlane } from '../serving/model-server/server-plane.ts'
import { deploymentOf, fakeLog, routeOf, snapshotOf } from './gateway-fakes.ts'
import type { FakeLog } from './gateway-fakes.ts'
import { openLab } from './gateway-lab.ts'
import { openLabGateway } from './lab-gateway.ts'
import { writeModel } from './onnx-builder.ts'

/** The same models behind a model server and, at one more port, behind a gateway that asks that server. */
export interface ServingLab {
  modelServer: number
  gateway: number
  /** Ports of the same two for gRPC. */
  grpc: { modelServer: number; gateway: number }
  /** The gateway's. */
  log: FakeLog
  close(): Promise<void>
}

const SERVER = { name: 'millrace', version: '1.2.3' }

/** @param models - ONNX files by name; each is version `7`, and at the gateway the endpoint of its name */
export async function openServingLab(
  models: Record<string, Uint8Array>,
  { bodyLimitBytes = 10_000_000 }: { bodyLimitBytes?: number } = {},
): Promise<ServingLab> {
  const lab = openLab()
  const log = fakeLog()
  const server = createModelServer()
  const plane = new ServerPlane({ models: server, server: SERVER })
  const front = createHttpFront({ plane, limits: { lingerMs: 0 } })
  const replica = { replicaId: 'replica-1', socketPath: lab.socket('replica-1') }
  const endpoints = []
  for (const [model, bytes] of Object.entries(models)) {
    const path = writeModel(join(lab.dir, `${model}.onnx`), bytes)
    const { signature } = await server.load({ model, version: '7', path, digest: null, features: null })
    const deployments = [deploymentOf({ deploymentId: `${model}-7`, version: '7', signature, replicas: [replica] })]
    endpoints.push(routeOf({ endpoint: model, model, deployments, bodyLimitBytes }))
  }
  await front.listenOnSocket(replica.socketPath)
  const modelServer = await front.listenOnPort('127.0.0.1', 0)
  const grpc = openGrpcFront({ plane, tell: () => undefined })
  const modelServerGrpc = await grpc.listen({ host: '127.0.0.1', port: 0 })
  await saveRoutes(join(lab.dir, 'gateway', 'routes.json'), snapshotOf(1, endpoints))
  const gateway = await openLabGateway(lab, { grpcPort: 0, controlSocket: lab.socket('nobody') }, { log })
  return {
    modelServer,
    gateway: gateway.port,
    grpc: { modelServer: modelServerGrpc, gateway: gateway.grpcPort ?? 0 },
    log,
    async close() {
      await gateway.drain({ idleMs: 50, limitMs: 1_000 })
      await grpc.close()
      await front.close()
      await server.close()
      await lab.close()
    },
  }
}

export interface Reply {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  /** Of the body, where it is JSON as a whole. */
  json: Record<string, unknown>
}

/** One request by node:http, which adds nothing that was not asked for. */
export function call(
  port: number,
  method: string,
  path: string,
  { body, headers = {} }: { body?: string | Buffer; headers?: Record<string, string> } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () => {
        const whole = Buffer.concat(parts)
        const { statusCode: status = 0, headers: answered } = response
        resolve({ status, headers: answered, body: whole, json: jsonOf(whole) })
      })
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

function jsonOf(body: Buffer): Record<string, unknown> {
  try {
    return JSON.parse(body.toString()) as Record<string, unknown>
  } catch {
    return {} // bytes follow the JSON, or there is none: whoever looks for a field finds it missing
  }
}
