import { expect, it } from 'vitest'
import { ReplicaLife, type ReplicaLifeParts } from './replica-life.ts'

const identity = {
  replicaId: 'replica-1',
  token: 'secret',
  deploymentId: 'deployment-1',
  digest: 'sha256:abc',
  controlSocket: '/nowhere/control.sock',
}

/** Never announced: what its lease would tell is tested with the replicas that have one. */
function life(change: Partial<ReplicaLifeParts> = {}): { life: ReplicaLife; said: string[] } {
  const said: string[] = []
  const parts: ReplicaLifeParts = {
    tell: (_level, message, facts) => said.push(`${message} ${JSON.stringify(facts)}`),
    facts: () => ({ socketPath: '/s', httpPort: 1, inFlight: 3 }),
    finishRequests: async () => 0,
    failedStaysMs: 1,
    ...change,
  }
  return { life: new ReplicaLife(identity, parts), said }
}

it('is ready once it has loaded, and over once its requests are finished and all is closed', async () => {
  const order: string[] = []
  const { life: one, said } = life({
    finishRequests: async (failed) => (order.push(`finished, failed: ${failed}`), 2),
    close: async () => void order.push('closed'),
  })
  expect(one.state).toBe('loading')
  one.loaded()
  expect({ state: one.state, hasLoaded: one.hasLoaded }).toEqual({ state: 'ready', hasLoaded: true })
  one.drain('enough')
  expect(one.state).toBe('draining')
  expect(await one.over).toEqual({ abandoned: 2, failed: false })
  expect(order).toEqual(['finished, failed: false', 'closed'])
  expect(said).toEqual(['draining {"why":"enough","inFlight":3}'])
})

it('drains once, however often it is told to', async () => {
  let drains = 0
  const { life: one } = life({ finishRequests: async () => (drains += 1) })
  one.drain('first')
  one.drain('second')
  await one.over
  expect(drains).toBe(1)
})

it('does not become ready when loading ends after it was told to drain', () => {
  const { life: one } = life()
  one.drain('enough')
  one.loaded()
  expect({ state: one.state, hasLoaded: one.hasLoaded }).toEqual({ state: 'draining', hasLoaded: true })
})

it('can no longer fail when it is on its way out', () => {
  const { life: one } = life()
  one.drain('enough')
  expect(one.fail('too late')).toBe(false)
  expect(one.state).toBe('draining')
})

it('stays for a while when it has failed, and ends as failed', async () => {
  const { life: one, said } = life()
  expect(one.fail('no memory')).toBe(true)
  expect(one.fail('again')).toBe(false)
  expect(one.state).toBe('failed')
  await one.drainAfterStay('nobody said stop')
  expect(await one.over).toEqual({ abandoned: 0, failed: true })
  expect(said).toEqual(['draining {"why":"nobody said stop","inFlight":3}'])
})

it('does not say how much is under way where only gateways know', () => {
  const { life: one, said } = life({ facts: () => ({ socketPath: '', httpPort: null, inFlight: null }) })
  one.drain('enough')
  expect(said).toEqual(['draining {"why":"enough"}'])
})
