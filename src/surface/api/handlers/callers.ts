import { randomBytes } from 'node:crypto'
import { endingSoon, type Caller, type CallerPin } from '../../../control/caller/caller.ts'
import { addCaller, pinCaller, revokeCaller, rotateKey, unpinCaller } from '../../../control/caller/caller-requests.ts'
import { findCaller, listCallers, listPins } from '../../../control/caller/caller-store.ts'
import { NeverReleasedError } from '../../../control/caller/errors.ts'
import { allModels } from '../../../control/control-context.ts'
import { resolveVersion } from '../../../control/registry/version-store.ts'
import { hasServed } from '../../../control/release/release-store.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { CallerView, CallerWithKey, PinView } from '../caller-schemas.ts'
import { EndpointUnknownError, modelOfEndpoint, OtherModelError } from './releases.ts'
import type { Services } from './services.ts'

const KEY_BYTES = 32

export const callerHandlers = (services: Services): HandlerGroup<'callers'> => ({
  async list({ revoked }) {
    const { store, clock } = services.context
    const pins = await listPins(store.db)
    const callers = (await listCallers(store.db)).filter((caller) => revoked || caller.revoked === null)
    return callers.map((caller) => callerView(caller, pins, clock.epochMs()))
  },
  async add({ name, endpoints, commonNames, concurrency, key, by }) {
    const { store, clock } = services.context
    for (const endpoint of endpoints ?? []) requireEndpoint(services, endpoint)
    const wish = { name, endpoints, commonNames, concurrency, by }
    const random = key ? randomBytes(KEY_BYTES) : null
    const made = await store.transaction((tx) => addCaller(tx, clock, wish, random))
    return withKey(services, name, made, null)
  },
  async rotate({ name, keepMs, by }) {
    const { store, clock } = services.context
    const random = randomBytes(KEY_BYTES)
    const made = await store.transaction((tx) => rotateKey(tx, clock, { name, keepMs, by }, random))
    return withKey(services, name, made.key, made.endsAtMs)
  },
  async revoke({ name, why, by }) {
    const { store, clock } = services.context
    await store.transaction((tx) => revokeCaller(tx, clock, { name, why, by }))
    services.context.wake('route')
    return viewOf(services, name)
  },
  async pin({ caller, endpoint, ref, forMs, why, by }) {
    const { store, clock } = services.context
    const model = modelOfEndpoint(services, endpoint)
    const version = await resolveVersion(store.db, ref)
    if (version.model !== model.name) throw new OtherModelError(version.id, model.endpoint, model.name)
    if (!(await hasServed(store.db, version.id))) throw new NeverReleasedError(version.id, model.endpoint)
    const wish = { caller, endpoint: model.endpoint, versionId: version.id, forMs, why, by }
    await store.transaction((tx) => pinCaller(tx, clock, wish))
    for (const topic of ['route', 'retirement'] as const) services.context.wake(topic)
    return (await viewOf(services, caller)).pins.find((pin) => pin.endpoint === model.endpoint)!
  },
  async unpin({ caller, endpoint, by }) {
    const { store, clock } = services.context
    await store.transaction((tx) => unpinCaller(tx, clock, { caller, endpoint, by }))
    for (const topic of ['route', 'retirement'] as const) services.context.wake(topic)
    return viewOf(services, caller)
  },
})

/** An endpoint of a model, or one that asks several. @throws EndpointUnknownError */
function requireEndpoint({ context }: Services, endpoint: string): void {
  const applied = context.project()
  const models = allModels(applied).map((model) => model.endpoint)
  const known = [...models, ...(applied?.project.endpoints ?? []).map(({ name }) => name)]
  if (!known.includes(endpoint)) throw new EndpointUnknownError(endpoint, known)
}

async function withKey(
  services: Services,
  name: string,
  key: string | null,
  othersEndAtMs: number | null,
): Promise<CallerWithKey> {
  services.context.wake('route')
  return { ...(await viewOf(services, name)), key, othersEndAtMs }
}

async function viewOf({ context }: Services, name: string): Promise<CallerView> {
  const { db } = context.store
  return callerView((await findCaller(db, name))!, await listPins(db), context.clock.epochMs())
}

function callerView(caller: Caller, pins: CallerPin[], nowMs: number): CallerView {
  const { name, endpoints, commonNames, concurrency, requests, lastCalendarMs, createdBy, createdAtMs, revoked } =
    caller
  return {
    name,
    endpoints,
    commonNames,
    concurrency,
    keys: caller.keys.map(({ hint, createdAtMs: madeAtMs, endsAtMs }) => ({ hint, createdAtMs: madeAtMs, endsAtMs })),
    pins: pins.filter((pin) => pin.caller === name).map((pin) => pinView(pin, nowMs)),
    requests,
    lastUsedMs: lastCalendarMs,
    createdBy,
    createdAtMs,
    revoked,
  }
}

function pinView(pin: CallerPin, nowMs: number): PinView {
  const { caller, endpoint, versionId, pinnedBy, why, pinnedAtMs, expiresAtMs } = pin
  const endsSoon = endingSoon([pin], nowMs).length > 0
  return { caller, endpoint, version: versionId, by: pinnedBy, why, pinnedAtMs, expiresAtMs, endsSoon }
}
