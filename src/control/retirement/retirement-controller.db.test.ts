import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { ModelInput } from '../../config/input.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { decidedVersion, promote, readyRelease } from '../../testing/flip-lab.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { raiseAlert, resolveAlert } from '../monitoring/alert-requests.ts'
import { setAlias } from '../registry/version-requests.ts'
import { modelFiles } from '../registry/model-files.ts'
import { findVersion } from '../registry/version-store.ts'
import { requestRelease } from '../release/release-requests.ts'
import { openReleases } from '../release/release-store.ts'
import { recordPins } from './pin-requests.ts'
import { SUSPECTED_DATA } from './reevaluation-controller.ts'
import { retireByHand } from './retirement-acts.ts'
import { RetirementController } from './retirement-controller.ts'
import { keepVersion, reviveVersion } from './retirement-requests.ts'
import { listRetirements, retirementOf } from './retirement-store.ts'

const DAY_MS = 24 * 3_600_000
const model: ModelInput = { train: 'true', retirement: { keepLast: 0, deleteAfter: '3d', pin: '2d' } }

describeEachStore('retirement', (open: () => Promise<Store>) => {
  let store: Store
  let lab: ControlLab
  let clock: FakeClock
  let controller: RetirementController
  let inFlight: { deploymentId: string; requests: number }[]
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    clock = fakeClock()
    lab = await controlLab(store, clock)
    await lab.apply({ m: model })
    inFlight = []
    controller = newController()
  })
  afterEach(() => lab.close())

  const newController = () =>
    new RetirementController(lab.context, { gateways: () => [{ inFlight }], readers: () => new Map(), unusedForMs: 0 })
  const statuses = async () =>
    Object.fromEntries((await listRetirements(store.db)).map((r) => [r.versionId, r.status] as const))
  const status = async (id: string) => (await retirementOf(store.db, id))?.status ?? 'kept'
  const looks = async (count: number) => {
    for (let i = 0; i < count; i++) await controller.look()
  }
  /** As the deployment controller does with what nobody holds. */
  const stopDeployment = (versionId: string) =>
    store.db.updateTable('deployment').set({ status: 'stopped' }).where('version_id', '=', versionId).execute()
  async function champions(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      clock.advance(1_000)
      await promote(lab, 'm', await decidedVersion(lab, 'm'))
    }
  }

  it('takes what was superseded out of service step by step, each with its reason, and deletes it in the end', async () => {
    await champions(3)
    await controller.look()
    expect(await statuses()).toEqual({ 'm@1': 'proposed' })
    await looks(3)
    expect(await status('m@1')).toBe('draining')
    await stopDeployment('m@1')
    await looks(3)
    expect(await status('m@1')).toBe('cold')
    clock.advanceCalendar(2.9 * DAY_MS)
    await looks(2)
    expect(await status('m@1')).toBe('cold')
    clock.advanceCalendar(0.2 * DAY_MS)
    const { modelDigest } = (await findVersion(store.db, 'm@1'))!
    await looks(2)
    expect(await status('m@1')).toBe('deleted')
    expect(await lab.context.artifacts.has(modelDigest)).toBe(false)
    const events = await store.db
      .selectFrom('event')
      .selectAll()
      .where('entity', '=', 'retirement')
      .orderBy('id')
      .execute()
    expect(events.map((e) => e.to_status)).toEqual(['proposed', 'draining', 'stopped', 'cold', 'deleting', 'deleted'])
    expect(events.every((e) => e.cause.startsWith('superseded: '))).toBe(true)
  })

  it('asks nobody any more for the approval of a version whose files are deleted', async () => {
    const waiting = await decidedVersion(lab, 'm', { disposition: 'awaiting-approval' })
    await champions(3)
    await looks(8)
    expect(await findVersion(store.db, waiting)).toMatchObject({ disposition: 'awaiting-approval' })
    clock.advanceCalendar(4 * DAY_MS)
    await looks(3)
    expect(await status(waiting)).toBe('deleted')
    expect(await findVersion(store.db, waiting)).toMatchObject({
      disposition: 'spare',
      dispositionWhy: 'nobody decided about it before its files were deleted',
    })
  })

  it('says of a deleted version what it was made of, and refuses it to every use', async () => {
    await champions(3)
    await stopDeployment('m@1')
    await looks(5)
    clock.advanceCalendar(4 * DAY_MS)
    await looks(2)
    expect(await findVersion(store.db, 'm@1')).toMatchObject({ lineage: { importedFrom: '/m.onnx' } })
    const release = { kind: 'release', endpoint: 'm', model: 'm', versionId: 'm@1', cause: 'x', by: 'ann' } as const
    const refused = { code: 'MR_VERSION_DELETED' }
    await expect(store.transaction((tx) => requestRelease(tx, clock, release))).rejects.toMatchObject(refused)
    const alias = { model: 'm', alias: 'stable', versionId: 'm@1', cause: 'x' }
    await expect(store.transaction((tx) => setAlias(tx, clock, alias))).rejects.toMatchObject(refused)
    const wish = { versionId: 'm@1', why: 'x', by: 'ann' }
    await expect(store.transaction((tx) => reviveVersion(tx, clock, wish))).rejects.toMatchObject(refused)
  })

  it('keeps the files that another version is made of', async () => {
    await promote(lab, 'm', await decidedVersion(lab, 'm', { content: 'the same' }))
    await promote(lab, 'm', await decidedVersion(lab, 'm', { content: 'the same' }))
    await champions(1)
    await stopDeployment('m@1')
    await looks(5)
    clock.advanceCalendar(4 * DAY_MS)
    await looks(2)
    expect(await status('m@1')).toBe('deleted')
    const { modelDigest } = (await findVersion(store.db, 'm@2'))!
    expect(await lab.context.artifacts.has(modelDigest)).toBe(true)
    const why = (await retirementOf(store.db, 'm@1'))!.why
    expect(why).toBe('0 files removed; 1 kept, as something else is made of them')
  })

  it('removes each file of a model in several, but the weights that another version has too', async () => {
    const { artifacts, dataDir } = lab.context
    await champions(3)
    const keep = async (id: string, graph: string) => {
      lab.write(`made/${id}/model.onnx`, graph)
      lab.write(`made/${id}/w.bin`, 'shared weights')
      const { digest } = await artifacts.putDir(join(lab.root, 'made', id), { ignore: [] })
      await store.db.updateTable('version').set({ model_digest: digest }).where('id', '=', id).execute()
      return digest
    }
    const first = await keep('m@1', 'one graph')
    const second = await keep('m@2', 'another graph')
    const files = (await artifacts.readTree(first)).entries.flatMap((entry) => (entry.type === 'file' ? [entry] : []))
    const laidOut = await modelFiles({ artifacts, dataDir }, first)
    await stopDeployment('m@1')
    await looks(5)
    clock.advanceCalendar(4 * DAY_MS)
    await looks(2)
    expect(await status('m@1')).toBe('deleted')
    const left = await Promise.all(files.map(async ({ path, digest }) => [path, await artifacts.has(digest)]))
    expect(Object.fromEntries(left)).toEqual({ 'model.onnx': false, 'w.bin': true })
    expect([await artifacts.has(first), await artifacts.has(second)]).toEqual([false, true])
    expect(existsSync(laidOut.path)).toBe(false)
    expect((await retirementOf(store.db, 'm@1'))!.why).toMatch(/^2 files removed; 1 kept, /)
  })

  it('keeps the files that lie in the code of a run that is under way, of whichever model', async () => {
    await lab.apply({ m: model, n: { train: 'true' } })
    await promote(lab, 'm', await decidedVersion(lab, 'm', { content: 'also in the project' }))
    await champions(2)
    await stopDeployment('m@1')
    await looks(5)
    lab.write('code/base.onnx', 'also in the project')
    const { digest: codeDigest } = await lab.context.artifacts.putDir(join(lab.root, 'code'), { ignore: [] })
    await lab.train('n', { codeDigest })
    clock.advanceCalendar(4 * DAY_MS)
    await looks(2)
    expect(await status('m@1')).toBe('deleted')
    expect(await lab.context.artifacts.has((await findVersion(store.db, 'm@1'))!.modelDigest)).toBe(true)
  })

  it('keeps the files that lie in the code of another version, which its server needs', async () => {
    await promote(lab, 'm', await decidedVersion(lab, 'm', { content: 'also in the code' }))
    lab.write('code/base.onnx', 'also in the code')
    const { digest: codeDigest } = await lab.context.artifacts.putDir(join(lab.root, 'code'), { ignore: [] })
    await promote(lab, 'm', await decidedVersion(lab, 'm', { codeDigest }))
    await champions(1)
    await stopDeployment('m@1')
    await looks(5)
    clock.advanceCalendar(4 * DAY_MS)
    await looks(2)
    expect(await status('m@1')).toBe('deleted')
    expect(await lab.context.artifacts.has((await findVersion(store.db, 'm@1'))!.modelDigest)).toBe(true)
  })

  it('waits with removing while a run of the model is under way, which may make the same files', async () => {
    await champions(3)
    await stopDeployment('m@1')
    await looks(5)
    clock.advanceCalendar(4 * DAY_MS)
    lab.write('train.sh', 'true')
    const run = await lab.train('m')
    await looks(3)
    expect(await status('m@1')).toBe('cold')
    await store.db.updateTable('run').set({ status: 'failed' }).where('id', '=', run).execute()
    await looks(3)
    expect(await status('m@1')).toBe('deleted')
  })

  it.each<[string, (id: string) => Promise<unknown>, string]>([
    [
      'an alias',
      (id) => transact((tx) => setAlias(tx, clock, { model: 'm', alias: 'stable', versionId: id, cause: 'x' })),
      'alias stable',
    ],
    [
      'a caller that names it',
      (id) =>
        transact((tx) =>
          recordPins(tx, clock, [
            {
              model: 'm',
              version: id.slice(2),
              origin: 'live',
              requests: 1,
              pinned: [{ caller: 'desk', requests: 1 }],
            },
          ]),
        ),
      'called by its number by desk',
    ],
    ['a release', (id) => readyRelease(lab, 'm', id), 'release-'],
    [
      'a person',
      (id) =>
        transact((tx) =>
          keepVersion(tx, clock, { versionId: id, model: 'm', why: 'audit', by: 'ann', untilCalendarMs: null }),
        ),
      'kept by ann: audit',
    ],
    [
      'requests in flight',
      () => {
        inFlight = [{ deploymentId: 'deployment-1', requests: 2 }]
        return Promise.resolve()
      },
      '2 requests in flight',
    ],
    [
      'being a fallback',
      (id) => lab.apply({ m: { ...model, serving: { fallback: { version: id } } } }),
      'fallback of m',
    ],
  ])('holds a version for %s', async (_what, use, says) => {
    await champions(3)
    await use('m@1')
    await looks(5)
    expect(['kept', 'proposed']).toContain(await status('m@1'))
    const row = (await controller.outlook(lab.context.project()!.project.models[0]!)).find(
      (o) => o.view.versionId === 'm@1',
    )
    expect(row!.view.heldBy.join('; ')).toContain(says)
    const wish = { versionId: 'm@1', model: 'm', why: 'x', by: 'ann', outside: controller.outside() }
    await expect(transact((tx) => retireByHand(tx, clock, wish))).rejects.toMatchObject({
      code: 'MR_VERSION_IN_USE',
      message: expect.stringContaining(says) as string,
    })
  })

  it('lets a pin expire by the calendar, and holds on where the calendar goes backwards', async () => {
    await champions(3)
    const call = {
      model: 'm',
      version: '1',
      origin: 'live',
      requests: 1,
      pinned: [{ caller: 'desk', requests: 1 }],
    } as const
    await transact((tx) => recordPins(tx, clock, [{ ...call, pinned: [...call.pinned] }]))
    clock.advanceCalendar(-10 * DAY_MS)
    await looks(2)
    expect(await status('m@1')).toBe('kept')
    clock.advanceCalendar(12.1 * DAY_MS)
    await looks(2)
    expect(await status('m@1')).toBe('draining')
  })

  it('keeps what a rollback has lost as long as its freeze lasts', async () => {
    await champions(2)
    await promote(lab, 'm', 'm@1', 'rollback')
    await looks(3)
    expect(await status('m@2')).toBe('kept')
    await store.db.updateTable('freeze').set({ status: 'ended' }).execute()
    await stopDeployment('m@2')
    await looks(5)
    expect(await status('m@2')).toBe('cold')
  })

  it('a release of a cold version revives it in the same transaction', async () => {
    await champions(3)
    await stopDeployment('m@1')
    await looks(5)
    expect(await status('m@1')).toBe('cold')
    await promote(lab, 'm', 'm@1')
    expect(await retirementOf(store.db, 'm@1')).toMatchObject({ status: 'kept', policy: 'use' })
    await looks(5)
    expect(await status('m@1')).toBe('kept')
  })

  it('retire and release of the same version at once end with one of both, never with a release of what is gone', async () => {
    for (let round = 0; round < 5; round++) {
      await champions(3)
      const [id] = (
        await store.db.selectFrom('version').select('id').orderBy('seq', 'desc').offset(2).limit(1).execute()
      ).map((r) => r.id)
      const wish = { versionId: id!, model: 'm', why: 'x', by: 'ann', outside: controller.outside() }
      const release = { kind: 'release', endpoint: 'm', model: 'm', versionId: id!, cause: 'x', by: 'ann' } as const
      await Promise.allSettled([
        transact((tx) => retireByHand(tx, clock, wish)).then(() => controller.look()),
        transact((tx) => requestRelease(tx, clock, release)),
        controller.look(),
      ])
      await looks(3)
      const isReleased = (await openReleases(store.db)).some((r) => r.versionId === id)
      expect(isReleased).toBe(true)
      expect(['kept', 'proposed']).toContain(await status(id!))
      await store.db.updateTable('release').set({ status: 'cancelled' }).where('status', '=', 'queued').execute()
    }
  })

  it('two looks at once do each step once', async () => {
    await champions(3)
    await stopDeployment('m@1')
    const other = newController()
    for (let i = 0; i < 5; i++) await Promise.all([controller.look(), other.look()])
    const events = await store.db
      .selectFrom('event')
      .select('to_status')
      .where('entity', '=', 'retirement')
      .orderBy('id')
      .execute()
    expect(events.map((e) => e.to_status)).toEqual(['proposed', 'draining', 'stopped', 'cold'])
  })

  it('retires nothing while the labelled data is suspected, and goes on afterwards', async () => {
    await champions(3)
    const alert = { model: 'm', source: SUSPECTED_DATA, subject: '' }
    await transact((tx) =>
      raiseAlert(tx, clock, {
        ...alert,
        endpoint: 'm',
        versionId: null,
        severity: 'warning',
        why: 'all failed together',
        figures: {},
        response: 'tell',
        runbook: null,
      }),
    )
    await looks(3)
    expect(await statuses()).toEqual({})
    await transact((tx) => resolveAlert(tx, clock, { ...alert, why: 'passed' }))
    await looks(2)
    expect(await status('m@1')).toBe('draining')
  })

  it('age alone proposes, and is carried out once a newer released version was measured no worse', async () => {
    await lab.apply({ m: { ...model, retirement: { keepLast: 0, maxAge: '5d', superseded: false, idle: false } } })
    await champions(3)
    clock.advanceCalendar(6 * DAY_MS)
    await looks(4)
    expect(await status('m@1')).toBe('proposed')
    const window = {
      model: 'm',
      window_ms: 0,
      rows: 900,
      floor: 0.7,
      verdict: 'passed',
      why: 'x',
      data_passed: true,
      at_ms: 0,
    }
    await store.db
      .insertInto('reevaluation')
      .values([
        { ...window, version_id: 'm@1', mean_loss: 0.6 },
        { ...window, version_id: 'm@3', mean_loss: 0.59 },
      ])
      .execute()
    await looks(2)
    expect(await retirementOf(store.db, 'm@1')).toMatchObject({
      status: 'draining',
      why: expect.stringContaining('m@3 is no worse: mean loss 0.5900 against 0.6000') as string,
    })
  })

  it('proposes what was below the floor in two consecutive windows, also while it is held', async () => {
    await lab.apply({
      m: { ...model, retirement: { keepLast: 0, superseded: false, idle: false, outdated: { window: '1d' } } },
    })
    await champions(2)
    const failed = {
      model: 'm',
      version_id: 'm@1',
      rows: 900,
      mean_loss: 0.8,
      floor: 0.7,
      verdict: 'failed',
      why: '0.8 > 0.7',
      data_passed: true,
      at_ms: 0,
    }
    await store.db
      .insertInto('reevaluation')
      .values({ ...failed, window_ms: 10 * DAY_MS })
      .execute()
    await looks(2)
    expect(await statuses()).toEqual({})
    await store.db
      .insertInto('reevaluation')
      .values({ ...failed, window_ms: 11 * DAY_MS })
      .execute()
    await looks(2)
    expect(await retirementOf(store.db, 'm@1')).toMatchObject({ status: 'proposed', policy: 'outdated' })
    expect((await retirementOf(store.db, 'm@1'))!.heldBy).toContain('alias previous (what a rollback goes to)')
  })

  it('removes folders of old runs a few at a time, and keeps the logs of the last that failed', async () => {
    lab.write('train.sh', 'true')
    const runs: string[] = []
    for (let i = 0; i < 4; i++) runs.push(await lab.train('m'))
    const folder = (id: string) => join(lab.dataDir, 'runs', id)
    for (const id of runs) {
      mkdirSync(folder(id), { recursive: true })
      writeFileSync(join(folder(id), 'log'), 'x')
      await store.db
        .updateTable('run')
        .set({ status: id === runs[0] ? 'failed' : 'succeeded' })
        .where('id', '=', id)
        .execute()
    }
    const limits = {
      runMaxAgeMs: 30 * DAY_MS,
      runsKept: 3,
      failedRunsKept: 1,
      eventMaxAgeMs: 365 * DAY_MS,
      runsPerSweep: 2,
      eventsPerSweep: 10,
      replicaMaxAgeMs: DAY_MS,
      environmentMaxAgeMs: DAY_MS,
      replicasPerSweep: 10,
    }
    const sources = { gateways: () => [], readers: () => new Map<string, string[]>(), sweepLimits: limits }
    const look = () => new RetirementController(lab.context, sources).look()
    await look()
    expect(runs.map((id) => existsSync(folder(id)))).toEqual([true, true, true, true])
    clock.advanceCalendar(31 * DAY_MS)
    await look()
    expect(runs.map((id) => existsSync(folder(id)))).toEqual([true, false, false, true])
    await look()
    expect(runs.map((id) => existsSync(folder(id)))).toEqual([true, false, false, false])
    const before = await store.db.selectFrom('event').select('id').execute()
    clock.advanceCalendar(365 * DAY_MS)
    await look()
    expect((await store.db.selectFrom('event').select('id').execute()).length).toBe(Math.max(0, before.length - 10))
  })

  it('forgets replicas that have gone long ago, and removes what one has left whose end was recorded', async () => {
    await champions(1)
    const { id: deployment_id } = await store.db.selectFrom('deployment').select('id').executeTakeFirstOrThrow()
    const now = clock.epochMs()
    const rows = [
      { status: 'gone', ended_at_ms: now - 31 * DAY_MS },
      { status: 'gone', ended_at_ms: now - 29 * DAY_MS },
      { status: 'running', ended_at_ms: null },
      { status: 'stopping', ended_at_ms: null },
    ]
    const made = await store.db
      .insertInto('replica')
      .values(rows.map((row, i) => ({ ...row, deployment_id, token: `t${i}`, created_at_ms: 0 })))
      .returning('id')
      .execute()
    const ids = made.map(({ id }) => id)
    const root = join(lab.dataDir, 'replicas')
    for (const id of [...ids, 'replica-999']) {
      mkdirSync(join(root, id, 'model'), { recursive: true })
      writeFileSync(join(root, `${id}.json`), '{}')
    }
    writeFileSync(join(root, 'somebody-else'), '')
    await controller.look()
    const left = await store.db.selectFrom('replica').select('id').orderBy('seq').execute()
    expect(left.map(({ id }) => id)).toEqual(ids.slice(1))
    const kept = ids.slice(2).flatMap((id) => [id, `${id}.json`])
    expect(readdirSync(root).toSorted()).toEqual([...kept, 'somebody-else'].toSorted())
  })

  it('removes environments that were long not used, but those of steps and servers that run', async () => {
    const names = ['a', 'b', 'c'].map((letter) => letter.repeat(32))
    const root = join(lab.dataDir, 'environments')
    for (const name of names) {
      mkdirSync(join(root, name), { recursive: true })
      writeFileSync(join(root, name, 'complete'), '')
      utimesSync(join(root, name, 'complete'), 1, 1)
    }
    const [ofStep, ofServer, ofNobody] = names as [string, string, string]
    lab.write('train.sh', 'true')
    const run = await lab.train('m')
    await store.db
      .insertInto('attempt')
      .values({
        run_id: run,
        step: 'train',
        number: 1,
        token: 't',
        status: 'running',
        dir: '/x',
        environment: JSON.stringify({
          kind: 'python',
          digest: `sha256:${ofStep}${'0'.repeat(32)}`,
          reproducible: true,
        }),
        started_at_ms: 0,
      })
      .execute()
    await champions(1)
    const { id: deployment_id } = await store.db.selectFrom('deployment').select('id').executeTakeFirstOrThrow()
    const { id } = await store.db
      .insertInto('replica')
      .values({ deployment_id, token: 't', status: 'running', created_at_ms: 0 })
      .returning('id')
      .executeTakeFirstOrThrow()
    mkdirSync(join(lab.dataDir, 'replicas'))
    const options = { server: { env: { VIRTUAL_ENV: join(root, ofServer, 'venv') } } }
    writeFileSync(join(lab.dataDir, 'replicas', `${id}.json`), JSON.stringify(options))
    await controller.look()
    expect(readdirSync(root).toSorted()).toEqual([ofStep, ofServer].toSorted())
    expect(existsSync(join(root, ofNobody))).toBe(false)
  })

  const transact = <T>(work: Parameters<Store['transaction']>[0]) => store.transaction(work) as Promise<T>
})
