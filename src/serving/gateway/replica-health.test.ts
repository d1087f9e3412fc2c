import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import { deploymentOf, inferBody } from '../../testing/gateway-fakes.ts'
import { unrulyReplicas } from '../../testing/unruly-replicas.ts'
import type { UnrulyReplicas, Way } from '../../testing/unruly-replicas.ts'
import { Cancellation } from '../front/cancellation.ts'
import { DeploymentPools } from './deployment-pools.ts'
import { forward, newForwardBudget } from './forward.ts'
import type { ForwardOutcome } from './forward.ts'
import { poolLimits, ReplicaPool } from './replica-pool.ts'

const ID = 'deployment-1'
let replicas: UnrulyReplicas
let told: string[]
let pools: DeploymentPools

const behave = (replicaId: string, way: Way, delayMs?: number): void => replicas.behave(replicaId, way, delayMs)

function list(names: string[], overrides: Partial<RoutedDeployment> = {}): void {
  const listed = names.map((name) => ({ replicaId: name, socketPath: `/${name}` }))
  pools.apply(new Map([[ID, deploymentOf({ deploymentId: ID, replicas: listed, ...overrides })]]))
}

async function ask(timeoutMs = 10_000): Promise<ForwardOutcome> {
  const pool = pools.enter(ID)
  const cancellation = new Cancellation()
  const deadline = setTimeout(() => cancellation.cancel('deadline'), timeoutMs)
  const request = { model: 'm', version: '1', body: inferBody, jsonBytes: null, headers: [] }
  const clock = { monotonicMs: () => performance.now() }
  const budget = newForwardBudget({ clock, deadlineMs: performance.now() + timeoutMs })
  try {
    return await forward(pool.replicas, request, cancellation, budget)
  } finally {
    clearTimeout(deadline)
    pools.leave(pool)
  }
}

/** So many requests, one every `everyMs`, and the outcomes so far of those that have ended. */
async function load(times: number, everyMs: number, timeoutMs = 10_000): Promise<string[]> {
  const ends: string[] = []
  for (let i = 0; i < times; i++) {
    void ask(timeoutMs).then((outcome) => ends.push(shown(outcome)))
    await vi.advanceTimersByTimeAsync(everyMs)
  }
  return ends
}

function shown(outcome: ForwardOutcome): string {
  if (outcome.kind === 'answer') return String(outcome.answer.status)
  return outcome.kind === 'cancelled' ? outcome.reason : outcome.kind
}

const asks = (replicaId: string) => replicas.asked.filter((id) => id === replicaId).length
const count = (name: 'ejected' | 'hung' | 'late' | 'circuitOpened') => pools.report()[0]?.counts[name]
const only200 = (ends: string[]) => ends.filter((end) => end !== '200')

beforeEach(() => {
  vi.useFakeTimers()
  replicas = unrulyReplicas()
  told = []
  pools = new DeploymentPools(replicas.open, poolLimits, (what, id, why) => void told.push(`${id} ${what}: ${why}`))
})
afterEach(() => {
  pools.close()
  vi.useRealTimers()
})

describe('a replica that hangs', () => {
  it('gets nothing more within a second, and what it had is answered by another', async () => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', 'hangs')
    const startedMs = performance.now()
    const ends: string[] = []
    let lastMs = 0
    while (performance.now() - startedMs < 2_000) {
      const before = asks('a')
      void ask().then((outcome) => ends.push(shown(outcome)))
      if (asks('a') > before) lastMs = performance.now() - startedMs
      await vi.advanceTimersByTimeAsync(5)
    }
    await vi.advanceTimersByTimeAsync(100)
    expect(ends).toHaveLength(400)
    expect(only200(ends)).toEqual([])
    expect(lastMs).toBeLessThan(500)
    expect(count('hung')).toBe(1)
    expect(told).toEqual([
      expect.stringMatching(/^a ejected: it was silent for \d+ ms and does not answer a probe; for 5000 ms$/),
    ])
  })

  it('is asked again once it answers a probe, one request at a time until it has answered one', async () => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', 'hangs')
    await load(200, 5)
    replicas.asked = []
    behave('a', 200, 50)
    await vi.advanceTimersByTimeAsync(5_000)
    const together = Array.from({ length: 10 }, () => ask())
    await vi.advanceTimersByTimeAsync(0)
    expect(asks('a')).toBe(1)
    await vi.advanceTimersByTimeAsync(100)
    expect((await Promise.all(together)).map((outcome) => shown(outcome))).toEqual(Array(10).fill('200'))
    replicas.asked = []
    await load(10, 200)
    expect(asks('a')).toBe(5)
    expect(told.at(-1)).toBe('a up: it answered a probe')
  })

  it('stays away for longer the next time', async () => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', 'hangs')
    await load(200, 10)
    behave('a', 200)
    await vi.advanceTimersByTimeAsync(5_000)
    await load(20, 5)
    behave('a', 'hangs')
    await load(200, 10)
    expect(told.map((line) => line.replace(/^(\S+ \S+): .*(; for .*)$/, '$1$2'))).toEqual([
      'a ejected; for 5000 ms',
      'a up: it answered a probe',
      'a ejected; for 10000 ms',
    ])
  })

  it('is all there is: then its requests are waited for, and it serves again when it wakes', async () => {
    list(['a'])
    await load(20, 5)
    behave('a', 'hangs')
    const stuck = ask(3_000)
    await vi.advanceTimersByTimeAsync(3_000)
    expect(shown(await stuck)).toBe('deadline')
    expect(count('ejected')).toBe(0)
    behave('a', 200)
    expect(only200(await load(10, 5))).toEqual([])
  })

  it('is not asked twice for what it may have computed, where that must not be', async () => {
    list(['a', 'b'], { isPure: false })
    await load(20, 5)
    behave('a', 'hangs')
    const ends = await load(400, 5, 2_000)
    const stuck = asks('a') - 10
    await vi.advanceTimersByTimeAsync(2_000)
    expect(count('hung')).toBe(1)
    expect(stuck).toBeGreaterThan(0)
    expect(only200(ends)).toEqual(Array(stuck).fill('deadline'))
    expect(replicas.asked).toHaveLength(420)
  })

  it('is let go where it is no longer listed, too', async () => {
    list(['a'])
    await load(20, 5)
    behave('a', 'hangs')
    const stuck = ask()
    list(['b'])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(shown(await stuck)).toBe('200')
    expect(replicas.asked.at(-1)).toBe('b')
  })
})

describe('a replica that is slow', () => {
  it('is not taken for one that hangs, though nobody has seen how slow it is', async () => {
    list(['a', 'b'])
    behave('a', 200, 9_000)
    behave('b', 200, 9_000)
    const slow = [ask(), ask()]
    await vi.advanceTimersByTimeAsync(9_000)
    expect((await Promise.all(slow)).map((outcome) => shown(outcome))).toEqual(['200', '200'])
    expect(replicas.asked).toHaveLength(2)
    expect(told).toEqual([])
  })

  it('is given a rest while it keeps others waiting: they go where they are answered', async () => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', 200, 3_000)
    const before = asks('a')
    const ends = await load(400, 5)
    await vi.advanceTimersByTimeAsync(3_000)
    expect(only200(ends)).toEqual([])
    expect(asks('a') - before).toBeLessThan(10)
    expect(count('ejected')).toBe(0)
  })
})

describe('a replica that says it is well and answers nothing', () => {
  it('keeps a request for two fifths of its time, then another one answers it', async () => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', 'mute')
    const ends = await load(200, 50)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(ends).toHaveLength(200)
    expect(only200(ends)).toEqual([])
    expect(count('late')).toBeGreaterThan(0)
  })
})

describe('a replica that fails', () => {
  it.each<[Way, string]>([
    [500, '5 failures in a row, it answers 500; for 5000 ms'],
    ['garbage', '5 failures in a row, it answers garbage; for 5000 ms'],
    ['flaps', '5 failures in a row, it went away; for 5000 ms'],
  ])('by %s is ejected after five in a row', async (way, why) => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', way)
    const ends = await load(400, 5)
    expect(told.filter((line) => line.startsWith('a ejected'))).toEqual([`a ejected: ${why}`])
    expect(ends.filter((end) => end !== '200')).toEqual(way === 500 ? Array(5).fill('500') : [])
  })

  it('like all others is no outlier: none is ejected', async () => {
    list(['a', 'b', 'c'])
    for (const name of ['a', 'b', 'c']) behave(name, 500)
    const ends = await load(100, 5)
    expect(new Set(ends)).toEqual(new Set(['500']))
    expect(count('ejected')).toBe(0)
    expect(count('circuitOpened')).toBe(0)
  })

  it('is one of two bad ones among three: one goes, as more than half must stay', async () => {
    list(['a', 'b', 'c'])
    await load(30, 5)
    behave('a', 500)
    behave('b', 500)
    await load(300, 5)
    expect(count('ejected')).toBe(1)
    expect(
      pools
        .report()[0]
        ?.replicas.map(({ state }) => state)
        .toSorted(),
    ).toEqual(['ejected', 'up', 'up'])
  })

  it('fails again on its first trial, and is gone at once for longer', async () => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', 500)
    const ends = await load(1_400, 5)
    expect(told.map((line) => line.replace(/:.*;/, ''))).toEqual([
      'a ejected for 5000 ms',
      'a up: it answered a probe',
      'a ejected for 10000 ms',
    ])
    expect(only200(ends)).toHaveLength(6)
  })

  it('comes back when no other is left', async () => {
    list(['a', 'b'])
    await load(20, 5)
    behave('a', 500)
    await load(100, 5)
    behave('a', 200)
    list(['a'])
    expect(told.at(-1)).toBe('a up: no other replica is left')
    expect(only200(await load(10, 5))).toEqual([])
  })
})

describe('replicas that are left out', () => {
  it('come back as fewer are listed, those first that would be back first: never more than half are out', async () => {
    list(['a', 'b', 'c', 'd'])
    await load(40, 5)
    behave('a', 500)
    await load(60, 5)
    behave('b', 500)
    await load(60, 5)
    expect(told.map((line) => line.slice(0, 9))).toEqual(['a ejected', 'b ejected'])
    list(['a', 'b', 'c'])
    expect(told.at(-1)).toBe('a up: fewer replicas are left')
    list(['b', 'c'])
    expect(told.at(-1)).toBe('a up: fewer replicas are left')
  })
})

describe('a replica that comes and goes', () => {
  it('is asked less and less often, though it says each time that it is ready', async () => {
    list(['a'])
    behave('a', 'flaps')
    await load(1_000, 5)
    expect(replicas.asked.length).toBeGreaterThan(5)
    expect(replicas.asked.length).toBeLessThan(15)
    behave('a', 200)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(only200(await load(10, 5))).toEqual([])
  })
})

describe('a gateway that was held up itself', () => {
  it('holds that against no replica', async () => {
    let nowMs = 1_000
    const pool = new ReplicaPool(
      replicas.open,
      poolLimits,
      (what, id) => void told.push(`${id} ${what}`),
      () => nowMs,
    )
    pool.apply(['a', 'b'].map((name) => ({ replicaId: name, socketPath: `/${name}` })))
    const request = { model: 'm', version: '1', body: inferBody, jsonBytes: null, headers: [] }
    const send = () => forward(pool, request, new Cancellation(), newForwardBudget())
    await Promise.all([send(), send(), vi.advanceTimersByTimeAsync(10)])
    behave('a', 'hangs')
    const waiting = [send(), send()]
    nowMs += 60_000
    pool.tick(60_000, true)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(told).toEqual([])
    nowMs += 400
    pool.tick(100, false)
    nowMs += 500
    await vi.advanceTimersByTimeAsync(1_000)
    expect(told).toEqual(['a ejected'])
    expect((await Promise.all(waiting)).map((outcome) => shown(outcome))).toEqual(['200', '200'])
  })
})
