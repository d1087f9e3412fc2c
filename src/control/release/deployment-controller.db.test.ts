import { describe, expect, it } from 'vitest'
import { LEASE_PERIOD_MS } from '../../kernel/contract/routing.ts'
import { describeReleaseLab, immediateModel } from '../../testing/release-lab.ts'
import { listReleases, openReplicas } from './release-store.ts'

describeReleaseLab('the deployment controller', { models: { m: immediateModel }, stepMs: 200 }, (lab) => {
  const db = () => lab().lab.context.store.db
  const pass = (rounds = 6) => lab().pass(rounds)
  describe('replicas', () => {
    it('that die are replaced, with growing waits', async () => {
      await lab().approved()
      await pass()
      const starts: number[] = []
      for (let death = 0; death < 4; death++) {
        lab().fleet.killAll()
        const atMs = lab().clock.epochMs()
        for (let i = 0; i < 100 && lab().fleet.running().length === 0; i++) {
          lab().clock.advance(50)
          await lab().plane().deployments.look()
          await new Promise((resolve) => setImmediate(resolve))
        }
        starts.push(lab().clock.epochMs() - atMs)
      }
      expect(lab().fleet.running()).toHaveLength(1)
      expect(starts.toSorted((a, b) => a - b)).toEqual(starts)
      expect(starts[0]).toBeLessThanOrEqual(100)
      expect(starts[3]).toBeGreaterThanOrEqual(800)
    })

    it('that can’t be started leave their reason', async () => {
      lab().fleet.startError = new Error('no memory')
      await lab().approved()
      await pass(60)
      expect(await lab().statuses()).toEqual(['release-1 m@1 failed'])
      expect((await listReleases(db(), { limit: 1 }))[0]!.why).toContain('it could not be started: no memory')
      expect(await openReplicas(db())).toEqual([])
    })

    it('are looked at seldom while all are as wanted, and at once where one falls silent', async () => {
      await lab().approved()
      await pass(12)
      expect(await lab().plane().deployments.look()).toBeUndefined()
      expect(lab().plane().deployments.isAnySilent()).toBe(false)
      for (let i = 0; i < 4; i++) {
        lab().clock.advance(200)
        lab().plane().observations.look()
      }
      expect(lab().plane().deployments.isAnySilent()).toBe(true)
      await lab().approved()
      await pass(1)
      expect(await lab().plane().deployments.look()).toBe(500)
    })

    it.each([3_600_000, -3_600_000])('that start are not given up where the clock is set by %i ms', async (byMs) => {
      // The control plane has listened for longer than a silent replica is let live.
      lab().stepMs = 5_000
      await pass(8)
      lab().stepMs = 200
      const heard = lab().fleet.leases
      lab().fleet.leases = () => []
      await lab().approved()
      await pass(2)
      expect(lab().fleet.running()).toEqual(['replica-1'])
      lab().clock.set(byMs)
      await pass(2)
      lab().fleet.leases = heard
      await pass()
      expect(await lab().statuses()).toEqual(['release-1 m@1 released'])
      expect(lab().fleet.running()).toEqual(['replica-1'])
    })

    it('are told to run by their lease, to drain once they are stopping or unknown', async () => {
      await lab().approved()
      await pass()
      const [replica] = await openReplicas(db())
      const lease = { replicaId: replica!.id, token: replica!.token }
      expect(lab().plane().deployments.goalOf(lease)).toBe('run')
      expect(
        lab()
          .plane()
          .deployments.goalOf({ ...lease, token: 'of another installation' }),
      ).toBe('drain')
      expect(
        lab()
          .plane()
          .deployments.goalOf({ ...lease, replicaId: 'replica-99' }),
      ).toBe('drain')
      await lab().restart()
      expect(
        lab()
          .plane()
          .deployments.goalOf({ ...lease, replicaId: 'replica-99' }),
      ).toBe('run')
    })
  })

  describe('a drain', () => {
    it.each<[string, () => void, () => void]>([
      [
        'answers its requests',
        () => (lab().fleet.inFlight = [{ deploymentId: 'deployment-1', requests: 2 }]),
        () => (lab().fleet.inFlight = []),
      ],
      ['is not heard', () => lab().fleet.deaf.add('gateway'), () => lab().fleet.deaf.clear()],
      [
        'is not heard, of two',
        () => lab().fleet.gateways.push('second') && lab().fleet.deaf.add('second'),
        () => lab().fleet.deaf.clear(),
      ],
    ])('waits while a gateway %s', async (_why, begin, end) => {
      for (let i = 0; i < 2; i++) {
        await lab().approved()
        await pass()
      }
      begin()
      await lab().approved()
      await pass(20)
      expect((await lab().deployments())[0]).toBe('m@1 draining')
      expect(lab().fleet.running()).toContain('replica-1')
      end()
      await pass(10)
      expect((await lab().deployments())[0]).toBe('m@1 stopped')
      expect(lab().fleet.running()).not.toContain('replica-1')
    })
  })

  describe('after a restart of the control plane', () => {
    it('nothing is taken from the routes before replicas had a lease period to be heard', async () => {
      await lab().approved()
      await pass()
      await lab().restart()
      const silent = lab().fleet.leases
      lab().fleet.leases = () => []
      await pass(5)
      expect(lab().plane().publisher.current()).toBeNull()
      expect(lab().fleet.running()).toHaveLength(1)
      lab().fleet.leases = silent
      await pass(1)
      expect(lab().plane().publisher.current()!.endpoints[0]!.deployments[0]!.replicas).toHaveLength(1)
      expect(lab().plane().publisher.current()!.epoch).toBe(2)
    })

    it('replicas that ended with the one before are replaced at once', async () => {
      await lab().approved()
      await pass()
      for (let death = 0; death < 4; death++) {
        lab().fleet.killAll()
        await pass(20)
      }
      lab().fleet.killAll()
      await lab().restart()
      await pass(2)
      expect(lab().fleet.running()).toHaveLength(1)
    })

    it('a replica that is not heard after that is left out', async () => {
      await lab().approved()
      await pass()
      await lab().restart()
      lab().fleet.leases = () => []
      await pass(Math.ceil(LEASE_PERIOD_MS / 200) + 2)
      expect(lab().plane().publisher.current()!.endpoints[0]!.deployments[0]!.replicas).toEqual([])
    })

    it('stops the replicas of a deployment that failed just before', async () => {
      await lab().approved()
      await pass()
      await db().updateTable('deployment').set({ status: 'failed' }).execute()
      await lab().restart()
      await pass(10)
      expect(lab().fleet.running()).toEqual([])
      expect(await openReplicas(db())).toEqual([])
    })
  })
})
