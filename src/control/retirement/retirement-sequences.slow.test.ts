import { describe, expect, it } from 'vitest'
import { RetirementWorld, seededRandom } from '../../testing/retirement-world.ts'
import { retirementMachine } from './retirement.ts'

/** MILLRACE_TEST_SEQUENCES for more; MILLRACE_TEST_SEED to begin elsewhere. */
const SEQUENCES = Number(process.env['MILLRACE_TEST_SEQUENCES'] ?? 100_000)
const FIRST_SEED = Number(process.env['MILLRACE_TEST_SEED'] ?? 1)
const EVENTS = 70

describe('generated sequences of everything that can happen to the versions of a model', () => {
  it(
    `never take a version away that is in use (${SEQUENCES} sequences of ${EVENTS} events)`,
    () => {
      const seen = new Map<string, number>()
      let prevented = 0
      for (let seed = FIRST_SEED; seed < FIRST_SEED + SEQUENCES; seed++) {
        const world = new RetirementWorld(seededRandom(seed))
        const happened: string[] = []
        try {
          for (let i = 0; i < EVENTS; i++) {
            happened.push(world.step())
            world.check()
          }
        } catch (error) {
          throw new Error(`seed ${seed}, after ${happened.join(', ')}`, { cause: error })
        }
        for (const [status, times] of world.entered) seen.set(status, (seen.get(status) ?? 0) + times)
        prevented += world.prevented
      }
      // The generator reaches every state often enough to say something about it.
      const rare = retirementMachine.states.filter((status) => (seen.get(status) ?? 0) < SEQUENCES / 500)
      expect(rare).toEqual([])
      expect(prevented).toBeGreaterThan(SEQUENCES / 500)
    },
    30 * 60_000,
  )

  it('are refused where the guard is left out: the check itself finds what it is there for', () => {
    let found = 0
    for (let seed = 1; seed <= 500; seed++) {
      const world = new RetirementWorld(seededRandom(seed))
      world.guarded = false
      try {
        for (let i = 0; i < EVENTS; i++) {
          world.step()
          world.check()
        }
      } catch {
        found++
      }
    }
    expect(found).toBeGreaterThan(50)
  })
})
