import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { projectOf } from '../../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { decidedVersion, flip, promote, readyRelease } from '../../testing/flip-lab.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { setApproval } from '../registry/version-requests.ts'
import { aliasTarget, findVersion } from '../registry/version-store.ts'
import { rollbackTarget } from './decide-rollback-target.ts'
import { configDigest, endOfRollbackFreeze, sameAsLost, type Freeze } from './freeze.ts'
import { endFreeze, requestFreeze } from './freeze-requests.ts'
import { reviewFreezes } from './freeze-review.ts'
import { activeFreezes, listFreezes } from './freeze-store.ts'
import { Observations } from './observations.ts'
import { ReleaseController } from './release-controller.ts'
import { requestRelease } from './release-requests.ts'
import { openReleases, listReleases, routeOf } from './release-store.ts'
import { requestRollback, rollbackTargetOf } from './rollback-requests.ts'

describe('where a rollback goes', () => {
  const released = (...ids: string[]) => ids.map((versionId) => ({ versionId, byRollback: false }))
  const back = (versionId: string) => ({ versionId, byRollback: true })
  const always = () => true

  it.each<[string, { versionId: string | null; byRollback: boolean }[], string | null]>([
    ['nothing was champion', [], null],
    ['only one was', released('m@1'), null],
    ['one step back', released('m@1', 'm@2'), 'm@1'],
    ['one more after a rollback, never forward again', [...released('m@1', 'm@2', 'm@3'), back('m@2')], 'm@1'],
    ['nowhere once all is undone', [...released('m@1', 'm@2'), back('m@1')], null],
    ['over what was rolled back to what stands', [...released('m@1', 'm@2'), back('m@1'), ...released('m@3')], 'm@1'],
    ['back where somebody went forward by hand', [...released('m@1', 'm@2'), back('m@1'), back('m@2')], 'm@1'],
    ['a version that was released anew', released('m@1', 'm@2', 'm@1'), 'm@2'],
    ['not to itself', [...released('m@1', 'm@2', 'm@2')], 'm@1'],
  ])('%s', (_what, history, target) => {
    expect(rollbackTarget(history, always)).toBe(target)
  })

  it('leaves out what may not serve', () => {
    expect(rollbackTarget(released('m@1', 'm@2', 'm@3'), (id) => id !== 'm@2')).toBe('m@1')
  })
})

describe('the end of a freeze after a rollback', () => {
  const freeze: Freeze = {
    id: 'freeze-1',
    model: 'm',
    endpoint: 'm',
    kind: 'rollback',
    status: 'active',
    why: 'release-3 went back',
    unfreezes: '',
    codeDigests: ['sha256:a'],
    configDigest: 'sha256:c',
    createdBy: 'ann',
    createdAtMs: 100,
    createdCalendarMs: 100,
    endedAtMs: null,
    endedBy: null,
    endedWhy: null,
  }
  const version = (codeDigest: string | null) => ({ id: 'm@4', codeDigest })
  const end = (now: Parameters<typeof endOfRollbackFreeze>[1], of: Partial<Freeze> = {}) =>
    endOfRollbackFreeze({ ...freeze, ...of }, now)
  const same = { configDigest: 'sha256:c', newVersions: [] }

  it('comes with other code, in a version made since', () => {
    expect(end({ ...same, newVersions: [version('sha256:b')] })).toContain('m@4 comes from other code')
    expect(end({ ...same, newVersions: [version('sha256:a')] })).toBeNull()
    expect(end(same)).toBeNull()
  })

  it('does not come with the code of any version that lost', () => {
    const lost = { codeDigests: ['sha256:a', 'sha256:b'] }
    expect(end({ ...same, newVersions: [version('sha256:b')] }, lost)).toBeNull()
  })

  it('comes with another configuration of the model, not with its leaving', () => {
    expect(end({ ...same, configDigest: 'sha256:d' })).toContain('the configuration of m has changed')
    expect(end({ ...same, configDigest: null })).toBeNull()
  })

  it('comes to no other kind of freeze', () => {
    expect(end({ ...same, configDigest: 'sha256:d' }, { kind: 'person' })).toBeNull()
  })

  it('clears nothing that was made before by the code that lost, unless a person ended it', () => {
    const over: Freeze = { ...freeze, status: 'ended', endedAtMs: 200, endedBy: 'millrace' }
    const is = (codeDigest: string, isMadeSince: boolean, of: Partial<Freeze> = {}) =>
      sameAsLost([{ ...over, ...of }], { codeDigest, isMadeSince })?.id ?? null
    expect(is('sha256:a', false)).toBe('freeze-1')
    expect(is('sha256:b', false)).toBeNull()
    expect(is('sha256:a', true)).toBeNull()
    expect(is('sha256:a', false, { endedBy: 'ann' })).toBeNull()
    expect(is('sha256:a', false, { kind: 'alert' })).toBeNull()
  })

  it('is not brought by what says nothing of how versions are made', () => {
    const of = (rest: object) => configDigest(projectOf('/p', { m: { train: 'true', ...rest } }).models[0]!)
    expect(of({ retirement: { keepLast: 1 } })).toBe(of({}))
    expect(of({ params: { depth: 3 } })).not.toBe(of({}))
  })
})

describeEachStore('freezes', (open: () => Promise<Store>) => {
  let store: Store
  let lab: ControlLab
  let clock: FakeClock
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    clock = fakeClock()
    lab = await controlLab(store, clock)
    await lab.apply({ m: { train: 'true' } })
  })
  afterEach(() => lab.close())

  const code = 'sha256:code'
  const newController = () =>
    new ReleaseController(
      lab.context,
      new Observations(() => clock.monotonicMs()),
      () => [],
      () => Promise.reject(new Error('nothing is tried here')),
    )
  const active = async () => (await activeFreezes(store.db, 'm')).map((f) => f.kind)
  const releases = async () =>
    (await listReleases(store.db, { limit: 9 })).map((r) => `${r.kind} of ${r.versionId} ${r.status}`)

  async function champions(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      clock.advance(1_000)
      await promote(lab, 'm', await decidedVersion(lab, 'm', { codeDigest: code }))
    }
  }

  const passes = (id: string) =>
    store.db
      .insertInto('gate')
      .values({ version_id: id, verdict: 'passed', why: 'w', checks: '[]', proven_better: true, decided_at_ms: 0 })
      .execute()

  async function rollBack(to: string | null = null): Promise<string | null> {
    clock.advance(1_000)
    const id = await store.transaction((tx) =>
      requestRollback(tx, clock, { model: 'm', endpoint: 'm', to, cause: 'complaints', by: 'ann' }),
    )
    if (id === null) return null
    const release = (await openReleases(store.db)).find((r) => r.id === id)!
    await flip(lab, await readyRelease(lab, 'm', release.versionId, 'rollback'))
    return release.versionId
  }

  it('of one kind are asked for once, also by two at the same moment', async () => {
    const ask = () =>
      store.transaction((tx) =>
        requestFreeze(tx, clock, {
          model: 'm',
          endpoint: 'm',
          kind: 'stability',
          why: '2 of 3 runs failed',
          unfreezes: 'two good runs',
          by: 'millrace',
        }),
      )
    const [first, second] = await Promise.all([ask(), ask()])
    expect(first).toBe(second)
    expect(await active()).toEqual(['stability'])
    await store.transaction((tx) => endFreeze(tx, clock, { model: 'm', kind: 'budget', by: 'ann', why: 'x' }))
    expect(await active()).toEqual(['stability'])
    await store.transaction((tx) => endFreeze(tx, clock, { model: 'm', kind: 'stability', by: 'ann', why: 'x' }))
    expect(await active()).toEqual([])
    expect((await listFreezes(store.db, { limit: 9 }))[0]).toMatchObject({ endedBy: 'ann', endedWhy: 'x' })
  })

  it('come with a rollback after a promotion, and say what lost and what ends them', async () => {
    await champions(2)
    expect(await rollBack()).toBe('m@1')
    const [freeze] = await activeFreezes(store.db, 'm')
    expect(freeze).toMatchObject({ kind: 'rollback', codeDigests: [code] })
    expect(freeze!.why).toContain('went back from m@2 to m@1: complaints')
    expect(await releases()).toContain('release of m@2 rolled-back')
    const lost = await store.db.selectFrom('release').select('why').where('status', '=', 'rolled-back').execute()
    expect(lost).toEqual([{ why: expect.stringMatching(/^release-\d+ went back to m@1: complaints/) }])
  })

  it('after a rollback outlive the same code, and end with other code', async () => {
    await champions(2)
    await rollBack()
    clock.advance(1_000)
    await decidedVersion(lab, 'm', { codeDigest: code, disposition: null })
    await reviewFreezes(lab.context)
    expect(await active()).toEqual(['rollback'])
    // A backfill is never released, whatever code it comes from.
    await decidedVersion(lab, 'm', { codeDigest: 'sha256:other', backfilled: true })
    await reviewFreezes(lab.context)
    expect(await active()).toEqual(['rollback'])
    await decidedVersion(lab, 'm', { codeDigest: 'sha256:other', disposition: null })
    await reviewFreezes(lab.context)
    expect(await active()).toEqual([])
  })

  it.each([3_600_000, -3_600_000])('after a rollback go by what came first, the clock set by %i ms', async (byMs) => {
    await promote(lab, 'm', await decidedVersion(lab, 'm', { codeDigest: 'sha256:before' }))
    await champions(1)
    clock.set(-byMs)
    await rollBack()
    // Made before it, by other code, whatever the clock said then.
    await reviewFreezes(lab.context)
    expect(await active()).toEqual(['rollback'])
    clock.set(byMs)
    await decidedVersion(lab, 'm', { codeDigest: 'sha256:other', disposition: null })
    clock.set(-2 * byMs)
    await reviewFreezes(lab.context)
    expect(await active()).toEqual([])
  })

  it('after a rollback end with another configuration', async () => {
    await champions(2)
    await rollBack()
    await lab.apply({ m: { train: 'true', params: { depth: 3 } } })
    await reviewFreezes(lab.context)
    expect(await active()).toEqual([])
  })

  it('do not come with a rollback to the champion, which only ends what was under way', async () => {
    await champions(1)
    const canary = await readyRelease(lab, 'm', await decidedVersion(lab, 'm'))
    expect(await rollbackTargetOf(store.db, 'm')).toBe('m@1')
    await rollBack()
    expect(await active()).toEqual([])
    expect(await releases()).toEqual([
      'rollback of m@1 released',
      'release of m@2 cancelled',
      'release of m@1 released',
    ])
    expect(await flip(lab, canary)).toBe(false)
    expect(await aliasTarget(store.db, 'm', 'champion')).toBe('m@1')
    expect((await routeOf(store.db, 'm'))!.members).toEqual([{ deploymentId: 'deployment-1', weightPercent: 100 }])
  })

  it('a second rollback goes one more step back, a third has nowhere to go', async () => {
    await champions(3)
    expect([await rollBack(), await rollBack(), await rollBack()]).toEqual(['m@2', 'm@1', null])
    expect(await aliasTarget(store.db, 'm', 'champion')).toBe('m@1')
    expect(await aliasTarget(store.db, 'm', 'previous')).toBeNull()
    expect(await active()).toEqual(['rollback'])
  })

  it('a rollback asked for during a rollback is the same one, and one to another version overrules it', async () => {
    await champions(3)
    const ask = (to: string | null) =>
      store.transaction((tx) =>
        requestRollback(tx, clock, { model: 'm', endpoint: 'm', to, cause: 'complaints', by: 'ann' }),
      )
    const first = await ask(null)
    expect(await ask(null)).toBe(first)
    const second = await ask('m@1')
    await flip(lab, await readyRelease(lab, 'm', 'm@1', 'rollback'))
    expect(await releases()).toContain('rollback of m@2 cancelled')
    expect(await aliasTarget(store.db, 'm', 'champion')).toBe('m@1')
    expect(second).not.toBe(first)
  })

  it('hold back what would be released until they end; then it is decided anew', async () => {
    const controller = newController()
    const freeze = {
      model: 'm',
      endpoint: 'm',
      kind: 'person',
      why: 'the move',
      unfreezes: 'unfreeze',
      by: 'ann',
    } as const
    await store.transaction((tx) => requestFreeze(tx, clock, freeze))
    const id = await decidedVersion(lab, 'm', { disposition: null })
    await controller.look()
    await controller.look()
    const held = await findVersion(store.db, id)
    expect(held).toMatchObject({ disposition: 'awaiting-approval' })
    expect(held!.dispositionWhy).toContain('automatic release is frozen (freeze-1: the move')
    expect(await openReleases(store.db)).toEqual([])
    await store.transaction((tx) => endFreeze(tx, clock, { model: 'm', by: 'ann', why: 'moved' }))
    await controller.look()
    expect(await openReleases(store.db)).toMatchObject([{ versionId: id }])
  })

  it('hold back a release that is on its way, until a person approves its version', async () => {
    const controller = newController()
    const id = await decidedVersion(lab, 'm', { disposition: null })
    await controller.look()
    expect(await openReleases(store.db)).toMatchObject([{ versionId: id }])
    const freeze = { model: 'm', endpoint: 'm', kind: 'person', why: 'the move', unfreezes: 'unfreeze', by: 'ann' }
    await store.transaction((tx) => requestFreeze(tx, clock, { ...freeze, kind: 'person' }))
    await controller.look()
    expect(await openReleases(store.db)).toEqual([])
    const heldBack = await findVersion(store.db, id)
    expect(heldBack).toMatchObject({ disposition: 'awaiting-approval' })
    expect(heldBack!.dispositionWhy).toContain('automatic release is frozen (freeze-1: the move; ends by unfreeze)')
    clock.advance(1_000)
    await store.transaction((tx) =>
      setApproval(tx, clock, id, { decision: 'approved', by: 'ann', why: 'urgent', atMs: clock.epochMs() }),
    )
    await controller.look()
    await controller.look()
    expect(await openReleases(store.db)).toMatchObject([{ versionId: id, cause: 'approved by ann: urgent' }])
    expect(await active()).toEqual(['person'])
  })

  it('hold back nothing that a person asks for while they last, and that as well when they begin later', async () => {
    const controller = newController()
    const freeze = { model: 'm', endpoint: 'm', why: 'the move', unfreezes: 'unfreeze', by: 'ann' }
    await store.transaction((tx) => requestFreeze(tx, clock, { ...freeze, kind: 'person' }))
    const id = await decidedVersion(lab, 'm', { disposition: 'spare' })
    clock.advance(1_000)
    const asked = {
      kind: 'release',
      endpoint: 'm',
      model: 'm',
      versionId: id,
      cause: 'by hand: urgent',
      by: 'ben',
    } as const
    await store.transaction((tx) => requestRelease(tx, clock, asked))
    await controller.look()
    expect(await openReleases(store.db)).toMatchObject([{ versionId: id, requestedBy: 'ben' }])
    clock.advance(1_000)
    await store.transaction((tx) => requestFreeze(tx, clock, { ...freeze, kind: 'alert' }))
    await controller.look()
    expect(await openReleases(store.db)).toEqual([])
    expect((await findVersion(store.db, id))!.dispositionWhy).toMatch(/frozen \(freeze-2: the move; ends by unfreeze\)/)
  })

  it('come with a rollback, while which nothing goes forward by itself', async () => {
    const controller = newController()
    await champions(2)
    const rollback = await readyRelease(lab, 'm', 'm@1', 'rollback')
    clock.advance(1_000)
    const id = await decidedVersion(lab, 'm', { disposition: null, codeDigest: code })
    await passes(id)
    await controller.look()
    expect((await openReleases(store.db)).map((r) => r.kind)).toEqual(['rollback'])
    expect(await findVersion(store.db, id)).toMatchObject({ disposition: null })
    await flip(lab, rollback)
    await controller.look()
    expect((await findVersion(store.db, id))!.dispositionWhy).toContain('automatic release is frozen (freeze-1: ')
    // Other code ends the freeze, and clears what it made, not what was made before.
    clock.advance(1_000)
    const other = await decidedVersion(lab, 'm', { disposition: null, codeDigest: 'sha256:other' })
    await passes(other)
    await controller.look()
    await controller.look()
    expect(await active()).toEqual([])
    expect((await findVersion(store.db, id))!.dispositionWhy).toContain('the same code and configuration as what was')
    expect(await openReleases(store.db)).toMatchObject([{ versionId: other }])
  })

  it('do not stand above a person’s approval', async () => {
    const controller = newController()
    const freeze = {
      model: 'm',
      endpoint: 'm',
      kind: 'budget',
      why: 'spent',
      unfreezes: 'time',
      by: 'millrace',
    } as const
    await store.transaction((tx) => requestFreeze(tx, clock, freeze))
    const id = await decidedVersion(lab, 'm', { disposition: null })
    await store.transaction((tx) =>
      setApproval(tx, clock, id, { decision: 'approved', by: 'ann', why: 'urgent', atMs: clock.epochMs() }),
    )
    await controller.look()
    expect(await openReleases(store.db)).toMatchObject([{ versionId: id }])
  })
})
