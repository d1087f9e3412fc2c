import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { CallerView, PinView } from '../../surface/api/caller-schemas.ts'
import { versionOf } from './versions.ts'
import { T0, type FakeWorld } from './world.ts'

export const fakeCallerHandlers = (world: FakeWorld): HandlerGroup<'callers'> => ({
  list: ({ revoked }) => [
    fakeCaller,
    ...(revoked ? [{ ...fakeCaller, name: 'old-site', revoked: fakeRevocation }] : []),
  ],
  add: (input) => {
    world.did('callers.add', input)
    const { name, endpoints, commonNames, concurrency, key } = input
    const made = { ...fakeCaller, name, endpoints, commonNames, concurrency, pins: [] }
    return { ...made, key: key ? fakeKey : null, othersEndAtMs: null }
  },
  rotate: (input) => {
    world.did('callers.rotate', input)
    return { ...fakeCaller, name: input.name, key: fakeKey, othersEndAtMs: T0 + input.keepMs }
  },
  revoke: (input) => {
    world.did('callers.revoke', input)
    return { ...fakeCaller, name: input.name, revoked: { ...fakeRevocation, by: input.by, why: input.why } }
  },
  pin: (input) => {
    world.did('callers.pin', input)
    const { caller, endpoint, ref, forMs, why, by } = input
    return { ...fakePin, caller, endpoint, version: versionOf(world, ref).ref, why, by, expiresAtMs: T0 + forMs }
  },
  unpin: (input) => {
    world.did('callers.unpin', input)
    return { ...fakeCaller, name: input.caller, pins: [] }
  },
})

const fakeKey = `millrace_${'A'.repeat(43)}`

const fakeRevocation = { atMs: T0, by: 'ann', why: 'the key was in a log' }

const fakePin: PinView = {
  caller: 'booking-site',
  endpoint: 'late-flight',
  version: 'late-flight@1',
  by: 'ann',
  why: null,
  pinnedAtMs: T0,
  expiresAtMs: T0 + 30 * 86_400_000,
  endsSoon: false,
}

const fakeCaller: CallerView = {
  name: 'booking-site',
  endpoints: null,
  commonNames: ['booking.example'],
  concurrency: 50,
  keys: [{ hint: 'millrace_AAAA…', createdAtMs: T0, endsAtMs: null }],
  pins: [fakePin],
  requests: 1_234,
  lastUsedMs: T0,
  createdBy: 'ann',
  createdAtMs: T0,
  revoked: null,
}
