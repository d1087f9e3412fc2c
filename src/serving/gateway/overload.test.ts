import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { answerOf, deploymentOf, inferBody } from '../../testing/gateway-fakes.ts'
import { Cancellation } from '../front/cancellation.ts'
import { DeploymentPools } from './deployment-pools.ts'
import { forward, newForwardBudget } from './forward.ts'
import { poolLimits } from './replica-pool.ts'
import type { OpenUpstream } from './upstream/upstream.ts'

/** Each takes 100 ms for a request and works on 64 at once: 640 a second. */
const open: OpenUpstream = () => ({
  call: () => ({
    answer: new Promise((resolve) => setTimeout(() => resolve(answerOf(200)), 100)),
    abort: () => undefined,
  }),
  probe: () => Promise.resolve(true),
  retire: () => undefined,
  close: () => undefined,
})

interface Ended {
  kind: string
  priority: number
  sentMs: number
  tookMs: number
  retryAfterMs: number | undefined
}

let pools: DeploymentPools
let ended: Ended[]

beforeEach(() => {
  vi.useFakeTimers()
  ended = []
  pools = new DeploymentPools(open, poolLimits, () => undefined)
  pools.apply(new Map([['deployment-1', deploymentOf({ deploymentId: 'deployment-1' })]]))
})
afterEach(() => {
  pools.close()
  vi.useRealTimers()
})

const bodyOf = (priority: number) =>
  priority === 1 ? inferBody : Buffer.from(JSON.stringify({ inputs: [], parameters: { priority } }))

async function ask(priority: number): Promise<void> {
  const sentMs = performance.now()
  const pool = pools.enter('deployment-1')
  const request = { model: 'm', version: '1', body: bodyOf(priority), jsonBytes: null, headers: [] }
  const outcome = await forward(pool.replicas, request, new Cancellation(), newForwardBudget())
  pools.leave(pool)
  const retryAfterMs = outcome.kind === 'unavailable' ? outcome.retryAfterMs : undefined
  ended.push({ kind: outcome.kind, priority, sentMs, tookMs: performance.now() - sentMs, retryAfterMs })
}

/** @param everyMs - between two requests of the `priorities`, in turn */
async function load(forMs: number, everyMs: number, priorities = [1]): Promise<void> {
  const endsMs = performance.now() + forMs
  for (let n = 0; performance.now() < endsMs; n++) {
    void ask(priorities[n % priorities.length] as number)
    await vi.advanceTimersByTimeAsync(everyMs)
  }
  await vi.advanceTimersByTimeAsync(2_000)
}

const answered = (of = ended) => of.filter(({ kind }) => kind === 'answer')
const since = (ms: number) => ended.filter(({ sentMs }) => sentMs >= ms)

describe('replicas that get half as much again as they can work off', () => {
  it('go on working at their full speed, for answers that are still soon', async () => {
    const startedMs = performance.now()
    await load(10_000, 1)
    const settled = since(startedMs + 3_000)
    expect(answered(settled).length / 7).toBeGreaterThan(600)
    expect(answered(settled).length / 7).toBeLessThan(660)
    // 100 ms of work, 100 ms of waiting, and what the burst at the start has left.
    expect(Math.max(...answered(settled).map(({ tookMs }) => tookMs))).toBeLessThan(400)
    const refused = settled.filter(({ kind }) => kind !== 'answer')
    expect(refused.every(({ kind, tookMs }) => kind === 'unavailable' && tookMs < 1)).toBe(true)
    expect(refused.every(({ retryAfterMs = 0 }) => retryAfterMs > 50 && retryAfterMs < 500)).toBe(true)
    expect(pools.report()[0]?.counts.shed).toBeGreaterThan(2_000)
  })

  it('leave out the lowest priority first, and none of the highest', async () => {
    const startedMs = performance.now()
    await load(10_000, 1, [1, 5, 9])
    const settled = since(startedMs + 3_000)
    const shareOf = (priority: number): number => {
      const of = settled.filter((one) => one.priority === priority)
      return answered(of).length / of.length
    }
    expect(shareOf(1)).toBe(1)
    expect(shareOf(5)).toBeGreaterThan(0.8)
    expect(shareOf(9)).toBeLessThan(0.1)
  })

  it('for a moment only, refuse nobody', async () => {
    await load(300, 1)
    expect(ended).toHaveLength(300)
    expect(answered()).toHaveLength(300)
  })
})

describe('replicas that get less than they can work off', () => {
  it('refuse nobody and keep nobody waiting', async () => {
    await load(5_000, 2)
    expect(answered()).toHaveLength(2_500)
    expect(Math.max(...ended.map(({ tookMs }) => tookMs))).toBeLessThan(102)
  })
})
