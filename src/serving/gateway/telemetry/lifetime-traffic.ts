import { LATENCY_BOUNDS_MS } from '../../../kernel/contract/routing.ts'
import type { TrafficReport } from '../../../kernel/contract/routing.ts'

/** What became of the requests of one account since the gateway's start. */
export interface AccountTotal extends Pick<TrafficReport, 'endpoint' | 'model' | 'version' | 'origin'> {
  /** With any status below 500. */
  answered: number
  /** With 5xx, or not at all; the client got nothing better. */
  failed: number
  /** The same, and the client was answered by another version or the fallback. */
  rescued: number
  /** The client left before. */
  interrupted: number
  /** Copies that were not sent, or not waited for. */
  dropped: number
  /** Per bound of LATENCY_BOUNDS_MS, the last for everything above. */
  latencyCounts: number[]
}

/** Accounts come and go with versions: of more than these the one that came first is forgotten. */
const ACCOUNTS_MAX = 2_000

/**
 * The reports to the control plane, added up over the gateway's life. It is fed with whole reports, twice a second, so
 * that requests are counted once and not twice for it.
 */
export class LifetimeTraffic {
  readonly #accounts = new Map<string, AccountTotal>()

  add(rows: Iterable<TrafficReport>): void {
    for (const row of rows) addRow(this.#accounts, row)
    while (this.#accounts.size > ACCOUNTS_MAX) this.#accounts.delete(this.#accounts.keys().next().value as string)
  }

  /** What nobody calls any more is forgotten; should it come back it begins at zero. */
  keep(isKnown: (account: AccountTotal) => boolean): void {
    for (const [key, account] of this.#accounts) if (!isKnown(account)) this.#accounts.delete(key)
  }

  /** @param current - what was counted since rows were added last */
  with(current: Iterable<TrafficReport>): AccountTotal[] {
    const sums = new Map<string, AccountTotal>()
    for (const [key, total] of this.#accounts) sums.set(key, { ...total, latencyCounts: [...total.latencyCounts] })
    for (const row of current) addRow(sums, row)
    return [...sums.values()]
  }
}

function addRow(accounts: Map<string, AccountTotal>, row: TrafficReport): void {
  const total = totalOf(accounts, row)
  const { requests, failed, interrupted, rescued = 0, dropped = 0, latencyCounts } = row
  total.answered += requests - failed - interrupted
  total.failed += failed - rescued
  total.rescued += rescued
  total.interrupted += interrupted
  total.dropped += dropped
  for (const [bucket, count] of latencyCounts.entries())
    total.latencyCounts[bucket] = (total.latencyCounts[bucket] as number) + count
}

/** Over all trials. */
function totalOf(accounts: Map<string, AccountTotal>, row: TrafficReport): AccountTotal {
  const { endpoint, model, version, origin } = row
  const key = `${endpoint}\0${model}\0${version}\0${origin}`
  const known = accounts.get(key)
  if (known !== undefined) return known
  const latencyCounts = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0)
  const none = { answered: 0, failed: 0, rescued: 0, interrupted: 0, dropped: 0, latencyCounts }
  const total: AccountTotal = { endpoint, model, version, origin, ...none }
  accounts.set(key, total)
  return total
}
