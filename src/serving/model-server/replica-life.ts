import { setTimeout as sleep } from 'node:timers/promises'
import type { Lease } from '../../kernel/contract/routing.ts'
import type { Tell } from '../front/tell.ts'
import { keepLease, type LeaseKeeper } from './lease.ts'
import type { ReplicaOptions } from './replica-options.ts'

/** One model-server process, from its start to its end: see ReplicaLife. */
export interface Replica {
  readonly state: Lease['state']
  readonly httpPort: number | null
  /** Not ready from now on; answers what is here; then over. Calling it again changes nothing. */
  drain(why: string): void
  readonly over: Promise<ReplicaEnd>
}

/** How many requests were cut off because they took longer than the limit, and whether it ended because it failed. */
export interface ReplicaEnd {
  abandoned: number
  failed: boolean
}

/** What every replica is told of itself. */
export type ReplicaIdentity = Pick<
  ReplicaOptions,
  'replicaId' | 'token' | 'deploymentId' | 'digest' | 'versionDigest' | 'controlSocket'
>

/** What a lease says of one kind of replica. */
export interface LeaseFacts extends Pick<Lease, 'socketPath' | 'framesPath' | 'httpPort'> {
  /** Null: only gateways know. */
  inFlight: number | null
}

export interface ReplicaLifeParts {
  tell: Tell
  /** As it is at this moment. */
  facts: () => LeaseFacts
  /** Takes no more, and answers what is here. Resolves with the number of requests that were cut off. */
  finishRequests: (failed: boolean) => Promise<number>
  /** Lets go of everything; by then its lease is no longer renewed. */
  close?: () => Promise<void>
  /** Default: FAILED_STAYS_MS. */
  failedStaysMs?: number | undefined
}

/** A replica that couldn't load stays to say so for this long. */
const FAILED_STAYS_MS = 60_000

/**
 * The state of a replica, whatever serves behind it, and the lease that tells it at once:
 *
 *   loading ──▶ ready ──▶ draining ──▶ over
 *      └────┬─────┘          ▲
 *           ▼                │
 *         failed ────────────┘   (its lease says why, until it is told to stop, at most FAILED_STAYS_MS)
 *
 * It needs nobody to go on: without a control plane it serves what it has loaded.
 */
export class ReplicaLife {
  readonly over: Promise<ReplicaEnd>
  readonly #identity: ReplicaIdentity
  readonly #parts: ReplicaLifeParts
  #lease: LeaseKeeper | null = null
  #state: Lease['state'] = 'loading'
  #why: string | null = null
  #hasLoaded = false
  #finish: (end: ReplicaEnd) => void = () => {}

  constructor(identity: ReplicaIdentity, parts: ReplicaLifeParts) {
    this.#identity = identity
    this.#parts = parts
    this.over = new Promise((resolve) => (this.#finish = resolve))
  }

  get state(): Lease['state'] {
    return this.#state
  }

  get hasLoaded(): boolean {
    return this.#hasLoaded
  }

  /** From now on the control plane hears of it. */
  announce(): void {
    const { tell } = this.#parts
    this.#lease = keepLease({
      controlSocket: this.#identity.controlSocket,
      describe: () => this.#describe(),
      onDrain: () => this.drain('the control plane asked for it'),
      onContact: (reached, why) =>
        reached
          ? tell('info', 'control plane reached')
          : tell('warn', 'control plane out of reach, serving on', { why }),
    })
  }

  /** The model is loaded. One that has been told to drain since does not become ready. */
  loaded(): void {
    this.#hasLoaded = true
    if (this.#state === 'loading') this.#become('ready', null)
  }

  /** @returns false where it is on its way out already */
  fail(why: string): boolean {
    if (this.#state !== 'loading' && this.#state !== 'ready') return false
    this.#become('failed', why)
    return true
  }

  /** One that has failed stays for a while, for who looks, and to be told to stop. */
  async drainAfterStay(why: string): Promise<void> {
    await sleep(this.#parts.failedStaysMs ?? FAILED_STAYS_MS, undefined, { ref: false })
    this.drain(why)
  }

  drain(why: string): void {
    if (this.#state === 'draining') return
    const failed = this.#state === 'failed'
    const { inFlight } = this.#parts.facts()
    this.#parts.tell('info', 'draining', { why, ...(inFlight !== null && { inFlight }) })
    this.#become('draining', why)
    void this.end(failed)
  }

  /** Without draining first: what it served with is gone. */
  async end(failed: boolean): Promise<void> {
    const abandoned = await this.#parts.finishRequests(failed)
    this.#lease?.stop()
    await this.#parts.close?.()
    this.#finish({ abandoned, failed })
  }

  #become(state: Lease['state'], why: string | null): void {
    this.#state = state
    this.#why = why
    this.#lease?.renewNow()
  }

  #describe(): Lease {
    const { replicaId, token, deploymentId, digest, versionDigest } = this.#identity
    const { inFlight, ...facts } = this.#parts.facts()
    return {
      replicaId,
      token,
      deploymentId,
      pid: process.pid,
      state: this.#state,
      why: this.#why,
      ...facts,
      inFlight: inFlight ?? 0,
      loadedDigest: this.#hasLoaded ? (versionDigest ?? digest) : null,
    }
  }
}
