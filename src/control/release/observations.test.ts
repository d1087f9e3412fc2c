import { describe, expect, it } from 'vitest'
import { LEASE_PERIOD_MS, type Lease } from '../../kernel/contract/routing.ts'
import { LISTEN_EVERY_MS, Observations } from './observations.ts'

const lease = { replicaId: 'replica-1', state: 'ready', socketPath: '/s' } as Lease

function observed() {
  const clock = { ms: 1_000 }
  return { clock, observations: new Observations(() => clock.ms) }
}

/** As the control plane's timer does. */
function lookFor(observations: Observations, clock: { ms: number }, ms: number): void {
  for (const endMs = clock.ms + ms; clock.ms < endMs; clock.ms += LISTEN_EVERY_MS) observations.look()
}

describe('what has not been heard', () => {
  it('says nothing before a full lease period was listened to', () => {
    const { observations, clock } = observed()
    lookFor(observations, clock, LEASE_PERIOD_MS)
    expect(observations.observedLongEnough()).toBe(false)
    lookFor(observations, clock, 500)
    expect(observations.observedLongEnough()).toBe(true)
  })

  it('says nothing after a start that took longer than a lease period: nobody could be heard meanwhile', () => {
    const { observations, clock } = observed()
    clock.ms += 5 * LEASE_PERIOD_MS
    observations.look()
    expect(observations.observedLongEnough()).toBe(false)
    lookFor(observations, clock, LEASE_PERIOD_MS)
    expect(observations.observedLongEnough()).toBe(true)
  })

  it('says nothing while there was hardly a moment to listen', () => {
    const { observations, clock } = observed()
    for (let look = 0; look < 5; look++) {
      clock.ms += LEASE_PERIOD_MS
      observations.look()
    }
    expect(observations.observedLongEnough()).toBe(false)
  })

  it('does not end a lease while this process stood still', () => {
    const { observations, clock } = observed()
    observations.look()
    observations.hearLease(lease)
    clock.ms += 3 * LEASE_PERIOD_MS
    observations.look()
    expect(observations.lease('replica-1')).toEqual(lease)
    expect(observations.observedLongEnough()).toBe(false)
  })

  it('ends a lease that was not renewed while this process could hear', () => {
    const { observations, clock } = observed()
    observations.hearLease(lease)
    lookFor(observations, clock, LEASE_PERIOD_MS + 500)
    expect(observations.lease('replica-1')).toBeNull()
  })
})
