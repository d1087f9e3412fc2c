import type { HandlerGroup } from '../../surface/api/handlers.ts'
import { versionOf } from './versions.ts'
import type { FakeWorld } from './world.ts'

export const fakeGateHandlers = (world: FakeWorld): HandlerGroup<'gates'> => ({
  get: ({ ref }) => versionOf(world, ref).gate!,
  approve: (input) => {
    world.did('gates.approve', input)
    return versionOf(world, input.ref)
  },
  reject: (input) => {
    world.did('gates.reject', input)
    return versionOf(world, input.ref)
  },
})
