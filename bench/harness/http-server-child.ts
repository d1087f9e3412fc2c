import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { openHttpFront } from '../../src/serving/front/http/front.ts'
import type { HttpHandler } from '../../src/serving/front/http/http-front.ts'
import type { OpenParser, ParsedHead } from '../../src/serving/front/http/parser.ts'
import { openStrictParser } from '../../src/serving/front/http/strict-parser.ts'
import { openLlhttpParser } from '../../src/testing/llhttp-parser.ts'

/**
 * A server in a process of its own that answers every request with the same words, so that nothing is measured but what
 * a request costs on its way in and out. `fork(…, [variant])`; it sends its port, then for each message how many
 * requests it has answered and what processor time it has used.
 */
export type Variant =
  | 'no parsing, no front'
  | 'no parsing'
  | 'strict'
  | 'strict, no head like the last'
  | 'llhttp (WebAssembly)'
  | 'node:http'

export interface ServerCounts {
  requests: number
  /** User and system, of all threads. */
  processorUs: number
}

const BODY = Buffer.from(
  '{"model_name":"m","model_version":"1","id":"","outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[0.7]}]}',
)
const HEADERS = ['Content-Type', 'application/json']
let requests = 0

const handler: HttpHandler = {
  admit: () => ({ kind: 'read', limitBytes: 1_000_000 }),
  serve: ({ headers, body }) => {
    if (headers['content-type'] === undefined || body.length === 0)
      throw new Error('the request has arrived incomplete')
    requests += 1
    return { status: 200, headers: HEADERS, body: BODY }
  },
}

function front(openParser: OpenParser): Promise<number> {
  const opened = openHttpFront(handler, {}, (_level, what, facts) => console.error(what, facts), openParser)
  return opened.listen({ kind: 'port', host: '127.0.0.1', port: 0 })
}

/** Takes whatever comes at once for one request, which holds for the load generator of this bench. */
const openNoParser: OpenParser = (_limits, events) => ({
  place: 'between',
  push(bytes) {
    events.onHead(SOME_HEAD)
    events.onBody(bytes)
    events.onEnd()
  },
  resume: () => undefined,
  close: () => undefined,
})
const SOME_HEAD: ParsedHead = {
  method: 'POST',
  target: '/',
  headers: { 'content-type': 'application/json' },
  minor: 1,
  keepAlive: true,
  bodyBytes: -1,
  expectsContinue: false,
}

/** Forgets the head before, as if it were another each time. */
const openForgetful: OpenParser = (limits, events) => ({
  place: 'between',
  push: (bytes) => openStrictParser(limits, events).push(bytes),
  resume: () => undefined,
  close: () => undefined,
})

/** The least that Node can do: read, count, write. */
function bareServer(): Server {
  const answer = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY.toString()}`
  return createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', () => {
      requests += 1
      socket.write(answer, 'latin1')
    })
  })
}

function nodeServer(): Server {
  return createHttpServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
      if (request.headers['content-type'] === undefined || body.length === 0) throw new Error('incomplete')
      requests += 1
      response.writeHead(200, [...HEADERS, 'Content-Length', String(BODY.length)])
      response.end(BODY)
    })
  })
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))
}

const open: Record<Variant, () => Promise<number>> = {
  'no parsing, no front': () => listening(bareServer()),
  'no parsing': () => front(openNoParser),
  strict: () => front(openStrictParser),
  'strict, no head like the last': () => front(openForgetful),
  'llhttp (WebAssembly)': () => front(openLlhttpParser),
  'node:http': () => listening(nodeServer()),
}

process.send?.(await open[process.argv[2] as Variant]())
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  const counts: ServerCounts = { requests, processorUs: user + system }
  process.send?.(counts)
})
