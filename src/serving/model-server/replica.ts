import { setTimeout as sleep } from 'node:timers/promises'
import type { Lease } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { createHttpFront } from './http.ts'
import type { HttpFront, HttpLimits } from './http.ts'
import { keepLease } from './lease.ts'
import type { LeaseKeeper } from './lease.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServer } from './model-server.ts'
import type { ReplicaOptions } from './replica-options.ts'

/**
 * One model-server process, from its start to its end:
 *
 *   loading ──▶ ready ──▶ draining ──▶ over
 *      └─▶ failed ────────────┘   (its lease says why, until it is told to stop, at most FAILED_STAYS_MS)
 *
 * It needs nobody to go on: without a control plane it serves what it has loaded.
 */
export interface Replica {
  readonly state: Lease['state']
  readonly httpPort: number | null
  /** Not ready from now on; answers what is here; then over. Calling it again changes nothing. */
  drain(why: string): void
  /** When it has ended: how many requests were cut off because they took longer than the limit. */
  readonly over: Promise<{ abandoned: number; failed: boolean }>
}

export type Tell = (level: 'info' | 'warn' | 'error', message: string, facts?: Record<string, unknown>) => void

/** A replica that couldn't load stays to say so for this long. */
export const FAILED_STAYS_MS = 60_000

export interface ReplicaParts {
  tell: Tell
  serverVersion: string
  httpLimits?: Partial<HttpLimits>
  failedStaysMs?: number
}

/**
 * Listens, announces itself, then loads. Returns once it listens; loading goes on behind it.
 * @throws ListenError
 */
export async function startReplica(options: ReplicaOptions, parts: ReplicaParts): Promise<Replica> {
  const replica = new RunningReplica(options, parts)
  await replica.start()
  return replica
}

class RunningReplica implements Replica {
  readonly over: Promise<{ abandoned: number; failed: boolean }>
  readonly #options: ReplicaOptions
  readonly #parts: ReplicaParts
  readonly #models: ModelServer
  readonly #front: HttpFront
  #lease: LeaseKeeper | null = null
  #state: Lease['state'] = 'loading'
  #why: string | null = null
  #httpPort: number | null = null
  #loadedDigest: string | null = null
  #finish: (end: { abandoned: number; failed: boolean }) => void = () => {}

  constructor(options: ReplicaOptions, parts: ReplicaParts) {
    this.#options = options
    this.#parts = parts
    this.#models = createModelServer({ limits: { maxBatchRows: options.maxBatchRows } })
    this.#front = createHttpFront({
      models: this.#models,
      server: { name: 'millrace', version: parts.serverVersion },
      identity: { id: options.replicaId, token: options.token, pid: process.pid },
      limits: parts.httpLimits,
    })
    this.over = new Promise((resolve) => (this.#finish = resolve))
  }

  get state(): Lease['state'] {
    return this.#state
  }

  get httpPort(): number | null {
    return this.#httpPort
  }

  async start(): Promise<void> {
    await this.#front.listenOnSocket(this.#options.socketPath)
    this.#httpPort = await this.#front.listenOnPort('127.0.0.1', 0)
    this.#lease = keepLease({
      controlSocket: this.#options.controlSocket,
      describe: () => this.#describe(),
      onDrain: () => this.drain('the control plane asked for it'),
      onContact: (reached, why) =>
        reached
          ? this.#parts.tell('info', 'control plane reached')
          : this.#parts.tell('warn', 'control plane out of reach, serving on', { why }),
    })
    void this.#load()
  }

  drain(why: string): void {
    if (this.#state === 'draining') return
    const failed = this.#state === 'failed'
    this.#parts.tell('info', 'draining', { why, inFlight: this.#front.inFlight })
    this.#become('draining', why)
    void this.#end(failed)
  }

  /** Never rejects: what goes wrong is the state `failed`. */
  async #load(): Promise<void> {
    const { model, version, artifactPath: path, digest, externalDigests, features, warmUpRequest } = this.#options
    const startMs = performance.now()
    try {
      const loaded = await this.#models.load({
        model,
        version,
        path,
        digest,
        externalDigests,
        features: features ?? null,
        warmUpRequest,
      })
      this.#loadedDigest = digest
      this.#parts.tell('info', 'ready', {
        model,
        version,
        loadMs: Math.round(performance.now() - startMs),
        stacking: loaded.stacking.why,
      })
      if (this.#state === 'loading') this.#become('ready', null)
    } catch (error) {
      this.#parts.tell('error', 'cannot serve', { model, version, why: messageOf(error) })
      if (this.#state !== 'loading') return
      this.#become('failed', messageOf(error))
      await sleep(this.#parts.failedStaysMs ?? FAILED_STAYS_MS, undefined, { ref: false })
      this.drain('loading failed, and nobody said stop')
    }
  }

  async #end(failed: boolean): Promise<void> {
    const { abandoned } = await this.#front.drain()
    this.#lease?.stop()
    await this.#front.close()
    await this.#models.close()
    this.#finish({ abandoned, failed })
  }

  #become(state: Lease['state'], why: string | null): void {
    this.#state = state
    this.#why = why
    this.#lease?.renewNow()
  }

  #describe(): Lease {
    const { replicaId, token, deploymentId, socketPath } = this.#options
    return {
      replicaId,
      token,
      deploymentId,
      pid: process.pid,
      state: this.#state,
      why: this.#why,
      socketPath,
      httpPort: this.#httpPort,
      inFlight: this.#front.inFlight,
      loadedDigest: this.#loadedDigest,
    }
  }
}
