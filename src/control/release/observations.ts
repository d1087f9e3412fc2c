import { LEASE_PERIOD_MS, type GatewayReport, type Lease } from '../../kernel/contract/routing.ts'
import type { Replica } from './release.ts'

/** How often `look` is to be called, by a timer of the event loop. */
export const LISTEN_EVERY_MS = 100
/** Between two looks no more time than this counts as listened to. */
const LISTENED_MS_MAX = 250

/**
 * What replicas and gateways say of themselves. Kept in memory only: after a restart it fills up again within one
 * lease period, and until then nothing is removed because of what has not been heard.
 *
 * Time is counted here only as far as this process could hear: one that starts, waits for a processor or works through
 * its database reads no socket meanwhile, and what it did not hear then says nothing about those who spoke.
 */
export class Observations {
  readonly #leases = new Map<string, { lease: Lease; heardMs: number }>()
  readonly #gateways = new Map<string, { report: GatewayReport; heardMs: number }>()
  readonly #nowMs: () => number
  /** Up to the last look. */
  #listenedMs = 0
  #lastLookMs: number

  /** @param nowMs - monotonic clock */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
    this.#lastLookMs = nowMs()
  }

  hearLease(lease: Lease): { changed: boolean } {
    const before = this.#leases.get(lease.replicaId)?.lease
    this.#leases.set(lease.replicaId, { lease, heardMs: this.#listened() })
    return { changed: before?.state !== lease.state || before.socketPath !== lease.socketPath }
  }

  hearGateway(report: GatewayReport): { changed: boolean } {
    const before = this.#gateways.get(report.gatewayId)?.report
    this.#gateways.set(report.gatewayId, { report, heardMs: this.#listened() })
    return { changed: before?.revision !== report.revision || before.epoch !== report.epoch }
  }

  forgetReplica(replicaId: string): void {
    this.#leases.delete(replicaId)
  }

  /** To be called by a timer: between two calls of one the event loop has read what had come. */
  look(): void {
    this.#listenedMs = this.#listened()
    this.#lastLookMs = this.#nowMs()
  }

  /** The replica's own word while its lease holds, else null. */
  lease(replicaId: string): Lease | null {
    const entry = this.#leases.get(replicaId)
    return entry !== undefined && this.#listened() - entry.heardMs <= LEASE_PERIOD_MS ? entry.lease : null
  }

  /** Whether a replica that is to run says that it is ready. */
  isReady({ id, status }: Pick<Replica, 'id' | 'status'>): boolean {
    return status === 'running' && this.lease(id)?.state === 'ready'
  }

  /** How many of a deployment's replicas are. */
  readyOf(deploymentId: string, replicas: readonly Replica[]): number {
    return replicas.filter((replica) => replica.deploymentId === deploymentId && this.isReady(replica)).length
  }

  /** Since the replica was last heard, or since the start where it never was. */
  silentMs(replicaId: string): number {
    return this.#listened() - (this.#leases.get(replicaId)?.heardMs ?? 0)
  }

  gateways(): GatewayReport[] {
    return [...this.#gateways.values()]
      .filter((g) => this.#listened() - g.heardMs <= LEASE_PERIOD_MS)
      .map((g) => g.report)
  }

  /** The part of that time in which it could hear. */
  #listened(): number {
    return this.#listenedMs + Math.min(LISTENED_MS_MAX, this.#nowMs() - this.#lastLookMs)
  }

  /** False in the first lease period after the start. */
  observedLongEnough(): boolean {
    return this.#listened() > LEASE_PERIOD_MS
  }
}
