import { rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lease } from '../kernel/contract/routing.ts'

const WAIT_MS = 20_000

/** A control plane that only hears leases, and says what replicas are to do. */
export class LeaseListener {
  /** As they came. */
  leases: Lease[] = []
  goal: 'run' | 'drain' = 'run'
  readonly #server: Server

  private constructor() {
    this.#server = createServer((call, answer) => {
      let text = ''
      call.on('data', (chunk: Buffer) => (text += chunk.toString()))
      call.on('end', () => {
        if (call.url === '/internal/lease') this.leases.push(JSON.parse(text) as Lease)
        answer.end(JSON.stringify({ goal: this.goal }))
      })
    })
  }

  static async listen(socketPath: string): Promise<LeaseListener> {
    const listener = new LeaseListener()
    rmSync(socketPath, { force: true })
    await new Promise<void>((listening) => listener.#server.listen(socketPath, listening))
    return listener
  }

  /** The first one that says so, which may still have to come. @throws after 20 s */
  async saying(state: Lease['state']): Promise<Lease> {
    for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += 20) {
      const found = this.leases.find((lease) => lease.state === state)
      if (found !== undefined) return found
      await sleep(20)
    }
    throw new Error(`no lease said '${state}' within ${WAIT_MS} ms; the last: ${JSON.stringify(this.leases.at(-1))}`)
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }
}
