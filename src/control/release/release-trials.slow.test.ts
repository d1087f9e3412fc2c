import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelInput } from '../../config/input.ts'
import type { Store } from '../../kernel/store/store.ts'
import { releaseLab, type ReleaseLab } from '../../testing/release-lab.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { findVersion } from '../registry/version-store.ts'
import { keptLooks } from './trial-store.ts'
import { promoteTrial, stopTrial } from './trial-requests.ts'

const HOUR_MS = 3_600_000
const canary = {
  steps: [
    { weight: 10, soak: '3s' },
    { weight: 50, soak: '3s' },
  ],
  minRequests: 20,
  maxTime: '10s',
}
const model: ModelInput = {
  train: 'true',
  release: { strategy: 'canary', canary },
  serving: { replicas: 1 },
}
const shadowing: ModelInput = {
  ...model,
  release: { strategy: 'shadow', canary, shadow: { share: 50, soak: '2s', minRequests: 20, maxTime: '8s' } },
}

describeEachStore('a release under traffic', (open: () => Promise<Store>) => {
  let store: Store
  let lab: ReleaseLab
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    lab = await releaseLab(store, { m: model })
  })
  afterEach(() => lab.close())

  const alerts = () => store.db.selectFrom('alert').selectAll().where('source', '=', 'release').orderBy('seq').execute()

  /** m@1 serves, m@2 has begun to be tried. */
  async function tried(perSecond = 50): Promise<void> {
    lab.rate.perSecond = perSecond
    await lab.approved()
    await lab.until('m@1 is live', async () => (await lab.champion()) === 'm@1')
    await lab.approved()
    await lab.until('m@2 is tried', async () => /shadowing|canary/.test(await lab.status('release-2')))
  }

  it('takes all traffic at once where there is no champion', async () => {
    await lab.approved()
    await lab.until('live', async () => (await lab.champion()) === 'm@1')
    expect(await lab.trials('release-1')).toEqual([])
  })

  it('goes through the steps and is promoted, saying at each by what', async () => {
    await tried()
    expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
    await lab.until('at 50%', async () => (await lab.shares())['m@2'] === 50)
    expect(await lab.status('release-2')).toBe('canary')
    expect(await lab.champion()).toBe('m@1')
    await lab.until('promoted', async () => (await lab.status('release-2')) === 'released')
    expect(await lab.shares()).toEqual({ 'm@2': 100 })
    expect(await lab.champion()).toBe('m@2')
    expect(await lab.why('release-2')).toMatch(/canary at 50%: \d+ requests and 0 labels in [\d.]+ s without harm/)
    const trials = await lab.trials('release-2')
    expect(trials.map((t) => [t.kind, t.step, t.weightPercent, t.status])).toEqual([
      ['canary', 1, 10, 'ended'],
      ['canary', 2, 50, 'ended'],
    ])
    for (const { look } of trials) {
      expect(look!.elapsedMs).toBeGreaterThanOrEqual(3_000)
      expect(look!.tests.map((t) => t.test)).toEqual([
        'errors',
        'latency p50',
        'latency p99',
        'prediction shift',
        'loss',
      ])
    }
    const looks = await keptLooks(
      store.db,
      trials.map((t) => t.id),
      99,
    )
    expect(looks.map((l) => l.figures.reason)).toEqual(expect.arrayContaining(['soaking', 'passed']))
  })

  it('loses what it had once harm is proven, and its version is refused with the numbers', async () => {
    await tried()
    lab.behaviour.set('m@2', { errorRate: 1 })
    const beganMs = lab.clock.monotonicMs()
    await lab.until('rolled back', async () => (await lab.status('release-2')) === 'rolled-back')
    expect(lab.clock.monotonicMs() - beganMs).toBeLessThan(5_000)
    expect(await lab.shares()).toEqual({ 'm@1': 100 })
    expect(await lab.champion()).toBe('m@1')
    expect(await findVersion(store.db, 'm@2')).toMatchObject({
      disposition: 'refused',
      dispositionWhy: expect.stringMatching(
        /harm proven: errors: \d+ of \d+ failed .* e = .*, harm from 400/,
      ) as string,
    })
    await lab.until('its replicas have gone', async () => {
      const rows = await store.db.selectFrom('deployment').select('status').where('version_id', '=', 'm@2').execute()
      return rows[0]?.status === 'stopped'
    })
    expect((await store.db.selectFrom('freeze').selectAll().execute()).length).toBe(0)
  })

  it('is rolled back for a latency beyond the margin, and for predictions that are distributed otherwise', async () => {
    await tried(200)
    lab.behaviour.set('m@2', { latencyMs: 50 })
    await lab.until('rolled back', async () => (await lab.status('release-2')) === 'rolled-back')
    expect(await lab.why('release-2')).toContain('latency p50')
    lab.behaviour.clear()
    await lab.approved()
    await lab.until('m@3 is tried', async () => (await lab.status('release-3')) === 'canary')
    const [trial] = await lab.trials('release-3')
    lab.lake.figures.set(trial!.id, {
      challenger: { requests: 200, bins: [0, 0, 200, 0], losses: { n: 0, sum: 0, squares: 0 } },
      champion: { requests: 1_800, bins: [0, 1_800, 0, 0], losses: { n: 0, sum: 0, squares: 0 } },
    })
    await lab.until('rolled back', async () => (await lab.status('release-3')) === 'rolled-back')
    expect(await lab.why('release-3')).toContain('prediction shift: predictions are distributed otherwise')
  })

  it('is not promoted by time alone: without traffic it is held, and a person is asked', async () => {
    await tried(0)
    await lab.until('held', async () => (await lab.status('release-2')) === 'held')
    expect(await lab.why('release-2')).toContain('0 of 20 requests answered by m@2')
    expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
    expect(await alerts()).toMatchObject([{ status: 'firing', subject: 'release-2', version_id: 'm@2' }])
    await lab.pass(20)
    expect(await lab.status('release-2')).toBe('held')
  })

  it('goes on by itself where traffic comes while it is held', async () => {
    await tried(0)
    await lab.until('held', async () => (await lab.status('release-2')) === 'held')
    lab.rate.perSecond = 50
    await lab.until('at 50%', async () => (await lab.shares())['m@2'] === 50)
    await lab.until('promoted', async () => (await lab.status('release-2')) === 'released')
    expect(await alerts()).toMatchObject([{ status: 'resolved' }])
  })

  it('says so when traffic stops in the middle of a step, and is held at the end of its time', async () => {
    await tried(20)
    await lab.pass(4)
    lab.rate.perSecond = 0
    await lab.until('held', async () => (await lab.status('release-2')) === 'held')
    expect(await lab.why('release-2')).toMatch(/[1-9] of 20 requests answered by m@2$/)
  })

  it('that waits for labels which never come is held, having all other evidence', async () => {
    const careful = { ...model.release, canary: { ...canary, minLabels: 10 } }
    await lab.lab.apply({ m: { ...model, task: 'binary', label: 'y', release: careful } })
    await tried()
    await lab.until('held', async () => (await lab.status('release-2')) === 'held')
    expect(await lab.why('release-2')).toContain('0 of 10 labelled requests of m@2')
    expect(await lab.shares()).toEqual({ 'm@1': 50, 'm@2': 50 })
  })

  it('is not promoted while the lake can not be read, and says why', async () => {
    lab.lake.read = () => Promise.reject(new Error('the disk is gone'))
    await tried()
    await lab.until('held', async () => (await lab.status('release-2')) === 'held')
    expect(await lab.why('release-2')).toContain('the lake could not be read: the disk is gone')
    expect((await lab.trials('release-2')).map((t) => t.step)).toEqual([1])
  })

  it('keeps its share while the champion is down, and decides nothing against it', async () => {
    await tried()
    lab.down.add('m@1')
    await lab.pass(10)
    expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
    expect((await lab.trials('release-2'))[0]!.look).toMatchObject({ reason: 'championDown', decision: 'wait' })
    lab.down.clear()
    await lab.until('promoted', async () => (await lab.status('release-2')) === 'released')
  })

  it('with harm proven keeps the traffic only as long as there is no champion to take it', async () => {
    await tried()
    lab.down.add('m@1')
    await lab.until('seen', async () => (await lab.trials('release-2'))[0]!.look?.reason === 'championDown')
    const [trial] = await lab.trials('release-2')
    lab.lake.figures.set(trial!.id, {
      challenger: { requests: 200, bins: [0, 0, 200, 0], losses: { n: 0, sum: 0, squares: 0 } },
      champion: { requests: 1_800, bins: [0, 1_800, 0, 0], losses: { n: 0, sum: 0, squares: 0 } },
    })
    await lab.until('proven', async () => (await lab.trials('release-2'))[0]!.look?.reason === 'harmWithoutChampion')
    await lab.pass(20)
    expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
    await lab.restart()
    // Even if what it was proven by can not be seen any more.
    lab.lake.figures.clear()
    lab.down.clear()
    await lab.until('rolled back', async () => (await lab.status('release-2')) === 'rolled-back')
    expect(await lab.why('release-2')).toContain('harm proven: prediction shift')
    expect(await lab.shares()).toEqual({ 'm@1': 100 })
  })

  it('lets nobody through who is no worse than a champion that fails', async () => {
    lab.behaviour.set('m@1', { errorRate: 0.3 })
    lab.behaviour.set('m@2', { errorRate: 0.3 })
    await tried(100)
    await lab.until('held', async () => (await lab.status('release-2')) === 'held')
    expect(await lab.why('release-2')).toContain('being no worse than that lets nobody through')
  })

  it('that does not answer at all goes back after a minute, also without a request', async () => {
    await lab.lab.apply({ m: { ...model, release: { ...model.release, canary: { ...canary, maxTime: '1h' } } } })
    await tried(0)
    lab.down.add('m@2')
    lab.stepMs = 2_000
    await lab.until('rolled back', async () => (await lab.status('release-2')) === 'rolled-back')
    expect(await lab.why('release-2')).toContain('m@2 has had no ready replica for')
    expect(await lab.shares()).toEqual({ 'm@1': 100 })
  })

  describe('a shadow', () => {
    beforeEach(() => lab.lab.apply({ m: shadowing }))

    it('gets copies first, then its canary', async () => {
      await tried()
      expect(await lab.shares()).toEqual({ 'm@1': 100, 'm@2 copies': 50 })
      await lab.until('canary', async () => (await lab.status('release-2')) === 'canary')
      expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
      await lab.until('promoted', async () => (await lab.status('release-2')) === 'released')
      expect((await lab.trials('release-2')).map((t) => [t.kind, t.step])).toEqual([
        ['shadow', 0],
        ['canary', 1],
        ['canary', 2],
      ])
      const traffic = await store.db.selectFrom('traffic').selectAll().execute()
      const counted = await store.db.selectFrom('trial_count').selectAll().where('trial_id', '=', 'trial-1').execute()
      expect(counted.map((c) => c.version_id).toSorted()).toEqual(['m@1', 'm@2'])
      // Copies are no word about how available the endpoint was.
      const live = counted.find((c) => c.version_id === 'm@1')!.requests
      expect(traffic.filter((t) => t.version_id === 'm@1').reduce((n, t) => n + t.requests, 0)).toBeGreaterThanOrEqual(
        live,
      )
      const copies = counted.find((c) => c.version_id === 'm@2')!.requests
      const rows = await store.db.selectFrom('trial_count').selectAll().where('version_id', '=', 'm@2').execute()
      const after = rows.reduce((n, c) => n + c.requests, 0) - copies
      const answered = traffic.filter((t) => t.version_id === 'm@2').reduce((n, t) => n + t.requests, 0)
      expect(answered).toBeGreaterThanOrEqual(after)
      expect(answered).toBeLessThan(after + copies)
    })

    it('that shows harm fails without ever having had traffic', async () => {
      await tried()
      lab.behaviour.set('m@2', { errorRate: 0.9 })
      await lab.until('failed', async () => (await lab.status('release-2')) === 'failed')
      expect(await lab.shares()).toEqual({ 'm@1': 100 })
      expect(await findVersion(store.db, 'm@2')).toMatchObject({ disposition: 'refused' })
    })

    it('is held without traffic, and goes on to its canary when some comes', async () => {
      await tried(0)
      await lab.until('held', async () => (await lab.status('release-2')) === 'held')
      expect(await lab.shares()).toEqual({ 'm@1': 100, 'm@2 copies': 50 })
      lab.rate.perSecond = 50
      await lab.until('canary', async () => (await lab.status('release-2')) === 'canary')
    })
  })

  describe('a person', () => {
    const asked = { endpoint: 'm', why: 'enough seen', by: 'ann' }

    it('stops it: all traffic goes back', async () => {
      await tried()
      await store.transaction((tx) => stopTrial(tx, lab.clock, asked))
      expect(await lab.status('release-2')).toBe('cancelled')
      expect(await lab.shares()).toEqual({ 'm@1': 100 })
      expect(await findVersion(store.db, 'm@2')).toMatchObject({ disposition: 'spare' })
      await lab.pass(20)
      expect(await lab.statuses()).toEqual(['release-2 m@2 cancelled', 'release-1 m@1 released'])
      await expect(store.transaction((tx) => stopTrial(tx, lab.clock, asked))).rejects.toMatchObject({
        code: 'MR_NO_CANARY',
      })
    })

    it.each(['canary', 'held'])('promotes it while it is in status %s', async (status) => {
      await tried(status === 'held' ? 0 : 50)
      await lab.until(status, async () => (await lab.status('release-2')) === status)
      await store.transaction((tx) => promoteTrial(tx, lab.clock, asked))
      expect(await lab.status('release-2')).toBe('released')
      expect([await lab.shares(), await lab.champion()]).toEqual([{ 'm@2': 100 }, 'm@2'])
      expect((await alerts()).every((a) => a.status === 'resolved')).toBe(true)
      await lab.pass(20)
      expect(await lab.status('release-2')).toBe('released')
    })

    it('rejects the version: its canary ends', async () => {
      await tried()
      await lab.approve('m@2', 'rejected')
      await lab.pass(2)
      expect(await lab.status('release-2')).toBe('cancelled')
      expect(await lab.shares()).toEqual({ 'm@1': 100 })
      expect(await findVersion(store.db, 'm@2')).toMatchObject({ disposition: 'refused' })
    })

    it('rolls back: the canary gives its share back, also during another rollback', async () => {
      await tried()
      await lab.rollBackTo('m@1')
      await lab.pass(3)
      expect(await lab.statuses()).toEqual([
        'release-3 m@1 released',
        'release-2 m@2 cancelled',
        'release-1 m@1 released',
      ])
      expect([await lab.shares(), await lab.champion()]).toEqual([{ 'm@1': 100 }, 'm@1'])
      expect((await lab.trials('release-2')).map((t) => t.status)).toEqual(['ended'])
      await lab.approved()
      await lab.until('m@3 is tried', async () => (await lab.status('release-4')) === 'canary')
      await lab.rollBackTo('m@2')
      await lab.rollBackTo('m@1')
      await lab.until('settled', async () => (await lab.status('release-6')) === 'released')
      expect([await lab.shares(), await lab.champion()]).toEqual([{ 'm@1': 100 }, 'm@1'])
    })

    it('takes the model out of the configuration: its canary ends', async () => {
      await tried()
      await lab.lab.apply({ other: { train: 'true' } })
      await lab.pass(2)
      expect(await lab.status('release-2')).toBe('cancelled')
      expect(await lab.shares()).toEqual({ 'm@1': 100 })
      expect(await lab.why('release-2')).toContain('has left the configuration')
    })
  })

  it('is never superseded once it has begun: a newer version waits, and only the newest', async () => {
    await tried(0)
    await lab.approved()
    await lab.approved()
    await lab.pass(10)
    expect(await lab.statuses()).toEqual([
      'release-4 m@4 queued',
      'release-3 m@3 superseded',
      'release-2 m@2 canary',
      'release-1 m@1 released',
    ])
  })

  it('keeps the alert of the one that is held when another one ends in the queue', async () => {
    await tried(0)
    await lab.until('held', async () => (await lab.status('release-2')) === 'held')
    await lab.approved()
    await lab.approved()
    await lab.pass(5)
    expect(await lab.status('release-3')).toBe('superseded')
    expect(await alerts()).toMatchObject([{ subject: 'release-2', status: 'firing' }])
  })

  describe('a fallback version', () => {
    const fallback: ModelInput = { ...model, serving: { replicas: 1, fallback: { version: 'm@1' } } }

    it('is kept warm, also when it is neither live nor previous', async () => {
      const atOnce = { ...fallback, release: { strategy: 'immediate' as const } }
      await lab.lab.apply({ m: atOnce })
      for (const id of ['m@1', 'm@2', 'm@3']) {
        await lab.approved()
        await lab.until(`${id} is live`, async () => (await lab.champion()) === id)
      }
      await lab.pass(10)
      expect(await lab.deployments()).toEqual(['m@1 ready', 'm@2 ready', 'm@3 ready'])
      // No longer declared: it goes. Declared again: it is deployed anew.
      await lab.lab.apply({ m: { ...atOnce, serving: { replicas: 1 } } })
      await lab.until('gone', async () => (await lab.deployments())[0] === 'm@1 stopped')
      await lab.lab.apply({ m: atOnce })
      await lab.until('back', async () => (await lab.deployments()).includes('m@1 ready'))
      await lab.pass(5)
      expect(await lab.deployments()).toHaveLength(4)
      expect(await lab.shares()).toEqual({ 'm@3': 100 })
    })

    it('that does not exist, or must not serve, is not deployed', async () => {
      await lab.lab.apply({ m: fallback })
      await lab.lab.version('m')
      await lab.pass(5)
      expect(await store.db.selectFrom('deployment').selectAll().execute()).toEqual([])
    })
  })

  describe('time', () => {
    it('that passed before a restart counts, and what passed meanwhile', async () => {
      await tried()
      await lab.pass(2)
      lab.clock.advance(1_000)
      await lab.restart()
      await lab.pass(1)
      const [trial] = await lab.trials('release-2')
      expect(trial!.look!.elapsedMs).toBeGreaterThanOrEqual(2_000)
      expect(trial!.look!.elapsedMs).toBeLessThan(3_000)
      await lab.until('promoted', async () => (await lab.status('release-2')) === 'released', 8_000)
    })

    it.each([-HOUR_MS, HOUR_MS])('of a clock that is set by %i ms while it runs changes nothing', async (byMs) => {
      await tried()
      const beganMs = lab.clock.monotonicMs()
      lab.clock.set(byMs)
      await lab.until('at 50%', async () => (await lab.shares())['m@2'] === 50, 8_000)
      expect(lab.clock.monotonicMs() - beganMs).toBeGreaterThanOrEqual(2_000)
    })

    it.each([-HOUR_MS, HOUR_MS])('to be held after is not changed by a clock that is set by %i ms', async (byMs) => {
      await tried(0)
      const beganMs = lab.clock.monotonicMs()
      await lab.pass(4)
      lab.clock.set(byMs)
      await lab.until('held', async () => (await lab.status('release-2')) === 'held', 30_000)
      const tookMs = lab.clock.monotonicMs() - beganMs
      expect(tookMs).toBeGreaterThanOrEqual(10_000 - lab.stepMs)
      expect(tookMs).toBeLessThan(11_000)
      expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
    })

    it('of a clock that goes forward and back while it soaks promotes nobody sooner, nor later', async () => {
      await tried()
      const beganMs = lab.clock.monotonicMs()
      for (const byMs of [HOUR_MS, -2 * HOUR_MS, HOUR_MS]) {
        lab.clock.set(byMs)
        await lab.pass(2)
      }
      expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
      await lab.until('promoted', async () => (await lab.status('release-2')) === 'released', 20_000)
      expect(lab.clock.monotonicMs() - beganMs).toBeGreaterThanOrEqual(6_000 - lab.stepMs)
      expect(lab.clock.monotonicMs() - beganMs).toBeLessThan(9_000)
    })

    it('of a clock that was set forward before a restart soaks for nobody, but for a minute', async () => {
      const steps = [{ weight: 10, soak: '5m' }]
      const patient = { ...model.release, canary: { ...canary, steps, maxTime: '2h' } }
      await lab.lab.apply({ m: { ...model, release: patient } })
      lab.stepMs = 5_000
      await tried()
      const beganMs = lab.clock.monotonicMs()
      lab.clock.set(HOUR_MS)
      await lab.restart()
      await lab.pass(30)
      expect(await lab.shares()).toEqual({ 'm@1': 90, 'm@2': 10 })
      await lab.until('promoted', async () => (await lab.status('release-2')) === 'released', 300_000)
      expect(lab.clock.monotonicMs() - beganMs).toBeGreaterThanOrEqual(240_000 - lab.stepMs)
    })

    it('of a clock that was set back before a restart costs that time, and no more', async () => {
      await tried()
      await lab.pass(4)
      lab.clock.set(-86_400_000)
      await lab.restart()
      const beganMs = lab.clock.monotonicMs()
      await lab.until('at 50%', async () => (await lab.shares())['m@2'] === 50, 30_000)
      expect(lab.clock.monotonicMs() - beganMs).toBeLessThan(3_000)
    })
  })
})
