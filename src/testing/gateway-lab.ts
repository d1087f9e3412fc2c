import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, RequestOptions, Server, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { GatewayReport, Lease, RoutedReplica, RoutingSnapshot } from '../kernel/contract/routing.ts'
import { linearModel, writeModel } from './onnx-builder.ts'

/** Real sockets and processes for tests of the gateway. Everything it opens is closed by `close`. */
export interface Lab {
  dir: string
  socket(name: string): string
  /** A replica inside the test. */
  replica(name: string, answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<RoutedReplica>
  /** A replica in a process of its own. */
  replicaProcess(name: string, delayMs?: number): Promise<RoutedReplica & { process: ChildProcess }>
  /** The real model server with a linear model `y = x1 + 2·x2` as late-flight@1; needs a control plane for its lease. */
  modelServer(name: string): Promise<RoutedReplica & { process: ChildProcess }>
  controlPlane(): Promise<FakeControlPlane>
  onClose(close: () => unknown): void
  close(): Promise<void>
}

export interface FakeControlPlane {
  socketPath: string
  reports: GatewayReport[]
  leases: Lease[]
  /** What a control plane that counts each batch once has counted. */
  requests(): number
  publish(snapshot: RoutingSnapshot): void
  /** Waits until a report fulfils the condition; fails after 30 s. */
  reported(condition: (report: GatewayReport) => boolean): Promise<GatewayReport>
  leased(condition: (lease: Lease) => boolean): Promise<Lease>
  stop(): Promise<void>
}

export function openLab(): Lab {
  const dir = mkdtempSync(join(tmpdir(), 'mr-gw-'))
  const closers: (() => unknown)[] = []
  let control: FakeControlPlane | null = null
  const lab: Lab = {
    dir,
    socket: (name) => join(dir, `${name}.sock`),
    async replica(name, answer) {
      const server = createServer(answer)
      await listen(server, lab.socket(name))
      closers.push(() => closeServer(server))
      return { replicaId: name, socketPath: lab.socket(name) }
    },
    async replicaProcess(name, delayMs = 0) {
      const child = spawn(process.execPath, [testReplica, lab.socket(name), String(delayMs)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      closers.push(() => child.kill('SIGKILL'))
      await new Promise<void>((resolve, reject) => {
        child.stdout?.once('data', () => resolve())
        child.once('exit', (code) => reject(new Error(`the test replica ended with ${code}`)))
      })
      return { replicaId: name, socketPath: lab.socket(name), process: child }
    },
    async modelServer(name) {
      const artifactPath = writeModel(join(dir, 'model.onnx'), linearModel({ weights: [1, 2] }))
      const digest = `sha256:${createHash('sha256').update(readFileSync(artifactPath)).digest('hex')}`
      const token = `${name}-${Math.random()}`
      const identity = { replicaId: name, token, deploymentId: 'deployment-1', model: 'late-flight', version: '1' }
      const framesPath = lab.socket(`${name}-frames`)
      const sockets = { socketPath: lab.socket(name), framesPath, controlSocket: lab.socket('control') }
      const recordPath = join(dir, 'run', `${name}.json`)
      const options = { ...identity, ...sockets, artifactPath, digest, features: null, maxBatchRows: 64, recordPath }
      writeFileSync(join(dir, `${name}.json`), JSON.stringify(options))
      const child = spawn(process.execPath, [modelServer, join(dir, `${name}.json`)], { stdio: 'ignore' })
      closers.push(() => child.kill('SIGKILL'))
      await control?.leased((lease) => lease.token === token && lease.state === 'ready')
      return { replicaId: name, socketPath: sockets.socketPath, framesPath, process: child }
    },
    controlPlane: async () => (control = await fakeControlPlane(lab.socket('control'), closers)),
    onClose: (close) => void closers.push(close),
    async close() {
      for (const close of closers.reverse()) await close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  return lab
}

const modelServer = fileURLToPath(new URL('../processes/model-server.ts', import.meta.url))
const testReplica = fileURLToPath(new URL('./test-replica.ts', import.meta.url))

async function fakeControlPlane(socketPath: string, closers: (() => unknown)[]): Promise<FakeControlPlane> {
  const streams = new Set<ServerResponse>()
  const batches = new Map<string, number>()
  const watchers = new Set<() => void>()
  let current: RoutingSnapshot | null = null
  const server = createServer((asked, response) => {
    if (asked.url === '/internal/routes') {
      streams.add(response)
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      response.flushHeaders()
      if (current !== null) response.write(`${JSON.stringify(current)}\n`)
      response.on('close', () => streams.delete(response))
      return
    }
    void textOf(asked).then((text) => {
      if (asked.url === '/internal/lease') {
        control.leases.push(JSON.parse(text) as Lease)
        response.end('{"goal":"run"}')
        for (const watcher of watchers) watcher()
        return
      }
      const report = JSON.parse(text) as GatewayReport
      control.reports.push(report)
      const requests = report.traffic.reduce((sum, row) => sum + row.requests, 0)
      batches.set(`${report.token} ${report.trafficSeq}`, requests)
      response.end('{}')
      for (const watcher of watchers) watcher()
    })
  })
  const beat = setInterval(() => streams.forEach((stream) => stream.write('\n')), 1_000)
  const control: FakeControlPlane = {
    socketPath,
    reports: [],
    leases: [],
    requests: () => [...batches.values()].reduce((sum, requests) => sum + requests, 0),
    publish(snapshot) {
      current = snapshot
      for (const stream of streams) stream.write(`${JSON.stringify(snapshot)}\n`)
    },
    reported: (condition) => watched(watchers, () => control.reports.findLast(condition)),
    leased: (condition) => watched(watchers, () => control.leases.findLast(condition)),
    async stop() {
      clearInterval(beat)
      await closeServer(server)
    },
  }
  await listen(server, socketPath)
  closers.push(() => control.stop())
  return control
}

/** Looks at each message until there is what it looks for. */
function watched<T>(watchers: Set<() => void>, find: () => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const done = (end: () => void): void => {
      clearTimeout(timer)
      watchers.delete(look)
      end()
    }
    const timer = setTimeout(() => done(() => reject(new Error('no such message within 30 s'))), 30_000)
    const look = (): void => {
      const found = find()
      if (found !== undefined) done(() => resolve(found))
    }
    watchers.add(look)
    look()
  })
}

async function listen(server: Server, path: string): Promise<void> {
  rmSync(path, { force: true })
  await new Promise<void>((resolve) => server.listen(path, () => resolve()))
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeAllConnections()
  await closed
}

export interface Response {
  status: number
  headers: IncomingHttpHeaders
  text: string
}

/** One HTTP request over an agent or a connection of its own. */
export function send(options: RequestOptions, body: string | Buffer | null = null): Promise<Response> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', agent: false, ...options }, (response) => {
      textOf(response).then(
        (text) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        reject,
      )
    })
    asked.on('error', (error) => reject(asked.reusedSocket ? error : new NewConnectionError(error)))
    asked.end(body ?? undefined)
  })
}

/** On a connection that had carried no request before. */
class NewConnectionError extends Error {
  readonly code: string | undefined
  constructor(cause: NodeJS.ErrnoException) {
    super(`${cause.message} on a new connection`, { cause })
    this.code = cause.code
  }
}

/**
 * Of what failed, all but connections that a closing port has not taken: refused, or, for one that waited in it at that
 * very moment, reset by the system.
 */
export function lostIn({ failed }: Load): string[] {
  return failed.filter((why) => !/(ECONNREFUSED|ECONNRESET).* on a new connection$/.test(why))
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}

/** Sends bytes as they are and gives back everything that comes until the server closes (10 s at most). */
export function sendRaw(port: number, bytes: string, { keepOpen = true } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(bytes)
      if (!keepOpen) socket.end()
    })
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the server kept the connection open; it said: ${text}`))
    }, 10_000)
    socket.on('data', (part) => (text += part.toString('latin1')))
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(text)
    })
  })
}

export interface Load {
  answered: number
  /** Anything but 200, and connections that broke. */
  failed: string[]
  ids: string[]
  stop(): Promise<void>
}

/** Keeps `connections` busy with one request after another until it is stopped. Each client opens a new connection after a close. */
export function startLoad(port: number, path: string, connections: number, inputs: unknown[] = []): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  let running = true
  const load: Load = {
    answered: 0,
    failed: [],
    ids: [],
    async stop() {
      running = false
      await Promise.all(clients)
      agent.destroy()
    },
  }
  const client = async (name: number): Promise<void> => {
    for (let n = 0; running; n++) {
      const id = `${name}-${n}`
      const asked = { port, path, method: 'POST', agent }
      try {
        const { status, text, headers } = await send(asked, JSON.stringify({ id, inputs }))
        if (status !== 200) load.failed.push(`${status} ${text}`)
        else if ((JSON.parse(text) as { id: string }).id !== id)
          load.failed.push(`the answer to another request: ${text}`)
        else {
          load.answered += 1
          load.ids.push(String(headers['millrace-prediction-id']))
        }
      } catch (error) {
        load.failed.push(String(error))
      }
    }
  }
  const clients = Array.from({ length: connections }, (_, name) => client(name))
  return load
}
