import { LEASE_PERIOD_MS, type GatewayReport, type Lease } from '../../kernel/contract/routing.ts'

/**
 * What replicas and gateways say of themselves. Kept in memory only: after a restart it fills up again within one
 * lease period, and until then nothing is removed because of what has not been heard.
 */
export class Observations {
  readonly #leases = new Map<string, { lease: Lease; heardMs: number }>()
  readonly #gateways = new Map<string, { report: GatewayReport; heardMs: number }>()
  readonly #nowMs: () => number
  /** Later by every stall: what was not heard while this process stood still counts for nothing. */
  #startedMs: number
  #lastLookMs: number

  /** @param nowMs - monotonic clock */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
    this.#startedMs = nowMs()
    this.#lastLookMs = this.#startedMs
  }

  hearLease(lease: Lease): { changed: boolean } {
    const before = this.#leases.get(lease.replicaId)?.lease
    this.#leases.set(lease.replicaId, { lease, heardMs: this.#nowMs() })
    return { changed: before?.state !== lease.state || before.socketPath !== lease.socketPath }
  }

  hearGateway(report: GatewayReport): { changed: boolean } {
    const before = this.#gateways.get(report.gatewayId)?.report
    this.#gateways.set(report.gatewayId, { report, heardMs: this.#nowMs() })
    return { changed: before?.revision !== report.revision || before.epoch !== report.epoch }
  }

  forgetReplica(replicaId: string): void {
    this.#leases.delete(replicaId)
  }

  /**
   * To be called often. When this process was stalled, what it did not hear in that time says nothing about replicas.
   */
  look(): void {
    const nowMs = this.#nowMs()
    const stalledMs = nowMs - this.#lastLookMs - LEASE_PERIOD_MS / 2
    if (stalledMs > 0) {
      this.#startedMs = Math.min(nowMs, this.#startedMs + stalledMs)
      for (const entry of [...this.#leases.values(), ...this.#gateways.values()])
        entry.heardMs = Math.min(nowMs, entry.heardMs + stalledMs)
    }
    this.#lastLookMs = nowMs
  }

  /** The replica's own word while its lease holds, else null. */
  lease(replicaId: string): Lease | null {
    const entry = this.#leases.get(replicaId)
    return entry !== undefined && this.#nowMs() - entry.heardMs <= LEASE_PERIOD_MS ? entry.lease : null
  }

  /** Since the replica was last heard, or since the start where it never was. */
  silentMs(replicaId: string): number {
    return this.#nowMs() - (this.#leases.get(replicaId)?.heardMs ?? this.#startedMs)
  }

  gateways(): GatewayReport[] {
    return [...this.#gateways.values()].filter((g) => this.#nowMs() - g.heardMs <= LEASE_PERIOD_MS).map((g) => g.report)
  }

  /** For how long this process has been able to hear anything. */
  listeningMs(): number {
    return this.#nowMs() - this.#startedMs
  }

  /** False in the first lease period after the start. */
  observedLongEnough(): boolean {
    return this.#nowMs() - this.#startedMs > LEASE_PERIOD_MS
  }
}
