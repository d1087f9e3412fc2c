import { chmod, mkdir, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import path from 'node:path'

import { OpenAPIHandler } from '@orpc/openapi/node'
import { SmartCoercionPlugin } from '@orpc/json-schema'
import { RPCHandler } from '@orpc/server/node'
import type { StandardHandleResult } from '@orpc/server/standard'
import { ZodToJsonSchemaConverter } from '@orpc/zod/zod4'

import { MillraceError } from '../../kernel/errors.ts'
import { EXPOSITION_TYPE } from '../../kernel/metrics/exposition.ts'
import { createAdmission, type Admission } from './admission.ts'
import { ApiBusyError, ApiFailedError, ApiNoPageError, ApiUnauthorizedError, ApiUnknownPathError } from './errors.ts'
import { routerOf, type Call, type Handlers } from './handlers.ts'
import { openApiDocument, REST_PREFIX } from './openapi.ts'
import { documentPage } from './page.ts'
import { readJsonBody } from './request-body.ts'
import { bodyOfError, toWireError, withWireErrors, type OnDefect } from './wire-errors.ts'

/*
 * One handler behind two listeners:
 *
 *   unix socket, mode 0600   /rpc /api/v1 /openapi.json /metrics  /internal/* /identity  POST /open-ticket
 *   TCP, optional            /rpc /api/v1 /openapi.json /metrics  / (page)  /open?ticket=   … all but /open with a token or cookie
 *
 * What fails before a procedure is reached answers with the same JSON as a failed procedure of the REST face.
 */

export interface ApiServerOptions {
  handlers: Handlers
  /** Answers /internal/*, reached over the unix socket only. */
  internal: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>
  /** Answers GET /identity on the unix socket: by this the supervisor makes sure that a pid is really this process. */
  identity?: { id: string; token: string; pid: number }
  /** For Prometheus: GET /metrics[?process=ID], GET /metrics/targets. Absent: nothing is there. */
  metrics?: MetricsPort
  /** Bearer token for TCP, see `ensureApiToken`. */
  token: string
  /** Version of Millrace, shown in the document. */
  version: string
  onDefect: OnDefect
  nowMs?: () => number
}

export interface MetricsPort {
  /** @param process - null: of the control plane itself. @throws ProcessUnknownError, ProcessMetricsError */
  text(process: string | null): Promise<string>
  /** @param address - under which the control API was asked */
  targets(address: string): unknown
}

export interface ApiServer {
  /** @throws ApiBusyError if a living process listens there; the socket of a dead one is replaced */
  listenSocket(socketPath: string): Promise<void>
  /** @returns the URL, with the port that was given by the system where `port` is 0 */
  listenTcp(options: { host: string; port: number }): Promise<string>
  /** Stops listening, gives open calls `graceMs` (1 s), then cuts them. */
  close(graceMs?: number): Promise<void>
}

const REQUEST_MS = 60_000
const HEADERS_MS = 10_000
const CONNECTIONS_MAX = 1_024
/** How often it is looked whether a request is late. */
const LATE_LOOK_MS = 5_000

export function createApiServer(options: ApiServerOptions): ApiServer {
  const answer = answerCalls(options)
  const servers: Server[] = []
  let admission: { url: string; check: Admission } | null = null

  const serve = (handle: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>): Server => {
    const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      try {
        await handle(request, response)
      } catch (error) {
        sendError(response, error, request, options.onDefect)
      }
    }
    const server = createServer(
      { requestTimeout: REQUEST_MS, headersTimeout: HEADERS_MS, connectionsCheckingInterval: LATE_LOOK_MS },
      respond,
    )
    server.maxConnections = CONNECTIONS_MAX
    servers.push(server)
    return server
  }

  const overSocket = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname } = urlOf(request)
    if (pathname.startsWith('/internal/')) return options.internal(request, response)
    if (pathname === '/identity' && options.identity !== undefined) return sendJson(response, 200, options.identity)
    if (pathname === '/open-ticket' && request.method === 'POST') {
      if (admission === null) throw new ApiNoPageError()
      return sendJson(response, 200, { url: `${admission.url}/open?ticket=${admission.check.issueTicket()}` })
    }
    return answer(request, response, 'socket')
  }

  return {
    async listenSocket(socketPath) {
      await mkdir(path.dirname(socketPath), { recursive: true, mode: 0o700 })
      if (await isAlive(socketPath)) throw new ApiBusyError(socketPath)
      await rm(socketPath, { force: true })
      await listening(serve(overSocket), { path: socketPath })
      await chmod(socketPath, 0o600)
    },
    async listenTcp({ host, port }) {
      const overTcp = (request: IncomingMessage, response: ServerResponse): Promise<void> => {
        const page = admission!
        return isPagePath(request)
          ? openPage(page.check, request, response)
          : answer(request, response, page.check.admit(request))
      }
      const server = serve(overTcp)
      await listening(server, { host, port })
      const taken = (server.address() as AddressInfo).port
      const url = `http://${host.includes(':') ? `[${host}]` : host}:${taken}`
      const hosts = [url.slice('http://'.length), `localhost:${taken}`, `127.0.0.1:${taken}`, `[::1]:${taken}`]
      admission = { url, check: createAdmission({ token: options.token, hosts, nowMs: options.nowMs ?? Date.now }) }
      return url
    },
    async close(graceMs = 1_000) {
      await Promise.all(servers.map((server) => closeServer(server, graceMs)))
    },
  }
}

/** Everything that needs no listener: RPC, REST, the document and its page. */
function answerCalls({ handlers, version, onDefect, metrics }: ApiServerOptions) {
  const router = routerOf(handlers)
  // Made anew for each handler: plugins put their own interceptors into these lists.
  const common = () => ({
    // What fails before or after the procedure: reading the input, writing the output.
    interceptors: [
      async ({ next, request }: { next: () => Promise<StandardHandleResult>; request: { url: URL } }) => {
        try {
          return await next()
        } catch (error) {
          throw toWireError(error, request.url.pathname, onDefect)
        }
      },
    ],
    clientInterceptors: [
      async ({ next, path: procedure }: { next: () => Promise<unknown>; path: readonly string[] }) => {
        const name = procedure.join('.')
        try {
          return withWireErrors(await next(), name, onDefect)
        } catch (error) {
          throw toWireError(error, name, onDefect)
        }
      },
    ],
  })
  const rpc = new RPCHandler<Call>(router, common())
  const rest = new OpenAPIHandler<Call>(router, {
    ...common(),
    plugins: [new SmartCoercionPlugin({ schemaConverters: [new ZodToJsonSchemaConverter()] })],
    customErrorResponseBodyEncoder: bodyOfError,
  })

  return async (request: IncomingMessage, response: ServerResponse, via: Call['via']): Promise<void> => {
    const { pathname, origin } = urlOf(request)
    const context: Call = { via, signal: abortedWithoutCaller(response) }
    if (pathname.startsWith('/rpc/')) return handled(rpc, '/rpc', context, request, response)
    if (pathname.startsWith(`${REST_PREFIX}/`)) return handled(rest, REST_PREFIX, context, request, response)
    if (request.method === 'GET' && metrics !== undefined && pathname === '/metrics')
      return sendText(response, await metrics.text(urlOf(request).searchParams.get('process')))
    if (request.method === 'GET' && metrics !== undefined && pathname === '/metrics/targets')
      return sendJson(response, 200, metrics.targets(urlOf(request).host))
    if (request.method === 'GET' && pathname === '/openapi.json')
      return sendJson(response, 200, await openApiDocument(version, origin))
    if (request.method === 'GET' && pathname === '/')
      return sendHtml(response, documentPage(await openApiDocument(version, origin)))
    throw new ApiUnknownPathError(request.method ?? '?', pathname)
  }
}

async function handled(
  handler: RPCHandler<Call> | OpenAPIHandler<Call>,
  prefix: `/${string}`,
  context: Call,
  request: IncomingMessage & { body?: unknown },
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') request.body = await readJsonBody(request)
  const { matched } = await handler.handle(request, response, { prefix, context })
  if (!matched) throw new ApiUnknownPathError(request.method ?? '?', urlOf(request).pathname)
}

const isPagePath = (request: IncomingMessage) => request.method === 'GET' && urlOf(request).pathname === '/open'

/** Turns a one-time ticket into a session cookie, so that the ticket does not stay in the address bar. */
async function openPage(check: Admission, request: IncomingMessage, response: ServerResponse): Promise<void> {
  check.checkHost(request)
  const cookie = check.redeem(urlOf(request).searchParams.get('ticket') ?? '')
  if (cookie === null)
    throw new ApiUnauthorizedError(
      'This link was used already, or is older than a minute.',
      "Run 'millrace open' again.",
    )
  response.writeHead(303, { 'set-cookie': cookie, location: '/', 'cache-control': 'no-store' }).end()
}

function sendError(response: ServerResponse, thrown: unknown, request: IncomingMessage, onDefect: OnDefect): void {
  const where = `${request.method} ${urlOf(request).pathname}`
  const error = thrown instanceof MillraceError ? thrown : new ApiFailedError(where, String(thrown), thrown)
  if (error.kind === 'internal') onDefect(error, where)
  if (response.headersSent) return void response.destroy()
  if (error.kind === 'unauthorized') response.setHeader('www-authenticate', 'Bearer')
  if (!request.complete) response.setHeader('connection', 'close')
  const wire = toWireError(error, where, () => undefined)
  sendJson(response, wire.status, isRpc(request) ? { json: wire.toJSON() } : bodyOfError(wire))
}

/** The RPC client reads errors in its own envelope only. */
const isRpc = (request: IncomingMessage) => urlOf(request).pathname.startsWith('/rpc/')

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    .end(JSON.stringify(body))
}

function sendText(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': EXPOSITION_TYPE, 'cache-control': 'no-store' }).end(text)
}

function sendHtml(response: ServerResponse, html: string): void {
  response
    .writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'content-security-policy':
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    })
    .end(html)
}

function urlOf(request: IncomingMessage): URL {
  const base = `http://${request.headers.host ?? 'localhost'}`
  const origin = URL.canParse(base) ? base : 'http://localhost'
  const target = request.url?.startsWith('/') ? request.url : '/'
  return URL.canParse(origin + target) ? new URL(origin + target) : new URL(origin)
}

function abortedWithoutCaller(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => controller.abort())
  return controller.signal
}

function listening(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  const name = 'path' in where ? where.path : `${where.host}:${where.port}`
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new ApiBusyError(name) : error),
    )
    server.listen(where, resolve)
  })
}

/** True if a process answers on this socket; a file that nobody listens on is left from a dead one. */
function isAlive(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    const settle = (alive: boolean) => {
      socket.destroy()
      resolve(alive)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
    socket.setTimeout(1_000, () => settle(true))
  })
}

function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}
