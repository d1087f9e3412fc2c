import { fineLatencyBucket, LATENCY_BOUNDS_MS } from '../../kernel/contract/routing.ts'
import type { TrafficReport } from '../../kernel/contract/routing.ts'
import { addAnswer, ServedTotals } from './served-totals.ts'
import type { ServedTotal } from './served-totals.ts'
import { LifetimeTraffic } from './telemetry/lifetime-traffic.ts'
import type { AccountTotal } from './telemetry/lifetime-traffic.ts'

/** Whose account something goes to: one row of a report. */
export interface Account {
  endpoint: string
  model: string
  /** In a trial the version that was drawn. Empty where none was chosen: the endpoint had none, or is disabled. */
  version: string
  origin: TrafficReport['origin']
  trial: string | null
}

export type Version = Pick<Account, 'endpoint' | 'model' | 'version'>

/** One request that reached an endpoint, a copy of one, or an answer of the fallback, however it ended. */
export interface Served extends Account {
  /** HTTP status that this version has to answer for; null when the client left before it. */
  status: number | null
  /** The client got an answer all the same, from another version or the fallback. */
  rescued: boolean
  /** Who sent a request that names its version; null where it names none. */
  pinnedBy: string | null
  latencyMs: number
}

export interface TrafficBatch {
  /** Grows by one with each batch; a batch that is sent again keeps its number, so that it is counted once. */
  seq: number
  traffic: TrafficReport[]
  /** Of callers that are known by name. */
  callers: { caller: string; requests: number }[]
}

/** More rows than this between two acknowledged reports are not counted but in `uncounted`. */
const ROWS_MAX = 10_000
/** Callers that a row names; the requests of more are counted together under OTHER_CALLERS. */
const CALLERS_MAX = 100
const CALLER_TEXT_MAX = 200
export const OTHER_CALLERS = '(others)'
/** Whoever shows neither a key nor a certificate. */
const ANONYMOUS = 'anonymous'

/**
 * Counts what was served until the control plane has it. One batch is on its way at a time and stays as it is until
 * it is acknowledged; what happens meanwhile goes into the next. The size depends on the number of versions and trials,
 * not on time: hours without a control plane, from which new ones come, cost no memory.
 */
export class Traffic {
  /** The same since the start, for clients that ask. */
  readonly totals = new ServedTotals()
  readonly #lifetime = new LifetimeTraffic()
  readonly #rows = new AccountRows()
  /** Versions that have answered, of those that the routes know. */
  readonly #answered = new Map<string, Version>()
  /** As many as the snapshots name: a caller that is not in one is anonymous. */
  readonly #callers = new Map<string, number>()
  #onItsWay: TrafficBatch | null = null
  #seq = 0
  /** Requests that found no place in the counters. Zero unless something is badly wrong with the routes. */
  uncounted = 0

  count(served: Served, epochMs: number): void {
    const { status, pinnedBy, rescued, latencyMs } = served
    const row = this.#row(served)
    if (row === null) {
      this.uncounted += 1
      this.totals.count(served, epochMs)
      return
    }
    const { report } = row
    report.requests += 1
    if (pinnedBy !== null) addPin(report, pinnedBy)
    if (status === null) {
      report.interrupted += 1
      return
    }
    addAnswer(row.total, status, latencyMs, epochMs)
    if (status >= 500) report.failed += 1
    if (rescued) report.rescued = (report.rescued ?? 0) + 1
    addLatency(report, served)
    if (status < 300 && served.origin === 'live') this.#noteFirst(row, epochMs)
  }

  /** A request that names this version and was answered by something else: it is among no requests of this row. */
  countPin(account: Account, caller: string): void {
    const row = this.#row(account)
    if (row === null) this.uncounted += 1
    else addPin(row.report, caller)
  }

  /** Once for each request that reaches an endpoint. */
  countCaller(caller: string): void {
    if (caller !== ANONYMOUS) this.#callers.set(caller, (this.#callers.get(caller) ?? 0) + 1)
  }

  /** A copy that was not sent, or not waited for: no word about the version. */
  countDropped(account: Account): void {
    const row = this.#row(account)
    if (row === null) this.uncounted += 1
    else row.report.dropped = (row.report.dropped ?? 0) + 1
  }

  /** The batch to send: the unacknowledged one again, else everything new. */
  batch(): TrafficBatch {
    if (this.#onItsWay === null) {
      const callers = Array.from(this.#callers, ([caller, requests]) => ({ caller, requests }))
      const traffic = this.#rows.reports()
      this.#onItsWay = { seq: ++this.#seq, traffic, callers }
      this.#lifetime.add(traffic)
      this.#rows.clear()
      this.#callers.clear()
    }
    return this.#onItsWay
  }

  /** All that was counted since the start, over all trials. */
  sinceStart(): AccountTotal[] {
    return this.#lifetime.with(this.#rows.reports())
  }

  /** Of versions and endpoints that the routes no longer know nobody asks again. */
  forgetBut(isKnown: (account: AccountTotal) => boolean): void {
    this.#lifetime.keep(isKnown)
  }

  /** With new routes: a version that comes back later has its first answer anew. */
  forgetAnsweredBut(isKnown: (version: Version) => boolean): void {
    for (const [key, version] of this.#answered) if (!isKnown(version)) this.#answered.delete(key)
  }

  acknowledge(seq: number): void {
    if (this.#onItsWay?.seq === seq) this.#onItsWay = null
  }

  #row(account: Account): AccountRow | null {
    const known = this.#rows.find(account)
    if (known !== undefined) return known
    if (this.#rows.size >= ROWS_MAX) return null
    const row = { report: emptyReport(account), total: this.totals.totalFor(account), isNoted: false }
    this.#rows.add(row)
    return row
  }

  #noteFirst(row: AccountRow, epochMs: number): void {
    if (row.isNoted) return
    row.isNoted = true
    const { report } = row
    const { endpoint, model, version } = report
    const key = `${endpoint}\0${model}\0${version}`
    if (this.#answered.has(key)) return
    this.#answered.set(key, { endpoint, model, version })
    report.firstAnswerAtMs = epochMs
  }
}

/** What is counted of one account until the next batch, found by one look-up for every request. */
interface AccountRow {
  readonly report: TrafficReport
  readonly total: ServedTotal | null
  /** Whether its version is known to have answered before. */
  isNoted: boolean
}

/** By endpoint, each with the few accounts that it has: a key of all five would be a new text for every request. */
class AccountRows {
  readonly #byEndpoint = new Map<string, AccountRow[]>()
  size = 0

  find({ endpoint, model, version, origin, trial }: Account): AccountRow | undefined {
    const rows = this.#byEndpoint.get(endpoint)
    if (rows === undefined) return undefined
    for (const row of rows) {
      const { report } = row
      if (report.version !== version || report.origin !== origin) continue
      if (report.trial === trial && report.model === model) return row
    }
    return undefined
  }

  add(row: AccountRow): void {
    const { endpoint } = row.report
    const rows = this.#byEndpoint.get(endpoint)
    if (rows === undefined) this.#byEndpoint.set(endpoint, [row])
    else rows.push(row)
    this.size += 1
  }

  reports(): TrafficReport[] {
    return [...this.#byEndpoint.values()].flatMap((rows) => rows.map(({ report }) => report))
  }

  clear(): void {
    this.#byEndpoint.clear()
    this.size = 0
  }
}

function emptyReport({ endpoint, model, version, origin, trial }: Account): TrafficReport {
  return {
    endpoint,
    model,
    version,
    origin,
    trial,
    pinned: [],
    requests: 0,
    failed: 0,
    interrupted: 0,
    latencyCounts: Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0),
    fineLatency: {},
    firstAnswerAtMs: null,
  }
}

function addPin(row: TrafficReport, caller: string): void {
  const shown = caller.length > CALLER_TEXT_MAX ? `${caller.slice(0, CALLER_TEXT_MAX)}…` : caller
  const known = row.pinned.find((pin) => pin.caller === shown)
  if (known !== undefined) known.requests += 1
  else if (row.pinned.length < CALLERS_MAX - 1 || shown === OTHER_CALLERS)
    row.pinned.push({ caller: shown, requests: 1 })
  else addPin(row, OTHER_CALLERS)
}

/** Fine only for comparing: a request that another version answered in the end says nothing of this one's speed. */
function addLatency(row: TrafficReport, { latencyMs, rescued, trial }: Served): void {
  const bucket = latencyBucket(latencyMs)
  row.latencyCounts[bucket] = (row.latencyCounts[bucket] ?? 0) + 1
  if (trial === null || rescued) return
  const fine = fineLatencyBucket(latencyMs)
  row.fineLatency[fine] = (row.fineLatency[fine] ?? 0) + 1
}

/** Index of the first bound that is not exceeded; the number of bounds for everything above the last. */
export function latencyBucket(latencyMs: number): number {
  const index = LATENCY_BOUNDS_MS.findIndex((bound) => latencyMs <= bound)
  return index < 0 ? LATENCY_BOUNDS_MS.length : index
}
