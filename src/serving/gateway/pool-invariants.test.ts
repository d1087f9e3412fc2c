import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { deploymentOf, inferBody } from '../../testing/gateway-fakes.ts'
import { unrulyReplicas } from '../../testing/unruly-replicas.ts'
import type { Way } from '../../testing/unruly-replicas.ts'
import { Cancellation } from '../front/cancellation.ts'
import { DeploymentPools } from './deployment-pools.ts'
import { forward, newForwardBudget } from './forward.ts'
import type { ForwardOutcome } from './forward.ts'
import { poolLimits } from './replica-pool.ts'

const ID = 'deployment-1'
const NAMES = ['a', 'b', 'c', 'd', 'e']
const TIMEOUT_MS = 3_000
const WAYS: Way[] = [200, 200, 500, 'hangs', 'mute', 'garbage', 'flaps', 'not-ready']

type Step =
  | { do: 'behave'; replica: string; way: Way; delayMs: number }
  | { do: 'list'; names: string[] }
  | { do: 'ask'; times: number; everyMs: number }
  | { do: 'rest'; forMs: number }

const replica = fc.constantFrom(...NAMES)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('behave' as const),
    replica,
    way: fc.constantFrom(...WAYS),
    delayMs: fc.integer({ min: 0, max: 400 }),
  }),
  fc.record({ do: fc.constant('list' as const), names: fc.uniqueArray(replica, { minLength: 1 }) }),
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      times: fc.integer({ min: 1, max: 150 }),
      everyMs: fc.integer({ min: 1, max: 15 }),
    }),
  },
  fc.record({ do: fc.constant('rest' as const), forMs: fc.integer({ min: 1, max: 20_000 }) }),
)

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function given() {
  const replicas = unrulyReplicas()
  const pools = new DeploymentPools(replicas.open, poolLimits, () => undefined)
  const underWay = new Set<Promise<void>>()
  const late: number[] = []
  const list = (names: string[]): void => {
    const listed = names.map((name) => ({ replicaId: name, socketPath: `/${name}` }))
    pools.apply(new Map([[ID, deploymentOf({ deploymentId: ID, replicas: listed })]]))
  }
  const ask = async (): Promise<ForwardOutcome> => {
    const startedMs = performance.now()
    const pool = pools.enter(ID)
    const cancellation = new Cancellation()
    const deadline = setTimeout(() => cancellation.cancel('deadline'), TIMEOUT_MS)
    const clock = { monotonicMs: () => performance.now() }
    const budget = newForwardBudget({ clock, deadlineMs: startedMs + TIMEOUT_MS })
    const request = { model: 'm', version: '1', body: inferBody, jsonBytes: null, headers: [] }
    const outcome = await forward(pool.replicas, request, cancellation, budget)
    clearTimeout(deadline)
    pools.leave(pool)
    if (performance.now() - startedMs > TIMEOUT_MS) late.push(performance.now() - startedMs)
    return outcome
  }
  const run = async (one: Step): Promise<void> => {
    if (one.do === 'behave') replicas.behave(one.replica, one.way, one.delayMs)
    if (one.do === 'list') list(one.names)
    if (one.do === 'rest') await vi.advanceTimersByTimeAsync(one.forMs)
    for (let i = 0; one.do === 'ask' && i < one.times; i++) {
      const asked = ask().then(() => void underWay.delete(asked))
      underWay.add(asked)
      await vi.advanceTimersByTimeAsync(one.everyMs)
    }
  }
  const states = () => pools.report()[0]?.replicas.map(({ state }) => state) ?? []
  return { replicas, pools, list, ask, run, underWay, late, states }
}

describe('replicas that do whatever they like', () => {
  it('never keep a request beyond its time, nor take the last one with them; once they behave, all is well again', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const { replicas, pools, list, ask, run, underWay, late, states } = given()
        list(NAMES)
        await run({ do: 'ask', times: 50, everyMs: 2 })
        for (const one of steps) {
          await run(one)
          const ejected = states().filter((state) => state === 'ejected').length
          expect(ejected).toBeLessThanOrEqual(Math.max(1, Math.floor(states().length / 2)))
          expect(ejected === 0 || states().includes('up')).toBe(true)
        }
        await vi.advanceTimersByTimeAsync(TIMEOUT_MS)
        expect(underWay.size).toBe(0)
        expect(late).toEqual([])
        expect(pools.inFlight()).toEqual([])
        for (const name of NAMES) replicas.behave(name, 200)
        await vi.advanceTimersByTimeAsync(120_000) // the longest ejection, the longest rest of a circuit
        for (let i = 0; i < 20; i++) {
          const asked = ask()
          await vi.advanceTimersByTimeAsync(5)
          expect(await asked).toMatchObject({ kind: 'answer' })
        }
        expect(states().every((state) => state === 'up')).toBe(true)
        await vi.advanceTimersByTimeAsync(60_000)
        expect(vi.getTimerCount()).toBe(0) // nothing is left that would keep an idle gateway awake
        pools.close()
      }),
      { numRuns: 100, seed: 20_010_203 },
    )
  }, 60_000)
})
