import { describe, expect, it } from 'vitest'
import type { Lease } from '../../kernel/contract/routing.ts'
import { deploymentOf, leaseOf, replicaOf } from '../../testing/control-builders.ts'
import { decideDeployment, type DeploymentView, type ReplicaView } from './decide-deployments.ts'
import type { Deployment, DeploymentStatus, Replica } from './release.ts'

describe('a deployment that is needed', () => {
  it.each<DeploymentStatus>(['starting', 'ready'])('gets the replicas that it lacks while it is %s', (status) => {
    const acts = decide({ deployment: { status, replicasWanted: 3 }, replicas: [ready()] })
    expect(acts).toEqual([
      { kind: 'startReplica', deploymentId: 'deployment-1' },
      { kind: 'startReplica', deploymentId: 'deployment-1' },
    ])
  })

  it('is ready once all of its replicas are', () => {
    const deployment = { status: 'starting', replicasWanted: 2 } as const
    expect(decide({ deployment, replicas: [ready(), loading('replica-2')] })).toEqual([])
    expect(decide({ deployment, replicas: [ready(), ready('replica-2')] })).toMatchObject([{ kind: 'allReady' }])
  })

  it('loses what is more than wanted', () => {
    expect(decide({ replicas: [ready(), ready('replica-2')] })).toMatchObject([
      { kind: 'stopReplica', replica: { id: 'replica-2' } },
    ])
  })

  it('does not count replicas that were told to stop', () => {
    expect(decide({ replicas: [view({ status: 'stopping' })] })).toMatchObject([{ kind: 'startReplica' }])
  })
})

describe('a lost replica', () => {
  it('is replaced at once the first time, then later and later', () => {
    const startsAt = (recentlyGone: number) => {
      const lost = { replicas: [], recentlyGone, lastGoneAtMs: 1_000 }
      return Array.from({ length: 12_000 }, (_, ms) => ms).find((nowMs) => decide(lost, nowMs).length > 0)
    }
    expect([1, 2, 3, 4, 5].map(startsAt)).toEqual([0, 1_200, 1_400, 1_800, 2_600])
    expect([20, 1_000].map(startsAt)).toEqual([11_000, 11_000])
  })

  it('does not wait for the time that the clock was set back by', () => {
    const lost = { replicas: [], recentlyGone: 3, lastGoneAtMs: 3_600_000 }
    expect(decide(lost, 1_000)).toMatchObject([{ kind: 'startReplica' }])
  })

  it.each<[string, Partial<ReplicaView>, string | null]>([
    ['its process has died', { process: 'dead' }, 'replicaGone'],
    ['nothing is known of its process, just after its start', { process: 'unknown', ageMs: 5_000 }, null],
    ['nothing is known of its process, for long', { process: 'unknown', ageMs: 5_001 }, 'replicaGone'],
    ['it is silent, but just started', { silentMs: 60_000, ageMs: 30_000, lease: null }, null],
    ['it is silent for long', { silentMs: 30_001, ageMs: 60_000, lease: null }, 'stopReplica'],
    [
      'it is silent since this control plane listens, which is not long',
      { silentMs: 10_000, ageMs: 600_000, lease: null },
      null,
    ],
  ])('is found when %s', (_how, seen, kind) => {
    for (const nowMs of [-3_600_000, 0, 3_600_000])
      expect(decide({ replicas: [{ ...ready(), ...seen }] }, nowMs)[0]?.kind ?? null).toBe(kind)
  })

  it('is gone as soon as its process is, once it was told to stop', () => {
    expect(decide({ replicas: [{ ...view({ status: 'stopping' }), process: 'unknown' }] })).toMatchObject([
      { kind: 'replicaGone', why: 'stopped' },
    ])
  })
})

describe('a replica that can’t load the model', () => {
  const broken = { ...ready(), lease: leaseOf({ state: 'failed', why: 'unsupported operator' }) }

  it('fails a deployment that has not been proven yet', () => {
    const deployment = { status: 'starting', discoverable: false } as const
    expect(decide({ deployment, replicas: [broken] })).toMatchObject([{ kind: 'fail', why: 'unsupported operator' }])
  })

  it.each<Partial<Deployment>>([{ status: 'ready' }, { status: 'starting', discoverable: true }])(
    'is replaced where the deployment may have the traffic: %j',
    (deployment) => {
      expect(decide({ deployment, replicas: [broken] })).toMatchObject([
        { kind: 'stopReplica', why: 'unsupported operator' },
      ])
    },
  )

  it('fails an unproven deployment also when it dies again and again, with the last reason', () => {
    const lost = { recentlyGone: 5, lastGoneAtMs: 0, lastGoneWhy: 'its process has died', replicas: [] }
    expect(decide({ deployment: { status: 'starting', discoverable: false }, ...lost }, 99_999)).toMatchObject([
      { kind: 'fail', why: '5 replicas ended while starting, the last: its process has died' },
    ])
    expect(decide({ deployment: { status: 'ready' }, ...lost }, 99_999)).toMatchObject([{ kind: 'startReplica' }])
  })
})

describe('a deployment that nobody needs', () => {
  it.each<DeploymentStatus>(['starting', 'ready'])('drains when it is %s', (status) => {
    expect(decide({ deployment: { status }, heldBy: [], replicas: [ready()] })).toMatchObject([{ kind: 'drain' }])
  })

  it('keeps its replicas until every gateway has let go of it', () => {
    const deployment = { status: 'draining' } as const
    expect(decide({ deployment, heldBy: [], replicas: [ready()], unused: false })).toEqual([])
    expect(decide({ deployment, heldBy: [], replicas: [ready()], unused: true })).toMatchObject([
      { kind: 'stopReplica', why: 'drained' },
    ])
  })

  it('is drained when the last replica is gone', () => {
    const deployment = { status: 'draining' } as const
    expect(decide({ deployment, heldBy: [], unused: true, replicas: [view({ status: 'stopping' })] })).toEqual([])
    expect(decide({ deployment, heldBy: [], unused: true, replicas: [] })).toMatchObject([{ kind: 'drained' }])
  })

  it.each<DeploymentStatus>(['failed', 'stopped'])(
    'stops what a crash has left running of it when it is %s',
    (status) => {
      expect(decide({ deployment: { status }, heldBy: [], replicas: [ready()] })).toMatchObject([
        { kind: 'stopReplica' },
      ])
      expect(decide({ deployment: { status }, heldBy: ['route'], replicas: [] })).toEqual([])
    },
  )
})

const view = (replica: Partial<Replica> = {}, lease: Partial<Lease> = {}): ReplicaView => ({
  replica: replicaOf(replica),
  lease: leaseOf({ replicaId: replica.id, ...lease }),
  process: 'alive',
  silentMs: 0,
  ageMs: 0,
})

const ready = (id = 'replica-1') => view({ id })
const loading = (id: string) => view({ id }, { state: 'loading' })

function decide(
  overrides: Partial<Omit<DeploymentView, 'deployment'>> & { deployment?: Partial<Deployment> } = {},
  nowMs = 0,
) {
  return decideDeployment(
    {
      replicas: [ready()],
      heldBy: ['route'],
      unused: false,
      recentlyGone: 0,
      lastGoneAtMs: null,
      lastGoneWhy: null,
      ...overrides,
      deployment: deploymentOf(overrides.deployment),
    },
    nowMs,
  )
}
