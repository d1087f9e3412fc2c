import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { ClockView } from '../../surface/api/clock-schemas.ts'
import { T0, type FakeWorld } from './world.ts'

export const fakeClockHandlers = (world: FakeWorld): HandlerGroup<'clock'> => ({
  get: () => clockView(world),
  set: (input) => {
    world.did('clock.set', input)
    throw new Error('the disk is on fire')
  },
  hold: ({ by, why }) => (world.holds.push({ by, why, sinceMs: T0 }), clockView(world)),
  release: ({ by }) => (
    world.holds.splice(0, world.holds.length, ...world.holds.filter((h) => h.by !== by)),
    clockView(world)
  ),
})

export const clockView = ({ holds }: FakeWorld): ClockView => ({ calendarMs: T0, epochMs: T0, rehearsed: false, holds })
