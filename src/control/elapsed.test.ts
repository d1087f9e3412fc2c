import { expect, it } from 'vitest'
import { fakeClock } from '../testing/fake-clock.ts'
import { Elapsed } from './elapsed.ts'

it('counts from when a thing was first asked for, and what was said then', () => {
  const clock = fakeClock()
  const elapsed = new Elapsed(clock)
  expect([elapsed.ms('a'), elapsed.ms('b', () => 500)]).toEqual([0, 500])
  clock.advance(100)
  expect([elapsed.ms('a'), elapsed.ms('b', () => 9_999)]).toEqual([100, 600])
})

it.each([3_600_000, -3_600_000])('does not notice that the clock is set by %i ms', (byMs) => {
  const clock = fakeClock()
  const elapsed = new Elapsed(clock)
  elapsed.ms('a')
  clock.set(byMs)
  clock.advance(100)
  expect(elapsed.ms('a')).toBe(100)
})

it('begins anew with what was not kept', () => {
  const clock = fakeClock()
  const elapsed = new Elapsed(clock)
  for (const thing of ['a', 'b']) elapsed.ms(thing)
  clock.advance(100)
  elapsed.keepOnly((thing) => thing === 'a')
  expect([elapsed.ms('a'), elapsed.ms('b')]).toEqual([100, 0])
})
