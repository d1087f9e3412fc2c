import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../kernel/clock.ts'
import type { Lease } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { metricsRoute } from '../front/metrics-route.ts'
import { createFramesPort } from './frames-port.ts'
import type { FramesPort } from './frames-port.ts'
import { createHttpFront } from './http.ts'
import type { HttpFront, HttpLimits } from './http.ts'
import { keepLease } from './lease.ts'
import type { LeaseKeeper } from './lease.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServer } from './model-server.ts'
import type { ReplicaOptions } from './replica-options.ts'
import { serverMetricsText } from './server-metrics.ts'
import { ServerPlane } from './server-plane.ts'

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

/** As long as HTTP has: see httpLimits. */
const framesDrain = { lingerMs: 250, limitMs: 20_000 }

export interface ReplicaParts {
  tell: Tell
  serverVersion: string
  httpLimits?: Partial<HttpLimits>
  /** Its calendar says how old a table is. */
  clock?: Clock
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
  readonly #plane: ServerPlane
  readonly #front: HttpFront
  readonly #frames: FramesPort
  #lease: LeaseKeeper | null = null
  #state: Lease['state'] = 'loading'
  #why: string | null = null
  #httpPort: number | null = null
  #loadedDigest: string | null = null
  #finish: (end: { abandoned: number; failed: boolean }) => void = () => {}

  constructor(options: ReplicaOptions, parts: ReplicaParts) {
    this.#options = options
    this.#parts = parts
    const { tell, clock } = parts
    const server = { name: 'millrace', version: parts.serverVersion }
    this.#models = createModelServer({
      limits: { maxBatchRows: options.maxBatchRows },
      isolate: options.isolate,
      clock,
      tell,
    })
    this.#plane = new ServerPlane({ models: this.#models, server })
    this.#frames = createFramesPort({
      plane: this.#plane,
      tell: (why) => tell('warn', 'a connection for frames was closed', { why }),
    })
    this.#front = createHttpFront({
      plane: this.#plane,
      tell,
      identity: { id: options.replicaId, token: options.token, pid: process.pid },
      routes: [metricsRoute(() => this.#metrics())],
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
    if (this.#options.framesPath !== undefined) await this.#frames.listen(this.#options.framesPath)
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
    this.#parts.tell('info', 'draining', { why, inFlight: this.#underWay })
    this.#become('draining', why)
    void this.#end(failed)
  }

  /** Never rejects: what goes wrong is the state `failed`. */
  async #load(): Promise<void> {
    const { model, version, artifactPath: path, digest, externalDigests, tables, features } = this.#options
    const startMs = performance.now()
    try {
      const loaded = await this.#models.load({
        model,
        version,
        path,
        digest,
        externalDigests,
        features: features ?? null,
        tables,
        warmUpRequest: this.#options.warmUpRequest,
      })
      this.#loadedDigest = this.#options.versionDigest ?? digest
      this.#parts.tell('info', 'ready', {
        model,
        version,
        loadMs: Math.round(performance.now() - startMs),
        stacking: loaded.stacking.why,
        isolation: loaded.isolation.why,
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

  #metrics(): string {
    return serverMetricsText({
      plane: this.#plane,
      models: this.#models,
      version: this.#parts.serverVersion,
      underWay: () => this.#underWay,
      connections: () => this.#front.connections,
    })
  }

  get #underWay(): number {
    return this.#front.inFlight + this.#frames.underWay
  }

  async #end(failed: boolean): Promise<void> {
    this.#plane.startDraining()
    const drained = await Promise.all([this.#front.drain(), this.#frames.drain(framesDrain)])
    this.#lease?.stop()
    await this.#front.close()
    await this.#frames.close()
    await this.#models.close()
    this.#finish({ abandoned: drained.reduce((sum, { abandoned }) => sum + abandoned, 0), failed })
  }

  #become(state: Lease['state'], why: string | null): void {
    this.#state = state
    this.#why = why
    this.#lease?.renewNow()
  }

  #describe(): Lease {
    const { replicaId, token, deploymentId, socketPath, framesPath } = this.#options
    return {
      replicaId,
      token,
      deploymentId,
      pid: process.pid,
      state: this.#state,
      why: this.#why,
      socketPath,
      framesPath,
      httpPort: this.#httpPort,
      inFlight: this.#underWay,
      loadedDigest: this.#loadedDigest,
    }
  }
}
