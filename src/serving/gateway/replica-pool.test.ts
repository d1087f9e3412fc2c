import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fakeReplicas } from '../../testing/gateway-fakes.ts'
import type { FakeReplicas } from '../../testing/gateway-fakes.ts'
import { Cancellation } from '../front/cancellation.ts'
import { DeploymentPools } from './deployment-pools.ts'
import { ReplicaPool, poolLimits } from './replica-pool.ts'
import type { PooledReplica, Taken } from './replica-pool.ts'
import { deploymentOf } from '../../testing/gateway-fakes.ts'

const listed = (...names: string[]) => names.map((name) => ({ replicaId: name, socketPath: `/${name}` }))

let replicas: FakeReplicas
let told: string[]

function poolOf(limits: Partial<typeof poolLimits> = {}): ReplicaPool {
  return new ReplicaPool(replicas.open, { ...poolLimits, ...limits }, (what, id) => void told.push(`${id} ${what}`))
}

async function take(pool: ReplicaPool, waitMs = 1_000, cancellation = new Cancellation()): Promise<Taken> {
  return pool.take(waitMs, cancellation)
}

async function takeReplica(pool: ReplicaPool): Promise<PooledReplica> {
  const taken = await take(pool)
  if (taken.kind !== 'replica') throw new Error(`expected a replica, got '${taken.kind}'`)
  return taken.replica
}

beforeEach(() => {
  vi.useFakeTimers()
  replicas = fakeReplicas()
  told = []
})
afterEach(() => vi.useRealTimers())

describe('a pool of replicas', () => {
  it('gives the least busy replica, and of equally busy ones the longest unused', async () => {
    const pool = poolOf()
    pool.apply(listed('a', 'b'))
    const first = await takeReplica(pool)
    const second = await takeReplica(pool)
    expect([first.replicaId, second.replicaId]).toEqual(['a', 'b'])
    pool.release(second)
    expect((await takeReplica(pool)).replicaId).toBe('b')
    pool.release(first)
    expect((await takeReplica(pool)).replicaId).toBe('a')
  })

  it('lets requests wait in order when all are busy, and refuses beyond its limit', async () => {
    const pool = poolOf({ exchangesPerReplica: 1, waiting: 2 })
    pool.apply(listed('a'))
    const busy = await takeReplica(pool)
    const second = take(pool)
    const third = take(pool)
    expect((await take(pool)).kind).toBe('full')
    pool.release(busy)
    const served = await second
    expect(served.kind).toBe('replica')
    pool.release(busy)
    expect((await third).kind).toBe('replica')
  })

  it('ends a wait after its time, and at once when the request is cancelled', async () => {
    const pool = poolOf({ exchangesPerReplica: 1 })
    pool.apply(listed('a'))
    await takeReplica(pool)
    const late = take(pool, 300)
    await vi.advanceTimersByTimeAsync(300)
    expect((await late).kind).toBe('late')
    const cancellation = new Cancellation()
    const gone = take(pool, 300, cancellation)
    cancellation.cancel('client-gone')
    expect((await gone).kind).toBe('late')
    expect(pool.waiting).toBe(0)
  })

  it('says at once when no replica is listed', async () => {
    expect((await take(poolOf())).kind).toBe('none')
  })

  it('sends nobody to a replica that is out, until it answers a probe; the delay between probes grows to its limit', async () => {
    const pool = poolOf({ probeDelayMs: 100, probeDelayMaxMs: 400 })
    pool.apply(listed('a', 'b'))
    const a = await takeReplica(pool)
    replicas.ready('/a', false)
    const probes = vi.spyOn(a.upstream, 'probe')
    pool.health.reportOut(a, 'it died', 0)
    pool.release(a)
    for (let i = 0; i < 5; i++) expect((await takeReplica(pool)).replicaId).toBe('b')
    await vi.advanceTimersByTimeAsync(0)
    expect(probes).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(100 + 200 + 400 + 400)
    expect(probes).toHaveBeenCalledTimes(5)
    replicas.ready('/a', true)
    await vi.advanceTimersByTimeAsync(400)
    expect((await takeReplica(pool)).replicaId).toBe('a')
    expect(told).toEqual(['a out', 'a up'])
  })

  it('probes a replica that is out at once when a new snapshot names it again', async () => {
    const pool = poolOf({ probeDelayMs: 1_000 })
    pool.apply(listed('a'))
    const a = await takeReplica(pool)
    replicas.ready('/a', false)
    pool.health.reportOut(a, 'it died', 0)
    await vi.advanceTimersByTimeAsync(1)
    replicas.ready('/a', true)
    expect(pool.answers).toBe(false)
    pool.apply(listed('a'))
    await vi.advanceTimersByTimeAsync(0)
    expect(pool.answers).toBe(true)
  })

  it('serves those who wait as soon as an out replica is back', async () => {
    const pool = poolOf()
    pool.apply(listed('a'))
    pool.health.reportOut(await takeReplica(pool), 'it died', 0)
    const waiting = take(pool)
    await vi.advanceTimersByTimeAsync(0)
    expect((await waiting).kind).toBe('replica')
  })

  it('closes a replica that left only after its last exchange', async () => {
    const pool = poolOf()
    pool.apply(listed('a', 'b'))
    const a = await takeReplica(pool)
    const close = vi.spyOn(a.upstream, 'close')
    pool.apply(listed('b'))
    expect(close).not.toHaveBeenCalled()
    expect((await takeReplica(pool)).replicaId).toBe('b')
    pool.release(a)
    expect(close).toHaveBeenCalledOnce()
  })

  it('takes a replica that is listed under another socket for a new one', async () => {
    const pool = poolOf()
    pool.apply([{ replicaId: 'a', socketPath: '/old' }])
    pool.apply([{ replicaId: 'a', socketPath: '/new' }])
    expect((await takeReplica(pool)).socketPath).toBe('/new')
  })

  it('sends those who wait away when its last replica leaves', async () => {
    const pool = poolOf({ exchangesPerReplica: 1 })
    pool.apply(listed('a'))
    await takeReplica(pool)
    const waiting = take(pool)
    pool.apply([])
    expect((await waiting).kind).toBe('none')
  })
})

describe('the pools of all deployments', () => {
  it('report a deployment that left the routes until its last request has ended', () => {
    const pools = new DeploymentPools(replicas.open, poolLimits, () => undefined)
    pools.apply(new Map([['deployment-1', deploymentOf({ deploymentId: 'deployment-1' })]]))
    const first = pools.enter('deployment-1')
    pools.enter('deployment-1')
    pools.apply(new Map())
    expect(pools.inFlight()).toEqual([{ deploymentId: 'deployment-1', requests: 2 }])
    pools.leave(first)
    expect(pools.inFlight()).toEqual([{ deploymentId: 'deployment-1', requests: 1 }])
    pools.leave(first)
    expect(pools.inFlight()).toEqual([])
    expect(pools.answers('deployment-1')).toBe(false)
  })
})
