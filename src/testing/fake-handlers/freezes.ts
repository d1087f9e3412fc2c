import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { FreezeView } from '../../surface/api/retirement-schemas.ts'
import { T0, type FakeWorld } from './world.ts'

export const fakeFreezeHandlers = (world: FakeWorld): HandlerGroup<'freezes'> => ({
  list: () => [fakeFreeze],
  create: (input) => (world.did('freezes.create', input), { ...fakeFreeze, why: input.why, by: input.by }),
  end: (input) => {
    world.did('freezes.end', input)
    return [{ ...fakeFreeze, status: 'ended' as const, endedAtMs: T0, endedWhy: `${input.by}: ${input.why}` }]
  },
})

const fakeFreeze: FreezeView = {
  id: 'freeze-1',
  model: 'late-flight',
  endpoint: 'late-flight',
  kind: 'person',
  status: 'active',
  why: 'the schedule changes',
  unfreezes: "'millrace unfreeze late-flight'",
  by: 'ann',
  createdAtMs: T0,
  endedAtMs: null,
  endedWhy: null,
}
