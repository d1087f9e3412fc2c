import type { DurationTotal } from '../front/data-plane.ts'

/** As much of a request's end as is counted here; see Served in traffic.ts. */
export interface ServedRequest {
  endpoint: string
  model: string
  version: string
  origin: 'live' | 'shadow' | 'fallback' | 'member'
  status: number | null
  latencyMs: number
}

/** What became of the requests of one version since the gateway's start. */
export interface ServedTotal {
  success: DurationTotal
  fail: DurationTotal
  /** Epoch ms of the last answer; 0: none yet. */
  lastAnswerMs: number
}

/** Versions come and go, and names of old ones mean nothing: of more than this the one that came first is forgotten. */
const VERSIONS_MAX = 2_000

/**
 * What clients may ask for as statistics: counts and times per endpoint and version, growing until the gateway ends.
 * The control plane counts by itself, from the reports.
 */
export class ServedTotals {
  readonly #totals = new Map<string, ServedTotal>()

  count(served: ServedRequest, epochMs: number): void {
    const { status, latencyMs } = served
    if (status !== null) addAnswer(this.totalFor(served), status, latencyMs, epochMs)
  }

  /** Where answers on this account are to be added, for who has many of them; null: nowhere. */
  totalFor({ endpoint, model, version, origin }: Omit<ServedRequest, 'status' | 'latencyMs'>): ServedTotal | null {
    if (origin === 'shadow' || version === '') return null
    // A gather's clients call its members' versions by both.
    return this.#totalOf(endpoint, origin === 'member' ? `${model}@${version}` : version)
  }

  of(endpoint: string, version: string): Readonly<ServedTotal> {
    return this.#totals.get(keyOf(endpoint, version)) ?? emptyTotal()
  }

  #totalOf(endpoint: string, version: string): ServedTotal {
    const key = keyOf(endpoint, version)
    const known = this.#totals.get(key)
    if (known !== undefined) return known
    if (this.#totals.size >= VERSIONS_MAX) this.#totals.delete(this.#totals.keys().next().value as string)
    const total = emptyTotal()
    this.#totals.set(key, total)
    return total
  }
}

/** @param total - null: the answer is in no statistics */
export function addAnswer(total: ServedTotal | null, status: number, latencyMs: number, epochMs: number): void {
  if (total === null) return
  const duration = status < 400 ? total.success : total.fail
  duration.count += 1
  duration.ns += Math.round(latencyMs * 1e6)
  total.lastAnswerMs = epochMs
}

function keyOf(endpoint: string, version: string): string {
  return `${endpoint}\0${version}`
}

function emptyTotal(): ServedTotal {
  return { success: { count: 0, ns: 0 }, fail: { count: 0, ns: 0 }, lastAnswerMs: 0 }
}
