import { createHash, timingSafeEqual } from 'node:crypto'
import type { RoutedCaller, RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { errorAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { RoutingTable } from './routing-table.ts'

/** What is told of a client by its connection; `Peer` of the HTTP front is one. */
export interface CallerPeer {
  /** On this machine: loopback, or a unix socket. */
  isLocal: boolean
  /** Of a client certificate that was verified; null: none. */
  commonName: string | null
}

export type CallerHeaders = Readonly<Record<string, string | string[] | undefined>>

/** The answer is 401 or 403. `endpoints`: what the caller may call, and hear of; null or absent: everything. */
export type Identified =
  | { kind: 'caller'; name: string; endpoints?: readonly string[] | null }
  | { kind: 'answer'; answer: Answer }

export const ANONYMOUS = 'anonymous'
const NOBODY: Identified = { kind: 'caller', name: ANONYMOUS }

/**
 * Who calls, by its name in the log and in all counts, and whether it may. A key comes before a certificate. A key that is
 * unknown is refused also where none is needed: whoever sends one means to be known by it.
 *
 *   key known                          that caller       → may it call this endpoint? else 403
 *   key unknown or revoked             401
 *   no key, certificate of a caller    that caller       → the same
 *   neither, on this machine           'anonymous'
 *   neither, from another one          'anonymous' where the project allows it, else 401
 *
 * @param endpoint - as the client wrote it; null: none in particular
 */
export function identify(
  table: RoutingTable,
  peer: CallerPeer,
  headers: CallerHeaders,
  endpoint: string | null,
): Identified {
  const known = knownCaller(table, peer, headers)
  if (known === 'unknown-key') return unknownKey()
  if (known !== null) return allowed(table, known, endpoint)
  return peer.isLocal || table.snapshot.anonymous === true ? NOBODY : refuse(401, needsKey('Calls', peer), MISSING)
}

/** The same for labels: from another machine they always need a key or a certificate, as training believes them. */
export function identifyForLabels(table: RoutingTable, peer: CallerPeer, headers: CallerHeaders): Identified {
  const known = knownCaller(table, peer, headers)
  if (known === 'unknown-key') return unknownKey()
  if (known !== null) return { kind: 'caller', name: known.name }
  return peer.isLocal ? NOBODY : refuse(401, needsKey('Labels', peer), MISSING)
}

/**
 * The same for metrics, which name every endpoint and version: on this machine anybody may read them, from another one
 * whoever is known and may call every endpoint. That the project serves strangers makes them no exception.
 */
export function identifyForMetrics(table: RoutingTable, peer: CallerPeer, headers: CallerHeaders): Identified {
  const known = knownCaller(table, peer, headers)
  if (known === 'unknown-key') return unknownKey()
  if (known === null) return peer.isLocal ? NOBODY : refuse(401, needsKey('Metrics', peer), MISSING)
  if (known.endpoints === null) return { kind: 'caller', name: known.name }
  return refuse(403, `Caller '${known.name}' may not read metrics: it may not call every endpoint.`, null)
}

function knownCaller(
  { snapshot }: RoutingTable,
  { commonName }: CallerPeer,
  headers: CallerHeaders,
): RoutedCaller | 'unknown-key' | null {
  const key = bearerOf(headers['authorization'])
  if (key === null && commonName === null) return null
  const callers = callersOf(snapshot)
  if (key !== null) return callers.byKey(key) ?? 'unknown-key'
  return commonName === null ? null : (callers.byCommonName.get(commonName) ?? null)
}

const MISSING = 'Bearer'
const INVALID = 'Bearer error="invalid_token"'

/** What a caller may have under way at once, over all endpoints; null: no limit of its own. */
export function concurrencyOf({ snapshot }: RoutingTable, name: string): number | null {
  if (snapshot.callers === undefined || snapshot.callers.length === 0) return null
  return callersOf(snapshot).byName.get(name)?.concurrency ?? null
}

/** An endpoint may be called by its model's name, too. */
function allowed(table: RoutingTable, { name, endpoints }: RoutedCaller, asked: string | null): Identified {
  if (endpoints === null) return { kind: 'caller', name }
  if (asked === null) return { kind: 'caller', name, endpoints }
  const endpoint = table.byName.get(asked)?.route.endpoint ?? asked
  if (endpoints.includes(endpoint)) return { kind: 'caller', name, endpoints }
  return refuse(403, `Caller '${name}' may not call endpoint '${endpoint}'.`, null)
}

/** @see RFC 6750, sections 2.1 and 3 */
function refuse(status: 401 | 403, error: string, challenge: string | null): Identified {
  return {
    kind: 'answer',
    answer: errorAnswer(status, error, challenge === null ? [] : ['WWW-Authenticate', challenge]),
  }
}

const unknownKey = (): Identified => refuse(401, 'The key is not known, or was revoked.', INVALID)

function needsKey(what: 'Calls' | 'Labels' | 'Metrics', { commonName }: CallerPeer): string {
  const known = commonName === null ? '' : ` No caller is known by the certificate of '${commonName}'.`
  return `${what} from another machine need a key: send 'Authorization: Bearer <key>'.${known}`
}

/** Null: no key was sent. Other schemes are for proxies in between, and say nothing here. */
function bearerOf(authorization: string | string[] | undefined): string | null {
  if (typeof authorization !== 'string') return null
  const key = /^bearer(?:[ \t]+(.*))?$/i.exec(authorization)
  return key === null ? null : (key[1] ?? '').trim()
}

/** The callers of one snapshot, prepared for look-ups. */
class Callers {
  readonly byName: ReadonlyMap<string, RoutedCaller>
  readonly byCommonName: ReadonlyMap<string, RoutedCaller>
  readonly #byDigest = new Map<string, { digest: Buffer; caller: RoutedCaller }>()
  /** Keys that were seen and are known, so that their digest is made once; no more than there are digests. */
  readonly #seen = new Map<string, RoutedCaller>()

  constructor(callers: readonly RoutedCaller[]) {
    this.byName = new Map(callers.map((caller) => [caller.name, caller]))
    this.byCommonName = new Map(callers.flatMap((caller) => caller.commonNames.map((name) => [name, caller] as const)))
    for (const caller of callers) {
      for (const hex of caller.keyDigests) {
        this.#byDigest.set(hex.toLowerCase(), { digest: Buffer.from(hex, 'hex'), caller })
      }
    }
  }

  /**
   * Looked up by digest: the time that takes tells nothing of a key that is close. What is found is compared in constant
   * time, and only a key that was right is ever remembered.
   */
  byKey(key: string): RoutedCaller | null {
    const seen = this.#seen.get(key)
    if (seen !== undefined) return seen
    if (this.#byDigest.size === 0 || key === '') return null
    const digest = createHash('sha256').update(key).digest()
    const known = this.#byDigest.get(digest.toString('hex'))
    if (known === undefined || known.digest.length !== digest.length || !timingSafeEqual(known.digest, digest))
      return null
    this.#seen.set(key, known.caller)
    return known.caller
  }
}

const ofSnapshot = new WeakMap<RoutingSnapshot, Callers>()

/** Prepared once per snapshot: one that revokes a key forgets it with the rest. */
function callersOf(snapshot: RoutingSnapshot): Callers {
  const known = ofSnapshot.get(snapshot)
  if (known !== undefined) return known
  const callers = new Callers(snapshot.callers ?? [])
  ofSnapshot.set(snapshot, callers)
  return callers
}
