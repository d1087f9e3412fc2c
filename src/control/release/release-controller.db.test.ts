import { describe, expect, it } from 'vitest'
import { describeReleaseLab, immediateModel } from '../../testing/release-lab.ts'
import { findVersion } from '../registry/version-store.ts'
import { listReleases, openReplicas, routeOf } from './release-store.ts'

describeReleaseLab('the release controller', { models: { m: immediateModel }, stepMs: 200 }, (lab) => {
  const db = () => lab().lab.context.store.db
  const pass = (rounds = 6) => lab().pass(rounds)
  const served = () =>
    lab()
      .plane()
      .publisher.current()
      ?.endpoints[0]?.members.map((m) => m.deploymentId) ?? []

  describe('a release', () => {
    it('deploys out of sight, passes preflight, and takes all traffic in one write', async () => {
      const id = await lab().approved()
      await pass(1)
      expect([await lab().statuses(), served()]).toEqual([['release-1 m@1 deploying'], []])
      await pass()
      expect(await lab().statuses()).toEqual(['release-1 m@1 released'])
      expect(await lab().champion()).toBe(id)
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'released' })
      expect(served()).toEqual(['deployment-1'])
      expect(lab().plane().publisher.current()!.endpoints[0]!.deployments[0]!.replicas).toHaveLength(1)
    })

    it('waits for a person who has not spoken, and asks only once', async () => {
      const id = await lab().lab.version('m')
      await pass()
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'awaiting-approval' })
      const asked = await db().selectFrom('event').selectAll().where('entity', '=', 'disposition').execute()
      expect(asked).toHaveLength(1)
      await lab().approve(id, 'approved')
      await pass()
      expect(await lab().champion()).toBe(id)
    })

    it('keeps the previous version warm, and stops the one before it', async () => {
      for (let i = 0; i < 3; i++) {
        await lab().approved()
        await pass(10)
      }
      expect(await lab().champion()).toBe('m@3')
      expect(await lab().deployments()).toEqual(['m@1 stopped', 'm@2 ready', 'm@3 ready'])
      expect((await openReplicas(db())).map((r) => r.deploymentId)).toEqual(['deployment-2', 'deployment-3'])
    })

    it('that can’t load leaves the champion untouched, and none of its replicas behind', async () => {
      await lab().approved()
      await pass()
      lab().fleet.state = () => ({ state: 'failed', why: 'unsupported operator' })
      const bad = await lab().approved()
      lab().fleet.only('deployment-2')
      await pass(10)
      expect(await lab().statuses()).toEqual(['release-2 m@2 failed', 'release-1 m@1 released'])
      expect(await lab().champion()).toBe('m@1')
      expect(await findVersion(db(), bad)).toMatchObject({
        disposition: 'refused',
        dispositionWhy: expect.stringContaining('unsupported operator') as string,
      })
      expect((await openReplicas(db())).map((r) => r.deploymentId)).toEqual(['deployment-1'])
      expect(served()).toEqual(['deployment-1'])
    })

    it('fails preflight where the replica has loaded another file', async () => {
      lab().fleet.digest = `sha256:${'9'.repeat(64)}`
      await lab().approved()
      await pass()
      expect(await lab().statuses()).toEqual(['release-1 m@1 failed'])
      expect((await listReleases(db(), { limit: 1 }))[0]!.why).toContain('the replica loaded sha256:999')
    })

    it('fails where no replica gets ready in time', async () => {
      lab().fleet.state = () => ({ state: 'loading' })
      await lab().approved()
      await pass()
      for (let i = 0; i < 70; i++) {
        lab().clock.advance(1_000)
        await pass(1)
      }
      expect(await lab().statuses()).toEqual(['release-1 m@1 failed'])
      await pass(10)
      expect(await lab().deployments()).toEqual(['m@1 stopped'])
    })

    it('is superseded in the queue by a newer one, and never once it has begun', async () => {
      lab().fleet.state = () => ({ state: 'loading' })
      await lab().approved()
      await pass(2)
      await lab().approved()
      await lab().approved()
      await pass(2)
      expect(await lab().statuses()).toEqual([
        'release-3 m@3 queued',
        'release-2 m@2 superseded',
        'release-1 m@1 deploying',
      ])
      expect(await findVersion(db(), 'm@2')).toMatchObject({ disposition: 'spare' })
      lab().fleet.state = () => ({ state: 'ready' })
      await pass(12)
      expect(await lab().champion()).toBe('m@3')
    })

    it('ends when a person rejects the version on its way', async () => {
      lab().fleet.state = () => ({ state: 'loading' })
      const id = await lab().approved()
      await pass(2)
      await lab().approve(id, 'rejected')
      await pass()
      expect(await lab().statuses()).toEqual(['release-1 m@1 cancelled'])
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'refused' })
      expect(await lab().champion()).toBeNull()
    })

    it('is not made again when a person approves what is live', async () => {
      const id = await lab().approved()
      await pass()
      lab().clock.advance(10)
      await lab().approve(id, 'approved')
      await pass()
      expect(await lab().statuses()).toEqual(['release-1 m@1 released'])
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'released' })
    })

    it('starts nothing while the disk is low', async () => {
      lab().lab.disk.low = true
      await lab().approved()
      await pass()
      expect(await lab().statuses()).toEqual(['release-1 m@1 queued'])
      expect(lab().fleet.running()).toEqual([])
    })
  })

  describe('a rollback', () => {
    it('to a warm version flips in one look, without a new deployment', async () => {
      for (let i = 0; i < 2; i++) {
        await lab().approved()
        await pass()
      }
      await lab().rollBackTo('m@1')
      await lab().plane().releases.look()
      expect(await lab().champion()).toBe('m@1')
      expect(await lab().statuses()).toEqual([
        'release-3 m@1 released',
        'release-2 m@2 rolled-back',
        'release-1 m@1 released',
      ])
      expect((await routeOf(db(), 'm'))!.members).toEqual([{ deploymentId: 'deployment-1', weightPercent: 100 }])
    })

    it('wakes a version that sleeps and gives it as many replicas as the champion has, before it flips', async () => {
      await lab().lab.apply({ m: { ...immediateModel, serving: { replicas: { min: 0, max: 4 } } } })
      for (let i = 0; i < 2; i++) {
        await lab().approved()
        await pass()
      }
      const scale = (id: string, wanted: number) =>
        db().updateTable('deployment').set({ replicas_wanted: wanted }).where('id', '=', id).execute()
      await scale('deployment-1', 0)
      await scale('deployment-2', 3)
      await pass(3)
      expect((await openReplicas(db())).filter((r) => r.deploymentId === 'deployment-1')).toEqual([])
      await lab().rollBackTo('m@1')
      await lab().plane().releases.look()
      expect(await lab().champion()).toBe('m@2')
      await pass(3)
      expect(await lab().champion()).toBe('m@1')
      expect((await openReplicas(db())).filter((r) => r.deploymentId === 'deployment-1')).toHaveLength(3)
    })

    it('cancels the release that is under way, which never takes the traffic afterwards', async () => {
      for (let i = 0; i < 2; i++) {
        await lab().approved()
        await pass()
      }
      lab().fleet.state = (id) => ({ state: lab().fleet.deploymentOf(id) === 'deployment-3' ? 'loading' : 'ready' })
      await lab().approved()
      await pass(2)
      await lab().rollBackTo('m@1')
      await pass(3)
      lab().fleet.state = () => ({ state: 'ready' })
      await pass(10)
      expect(await lab().statuses()).toEqual([
        'release-4 m@1 released',
        'release-3 m@3 cancelled',
        'release-2 m@2 rolled-back',
        'release-1 m@1 released',
      ])
      expect(await lab().champion()).toBe('m@1')
      expect(await findVersion(db(), 'm@3')).toMatchObject({ disposition: 'spare' })
    })
  })

  it('goes on with a release after a restart wherever it was, also after longer than its time-out', async () => {
    for (let rounds = 1; rounds <= 5; rounds++) {
      await lab().approved()
      await pass(rounds)
      lab().clock.advance(3_600_000)
      await lab().restart()
      await pass(12)
      expect(await lab().champion()).toBe(`m@${rounds}`)
    }
  })
})
