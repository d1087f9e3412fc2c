import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { missingForAutomation } from '../../config/missing-for-automation.ts'
import type { ModelInput } from '../../config/input.ts'
import { LEASE_PERIOD_MS, type Lease } from '../../kernel/contract/routing.ts'
import type { Store } from '../../kernel/store/store.ts'
import { gatewayReportOf, leaseOf } from '../../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { setApproval } from '../registry/version-requests.ts'
import { aliasTarget, findVersion } from '../registry/version-store.ts'
import { DeploymentController, type ReplicaRuntime } from './deployment-controller.ts'
import { Observations } from './observations.ts'
import { ReleaseController } from './release-controller.ts'
import { requestRelease } from './release-requests.ts'
import { listReleases, openReplicas, routeOf } from './release-store.ts'
import { RoutePublisher } from './route-publisher.ts'

const model: ModelInput = {
  train: 'true',
  release: { strategy: 'immediate', preflight: { timeout: '60s' } },
  serving: { replicas: 1 },
}

describeEachStore('the release and deployment controllers', (open: () => Promise<Store>) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  let lab: ControlLab
  let clock: FakeClock
  let fleet: FakeFleet
  let plane: Plane

  beforeEach(async () => {
    clock = fakeClock()
    lab = await controlLab(store, clock)
    await lab.apply({ m: model })
    fleet = fakeFleet()
    plane = await newPlane()
  })
  afterEach(() => lab.close())

  interface Plane {
    observations: Observations
    publisher: RoutePublisher
    releases: ReleaseController
    deployments: DeploymentController
  }

  async function newPlane(): Promise<Plane> {
    const observations = new Observations(() => clock.monotonicMs())
    const publisher = await RoutePublisher.open(lab.context.store)
    const releases = new ReleaseController(lab.context, observations, missingForAutomation, () =>
      Promise.reject(new Error('nothing is tried here')),
    )
    const deployments = new DeploymentController(lab.context, fleet.runtime, observations, publisher)
    return { observations, publisher, releases, deployments }
  }

  /** Some rounds of what happens in a second: leases, reports, looks. */
  async function pass(rounds = 6): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      clock.advance(200)
      plane.observations.look()
      for (const lease of fleet.leases()) plane.observations.hearLease(lease)
      for (const id of fleet.gateways) {
        const current = plane.publisher.current()
        if (current !== null && !fleet.deaf.has(id))
          plane.observations.hearGateway(
            gatewayReportOf({
              gatewayId: id,
              epoch: current.epoch,
              revision: current.revision,
              inFlight: fleet.inFlight,
            }),
          )
      }
      await plane.releases.look()
      await plane.deployments.look()
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  const db = () => lab.context.store.db
  const champion = () => aliasTarget(db(), 'm', 'champion')
  const statuses = async () =>
    (await listReleases(db(), { limit: 99 })).map((r) => `${r.id} ${r.versionId} ${r.status}`)
  const deployments = async () =>
    (await db().selectFrom('deployment').select(['version_id', 'status']).orderBy('seq').execute()).map(
      (d) => `${d.version_id} ${d.status}`,
    )
  const served = () => plane.publisher.current()?.endpoints[0]?.members.map((m) => m.deploymentId) ?? []

  async function approved(): Promise<string> {
    const id = await lab.version('m')
    await approve(id, 'approved')
    return id
  }
  const approve = (id: string, decision: 'approved' | 'rejected') =>
    lab.context.store.transaction((tx) =>
      setApproval(tx, clock, id, { decision, by: 'ann', why: 'test', atMs: clock.epochMs() }),
    )
  const rollBackTo = (versionId: string) =>
    lab.context.store.transaction((tx) =>
      requestRelease(tx, clock, {
        kind: 'rollback',
        endpoint: 'm',
        model: 'm',
        versionId,
        cause: 'rollback',
        by: 'ann',
      }),
    )

  describe('a release', () => {
    it('deploys out of sight, passes preflight, and takes all traffic in one write', async () => {
      const id = await approved()
      await pass(1)
      expect([await statuses(), served()]).toEqual([['release-1 m@1 deploying'], []])
      await pass()
      expect(await statuses()).toEqual(['release-1 m@1 released'])
      expect(await champion()).toBe(id)
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'released' })
      expect(served()).toEqual(['deployment-1'])
      expect(plane.publisher.current()!.endpoints[0]!.deployments[0]!.replicas).toHaveLength(1)
    })

    it('waits for a person who has not spoken, and asks only once', async () => {
      const id = await lab.version('m')
      await pass()
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'awaiting-approval' })
      const asked = await db().selectFrom('event').selectAll().where('entity', '=', 'disposition').execute()
      expect(asked).toHaveLength(1)
      await approve(id, 'approved')
      await pass()
      expect(await champion()).toBe(id)
    })

    it('keeps the previous version warm, and stops the one before it', async () => {
      for (let i = 0; i < 3; i++) {
        await approved()
        await pass(10)
      }
      expect(await champion()).toBe('m@3')
      expect(await deployments()).toEqual(['m@1 stopped', 'm@2 ready', 'm@3 ready'])
      expect((await openReplicas(db())).map((r) => r.deploymentId)).toEqual(['deployment-2', 'deployment-3'])
    })

    it('that can’t load leaves the champion untouched, and none of its replicas behind', async () => {
      await approved()
      await pass()
      fleet.state = () => ({ state: 'failed', why: 'unsupported operator' })
      const bad = await approved()
      fleet.only('deployment-2')
      await pass(10)
      expect(await statuses()).toEqual(['release-2 m@2 failed', 'release-1 m@1 released'])
      expect(await champion()).toBe('m@1')
      expect(await findVersion(db(), bad)).toMatchObject({
        disposition: 'refused',
        dispositionWhy: expect.stringContaining('unsupported operator') as string,
      })
      expect((await openReplicas(db())).map((r) => r.deploymentId)).toEqual(['deployment-1'])
      expect(served()).toEqual(['deployment-1'])
    })

    it('fails preflight where the replica has loaded another file', async () => {
      fleet.digest = `sha256:${'9'.repeat(64)}`
      await approved()
      await pass()
      expect(await statuses()).toEqual(['release-1 m@1 failed'])
      expect((await listReleases(db(), { limit: 1 }))[0]!.why).toContain('the replica loaded sha256:999')
    })

    it('fails where no replica gets ready in time', async () => {
      fleet.state = () => ({ state: 'loading' })
      await approved()
      await pass()
      for (let i = 0; i < 70; i++) {
        clock.advance(1_000)
        await pass(1)
      }
      expect(await statuses()).toEqual(['release-1 m@1 failed'])
      await pass(10)
      expect(await deployments()).toEqual(['m@1 stopped'])
    })

    it('is superseded in the queue by a newer one, and never once it has begun', async () => {
      fleet.state = () => ({ state: 'loading' })
      await approved()
      await pass(2)
      await approved()
      await approved()
      await pass(2)
      expect(await statuses()).toEqual(['release-3 m@3 queued', 'release-2 m@2 superseded', 'release-1 m@1 deploying'])
      expect(await findVersion(db(), 'm@2')).toMatchObject({ disposition: 'spare' })
      fleet.state = () => ({ state: 'ready' })
      await pass(12)
      expect(await champion()).toBe('m@3')
    })

    it('ends when a person rejects the version on its way', async () => {
      fleet.state = () => ({ state: 'loading' })
      const id = await approved()
      await pass(2)
      await approve(id, 'rejected')
      await pass()
      expect(await statuses()).toEqual(['release-1 m@1 cancelled'])
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'refused' })
      expect(await champion()).toBeNull()
    })

    it('is not made again when a person approves what is live', async () => {
      const id = await approved()
      await pass()
      clock.advance(10)
      await approve(id, 'approved')
      await pass()
      expect(await statuses()).toEqual(['release-1 m@1 released'])
      expect(await findVersion(db(), id)).toMatchObject({ disposition: 'released' })
    })

    it('starts nothing while the disk is low', async () => {
      lab.disk.low = true
      await approved()
      await pass()
      expect(await statuses()).toEqual(['release-1 m@1 queued'])
      expect(fleet.running()).toEqual([])
    })
  })

  describe('a rollback', () => {
    it('to a warm version flips in one look, without a new deployment', async () => {
      for (let i = 0; i < 2; i++) {
        await approved()
        await pass()
      }
      await rollBackTo('m@1')
      await plane.releases.look()
      expect(await champion()).toBe('m@1')
      expect(await statuses()).toEqual([
        'release-3 m@1 released',
        'release-2 m@2 rolled-back',
        'release-1 m@1 released',
      ])
      expect((await routeOf(db(), 'm'))!.members).toEqual([{ deploymentId: 'deployment-1', weightPercent: 100 }])
    })

    it('wakes a version that sleeps and gives it as many replicas as the champion has, before it flips', async () => {
      await lab.apply({ m: { ...model, serving: { replicas: { min: 0, max: 4 } } } })
      for (let i = 0; i < 2; i++) {
        await approved()
        await pass()
      }
      const scale = (id: string, wanted: number) =>
        db().updateTable('deployment').set({ replicas_wanted: wanted }).where('id', '=', id).execute()
      await scale('deployment-1', 0)
      await scale('deployment-2', 3)
      await pass(3)
      expect((await openReplicas(db())).filter((r) => r.deploymentId === 'deployment-1')).toEqual([])
      await rollBackTo('m@1')
      await plane.releases.look()
      expect(await champion()).toBe('m@2')
      await pass(3)
      expect(await champion()).toBe('m@1')
      expect((await openReplicas(db())).filter((r) => r.deploymentId === 'deployment-1')).toHaveLength(3)
    })

    it('cancels the release that is under way, which never takes the traffic afterwards', async () => {
      for (let i = 0; i < 2; i++) {
        await approved()
        await pass()
      }
      fleet.state = (id) => ({ state: fleet.deploymentOf(id) === 'deployment-3' ? 'loading' : 'ready' })
      await approved()
      await pass(2)
      await rollBackTo('m@1')
      await pass(3)
      fleet.state = () => ({ state: 'ready' })
      await pass(10)
      expect(await statuses()).toEqual([
        'release-4 m@1 released',
        'release-3 m@3 cancelled',
        'release-2 m@2 rolled-back',
        'release-1 m@1 released',
      ])
      expect(await champion()).toBe('m@1')
      expect(await findVersion(db(), 'm@3')).toMatchObject({ disposition: 'spare' })
    })
  })

  describe('replicas', () => {
    it('that die are replaced, with growing waits', async () => {
      await approved()
      await pass()
      const starts: number[] = []
      for (let death = 0; death < 4; death++) {
        fleet.killAll()
        const atMs = clock.epochMs()
        for (let i = 0; i < 100 && fleet.running().length === 0; i++) {
          clock.advance(50)
          await plane.deployments.look()
          await new Promise((resolve) => setImmediate(resolve))
        }
        starts.push(clock.epochMs() - atMs)
      }
      expect(fleet.running()).toHaveLength(1)
      expect(starts.toSorted((a, b) => a - b)).toEqual(starts)
      expect(starts[0]).toBeLessThanOrEqual(100)
      expect(starts[3]).toBeGreaterThanOrEqual(800)
    })

    it('that can’t be started leave their reason', async () => {
      fleet.startError = new Error('no memory')
      await approved()
      await pass(60)
      expect(await statuses()).toEqual(['release-1 m@1 failed'])
      expect((await listReleases(db(), { limit: 1 }))[0]!.why).toContain('it could not be started: no memory')
      expect(await openReplicas(db())).toEqual([])
    })

    it('are looked at seldom while all are as wanted, and at once where one falls silent', async () => {
      await approved()
      await pass(12)
      expect(await plane.deployments.look()).toBeUndefined()
      expect(plane.deployments.isAnySilent()).toBe(false)
      for (let i = 0; i < 4; i++) {
        clock.advance(200)
        plane.observations.look()
      }
      expect(plane.deployments.isAnySilent()).toBe(true)
      await approved()
      await pass(1)
      expect(await plane.deployments.look()).toBe(500)
    })

    it('are told to run by their lease, to drain once they are stopping or unknown', async () => {
      await approved()
      await pass()
      const [replica] = await openReplicas(db())
      const lease = { replicaId: replica!.id, token: replica!.token }
      expect(plane.deployments.goalOf(lease)).toBe('run')
      expect(plane.deployments.goalOf({ ...lease, token: 'of another installation' })).toBe('drain')
      expect(plane.deployments.goalOf({ ...lease, replicaId: 'replica-99' })).toBe('drain')
      plane = await newPlane()
      expect(plane.deployments.goalOf({ ...lease, replicaId: 'replica-99' })).toBe('run')
    })
  })

  describe('a drain', () => {
    it.each<[string, () => void, () => void]>([
      [
        'answers its requests',
        () => (fleet.inFlight = [{ deploymentId: 'deployment-1', requests: 2 }]),
        () => (fleet.inFlight = []),
      ],
      ['is not heard', () => fleet.deaf.add('gateway'), () => fleet.deaf.clear()],
      [
        'is not heard, of two',
        () => fleet.gateways.push('second') && fleet.deaf.add('second'),
        () => fleet.deaf.clear(),
      ],
    ])('waits while a gateway %s', async (_why, begin, end) => {
      for (let i = 0; i < 2; i++) {
        await approved()
        await pass()
      }
      begin()
      await approved()
      await pass(20)
      expect((await deployments())[0]).toBe('m@1 draining')
      expect(fleet.running()).toContain('replica-1')
      end()
      await pass(10)
      expect((await deployments())[0]).toBe('m@1 stopped')
      expect(fleet.running()).not.toContain('replica-1')
    })
  })

  describe('after a restart of the control plane', () => {
    it('nothing is taken from the routes before replicas had a lease period to be heard', async () => {
      await approved()
      await pass()
      plane = await newPlane()
      const silent = fleet.leases
      fleet.leases = () => []
      await pass(5)
      expect(plane.publisher.current()).toBeNull()
      expect(fleet.running()).toHaveLength(1)
      fleet.leases = silent
      await pass(1)
      expect(plane.publisher.current()!.endpoints[0]!.deployments[0]!.replicas).toHaveLength(1)
      expect(plane.publisher.current()!.epoch).toBe(2)
    })

    it('replicas that ended with the one before are replaced at once', async () => {
      await approved()
      await pass()
      for (let death = 0; death < 4; death++) {
        fleet.killAll()
        await pass(20)
      }
      fleet.killAll()
      plane = await newPlane()
      await pass(2)
      expect(fleet.running()).toHaveLength(1)
    })

    it('a replica that is not heard after that is left out', async () => {
      await approved()
      await pass()
      plane = await newPlane()
      fleet.leases = () => []
      await pass(Math.ceil(LEASE_PERIOD_MS / 200) + 2)
      expect(plane.publisher.current()!.endpoints[0]!.deployments[0]!.replicas).toEqual([])
    })

    it('a release goes on wherever it was, also after longer than its time-out', async () => {
      for (let rounds = 1; rounds <= 5; rounds++) {
        await approved()
        await pass(rounds)
        clock.advance(3_600_000)
        plane = await newPlane()
        await pass(12)
        expect(await champion()).toBe(`m@${rounds}`)
      }
    })

    it('stops the replicas of a deployment that failed just before', async () => {
      await approved()
      await pass()
      await db().updateTable('deployment').set({ status: 'failed' }).execute()
      plane = await newPlane()
      await pass(10)
      expect(fleet.running()).toEqual([])
      expect(await openReplicas(db())).toEqual([])
    })
  })

  /** Processes that only exist here; each says in its lease what it is told to. */
  function fakeFleet() {
    const replicas = new Map<string, { lease: Lease; alive: boolean; exited: PromiseWithResolvers<void> }>()
    const end = (id: string) => {
      const replica = replicas.get(id)
      if (replica !== undefined) replica.alive = false
      replica?.exited.resolve()
    }
    const runtime: ReplicaRuntime = {
      start({ id, token, deploymentId, version }) {
        if (fleet.startError !== null) return Promise.reject(fleet.startError)
        const exited = Promise.withResolvers<void>()
        const lease = leaseOf({
          replicaId: id,
          token,
          deploymentId,
          socketPath: join(lab.dataDir, `${id}.sock`),
          loadedDigest: version.modelDigest,
        })
        replicas.set(id, { lease, alive: true, exited })
        return Promise.resolve({ exited: exited.promise })
      },
      observe: (id) =>
        Promise.resolve(replicas.get(id) === undefined ? 'unknown' : replicas.get(id)!.alive ? 'alive' : 'dead'),
      stop: (id) => Promise.resolve(end(id)),
      forget: (id) => Promise.resolve(void replicas.delete(id)),
      liveGateways: () => Promise.resolve(fleet.gateways),
    }
    let onlyDeployment: string | null = null
    const fleet = {
      runtime,
      gateways: ['gateway'],
      deaf: new Set<string>(),
      inFlight: [] as { deploymentId: string; requests: number }[],
      startError: null as Error | null,
      digest: null as string | null,
      state: (_replicaId: string): Partial<Lease> => ({ state: 'ready' }),
      only: (deploymentId: string) => (onlyDeployment = deploymentId),
      deploymentOf: (id: string) => replicas.get(id)?.lease.deploymentId,
      running: () => [...replicas].filter(([, r]) => r.alive).map(([id]) => id),
      killAll: () => [...replicas.keys()].forEach(end),
      leases: () =>
        [...replicas.values()]
          .filter((r) => r.alive)
          .map(({ lease }) => ({
            ...lease,
            ...(onlyDeployment === null || lease.deploymentId === onlyDeployment ? fleet.state(lease.replicaId) : {}),
            ...(fleet.digest === null ? {} : { loadedDigest: fleet.digest }),
          })),
    }
    return fleet
  }
  type FakeFleet = ReturnType<typeof fakeFleet>
})
