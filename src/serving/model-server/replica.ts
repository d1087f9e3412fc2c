import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../kernel/clock.ts'
import type { Lease } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { metricsRoute } from '../front/metrics-route.ts'
import type { Tell } from '../front/tell.ts'
import { createFramesPort } from './frames-port.ts'
import type { FramesPort } from './frames-port.ts'
import { createHttpFront } from './http.ts'
import type { HttpFront, HttpLimits } from './http.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServer } from './model-server.ts'
import { PrepareStep } from './prepare-step.ts'
import type { PrepareLimits } from './prepare-step.ts'
import { ReplicaLife } from './replica-life.ts'
import type { Replica, ReplicaEnd } from './replica-life.ts'
import type { ReplicaOptions } from './replica-options.ts'
import { serverMetricsText } from './server-metrics.ts'
import { ServerPlane } from './server-plane.ts'

/** As long as HTTP has: see httpLimits. */
const framesDrain = { lingerMs: 250, limitMs: 20_000 }

export interface ReplicaParts {
  tell: Tell
  serverVersion: string
  httpLimits?: Partial<HttpLimits>
  /** Its calendar says how old a table is. */
  clock?: Clock
  failedStaysMs?: number
  prepareLimits?: Partial<PrepareLimits>
}

/** The control plane is to read why it has failed, before it says that it drains. */
const SAID_MS = 100
/** From SIGTERM to SIGKILL, for a step that has nothing left to answer. */
const STEP_GRACE_MS = 5_000

/**
 * A replica that runs its model itself. Listens, announces itself, then loads. Returns once it listens; loading goes
 * on behind it.
 * @throws ListenError
 */
export async function startReplica(options: ReplicaOptions, parts: ReplicaParts): Promise<Replica> {
  const replica = new RunningReplica(options, parts)
  await replica.start()
  return replica
}

class RunningReplica implements Replica {
  readonly #options: ReplicaOptions
  readonly #parts: ReplicaParts
  readonly #models: ModelServer
  readonly #plane: ServerPlane
  readonly #front: HttpFront
  readonly #frames: FramesPort
  readonly #life: ReplicaLife
  #step: Promise<PrepareStep> | null = null
  #httpPort: number | null = null

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
    this.#frames = createFramesPort({ plane: this.#plane, tell })
    this.#front = createHttpFront({
      plane: this.#plane,
      tell,
      identity: { id: options.replicaId, token: options.token, pid: process.pid },
      routes: [metricsRoute(() => this.#metrics())],
      limits: parts.httpLimits,
    })
    this.#life = new ReplicaLife(options, {
      tell,
      facts: () => ({
        socketPath: options.socketPath,
        framesPath: options.framesPath,
        httpPort: this.#httpPort,
        inFlight: this.#underWay,
      }),
      finishRequests: () => this.#finishRequests(),
      close: () => this.#close(),
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
    return this.#httpPort
  }

  async start(): Promise<void> {
    await this.#front.listenOnSocket(this.#options.socketPath)
    if (this.#options.framesPath !== undefined) await this.#frames.listen(this.#options.framesPath)
    this.#httpPort = await this.#front.listenOnPort('127.0.0.1', 0)
    this.#life.announce()
    void this.#load()
  }

  drain(why: string): void {
    this.#life.drain(why)
  }

  /** Never rejects: what goes wrong is the state `failed`. */
  async #load(): Promise<void> {
    const { model, version, artifactPath: path, digest, externalDigests, tables, features } = this.#options
    const startMs = performance.now()
    try {
      const preparer = await this.#startStep()
      const loaded = await this.#models.load({
        model,
        version,
        path,
        digest,
        externalDigests,
        features: features ?? null,
        tables,
        preparer,
        warmUpRequest: this.#options.warmUpRequest,
      })
      this.#parts.tell('info', 'ready', {
        model,
        version,
        loadMs: Math.round(performance.now() - startMs),
        stacking: loaded.stacking.why,
        isolation: loaded.isolation.why,
      })
      this.#life.loaded()
    } catch (error) {
      this.#parts.tell('error', 'cannot serve', { model, version, why: messageOf(error) })
      await this.#stopStep(0)
      if (this.#life.fail(messageOf(error))) await this.#life.drainAfterStay('loading failed, and nobody said stop')
    }
  }

  async #startStep(): Promise<PrepareStep | undefined> {
    const { prepare, features } = this.#options
    if (prepare === undefined) return undefined
    const parts = { features: features ?? null, onLost: (why: string) => void this.#lostStep(why) }
    this.#step = PrepareStep.start(prepare, { ...parts, limits: this.#parts.prepareLimits })
    return await this.#step
  }

  /** A model that nobody feeds serves nobody: the replica ends, and another one takes its place. */
  async #lostStep(why: string): Promise<void> {
    if (!this.#life.fail(why)) return
    this.#parts.tell('error', 'the preparing step is lost', { why })
    await sleep(SAID_MS)
    this.#life.drain(why)
  }

  /** Never rejects: one that could not be started has nothing to stop. */
  async #stopStep(graceMs: number): Promise<void> {
    const step = await this.#step?.catch(() => null)
    await step?.stop(graceMs)
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

  async #finishRequests(): Promise<number> {
    this.#plane.startDraining()
    const drained = await Promise.all([this.#front.drain(), this.#frames.drain(framesDrain)])
    return drained.reduce((sum, { abandoned }) => sum + abandoned, 0)
  }

  async #close(): Promise<void> {
    await this.#front.close()
    await this.#frames.close()
    await this.#models.close()
    await this.#stopStep(STEP_GRACE_MS)
  }
}
