import { decideEjection, ejectionLimits, mostEjected } from './decide-ejection.ts'
import type { EjectionCause, EjectionLimits } from './decide-ejection.ts'
import { attemptLimitMs, silenceLimits, SlowestOfLate, suspiciousAfterMs } from './decide-silence.ts'
import type { SilenceLimits } from './decide-silence.ts'
import type { Exchange, PooledReplica } from './pooled-replica.ts'

export interface HealthLimits {
  probeTimeoutMs: number
  /** Wait before the second probe; doubles up to `probeDelayMaxMs`. */
  probeDelayMs: number
  probeDelayMaxMs: number
  ejection: EjectionLimits
  silence: SilenceLimits
}

export const healthLimits: HealthLimits = {
  probeTimeoutMs: 1_000,
  probeDelayMs: 20,
  probeDelayMaxMs: 1_000,
  ejection: ejectionLimits,
  silence: silenceLimits,
}

/** @param id - of the replica; of the deployment, where its circuit is meant */
export type TellReplica = (
  what: 'out' | 'up' | 'ejected' | 'circuit open' | 'circuit closed',
  id: string,
  why: string,
) => void

/** Since the gateway started. */
export interface HealthCounts {
  ejected: number
  hung: number
  /** Attempts that were given up for another replica to try. */
  late: number
}

/** The replicas that are judged, and who wants to know. */
export interface Judged {
  listed: () => readonly PooledReplica[]
  /** No longer listed, and still at work. */
  leaving: () => readonly PooledReplica[]
  onUp: () => void
  /** One that was asked all the time, though it hung, answers probes again. */
  onAwake: () => void
}

/**
 * Which replicas of one deployment may be asked, by what becomes of those who ask them.
 *
 *   up ── a connection breaks, or it says 503 ──▶ out ─────── a probe says ready ──▶ up
 *   up ── it does badly (decide-ejection.ts) ───▶ ejected ── later, by a probe ───▶ up, on trial
 *
 * The gateway trusts its own connections, not the control plane's leases: those are seconds old, and the control plane
 * may be down.
 */
export class ReplicaHealth {
  readonly #limits: HealthLimits
  readonly #tell: TellReplica
  readonly #nowMs: () => number
  readonly #judged: Judged
  readonly #slowest = new SlowestOfLate()
  /** When the gateway itself had been held up last: what began before says nothing of how long answers take. */
  #heldUpMs = 0
  readonly counts: HealthCounts = { ejected: 0, hung: 0, late: 0 }

  constructor(limits: HealthLimits, judged: Judged, tell: TellReplica, nowMs: () => number) {
    this.#limits = limits
    this.#judged = judged
    this.#tell = tell
    this.#nowMs = nowMs
  }

  /** How long an attempt may take before another replica tries. */
  attemptLimitMs(leftMs: number): number {
    return attemptLimitMs(leftMs, this.#slowest.ms, this.#limits.silence)
  }

  /** The replica gave an answer, of whatever status: 503 says that it isn't ready, other 5xx that it failed. */
  answered({ replica, startedMs }: Exchange, status: number): void {
    const nowMs = this.#nowMs()
    replica.owesSinceMs = replica.exchanges.length > 1 ? nowMs : null
    replica.isSuspect = false
    replica.check.delayMs = 0
    if (status === 503) return
    if (status >= 500) return this.failed(replica, `it answers ${status}`)
    replica.record.failures = 0
    replica.record.isOnTrial = false
    replica.flaps = 0
    if (startedMs >= this.#heldUpMs) this.#slowest.note(nowMs - startedMs)
  }

  /** One more failure in a row. Of all exchanges that break together the first counts: the others follow from it. */
  failed(replica: PooledReplica, why: string): void {
    if (replica.state !== 'up') return
    replica.record.failures += 1
    this.#judge(replica, { kind: 'failure', why })
  }

  /** Whether an exchange has taken long enough for its lack of an answer to say something. */
  isOverdue({ startedMs }: Exchange): boolean {
    return this.#nowMs() - startedMs >= suspiciousAfterMs(this.#slowest.ms, this.#limits.silence)
  }

  /** The replica broke a connection or said that it isn't ready: nobody is sent to it until it answers a probe. */
  reportOut(replica: PooledReplica, why: string, probeInMs: number): void {
    if (replica.state !== 'up') return
    replica.state = 'out'
    replica.owesSinceMs = null
    replica.isSuspect = false
    replica.nextDelayMs = this.#limits.probeDelayMs
    this.#tell('out', replica.replicaId, why)
    // One that comes and goes without an answer in between is looked at less and less often.
    const flapMs = replica.flaps === 0 ? 0 : this.#limits.probeDelayMs * 2 ** Math.min(16, replica.flaps)
    replica.flaps += 1
    this.probeIn(replica, Math.min(this.#limits.probeDelayMaxMs, Math.max(probeInMs, flapMs)))
    this.recall()
  }

  /**
   * Looks for replicas that keep requests waiting, every so often.
   * @param wasLate - the gateway itself did not run: silence until now means nothing
   */
  watch(wasLate: boolean): void {
    const nowMs = this.#nowMs()
    this.#slowest.turn(nowMs)
    if (wasLate) this.#heldUpMs = nowMs
    for (const replica of this.#judged.listed()) this.#watch(replica, nowMs, wasLate)
    for (const replica of this.#judged.leaving()) this.#watch(replica, nowMs, wasLate)
  }

  #watch(replica: PooledReplica, nowMs: number, wasLate: boolean): void {
    if (replica.owesSinceMs === null) return
    if (wasLate) replica.owesSinceMs = nowMs
    this.#giveUpLate(replica, nowMs)
    if (replica.state === 'ejected') return
    if (nowMs - replica.owesSinceMs < suspiciousAfterMs(this.#slowest.ms, this.#limits.silence)) return
    replica.isSuspect = true
    const { check } = replica
    if (check.underWay || nowMs < check.notBeforeMs) return
    check.underWay = true
    void this.#checkSuspect(replica, replica.owesSinceMs)
  }

  #giveUpLate(replica: PooledReplica, nowMs: number): void {
    for (const exchange of replica.exchanges) {
      if (nowMs - exchange.startedMs < exchange.limitMs || !exchange.mayRepeat || exchange.givenUp !== null) continue
      if (this.#doingWell(replica) === 0) return
      this.counts.late += 1
      giveUp(exchange, 'late')
      this.failed(replica, 'it keeps requests waiting for too long')
      if (replica.state === 'ejected') return this.#giveUpAll(replica)
    }
  }

  /** It owes an answer for too long. Does it live at all? Slow is no fault; a probe that nobody answers is. */
  async #checkSuspect(replica: PooledReplica, owesSinceMs: number): Promise<void> {
    const { check } = replica
    const startedMs = this.#nowMs()
    const { checkMs, checkAgainMaxMs } = this.#limits.silence
    const ready = await replica.upstream.probe(checkMs)
    const nowMs = this.#nowMs()
    const tookMs = nowMs - startedMs
    check.underWay = false
    check.delayMs = Math.min(checkAgainMaxMs, Math.max(checkMs, check.delayMs * 2))
    check.notBeforeMs = nowMs + (ready ? check.delayMs : 0)
    this.#noteHanging(replica, !ready && tookMs >= checkMs * 0.8)
    if (replica.owesSinceMs !== owesSinceMs) return // it has answered meanwhile, or is out
    if (ready && replica.exchanges.length === 0) {
      replica.owesSinceMs = null
      replica.isSuspect = false
    }
    if (ready || tookMs > checkMs * 2) return // it is only slow; or the gateway is
    if (tookMs >= checkMs * 0.8) this.#hangs(replica, `it was silent for ${Math.round(nowMs - owesSinceMs)} ms`)
    else this.reportOut(replica, 'it is not ready', this.#limits.probeDelayMs)
  }

  #noteHanging({ check }: PooledReplica, hangs: boolean): void {
    const isAwake = check.hung && !hangs
    check.hung = hangs
    if (isAwake) this.#judged.onAwake()
  }

  #hangs(replica: PooledReplica, why: string): void {
    if (replica.state === 'leaving') {
      if (this.#doingWell(replica) > 0) this.#giveUpAll(replica)
      return
    }
    this.#judge(replica, { kind: 'hang', why: `${why} and does not answer a probe` })
    if (replica.state !== 'ejected') return
    this.counts.hung += 1
    this.#giveUpAll(replica)
  }

  #giveUpAll(replica: PooledReplica): void {
    for (const exchange of replica.exchanges) if (exchange.mayRepeat) giveUp(exchange, 'hangs')
  }

  #judge(replica: PooledReplica, cause: EjectionCause): void {
    if (replica.state !== 'up') return
    const nowMs = this.#nowMs()
    const listed = this.#judged.listed().length
    const ejected = this.#judged.listed().filter((other) => other.state === 'ejected').length
    const siblings = { listed, ejected, doingWell: this.#doingWell(replica) }
    const decision = decideEjection(replica.record, cause, siblings, this.#limits.ejection, nowMs)
    if (decision.kind === 'stay') return
    replica.state = 'ejected'
    replica.owesSinceMs = null
    replica.isSuspect = false
    replica.record.timesEjected = decision.timesEjected
    replica.ejectedUntilMs = nowMs + decision.forMs
    replica.nextDelayMs = this.#limits.probeDelayMs
    this.counts.ejected += 1
    this.#tell('ejected', replica.replicaId, `${decision.why}; for ${decision.forMs} ms`)
    this.probeIn(replica, decision.forMs)
  }

  #doingWell(except: PooledReplica): number {
    let count = 0
    for (const replica of this.#judged.listed()) {
      if (replica === except || replica.state !== 'up' || replica.isSuspect) continue
      if (replica.record.failures === 0 && !replica.record.isOnTrial) count += 1
    }
    return count
  }

  /**
   * With fewer listed, too many would be left out; with all others gone, a doubtful one is better than none. Those whose
   * ejections end first come back.
   */
  recall(): void {
    for (;;) {
      const listed = this.#judged.listed()
      const ejected = listed.filter(({ state }) => state === 'ejected')
      const isAlone = !listed.some(({ state }) => state === 'up')
      const most = mostEjected(listed.length, this.#limits.ejection.maxSharePercent)
      if (ejected.length === 0 || (!isAlone && ejected.length <= most)) return
      const first = ejected.reduce((a, b) => (b.ejectedUntilMs < a.ejectedUntilMs ? b : a))
      if (first.probe !== null) clearTimeout(first.probe)
      first.probe = null
      this.#return(first, isAlone ? 'no other replica is left' : 'fewer replicas are left')
    }
  }

  probeIn(replica: PooledReplica, delayMs: number): void {
    if (replica.probe !== null) clearTimeout(replica.probe)
    replica.probe = setTimeout(() => void this.#probe(replica), delayMs)
    replica.probe.unref()
  }

  async #probe(replica: PooledReplica): Promise<void> {
    replica.probe = null
    const ready = await replica.upstream.probe(this.#limits.probeTimeoutMs)
    // It left, was called back, or a newer probe is on its way.
    if ((replica.state !== 'out' && replica.state !== 'ejected') || replica.probe !== null) return
    if (!ready) {
      this.probeIn(replica, replica.nextDelayMs)
      replica.nextDelayMs = Math.min(replica.nextDelayMs * 2, this.#limits.probeDelayMaxMs)
      return
    }
    this.#return(replica, 'it answered a probe')
  }

  #return(replica: PooledReplica, why: string): void {
    if (replica.state === 'ejected') {
      replica.record.failures = 0
      replica.record.isOnTrial = true
      replica.record.returnedAtMs = this.#nowMs()
    }
    replica.state = 'up'
    replica.owesSinceMs = replica.exchanges.length > 0 ? this.#nowMs() : null
    this.#tell('up', replica.replicaId, why)
    this.#judged.onUp()
  }
}

function giveUp(exchange: Exchange, why: 'hangs' | 'late'): void {
  if (exchange.givenUp !== null) return
  exchange.givenUp = why
  exchange.call.abort()
}
