import type { IncomingMessage, ServerResponse } from 'node:http'
import type { GatewayReport, Lease, RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { readJsonBody } from './request-body.ts'

/** What replicas and gateways tell and ask over the control socket. */
export interface InternalPort {
  onLease(lease: Lease): Promise<{ goal: 'run' | 'drain' }>
  onGatewayReport(report: GatewayReport): Promise<void>
  /** Calls back with the current routing snapshot and each new one; returns how to stop. */
  followRoutes(follower: (snapshot: RoutingSnapshot) => void): () => void
}

const KEEP_ALIVE_MS = 1_000

export function internalHandler(
  port: InternalPort,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://millrace').pathname
    if (request.method === 'POST' && path === '/internal/lease')
      return json(response, await port.onLease((await readJsonBody(request)) as Lease))
    if (request.method === 'POST' && path === '/internal/gateway-report') {
      await port.onGatewayReport((await readJsonBody(request)) as GatewayReport)
      return json(response, {})
    }
    if (request.method === 'GET' && path === '/internal/routes') return streamRoutes(port, response)
    response
      .writeHead(404, { 'content-type': 'application/json' })
      .end(JSON.stringify({ error: `No such path: ${path}` }))
  }
}

/** One snapshot a line; blank lines keep the connection known to be alive. */
function streamRoutes(port: InternalPort, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  response.flushHeaders()
  const stop = port.followRoutes((snapshot) => response.write(`${JSON.stringify(snapshot)}\n`))
  const beat = setInterval(() => response.write('\n'), KEEP_ALIVE_MS)
  response.on('close', () => {
    clearInterval(beat)
    stop()
  })
}

function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
