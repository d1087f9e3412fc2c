import { mkdtempSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { missingForAutomation } from '../../../config/missing-for-automation.ts'
import { Observations } from '../../../control/release/observations.ts'
import { ReleaseController } from '../../../control/release/release-controller.ts'
import { RoutePublisher } from '../../../control/release/route-publisher.ts'
import { ArtifactCollector } from '../../../control/retirement/artifact-collector.ts'
import { SWEEP_LIMITS } from '../../../control/retirement/housekeeping.ts'
import { RetirementController } from '../../../control/retirement/retirement-controller.ts'
import { setAlias, setDisposition } from '../../../control/registry/version-requests.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import { inspectOnnx, openModel } from '../../../kernel/model/onnx-model.ts'
import type { Store } from '../../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../../testing/control-lab.ts'
import { fakeClock } from '../../../testing/fake-clock.ts'
import { logisticModel, writeModel } from '../../../testing/onnx-builder.ts'
import { testStore } from '../../../testing/test-store.ts'
import { connectControlPlane, type ControlApi } from '../../client/control-plane.ts'
import { createApiServer, type ApiServer } from '../server.ts'
import { createHandlers } from './index.ts'
import type { Services } from './services.ts'

/** The real handlers behind the real server, called by the real client over a unix socket. */
let store: Store
let lab: ControlLab
let server: ApiServer
let api: ControlApi
let releases: ReleaseController
let defects: unknown[]
let sockets: string

beforeAll(async () => {
  store = await testStore()
  sockets = mkdtempSync(join(tmpdir(), 'millrace-api-'))
})
afterAll(async () => {
  await store.close()
  rmSync(sockets, { recursive: true, force: true })
})

beforeEach(async () => {
  const clock = fakeClock()
  lab = await controlLab(store, clock)
  lab.write('train.sh', 'true')
  await lab.apply({ m: { train: 'sh train.sh', params: { rate: 0.1 } }, other: { train: 'true' } })
  const observations = new Observations(() => clock.monotonicMs())
  releases = new ReleaseController(lab.context, observations, missingForAutomation, () =>
    Promise.reject(new Error('nothing is tried here')),
  )
  const services: Services = {
    context: lab.context,
    observations,
    publisher: await RoutePublisher.open(store),
    triggers: { views: () => [] },
    runs: { heldBack: () => 'all places are taken' },
    retirements: new RetirementController(lab.context, { gateways: () => [], readers: () => new Map() }),
    artifacts: new ArtifactCollector(lab.context, SWEEP_LIMITS),
    ingest: { failing: null },
    reload: () => Promise.resolve(),
    async inspectModel({ modelPath: path }, features) {
      await inspectOnnx(path)
      const model = await openModel(path, { features })
      await model.close()
      return { signature: model.signature }
    },
    queryLake: () => Promise.reject(new Error('not asked for here')),
    reconciliation: () => Promise.reject(new Error('not asked for here')),
    processes: () => Promise.resolve([]),
    metrics: () => Promise.reject(new Error('not asked for here')),
    clock: {
      view: () => ({ calendarMs: 0, epochMs: 0, rehearsed: false, holds: [] }),
      set: () => Promise.resolve(),
      hold: () => Promise.resolve(),
      release: () => Promise.resolve(),
    },
    facts: { version: '0', startedAtMs: 0, apiUrl: null, freeBytes: () => 1, minFreeBytes: () => 0 },
  } as Services
  defects = []
  server = createApiServer({
    handlers: createHandlers(services),
    internal: (_request, response) => void response.end(),
    token: 'token',
    version: '0',
    onDefect: (error) => defects.push(error),
  })
  const socketPath = join(sockets, 'control.sock')
  await server.listenSocket(socketPath)
  api = connectControlPlane({ socketPath }).api
})
afterEach(async () => {
  await server.close(0)
  lab.close()
  if (defects.length > 0) throw new Error('A call failed unexpectedly', { cause: defects[0] })
})

const by = 'ann'
const why = 'a test'

describe('what is not there', () => {
  it.each<[string, () => Promise<unknown>, string, string]>([
    [
      'model',
      () => api.models.get({ model: 'none' }),
      'MR_MODEL_UNKNOWN',
      "There is no model 'none'; declared: m, other.",
    ],
    ['model to train', () => api.runs.start({ model: 'none', by }), 'MR_MODEL_UNKNOWN', "There is no model 'none'"],
    ['version', () => api.versions.get({ ref: 'm@9' }), 'MR_VERSION_NOT_FOUND', 'There is no version m@9'],
    ['alias', () => api.gates.get({ ref: 'm@champion' }), 'MR_VERSION_NOT_FOUND', 'There is no version m@champion'],
    ['run', () => api.runs.get({ id: 'run-9' }), 'MR_RUN_NOT_FOUND', 'There is no run run-9.'],
    ['run to cancel', () => api.runs.cancel({ id: 'run-9', by }), 'MR_RUN_NOT_FOUND', 'There is no run run-9.'],
    ['release', () => api.releases.get({ id: 'release-9' }), 'MR_RELEASE_NOT_FOUND', 'There is no release release-9.'],
    [
      'endpoint',
      () => api.releases.rollback({ endpoint: 'none', why, by }),
      'MR_ENDPOINT_UNKNOWN',
      "There is no endpoint 'none'; there are: m, other.",
    ],
  ])('is said: %s', async (_what, call, code, message) => {
    const error = await refused(call())
    expect(error).toMatchObject({ code, kind: 'not-found' })
    expect(error.message).toContain(message)
    expect(error.fix).toBeTruthy()
  })
})

it('says what was given where something else is needed', async () => {
  const error = await refused(api.gates.get({ ref: 'm' }))
  expect(error.message).toContain('a version is written model@number or model@alias, e.g. late-flight@7, not "m".')
})

describe('a run', () => {
  it('is queued with its parameters and says what holds it back', async () => {
    const run = await api.runs.start({ model: 'm', params: { rate: 0.3 }, why: 'new features', by })
    expect(run).toMatchObject({
      id: 'run-1',
      status: 'queued',
      why: 'all places are taken',
      cause: 'manual: new features (ann)',
    })
    expect(await api.runs.get({ id: 'run-1' })).toMatchObject({
      params: { rate: 0.3 },
      steps: [{ name: 'train', status: 'waiting' }],
    })
    expect(lab.woken).toContain('run')
  })

  it('is refused with a parameter that its model does not declare, as a backfill is', async () => {
    const backfill = { model: 'm', fromMs: 0, untilMs: 0, everyMs: 86_400_000, by }
    for (const start of [
      api.runs.start({ model: 'm', params: { rat: 0.3 }, by }),
      api.backfills.start({ ...backfill, params: { rat: 0.3 } }),
    ])
      expect(await refused(start)).toMatchObject({
        code: 'MR_PARAM',
        kind: 'invalid',
        message: "Model m has no parameter 'rat'; it has rate.",
      })
    expect(await api.runs.list({ model: 'm' })).toEqual([])
    expect(await api.runs.start({ model: 'other', params: { depth: 3 }, by })).toMatchObject({ status: 'queued' })
  })

  it('is refused as of a time that is ahead of the calendar', async () => {
    const calendarMs = lab.context.clock.calendarMs()
    expect(await refused(api.runs.start({ model: 'm', asOfMs: calendarMs + 120_000, by }))).toMatchObject({
      code: 'MR_AS_OF_AHEAD',
      kind: 'invalid',
    })
    expect(await api.runs.start({ model: 'm', asOfMs: calendarMs - 120_000, by })).toMatchObject({ status: 'queued' })
  })

  it('is not started while the disk is low', async () => {
    lab.disk.low = true
    expect(await refused(api.runs.start({ model: 'm', by }))).toMatchObject({ code: 'MR_DISK_LOW', retryable: true })
  })

  it('can’t be cancelled once it has ended, and can twice before', async () => {
    await api.runs.start({ model: 'm', by })
    for (let i = 0; i < 2; i++)
      expect(await api.runs.cancel({ id: 'run-1', why, by })).toMatchObject({ cancelWhy: 'ann: a test' })
    await store.db.updateTable('run').set({ status: 'failed' }).execute()
    expect(await refused(api.runs.cancel({ id: 'run-1', by }))).toMatchObject({
      code: 'MR_RUN_ENDED',
      kind: 'conflict',
    })
  })

  it('of a folder that has gone is refused with the next move', async () => {
    rmSync(lab.root, { recursive: true })
    expect(await refused(api.runs.start({ model: 'm', by }))).toMatchObject({
      code: 'MR_CODE_UNREADABLE',
      kind: 'invalid',
    })
  })
})

describe('an import', () => {
  it('brings in a model that is released as the champion once its preflight has passed', async () => {
    const path = writeModel(join(lab.root, 'model.onnx'), logisticModel({ weights: [1, -2] }))
    expect(await api.versions.import({ model: 'm', from: { path }, as: 'champion', why, by })).toMatchObject({
      ref: 'm@1',
      approval: { decision: 'approved', by },
    })
    await releases.look()
    expect(await api.releases.list({})).toMatchObject([{ version: 'm@1', status: 'deploying' }])
  })

  it('of what was kept long ago holds it until the version is recorded', async () => {
    const path = writeModel(join(lab.root, 'model.onnx'), logisticModel({ weights: [1, -2] }))
    const { artifacts } = lab.context
    const { digest } = await artifacts.putFile(path)
    utimesSync(await artifacts.verifiedPath(digest), 1, 1)
    await api.versions.import({ model: 'm', from: { digest }, as: null, why, by })
    expect(await artifacts.remove(digest, { unusedForMs: 600_000 })).toBe('recent')
    const unknown = { digest: `sha256:${'0'.repeat(64)}` }
    const error = await refused(api.versions.import({ model: 'm', from: unknown, as: null, why, by }))
    expect(error.code).toBe('MR_ARTIFACT_NOT_FOUND')
  })

  it.each<[string, () => string, string]>([
    ['corrupt', () => lab.write('bad.onnx', 'no model at all'), 'MR_MODEL_'],
    ['empty', () => lab.write('empty.onnx', ''), 'MR_MODEL_EMPTY'],
    ['missing', () => join(lab.root, 'none.onnx'), 'MR_IMPORT_UNREADABLE'],
    ['a folder', () => lab.root, 'MR_IMPORT_UNREADABLE'],
  ])('of a file that is %s makes no version', async (_what, path, code) => {
    const error = await refused(api.versions.import({ model: 'm', from: { path: path() }, as: null, why, by }))
    expect(error.code).toContain(code)
    expect(await api.versions.list({ model: 'm' })).toEqual([])
  })
})

describe('a person’s word', () => {
  it('lets a version through, and its release is asked for once', async () => {
    await lab.version('m')
    await releases.look()
    expect(await api.gates.approve({ ref: 'm@1', why, by })).toMatchObject({
      approval: { decision: 'approved', by: 'ann', why: 'a test' },
    })
    await releases.look()
    await api.gates.approve({ ref: 'm@1', why, by })
    await releases.look()
    await api.releases.create({ ref: 'm@1', why, by })
    expect(await api.releases.list({})).toHaveLength(1)
  })

  it('stands over the verdict of the gate, wherever the version is shown', async () => {
    await lab.version('m')
    await store.db.updateTable('version').set({ status: 'failed' }).execute()
    expect(await api.versions.get({ ref: 'm@1' })).toMatchObject({ status: 'failed', standing: 'failed' })
    expect(await api.gates.approve({ ref: 'm@1', why, by })).toMatchObject({ status: 'failed', standing: 'approved' })
    const approved = { standing: 'approved', approval: { decision: 'approved', by: 'ann' } }
    expect(await api.versions.get({ ref: 'm@1' })).toMatchObject(approved)
    expect(await api.versions.list({ model: 'm' })).toMatchObject([approved])
    expect((await api.models.get({ model: 'm' })).newest).toMatchObject(approved)
    await api.gates.reject({ ref: 'm@1', why, by })
    expect(await api.versions.get({ ref: 'm@1' })).toMatchObject({ status: 'failed', standing: 'rejected' })
  })

  it('can’t be against what is live, nor for what was never opened', async () => {
    await lab.version('m')
    await store.transaction((tx) =>
      setAlias(tx, lab.context.clock, { model: 'm', alias: 'champion', versionId: 'm@1', cause: 'test' }),
    )
    expect(await refused(api.gates.reject({ ref: 'm@champion', why, by }))).toMatchObject({
      code: 'MR_VERSION_IS_LIVE',
      kind: 'conflict',
    })
    expect(await refused(api.releases.create({ ref: 'm@1', why, by }))).toMatchObject({ kind: 'conflict' })
    await lab.version('m')
    await store.db.updateTable('version').set({ signature: null }).where('id', '=', 'm@2').execute()
    expect(await refused(api.gates.approve({ ref: 'm@2', why, by }))).toMatchObject({ code: 'MR_VERSION_NOT_OPENED' })
  })

  it('is needed to release what has not passed', async () => {
    await lab.version('m')
    expect(await refused(api.releases.create({ ref: 'm@1', why, by }))).toMatchObject({ code: 'MR_GATE_NOT_PASSED' })
  })
})

describe('a rollback', () => {
  beforeEach(async () => {
    for (const id of [await lab.version('m'), await lab.version('m')])
      await store.transaction((tx) =>
        setAlias(tx, lab.context.clock, { model: 'm', alias: 'champion', versionId: id, cause: 'test' }),
      )
    await lab.version('m')
    await lab.version('other')
  })

  it('goes to what has served before, without a person’s approval of it', async () => {
    expect(await api.releases.rollback({ endpoint: 'm', to: 'm@1', why, by })).toMatchObject({
      kind: 'rollback',
      version: 'm@1',
    })
  })

  it('goes one step back unless told, and is refused where nothing was champion before', async () => {
    expect(await api.releases.rollback({ endpoint: 'm', why, by })).toMatchObject({ version: 'm@1' })
    await store.transaction((tx) =>
      setAlias(tx, lab.context.clock, { model: 'other', alias: 'champion', versionId: 'other@1', cause: 'test' }),
    )
    expect((await refused(api.releases.rollback({ endpoint: 'other', why, by }))).code).toBe('MR_NO_PREVIOUS')
  })

  it.each([
    ['m@2', 'MR_ALREADY_LIVE'],
    ['m@3', 'MR_GATE_NOT_PASSED'],
    ['other@1', 'MR_OTHER_MODEL'],
  ])('to %s is refused with %s', async (to, code) => {
    expect((await refused(api.releases.rollback({ endpoint: 'm', to, why, by }))).code).toBe(code)
  })

  it('is possible also for a model that has left the configuration', async () => {
    await lab.apply({ other: { train: 'true' } })
    expect(await api.releases.rollback({ endpoint: 'm', to: 'm@1', why, by })).toMatchObject({ version: 'm@1' })
  })
})

describe('a freeze', () => {
  it('by a person shows what it is and how it ends, and ends once', async () => {
    expect(await api.freezes.create({ model: 'm', why, by })).toMatchObject({
      id: 'freeze-1',
      kind: 'person',
      status: 'active',
      unfreezes: "'millrace unfreeze m'",
    })
    const again = await api.freezes.create({ model: 'm', why: 'another', by })
    expect(again).toMatchObject({ id: 'freeze-1', why })
    expect((await api.models.get({ model: 'm' })).blockers).toContainEqual(expect.objectContaining({ what: 'frozen' }))
    expect(await api.freezes.end({ model: 'm', why: 'over', by })).toMatchObject([{ id: 'freeze-1', status: 'ended' }])
    expect((await refused(api.freezes.end({ model: 'm', why: 'over', by }))).code).toBe('MR_NOT_FROZEN')
  })
})

describe('an endpoint', () => {
  it('is disabled before anything was released to it, and enabled again', async () => {
    expect(await api.endpoints.disable({ endpoint: 'm', why: 'a fault', by })).toMatchObject({
      state: 'disabled',
      why: 'disabled by ann: a fault',
    })
    expect(await api.endpoints.enable({ endpoint: 'm', by })).toMatchObject({ state: 'empty' })
    expect((await refused(api.endpoints.enable({ endpoint: 'm', by }))).code).toBe('MR_NOT_DISABLED')
    expect((await refused(api.endpoints.disable({ endpoint: 'none', why, by }))).code).toBe('MR_ENDPOINT_UNKNOWN')
  })
})

describe('retirement', () => {
  beforeEach(async () => {
    for (const id of [await lab.version('m'), await lab.version('m')])
      await store.transaction((tx) => setDisposition(tx, lab.context.clock, id, 'spare', 'test'))
    await store.transaction((tx) =>
      setAlias(tx, lab.context.clock, { model: 'm', alias: 'champion', versionId: 'm@2', cause: 'test' }),
    )
  })

  it('of a version that nothing holds is proposed, and taken back by revive', async () => {
    expect(await api.retirement.retire({ ref: 'm@1', why, by, dryRun: true })).toMatchObject({ status: 'kept' })
    expect(await api.retirement.retire({ ref: 'm@1', why, by })).toMatchObject({ status: 'proposed', next: 'drain' })
    expect((await refused(api.retirement.retire({ ref: 'm@1', why, by }))).code).toBe('MR_RETIREMENT_STATE')
    expect(await api.retirement.revive({ ref: 'm@1', why, by })).toMatchObject({ status: 'kept' })
    expect((await refused(api.retirement.revive({ ref: 'm@1', why, by }))).code).toBe('MR_RETIREMENT_STATE')
  })

  it('of a version in use is refused with all that holds it, also when only asked', async () => {
    for (const dryRun of [true, false]) {
      const error = await refused(api.retirement.retire({ ref: 'm@2', why, by, dryRun }))
      expect(error).toMatchObject({ code: 'MR_VERSION_IN_USE' })
      expect(error.message).toContain('alias champion')
    }
  })

  it('is kept off by a person until a time, and shown with all that holds a version', async () => {
    const row = await api.retirement.keep({ ref: 'm@1', why: 'audit', untilMs: null, by })
    expect(row).toMatchObject({ status: 'kept', heldBy: ['kept by ann: audit'] })
    expect((await refused(api.retirement.retire({ ref: 'm@1', why, by }))).code).toBe('MR_VERSION_IN_USE')
    await api.retirement.keep({ ref: 'm@1', why: 'over', untilMs: lab.context.clock.calendarMs(), by })
    expect(await api.retirement.retire({ ref: 'm@1', why, by })).toMatchObject({ status: 'proposed' })
    expect((await api.retirement.list({ model: 'm' })).map((r) => [r.version, r.status])).toEqual([
      ['m@1', 'proposed'],
      ['m@2', 'kept'],
    ])
  })
})

async function refused(call: Promise<unknown>): Promise<MillraceError> {
  const error: unknown = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(MillraceError)
  return error as MillraceError
}

describe('events', () => {
  it('are the newest, oldest first, unless it is said after which', async () => {
    await api.runs.start({ model: 'm', why: 'by hand', by })
    await api.runs.start({ model: 'other', why: 'by hand', by })
    const all = await api.events.list({ afterSeq: 0 })
    expect(all.length).toBeGreaterThan(2)
    expect(await api.events.list({ limit: 2 })).toEqual(all.slice(-2))
    expect(await api.events.list({ afterSeq: 0, limit: 2 })).toEqual(all.slice(0, 2))
    const runs = all.filter(({ entity }) => entity === 'run')
    expect(await api.events.list({ entity: 'run', limit: 1 })).toEqual(runs.slice(-1))
  })
})
