import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ProjectInput } from '../../config/input.ts'
import type { TrafficReport } from '../../kernel/contract/routing.ts'
import type { Store } from '../../kernel/store/store.ts'
import { gatewayReportOf } from '../../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { decidedVersion, promote } from '../../testing/flip-lab.ts'
import { testStore } from '../../testing/test-store.ts'
import { holders } from '../retirement/holders.ts'
import { useFacts } from '../retirement/use-facts.ts'
import { trafficBuffer } from '../service-level/traffic-buffer.ts'
import { trafficTotals } from '../service-level/traffic-store.ts'
import { declaredVersions } from './declared-versions.ts'
import { GatherController } from './gather-controller.ts'
import { joinAgain } from './gather-requests.ts'
import { gatherMembers } from './gather-store.ts'
import { deploymentHolders, openDeployments } from './release-store.ts'

let store: Store
let clock: FakeClock
let lab: ControlLab
let gathers: GatherController

const endpoints: ProjectInput['endpoints'] = {
  'second-opinion': {
    gather: { members: ['a', { model: 'b', versions: 2 }], join: { requests: 10, maxErrorShare: 0.1 } },
  },
}
const models = { a: { train: 'true' }, b: { train: 'true' } }

beforeAll(async () => void (store = await testStore()), 60_000)
afterAll(() => store.close())
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  await lab.apply(models, { endpoints })
  gathers = new GatherController(lab.context)
})
afterEach(() => lab.close())

async function release(model: string, kind: 'release' | 'rollback' = 'release', id?: string): Promise<string> {
  clock.advance(1_000)
  const versionId = id ?? (await decidedVersion(lab, model))
  await promote(lab, model, versionId, kind)
  return versionId
}

async function statuses(): Promise<string[]> {
  await gathers.look()
  return (await gatherMembers(store.db)).map(({ versionId, status }) => `${versionId} ${status}`).toSorted()
}

/** What a gateway reports of copies for a version that joins. */
async function copies(versionId: string, requests: number, failed: number, seq: number): Promise<void> {
  const [model, version] = versionId.split('@') as [string, string]
  const row: TrafficReport = {
    endpoint: 'second-opinion',
    model,
    version,
    origin: 'shadow',
    trial: null,
    pinned: [],
    requests,
    failed,
    interrupted: 0,
    latencyCounts: [],
    fineLatency: {},
    firstAnswerAtMs: null,
  }
  const traffic = trafficBuffer(lab.context)
  traffic.add(gatewayReportOf({ traffic: [row], trafficSeq: seq }))
  await traffic.flush()
}

describe('a gather', () => {
  it('is founded by what is released, and joined by the next version once its copies were answered', async () => {
    await release('a')
    await release('b')
    expect(await statuses()).toEqual(['a@1 member', 'b@1 member'])
    await release('a')
    expect(await statuses()).toEqual(['a@1 member', 'a@2 joining', 'b@1 member'])
    await copies('a@2', 6, 0, 1)
    expect(await statuses()).toEqual(['a@1 member', 'a@2 joining', 'b@1 member'])
    // Another control plane goes on from what was counted.
    gathers = new GatherController(lab.context)
    await copies('a@2', 4, 1, 2)
    expect(await statuses()).toEqual(['a@1 left', 'a@2 member', 'b@1 member'])
  })

  it('is joined by the version that was released last, also where the clock was set back before', async () => {
    await release('a')
    await statuses()
    clock.set(-86_400_000)
    await release('a')
    expect(await statuses()).toEqual(['a@1 member', 'a@2 joining'])
    await copies('a@2', 10, 0, 1)
    expect(await statuses()).toEqual(['a@1 left', 'a@2 member'])
  })

  it('keeps a version out that fails, says so, and counts anew when it is released again', async () => {
    const first = await release('a')
    await statuses()
    const second = await release('a')
    await statuses()
    await copies(second, 3, 2, 1)
    expect(await statuses()).toEqual(['a@1 member', 'a@2 refused'])
    const [, refused] = await gatherMembers(store.db)
    expect(refused?.why).toBe('2 of 3 copies failed, more than 10% are not borne')
    const events = await store.db.selectFrom('event').selectAll().where('entity', '=', 'gather_member').execute()
    expect(events.map(({ entity_id, from_status, to_status }) => [entity_id, from_status, to_status])).toEqual([
      ['second-opinion/a@1', null, 'member'],
      ['second-opinion/a@2', null, 'joining'],
      ['second-opinion/a@2', 'joining', 'refused'],
    ])
    // Neither a clock that is set on nor one that is set back releases it.
    for (const byMs of [3_600_000, -7_200_000]) {
      clock.set(byMs)
      expect(await statuses()).toEqual(['a@1 member', 'a@2 refused'])
    }
    await release('a', 'rollback', first)
    await release('a', 'release', second)
    expect(await statuses()).toEqual(['a@1 member', 'a@2 joining'])
    expect((await gatherMembers(store.db)).find((m) => m.versionId === second)).toMatchObject({
      requests: 0,
      failed: 0,
    })
  })

  it('has the last two versions where two are declared, and goes back at once', async () => {
    await release('a')
    await release('b')
    await statuses()
    await release('b')
    await statuses()
    await copies('b@2', 10, 0, 1)
    expect(await statuses()).toEqual(['a@1 member', 'b@1 member', 'b@2 member'])
    await release('b')
    await statuses()
    await copies('b@3', 10, 0, 2)
    expect(await statuses()).toEqual(['a@1 member', 'b@1 left', 'b@2 member', 'b@3 member'])
    await release('b', 'rollback', 'b@2')
    expect(await statuses()).toContain('b@2 member')
  })

  it('is dissolved with its declaration', async () => {
    await release('a')
    await statuses()
    await lab.apply(models)
    expect(await statuses()).toEqual(['a@1 left'])
  })

  it('looks again without a change of anything', async () => {
    await release('a')
    const once = await statuses()
    const before = await store.db.selectFrom('event').select('id').execute()
    expect(await statuses()).toEqual(once)
    expect(await store.db.selectFrom('event').select('id').execute()).toEqual(before)
  })
})

describe('a member', () => {
  it('is kept deployed and held against retirement, as is one that joins', async () => {
    await release('a')
    await statuses()
    await release('a')
    await statuses()
    const outside = { models: [], inFlight: new Map<string, number>(), readers: new Map<string, string[]>() }
    const facts = await useFacts(store.db, 'a', outside)
    const heldBy = (id: string) => holders(facts.get(id)!, clock.calendarMs(), 0)
    expect(heldBy('a@1')).toContain('member of gather second-opinion')
    expect(heldBy('a@2')).toContain('joining gather second-opinion')
    const held = await deploymentHolders(store.db, await openDeployments(store.db))
    expect([...held.values()].filter((by) => by.includes('gather second-opinion'))).toHaveLength(2)
  })

  it('is wanted on the endpoint of its model, also before it is in the gather', async () => {
    await release('b')
    await release('b')
    const { project } = lab.context.project()!
    const wanted = await declaredVersions(store.db, project)
    expect(new Set(wanted.map(({ endpoint, versionId }) => `${versionId} on ${endpoint}`))).toEqual(
      new Set(['b@1 on b', 'b@2 on b']),
    )
  })
})

describe('what a gather asked of a version', () => {
  it('is use of that version, and a request of the endpoint once', async () => {
    await release('a')
    const counts = { pinned: [], requests: 5, failed: 1, interrupted: 0, latencyCounts: [], fineLatency: {} }
    const row = { endpoint: 'second-opinion', trial: null, firstAnswerAtMs: null, ...counts }
    const own: TrafficReport = { ...row, model: 'second-opinion', version: 'a@1', origin: 'live' }
    const member: TrafficReport = { ...row, model: 'a', version: '1', origin: 'member' }
    const traffic = trafficBuffer(lab.context)
    traffic.add(gatewayReportOf({ traffic: [own, member], trafficSeq: 1 }))
    await traffic.flush()
    const uses = await store.db.selectFrom('version_use').select(['version_id', 'requests']).execute()
    expect(uses).toEqual([{ version_id: 'a@1', requests: 5 }])
    expect(await trafficTotals(store.db)).toEqual([
      { endpoint: 'second-opinion', requests: 5, failed: 1, interrupted: 0 },
    ])
  })
})

describe('a version that was refused', () => {
  it('may try again when a person says so, and counts anew', async () => {
    await release('a')
    await statuses()
    const second = await release('a')
    await statuses()
    await copies(second, 3, 2, 1)
    await statuses()
    const wish = { endpoint: 'second-opinion', versionId: second, why: 'mended', by: 'ann' }
    expect(await store.transaction((tx) => joinAgain(tx, clock, wish))).toBe(true)
    expect(await statuses()).toEqual(['a@1 member', 'a@2 joining'])
    await copies(second, 10, 0, 2)
    expect(await statuses()).toEqual(['a@1 left', 'a@2 member'])
    expect(await store.transaction((tx) => joinAgain(tx, clock, wish))).toBe(false)
  })
})
