import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelInput, ReplicasInput } from '../../config/input.ts'
import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import type { Store } from '../../kernel/store/store.ts'
import { gatewayReportOf, leaseOf } from '../../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { decidedVersion, promote, readyRelease } from '../../testing/flip-lab.ts'
import { testStore } from '../../testing/test-store.ts'
import { Observations } from './observations.ts'
import { ReplicasController, roleOf } from './replicas-controller.ts'
import { openDeployments, openReleases, routes } from './release-store.ts'

let store: Store
let lab: ControlLab
let clock: FakeClock
let observations: Observations
let controller: ReplicasController
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  start()
})
afterEach(() => lab.close())

const start = (): void => {
  observations = new Observations(() => clock.monotonicMs())
  controller = new ReplicasController(lab.context, observations, { current: () => null }, 64)
}
const modelWith = (replicas: number | ReplicasInput, rest: Partial<ModelInput> = {}): ModelInput => ({
  train: 'true',
  serving: { replicas },
  ...rest,
})

/** m@1 live, with so many replicas, as deployment-1. */
async function live(replicas: number | ReplicasInput, wanted = 1): Promise<void> {
  await lab.apply({ m: modelWith(replicas) })
  await promote(lab, 'm', await decidedVersion(lab, 'm'))
  await want('deployment-1', wanted)
}

async function want(id: string, wanted: number): Promise<void> {
  await store.db.updateTable('deployment').set({ replicas_wanted: wanted }).where('id', '=', id).execute()
  await store.db.deleteFrom('replica').where('deployment_id', '=', id).execute()
  for (let i = 0; i < wanted; i++)
    await store.db
      .insertInto('replica')
      .values({ deployment_id: id, token: `${id}-${i}`, status: 'running', created_at_ms: clock.epochMs() })
      .execute()
}

const wantedOf = async (id = 'deployment-1') =>
  (await openDeployments(store.db)).find((deployment) => deployment.id === id)?.replicasWanted

interface Heard {
  inFlight?: number
  gateway?: string
  requests?: number
}

function hear({ inFlight = 0, gateway = 'gateway', requests = 0 }: Heard = {}): { someoneWaits: boolean } {
  const traffic = requests === 0 ? [] : [trafficOf(requests)]
  const report = gatewayReportOf({
    gatewayId: gateway,
    token: gateway,
    inFlight: inFlight === 0 ? [] : [{ deploymentId: 'deployment-1', requests: inFlight }],
    traffic,
  })
  observations.hearGateway(report)
  return controller.hear(report)
}

/** So many seconds, each with two reports of every gateway and a look; every replica says that it is ready. */
async function seconds(count: number, heard: Heard[]): Promise<void> {
  for (let half = 0; half < count * 2; half++) {
    clock.advance(500)
    observations.look()
    for (const { id } of await store.db.selectFrom('replica').select('id').execute())
      observations.hearLease(leaseOf({ replicaId: id }))
    for (const said of heard) hear(said)
    if (half % 2 === 1) await controller.look()
  }
}

describe('the load', () => {
  it('of all gateways together makes a deployment grow, with the reason in its history', async () => {
    await live({ min: 1, max: 8, targetConcurrency: 4 })
    await controller.look()
    await seconds(6, [
      { inFlight: 5, gateway: 'gateway' },
      { inFlight: 5, gateway: 'gateway-2' },
    ])
    expect(await wantedOf()).toBe(3)
    expect(lab.woken).toContain('deployment')
    const events = await store.db.selectFrom('event').selectAll().where('entity', '=', 'replicas').execute()
    expect(events).toHaveLength(1)
    expect(events[0]).toMatchObject({
      entity_id: 'deployment-1',
      from_status: '1 replica',
      to_status: '3 replicas',
      cause: expect.stringMatching(/^\S+ requests at once, 4 per replica$/),
    })
    const row = await store.db.selectFrom('deployment').select(['scaled_why', 'scaled_at_ms']).executeTakeFirst()
    expect(row).toEqual({ scaled_why: events[0]!.cause, scaled_at_ms: expect.any(Number) })
  })

  it('that nobody tells of changes nothing, nor does a restart of the control plane', async () => {
    await live({ min: 1, max: 8 }, 5)
    await controller.look()
    await seconds(120, [])
    expect(await wantedOf()).toBe(5)
    start()
    await seconds(50, [{ inFlight: 1 }])
    expect(await wantedOf()).toBe(5)
    await seconds(30, [{ inFlight: 1 }])
    expect(await wantedOf()).toBe(1)
  })

  it('brings a number that was fixed anew into use, and is not asked where all are fixed', async () => {
    await live(2, 2)
    await controller.look()
    await lab.apply({ m: modelWith(4) })
    await controller.look()
    expect(await wantedOf()).toBe(4)
    await controller.look()
    await store.db.updateTable('deployment').set({ replicas_wanted: 1 }).execute()
    await controller.look()
    // Nothing was applied since: nobody looks again.
    expect(await wantedOf()).toBe(1)
  })
})

it('takes nothing back for a minute from what has got more by somebody else', async () => {
  await live({ min: 1, max: 8 }, 1)
  await controller.look()
  await seconds(90, [{}])
  await want('deployment-1', 6)
  await seconds(55, [{}])
  expect(await wantedOf()).toBe(6)
  await seconds(10, [{}])
  expect(await wantedOf()).toBe(1)
})

describe('a model that may have no replica', () => {
  const asleep = { min: 0, max: 4, idle: '1m' }

  it('loses the last one once nobody has called for long enough, short requests included', async () => {
    await live(asleep)
    await controller.look()
    // Requests that begin and end between two reports show up in their counts only.
    await seconds(100, [{ requests: 1 }])
    expect(await wantedOf()).toBe(1)
    await seconds(61, [{}])
    expect(await wantedOf()).toBe(0)
  })

  it('gets one back as soon as somebody waits, which is told at once', async () => {
    await live(asleep, 0)
    await controller.look()
    expect(hear()).toEqual({ someoneWaits: false })
    expect(hear({ inFlight: 1 })).toEqual({ someoneWaits: true })
    await controller.look()
    expect(await wantedOf()).toBe(1)
    expect(hear({ inFlight: 1 })).toEqual({ someoneWaits: false })
  })

  it('gets one back even while the disk is low: what serves is not held up by what could wait', async () => {
    await live(asleep, 0)
    await controller.look()
    lab.disk.low = true
    hear({ inFlight: 1 })
    await controller.look()
    expect(await wantedOf()).toBe(1)
  })

  it('keeps one for as long as another version is compared with it, which gets as many as it has', async () => {
    await live(asleep, 3)
    await readyRelease(lab, 'm', await decidedVersion(lab, 'm'))
    const facts = {
      deployments: await openDeployments(store.db),
      releases: await openReleases(store.db),
      routes: await routes(store.db),
      snapshot: null,
      models: lab.context.project()!.project.models,
    }
    const [champion, challenger] = facts.deployments
    expect(roleOf(champion!, facts)).toMatchObject({ live: true, compared: true, instead: null })
    expect(roleOf(challenger!, facts)).toMatchObject({ live: false, instead: 3 })
  })
})

it('knows members of a gather by the routes', async () => {
  await live({ min: 0, max: 4 })
  const gather = { members: [{ deploymentId: 'deployment-1', name: 'm@1', weight: 1 }], joining: [] }
  const facts = {
    deployments: await openDeployments(store.db),
    releases: [],
    routes: [],
    snapshot: { endpoints: [{ gather }] } as unknown as RoutingSnapshot,
    models: [],
  }
  expect(roleOf(facts.deployments[0]!, facts)).toMatchObject({ asked: true, live: false })
})

function trafficOf(requests: number) {
  return {
    endpoint: 'm',
    model: 'm',
    version: '1',
    origin: 'live' as const,
    trial: null,
    pinned: [],
    requests,
    failed: 0,
    interrupted: 0,
    latencyCounts: [],
    fineLatency: {},
    firstAnswerAtMs: null,
  }
}
