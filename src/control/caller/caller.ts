import { createHash } from 'node:crypto'
import type { EndpointRoute, RoutedCaller } from '../../kernel/contract/routing.ts'

/** Who may call endpoints, known by key or by client certificate. Whoever is in no row is `anonymous`. */
export interface Caller {
  name: string
  /** Endpoints that it may call; null: all. */
  endpoints: string[] | null
  /** Of client certificates that are this caller. */
  commonNames: string[]
  /** Requests at once, over all endpoints; null: no limit of its own. */
  concurrency: number | null
  keys: CallerKey[]
  createdBy: string
  createdAtMs: number
  revoked: { atMs: number; by: string; why: string } | null
  /** As gateways have counted them. */
  requests: number
  /** Calendar; null: it has never called. */
  lastCalendarMs: number | null
}

export interface CallerKey {
  /** SHA-256, hex. The key itself is nowhere. */
  digest: string
  /** Its first letters, by which people tell keys apart. */
  hint: string
  createdBy: string
  createdAtMs: number
  /** Epoch; from then on it is refused. Null: no end. */
  endsAtMs: number | null
}

/** Keeps a caller on a version, whatever the shares of its endpoint are. Its times are real time, as a key's are. */
export interface CallerPin {
  caller: string
  endpoint: string
  versionId: string
  pinnedBy: string
  pinnedAtMs: number
  expiresAtMs: number
  why: string | null
}

/** What everybody is called who shows neither a key nor a certificate. */
export const ANONYMOUS = 'anonymous'

/** Of one caller, those that still work: one, and the next while it replaces it. */
export const KEYS_MAX = 5
export const CALLERS_MAX = 1_000
/** From then on an expiry is warned of. */
export const PIN_WARN_MS = 7 * 86_400_000

/** By which keys are found in files where they don't belong. */
export const KEY_PREFIX = 'millrace_'
const KEY_BYTES = 32
const HINT_LETTERS = KEY_PREFIX.length + 4

/**
 * @param random - 32 bytes that nobody can guess
 * @returns the key as callers send it, `millrace_` and 43 letters of base64url
 */
export function keyOf(random: Uint8Array): string {
  if (random.length !== KEY_BYTES) throw new RangeError(`a key is made of ${KEY_BYTES} bytes, not ${random.length}`)
  return KEY_PREFIX + Buffer.from(random).toString('base64url')
}

/** What is stored of a key, and what gateways look for. */
export const keyDigest = (key: string): string => createHash('sha256').update(key, 'utf8').digest('hex')

export const keyHint = (key: string): string => `${key.slice(0, HINT_LETTERS)}…`

export const worksAt = (key: CallerKey, nowMs: number): boolean => key.endsAtMs === null || key.endsAtMs > nowMs

/** What gateways are told, in a stable order: those that are revoked, and keys whose end has come, are not in it. */
export function routedCallers(callers: readonly Caller[], nowMs: number): RoutedCaller[] {
  return callers
    .filter((caller) => caller.revoked === null)
    .map(({ name, keys, commonNames, endpoints, concurrency }) => ({
      name,
      keyDigests: keys.filter((key) => worksAt(key, nowMs)).map((key) => key.digest),
      commonNames,
      endpoints,
      concurrency,
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** When the next key ends, ms from now; null: none does. */
export function nextKeyEndMs(callers: readonly Caller[], nowMs: number): number | null {
  const ends = callers.flatMap((caller) => caller.keys.flatMap((key) => key.endsAtMs ?? []))
  const ahead = ends.filter((endsAtMs) => endsAtMs > nowMs)
  return ahead.length === 0 ? null : Math.min(...ahead) - nowMs
}

export const isPinned = (pin: CallerPin, nowMs: number): boolean => nowMs < pin.expiresAtMs

/** Pins that end soon, for people: whoever is pinned does not see it coming. */
export const endingSoon = (pins: readonly CallerPin[], nowMs: number): CallerPin[] =>
  pins.filter((pin) => isPinned(pin, nowMs) && pin.expiresAtMs - nowMs < PIN_WARN_MS)

/**
 * What gateways are told of an endpoint's pins. One whose version is not deployed (yet) is left out: its caller is
 * served as others are until it is.
 * @param deploymentOf - the deployment of a version on the endpoint; null: there is none that serves
 */
export function routedPins(
  pins: readonly CallerPin[],
  endpoint: string,
  deploymentOf: (versionId: string) => string | null,
): NonNullable<EndpointRoute['pins']> {
  return pins.flatMap((pin) => {
    if (pin.endpoint !== endpoint) return []
    const deploymentId = deploymentOf(pin.versionId)
    return deploymentId === null ? [] : [{ caller: pin.caller, deploymentId, expiresAtMs: pin.expiresAtMs }]
  })
}
