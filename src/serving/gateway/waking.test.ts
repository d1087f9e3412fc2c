import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import { deploymentOf, fakeReplicas, inferBody } from '../../testing/gateway-fakes.ts'
import type { FakeReplicas } from '../../testing/gateway-fakes.ts'
import { Cancellation } from '../front/cancellation.ts'
import { DeploymentPools } from './deployment-pools.ts'
import { forward, newForwardBudget } from './forward.ts'
import { poolLimits } from './replica-pool.ts'

/* A deployment that has no replica while nobody calls: whoever comes waits for one, and the control plane hears of it. */

const listed = deploymentOf({ deploymentId: 'deployment-1', wakesWithinMs: 5_000 })
const asleep: RoutedDeployment = { ...listed, replicas: [] }

let replicas: FakeReplicas
let pools: DeploymentPools
let told: number
beforeEach(() => {
  vi.useFakeTimers()
  told = 0
  replicas = fakeReplicas()
  pools = new DeploymentPools(replicas.open, poolLimits, () => undefined)
  pools.onAsleep = () => void (told += 1)
})
afterEach(() => {
  pools.close()
  vi.useRealTimers()
})

const apply = (deployment: RoutedDeployment) => pools.apply(new Map([[deployment.deploymentId, deployment]]))

function ask(): ReturnType<typeof forward> {
  const pool = pools.enter('deployment-1')
  const request = { model: 'm', version: '1', body: inferBody, jsonBytes: null, headers: [] }
  return forward(pool.replicas, request, new Cancellation(), newForwardBudget()).finally(() => pools.leave(pool))
}

describe('a deployment that is asleep', () => {
  it('is woken at once by the first request, which is counted by then, and not by every other', async () => {
    apply(asleep)
    let seen: unknown = null
    pools.onAsleep = () => {
      told += 1
      seen = pools.inFlight()
    }
    const answers = [ask(), ask(), ask()]
    expect(told).toBe(1)
    expect(seen).toEqual([{ deploymentId: 'deployment-1', requests: 1 }])
    // One that was lost is repeated by those who come later.
    await vi.advanceTimersByTimeAsync(150)
    answers.push(ask())
    expect(told).toBe(2)
    apply(listed)
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual(Array.from({ length: 4 }, () => 'answer'))
  })

  it('counts as one that answers, and wakes nobody once it has a replica or is not to be woken', () => {
    apply(asleep)
    expect(pools.answers('deployment-1')).toBe(true)
    apply(listed)
    void ask()
    expect(told).toBe(0)
    apply({ ...asleep, wakesWithinMs: 0 })
    expect(pools.answers('deployment-1')).toBe(false)
  })

  it('is waited for as long as is declared, and then is unavailable', async () => {
    apply(asleep)
    let kind = 'waiting'
    void ask().then((outcome) => (kind = outcome.kind))
    await vi.advanceTimersByTimeAsync(4_900)
    expect(kind).toBe('waiting')
    await vi.advanceTimersByTimeAsync(200)
    expect(kind).toBe('unavailable')
  })
})

describe('a deployment whose only replica dies', () => {
  const socketPath = '/deployment-1.sock'
  const successor = { replicaId: 'replica-2', socketPath: '/replica-2.sock' }
  /** It takes longer to start another one than those wait who find every replica of a fixed number gone. */
  const longMs = 4_000

  const dies = () => {
    replicas.script(socketPath, 'died')
    replicas.ready(socketPath, false)
  }

  it('has its requests wait for the next one as if it had been asleep, be it listed for a while or not', async () => {
    apply(listed)
    dies()
    const answers = [ask(), ask()]
    await vi.advanceTimersByTimeAsync(500)
    answers.push(ask())
    apply(asleep)
    answers.push(ask())
    await vi.advanceTimersByTimeAsync(longMs)
    apply({ ...listed, replicas: [successor] })
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual(Array.from({ length: 4 }, () => 'answer'))
  })

  it('has those wait as well who were in line for it', async () => {
    replicas.script(socketPath, 'silence')
    apply(listed)
    const asked = Array.from({ length: poolLimits.exchangesPerReplica }, () => ask())
    const inLine = ask()
    await vi.advanceTimersByTimeAsync(900)
    apply(asleep)
    await vi.advanceTimersByTimeAsync(longMs)
    apply({ ...listed, replicas: [successor] })
    expect((await inLine).kind).toBe('answer')
    expect(asked).toHaveLength(poolLimits.exchangesPerReplica)
  })

  it('gives up once nobody came for as long as is declared', async () => {
    apply(listed)
    dies()
    let kind = 'waiting'
    void ask().then((outcome) => (kind = outcome.kind))
    await vi.advanceTimersByTimeAsync(4_900)
    expect(kind).toBe('waiting')
    await vi.advanceTimersByTimeAsync(200)
    expect(kind).toBe('died')
  })
})
