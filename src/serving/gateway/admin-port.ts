import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { errorAnswer, jsonAnswer, sendAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import { metricsAnswer } from '../front/metrics-route.ts'
import { GatewayListenError } from './errors.ts'
import type { Tell } from '../front/tell.ts'

export interface Identity {
  id: string
  token: string
  pid: number
  /** That clients call; 0 before it is open. */
  port: number
}

/**
 * The socket over which a supervisor makes sure that a pid is really this gateway before it adopts or stops it, and over
 * which one of several gateways on one port is asked for its own metrics. It lies in a directory of mode 0700, so only the user's own processes can ask.
 */
export class AdminPort {
  readonly #server: Server
  readonly #socketPath: string
  readonly #tell: Tell

  constructor(socketPath: string, identity: Identity, metrics: () => string, tell: Tell) {
    this.#socketPath = socketPath
    this.#tell = tell
    this.#server = createServer((request, response) => {
      sendAnswer(response, answerTo(request.method === 'GET' ? request.url : undefined), false)
    })
    const answerTo = (path: string | undefined): Answer => {
      if (path === '/identity') return jsonAnswer(200, identity)
      return path === '/metrics' ? metricsAnswer(metrics()) : errorAnswer(404, 'There is nothing here.')
    }
    this.#server.maxConnections = 64
  }

  /** @throws GatewayListenError also when a living process answers on that socket */
  async listen(): Promise<void> {
    if (!(await isAnswered(this.#socketPath))) rmSync(this.#socketPath, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => reject(new GatewayListenError(this.#socketPath, error)))
      this.#server.listen(this.#socketPath, () => resolve())
    })
    // Where no more files may be open, each connection is an error, which would end the process without a listener.
    this.#server.on('error', (error) => {
      this.#tell('warn', 'a connection to the socket of the gateway could not be taken', { error: error.message })
    })
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }
}

/** A killed gateway leaves its socket file behind, on which nobody can listen until it is removed. */
function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path: socketPath })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
