import { randomUUID } from 'node:crypto'
import type { Lease } from '../../kernel/contract/routing.ts'
import { reasonOf } from '../../kernel/errors.ts'
import { findModel, type ControlContext } from '../control-context.ts'
import { Elapsed } from '../elapsed.ts'
import type { Version } from '../registry/version.ts'
import type { ReplicaView } from './decide-deployments.ts'
import { moveReplica } from './deployment-acts.ts'
import type { DeploymentRows } from './deployment-rows.ts'
import { haveTaken, listsReplica, type GatewaysSeen } from './gateway-use.ts'
import type { Observations } from './observations.ts'
import type { Deployment, Replica } from './release.ts'
import type { ReplicaRuntime } from './replica-runtime.ts'

const DRAIN_MS = 30_000
/** A replica is stopped after so long even where a gateway does not say that it has left it: it answers 503 by then. */
const LEAVE_MAX_MS = 2_000

/**
 * Starts and ends the processes of replicas in the background, beside their rows: recorded before it is started; told
 * to stop, left by the gateways, and only then stopped.
 */
export class ReplicaProcesses {
  readonly #context: ControlContext
  readonly #runtime: ReplicaRuntime
  readonly #observations: Observations
  /** Replicas that this process is starting or stopping. */
  readonly #starting = new Set<string>()
  readonly #stopping = new Set<string>()
  /** Those to be stopped: since when, and which routes were the first without them. */
  readonly #told = new Map<string, { revision: number; sinceMs: number }>()
  /** By replica. */
  readonly #ages: Elapsed

  constructor(context: ControlContext, runtime: ReplicaRuntime, observations: Observations) {
    this.#context = context
    this.#runtime = runtime
    this.#observations = observations
    this.#ages = new Elapsed(context.clock)
  }

  async view(replica: Replica): Promise<ReplicaView> {
    const { id } = replica
    const ageMs = this.#ages.ms(id, () => Math.max(0, this.#context.clock.epochMs() - replica.createdAtMs))
    const process = this.#starting.has(id) ? 'alive' : await this.#runtime.observe(id)
    return { replica, lease: this.#observations.lease(id), process, silentMs: this.#observations.silentMs(id), ageMs }
  }

  /** Of replicas that have gone nothing need be known any more. */
  keepOnly(replicas: readonly Pick<Replica, 'id'>[]): void {
    this.#ages.keepOnly((known) => replicas.some(({ id }) => id === known))
  }

  /** What a replica is to do. @param replicas - as the last look read them */
  goalOf(lease: Pick<Lease, 'replicaId' | 'token'>, replicas: readonly Replica[]): 'run' | 'drain' {
    if (this.#starting.has(lease.replicaId)) return 'run'
    const known = replicas.find((r) => r.id === lease.replicaId && r.token === lease.token)
    if (known?.status === 'running') return 'run'
    // Gateways leave it first.
    const isLeaving = known?.status === 'stopping' && !this.#stopping.has(known.id) && this.#told.has(known.id)
    return isLeaving ? 'run' : 'drain'
  }

  async start(deployment: Deployment, version: Version): Promise<void> {
    const { store, clock, log } = this.#context
    const token = randomUUID()
    const { id, created_at_ms: createdAtMs } = await store.db
      .insertInto('replica')
      .values({ deployment_id: deployment.id, token, status: 'running', created_at_ms: clock.epochMs() })
      .returning(['id', 'created_at_ms'])
      .executeTakeFirstOrThrow()
    const about = { id, token, deploymentId: deployment.id }
    const replica: Replica = { ...about, status: 'running', why: null, createdAtMs, endedAtMs: null }
    this.#starting.add(id)
    void this.#runtime
      .start({ ...about, version, config: findModel(this.#context.project(), deployment.model) })
      .then(({ exited }) => void exited.then(() => this.#context.wake('deployment')))
      .catch((error: unknown) => {
        log.error({ replica: id, err: error }, 'a replica could not be started')
        return this.gone(replica, `it could not be started: ${reasonOf(error)}`)
      })
      // Where that could not be recorded either, a later look finds no process.
      .catch((error: unknown) => log.error({ replica: id, err: error }, 'the end of a replica could not be recorded'))
      .finally(() => this.#starting.delete(id))
  }

  async tellToStop(replica: Replica, why: string): Promise<void> {
    await this.#move(replica, 'stop', why)
  }

  async gone(replica: Replica, why: string): Promise<void> {
    this.#told.delete(replica.id)
    await this.#move(replica, 'gone', why)
    this.#observations.forgetReplica(replica.id)
    await this.#runtime.forget(replica.id)
  }

  /** Stops those that were told to, also by a control plane that died since, as soon as gateways have left them. */
  stopLeft({ deployments, replicas }: Pick<DeploymentRows, 'deployments' | 'replicas'>, gateways: GatewaysSeen): void {
    for (const { id, status, deploymentId } of replicas) {
      if (status !== 'stopping' || this.#stopping.has(id) || !this.#isLeft(id, gateways)) continue
      const model = deployments.find((d) => d.id === deploymentId)?.model
      const config = model === undefined ? null : findModel(this.#context.project(), model)
      this.#stop(id, config?.serving.drainMs ?? DRAIN_MS)
    }
  }

  #stop(id: string, graceMs: number): void {
    this.#stopping.add(id)
    void this.#runtime
      .stop(id, graceMs)
      .catch((error: unknown) => this.#context.log.error({ replica: id, err: error }, 'a replica could not be stopped'))
      .finally(() => {
        this.#stopping.delete(id)
        this.#context.wake('deployment')
      })
  }

  /** Whether no gateway sends requests to a replica any more that is to stop: then it has nothing to refuse. */
  #isLeft(replicaId: string, gateways: GatewaysSeen): boolean {
    const { current } = gateways
    if (current === null) return true
    if (listsReplica(current, replicaId)) return false
    const nowMs = this.#context.clock.monotonicMs()
    const told = this.#told.get(replicaId) ?? { revision: current.revision, sinceMs: nowMs }
    this.#told.set(replicaId, told)
    return nowMs - told.sinceMs > LEAVE_MAX_MS || haveTaken(told.revision, gateways)
  }

  async #move(replica: Replica, event: 'stop' | 'gone', why: string): Promise<void> {
    const { store, clock } = this.#context
    await store.transaction((tx) => moveReplica(tx, clock, replica, event, why))
    this.#context.wake('deployment')
  }
}
