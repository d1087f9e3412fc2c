import { createServer } from 'node:net'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import type { ConnectionInjector, Server, ServerCredentials } from '@grpc/grpc-js'
import { errorBody } from '../../../kernel/protocol/errors.ts'
import { ListenError } from '../http/errors.ts'
import type { Tell } from '../tell.ts'

export interface ConnectionLimits {
  /** Open at once. More are told so, and closed. */
  connections: number
  /** A connection on which nothing has come by then is closed. */
  silentMs: number
}

const BACKLOG = 1_024
/** Connections beyond the limit that may still be told so; the system drops the others. */
const BEYOND_LIMIT = 256
/** One that is told so may take so long to hear it. */
const FAREWELL_MS = 1_000
const TOLD_EVERY_MS = 10_000

/**
 * The connections of a gRPC server: the library takes any number, so they are taken here and handed on to it.
 */
export class Connections {
  readonly #server: NetServer
  readonly #injector: ConnectionInjector
  readonly #limits: ConnectionLimits
  readonly #tell: Tell
  readonly #isSecure: boolean
  readonly #whenEmpty: (() => void)[] = []
  readonly #open = new Set<Socket>()
  #refused = 0
  #toldMs = Number.NEGATIVE_INFINITY

  constructor(grpc: Server, credentials: ServerCredentials, isSecure: boolean, limits: ConnectionLimits, tell: Tell) {
    this.#injector = grpc.createConnectionInjector(credentials)
    this.#isSecure = isSecure
    this.#limits = limits
    this.#tell = tell
    this.#server = createServer({ noDelay: true }, (socket) => this.#take(socket))
    this.#server.maxConnections = limits.connections + BEYOND_LIMIT
  }

  get count(): number {
    return this.#open.size
  }

  /** @returns the port, chosen by the system for 0. @throws ListenError */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      const fail = (cause: NodeJS.ErrnoException): void => reject(new ListenError(`${host}:${port}`, cause))
      this.#server.once('error', fail)
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.off('error', fail)
        resolve()
      })
    })
    this.#server.on('error', (error) =>
      this.#tell('error', 'a connection could not be taken', { error: error.message }),
    )
    return (this.#server.address() as AddressInfo).port
  }

  /** No new ones; those that are open are the library's to close. Returns once all have ended. */
  stop(): Promise<void> {
    this.#server.close()
    if (this.#open.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenEmpty.push(resolve))
  }

  /** Also those that have not got so far as to be the library's. */
  destroy(): void {
    void this.stop()
    for (const socket of this.#open) socket.destroy()
  }

  #take(socket: Socket): void {
    socket.on('error', () => socket.destroy()) // a client that died: 'close' follows
    if (this.#open.size >= this.#limits.connections) return this.#refuse(socket)
    this.#open.add(socket)
    const silent = setTimeout(() => {
      if (socket.bytesRead === 0) socket.destroy()
    }, this.#limits.silentMs)
    silent.unref()
    socket.once('close', () => {
      clearTimeout(silent)
      this.#open.delete(socket)
      if (this.#open.size === 0) for (const tell of this.#whenEmpty.splice(0)) tell()
    })
    this.#injector.injectConnection(socket)
  }

  /** Before TLS there is nothing that could be said. */
  #refuse(socket: Socket): void {
    this.#tellOfRefused()
    if (this.#isSecure) return void socket.destroy()
    const farewell = setTimeout(() => socket.destroy(), FAREWELL_MS)
    socket.once('close', () => clearTimeout(farewell))
    socket.resume() // bytes that nobody reads would reset the connection, and what is said with it
    socket.end(refusalOf('The server holds as many connections as it may.'))
  }

  #tellOfRefused(): void {
    this.#refused += 1
    const nowMs = performance.now()
    if (nowMs - this.#toldMs < TOLD_EVERY_MS) return
    this.#toldMs = nowMs
    this.#tell('warn', 'gRPC connections are refused: as many as may be are open', {
      open: this.#open.size,
      refused: this.#refused,
    })
  }
}

/**
 * In HTTP/1.1, which no client of gRPC takes for a connection: it fails at once, with UNAVAILABLE and (in C++ and Python)
 * the status. A connection that begins well and is then given up in HTTP/2's own words would be opened again and again,
 * until the call's deadline.
 */
function refusalOf(why: string): string {
  const body = errorBody(why)
  const head = ['HTTP/1.1 503 Service Unavailable', 'Content-Type: application/json', 'Retry-After: 1']
  return [...head, 'Connection: close', `Content-Length: ${Buffer.byteLength(body)}`, '', body].join('\r\n')
}
