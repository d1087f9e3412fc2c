import type { Transaction } from 'kysely'
import { sql } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { beginUse } from '../retirement/retirement-requests.ts'
import { ANONYMOUS, CALLERS_MAX, isPinned, KEYS_MAX, keyDigest, keyHint, keyOf, worksAt } from './caller.ts'
import type { Caller } from './caller.ts'
import { findCaller, listCallers, listPins } from './caller-store.ts'
import {
  CallerExistsError,
  CallerNameError,
  CallerRevokedError,
  CallerUnknownError,
  CommonNameTakenError,
  NotAllowedThereError,
  NotPinnedError,
  TooManyCallersError,
  TooManyKeysError,
} from './errors.ts'

type Tx = Transaction<Database>

export interface NewCaller {
  name: string
  endpoints: string[] | null
  commonNames: string[]
  concurrency: number | null
  by: string
}

/**
 * Makes a caller known.
 * @param random - 32 bytes for its first key; null: it is known by its certificates alone
 * @returns the key, which can't be had again; null where it has none
 */
export async function addCaller(
  tx: Tx,
  clock: Clock,
  wish: NewCaller,
  random: Uint8Array | null,
): Promise<string | null> {
  const { name, endpoints, commonNames, concurrency, by } = wish
  if (name === ANONYMOUS) throw new CallerNameError(name)
  await oneAtATime(tx)
  const known = await listCallers(tx)
  const before = known.find((caller) => caller.name === name)
  if (before !== undefined) throw new CallerExistsError(name, before.revoked !== null)
  if (known.length >= CALLERS_MAX) throw new TooManyCallersError()
  refuseTaken(known, commonNames)
  await tx
    .insertInto('caller')
    .values({
      name,
      endpoints: endpoints === null ? null : JSON.stringify(endpoints),
      common_names: JSON.stringify(commonNames),
      concurrency,
      created_by: by,
      created_at_ms: clock.epochMs(),
    })
    .execute()
  await say(tx, clock, name, null, 'known', by)
  return random === null ? null : addKey(tx, clock, { name, by }, random)
}

/**
 * A new key; those before it end after `keepMs`, so that whoever holds one has the time to change it.
 * @param wish.keepMs - 0: at once
 * @returns the new key, which can't be had again
 */
export async function rotateKey(
  tx: Tx,
  clock: Clock,
  wish: { name: string; keepMs: number; by: string },
  random: Uint8Array,
): Promise<{ key: string; endsAtMs: number | null }> {
  await oneAtATime(tx)
  const caller = await activeCaller(tx, wish.name)
  const nowMs = clock.epochMs()
  const working = caller.keys.filter((key) => worksAt(key, nowMs))
  if (wish.keepMs > 0 && working.length >= KEYS_MAX) throw new TooManyKeysError(wish.name)
  const endsAtMs = nowMs + wish.keepMs
  await tx
    .updateTable('caller_key')
    .set({ ends_at_ms: endsAtMs })
    .where('caller', '=', wish.name)
    // What was to end sooner still does.
    .where((eb) => eb.or([eb('ends_at_ms', 'is', null), eb('ends_at_ms', '>', endsAtMs)]))
    .execute()
  const key = await addKey(tx, clock, wish, random)
  return { key, endsAtMs: working.length === 0 ? null : endsAtMs }
}

/** From the next snapshot on nobody who shows its key or certificate is let in by it. Its name stays taken. */
export async function revokeCaller(
  tx: Tx,
  clock: Clock,
  wish: { name: string; why: string; by: string },
): Promise<void> {
  const { name, why, by } = wish
  await activeCaller(tx, name)
  await tx
    .updateTable('caller')
    .set({ revoked_at_ms: clock.epochMs(), revoked_by: by, revoked_why: why })
    .where('name', '=', name)
    .execute()
  await tx.deleteFrom('caller_key').where('caller', '=', name).execute()
  await say(tx, clock, name, 'known', 'revoked', `${by}: ${why}`)
  for (const { endpoint } of (await listPins(tx)).filter((pin) => pin.caller === name))
    await removePin(tx, clock, { caller: name, endpoint }, 'the caller was revoked')
}

/**
 * Keeps a caller on a version for a while; asked again it is renewed, or moved. A version on its way out of service is
 * brought back with it.
 * @throws CallerUnknownError, CallerRevokedError, NotAllowedThereError, VersionDeletedError
 */
export async function pinCaller(
  tx: Tx,
  clock: Clock,
  wish: { caller: string; endpoint: string; versionId: string; forMs: number; why: string | null; by: string },
): Promise<void> {
  const { caller, endpoint, versionId, forMs, why, by } = wish
  const { endpoints } = await activeCaller(tx, caller)
  if (endpoints !== null && !endpoints.includes(endpoint)) throw new NotAllowedThereError(caller, endpoint, endpoints)
  await beginUse(tx, clock, { versionId, what: `caller ${caller}, who is pinned to it`, by })
  const before = (await listPins(tx)).find((pin) => pin.caller === caller && pin.endpoint === endpoint)
  const nowMs = clock.epochMs()
  const pin = { version_id: versionId, pinned_by: by, pinned_at_ms: nowMs, expires_at_ms: nowMs + forMs, why }
  await tx
    .insertInto('caller_pin')
    .values({ caller, endpoint, ...pin })
    .onConflict((conflict) => conflict.columns(['caller', 'endpoint']).doUpdateSet(pin))
    .execute()
  const until = new Date(nowMs + forMs).toISOString()
  const reason = why === null ? '' : `: ${why}`
  await sayPin(tx, clock, wish, before?.versionId ?? null, versionId, `${by}, until ${until}${reason}`)
}

/** @throws NotPinnedError */
export async function unpinCaller(
  tx: Tx,
  clock: Clock,
  wish: { caller: string; endpoint: string; by: string },
): Promise<void> {
  if (!(await removePin(tx, clock, wish, wish.by))) throw new NotPinnedError(wish.caller, wish.endpoint)
}

/** Takes away the pins whose time is over. @returns how many */
export async function endExpiredPins(tx: Tx, clock: Clock): Promise<number> {
  const over = (await listPins(tx)).filter((pin) => !isPinned(pin, clock.epochMs()))
  for (const pin of over)
    await removePin(tx, clock, pin, `it was not renewed by ${new Date(pin.expiresAtMs).toISOString()}`)
  return over.length
}

export interface CallerUse {
  caller: string
  requests: number
}

/** Notes who has called, in the transaction that counts the traffic. */
export async function recordCallers(tx: Tx, clock: Clock, uses: readonly CallerUse[]): Promise<void> {
  const nowMs = Math.round(clock.calendarMs())
  for (const { caller, requests } of uses)
    if (requests > 0)
      await tx
        .updateTable('caller')
        .set((eb) => ({
          requests: eb('requests', '+', requests),
          // A calendar that was set backwards takes nothing back.
          last_calendar_ms: eb.fn<number>('greatest', ['last_calendar_ms', eb.val(nowMs)]),
        }))
        .where('name', '=', caller)
        .execute()
}

async function activeCaller(tx: Tx, name: string): Promise<Caller> {
  const caller = await findCaller(tx, name)
  if (caller === null) throw new CallerUnknownError(name)
  if (caller.revoked !== null) throw new CallerRevokedError(name, caller.revoked.by)
  return caller
}

/** Of two at once the second sees what the first has done: names and common names are unique among all of them. */
async function oneAtATime(tx: Tx): Promise<void> {
  await sql`lock table caller in share row exclusive mode`.execute(tx)
}

function refuseTaken(known: Caller[], commonNames: string[]): void {
  for (const caller of known)
    for (const commonName of caller.revoked === null ? caller.commonNames : [])
      if (commonNames.includes(commonName)) throw new CommonNameTakenError(commonName, caller.name)
}

async function addKey(tx: Tx, clock: Clock, wish: { name: string; by: string }, random: Uint8Array): Promise<string> {
  const key = keyOf(random)
  const hint = keyHint(key)
  const facts = { digest: keyDigest(key), caller: wish.name, hint, created_by: wish.by, ends_at_ms: null }
  await tx
    .insertInto('caller_key')
    .values({ ...facts, created_at_ms: clock.epochMs() })
    .execute()
  await say(tx, clock, wish.name, 'known', 'known', `${wish.by}: a key of it, ${hint}`)
  return key
}

async function removePin(
  tx: Tx,
  clock: Clock,
  pin: { caller: string; endpoint: string },
  cause: string,
): Promise<boolean> {
  const removed = await tx
    .deleteFrom('caller_pin')
    .where('caller', '=', pin.caller)
    .where('endpoint', '=', pin.endpoint)
    .returning('version_id')
    .executeTakeFirst()
  if (removed === undefined) return false
  await sayPin(tx, clock, pin, removed.version_id, null, cause)
  return true
}

function sayPin(
  tx: Tx,
  clock: Clock,
  pin: { caller: string; endpoint: string },
  from: string | null,
  to: string | null,
  cause: string,
): Promise<void> {
  return appendEvent(tx, {
    entity: 'pin',
    entityId: `${pin.caller}/${pin.endpoint}`,
    from,
    to: to ?? 'none',
    cause,
    ...timesOf(clock),
  })
}

function say(tx: Tx, clock: Clock, name: string, from: string | null, to: string, cause: string): Promise<void> {
  return appendEvent(tx, { entity: 'caller', entityId: name, from, to, cause, ...timesOf(clock) })
}
