import { setTimeout as sleep } from 'node:timers/promises'
import type { Lease } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { ServerPlan } from '../../kernel/server/server-plan.ts'
import { startServer, type ServerProcess } from '../../kernel/server/server-process.ts'
import type { Tell } from '../front/tell.ts'
import { ReplicaLife, type Replica, type ReplicaEnd, type ReplicaIdentity } from './replica-life.ts'
import type { ReplicaOptions } from './replica-options.ts'

/**
 * A replica whose server is a command of the user's own. This process answers no request: it starts the command, speaks
 * for it to the control plane, and watches it; gateways call the command's port themselves.
 *
 * It ends with its command, and takes it along when it ends: what is left then is replaced like any other replica.
 */
export async function startCustomReplica(options: CustomReplicaOptions, parts: CustomReplicaParts): Promise<Replica> {
  const replica = new CustomReplica(options, parts)
  await replica.start()
  return replica
}

export type CustomReplicaOptions = ReplicaIdentity &
  Pick<ReplicaOptions, 'model' | 'version'> & { server: ServerPlan; drainMs?: number }

export interface CustomReplicaParts {
  tell: Tell
  failedStaysMs?: number
  hungMs?: number
}

/** A command that does not say that it is ready for so long hangs. Long: it may be busy with a prediction. */
const HUNG_MS = 30_000
const WATCH_MS = 1_000
/** Gateways learn from the next snapshot that they are to call others. */
const LINGER_MS = 500
/** The control plane is to read why it has failed. */
const SAID_MS = 100
/** From SIGTERM to SIGKILL, for what the command still answers. */
const DRAIN_MS = 20_000

class CustomReplica implements Replica {
  readonly #options: CustomReplicaOptions
  readonly #parts: CustomReplicaParts
  readonly #life: ReplicaLife
  #server: ServerProcess | null = null

  constructor(options: CustomReplicaOptions, parts: CustomReplicaParts) {
    this.#options = options
    this.#parts = parts
    this.#life = new ReplicaLife(options, {
      tell: parts.tell,
      // Gateways count what they have under way; the command is not asked.
      facts: () => ({ socketPath: '', httpPort: this.httpPort, inFlight: null }),
      finishRequests: (failed) => this.#finishRequests(failed),
      failedStaysMs: parts.failedStaysMs,
    })
  }

  get state(): Lease['state'] {
    return this.#life.state
  }

  get over(): Promise<ReplicaEnd> {
    return this.#life.over
  }

  get httpPort(): number | null {
    return this.#life.hasLoaded ? this.#server!.httpPort : null
  }

  async start(): Promise<void> {
    this.#life.announce()
    this.#server = await startServer(this.#options.server)
    void this.#server.exited.then(({ code, signal }) => this.#ended(signal ?? `exit status ${code}`))
    void this.#load(this.#server)
  }

  drain(why: string): void {
    this.#life.drain(why)
  }

  /** Never rejects: what goes wrong is the state `failed`. */
  async #load(server: ServerProcess): Promise<void> {
    const { model, version } = this.#options
    const startMs = performance.now()
    try {
      await server.ready()
      if (this.state !== 'loading') return
      const loadMs = Math.round(performance.now() - startMs)
      this.#parts.tell('info', 'ready', { model, version, loadMs, port: server.httpPort, pid: server.pid })
      this.#life.loaded()
      await this.#watch(server)
    } catch (error) {
      await this.#fail(messageOf(error))
    }
  }

  /** Until it is no longer ready: then it says why, is replaced, and stays for a while for who looks. */
  async #watch(server: ServerProcess): Promise<void> {
    const hungMs = this.#parts.hungMs ?? HUNG_MS
    let seenMs = performance.now()
    while (this.state === 'ready') {
      await sleep(Math.min(WATCH_MS, hungMs), undefined, { ref: false })
      if (await server.isReady()) seenMs = performance.now()
      else if (performance.now() - seenMs > hungMs)
        return this.#fail(`its server has not said that it is ready for ${hungMs / 1_000} s`)
    }
  }

  /** The command has ended by itself. One that never got ready is told of by `ready`, with its last words. */
  #ended(how: string): void {
    if (this.state !== 'ready') return
    this.#parts.tell('error', 'the server has ended', { how })
    this.#life.fail(`its server has ended with ${how}`)
    void this.#life.end(true)
  }

  async #fail(why: string): Promise<void> {
    const { model, version } = this.#options
    this.#parts.tell('error', 'cannot serve', { model, version, why })
    if (!this.#life.fail(why)) return
    await this.#server?.stop(0)
    await this.#life.drainAfterStay('its server failed, and nobody said stop')
  }

  async #finishRequests(failed: boolean): Promise<number> {
    await sleep(failed ? SAID_MS : LINGER_MS)
    await this.#server?.stop(failed ? 0 : (this.#options.drainMs ?? DRAIN_MS))
    return 0
  }
}
