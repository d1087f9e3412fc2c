import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelInput } from '../../config/input.ts'
import type { PredictionRecord } from '../../kernel/contract/prediction.ts'
import { runIngestJob } from '../../kernel/lake/ingest.ts'
import { FLIGHTS, label, prediction, schema, writeSegment } from '../../kernel/lake/lake-builders.ts'
import { newestNumber } from '../../kernel/lake/manifest.ts'
import { tryLock } from '../../kernel/lake/process-lock.ts'
import { lockPath } from '../../kernel/lake/spool-files.ts'
import type { SegmentRecord } from '../../kernel/lake/spool-format.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { testStore } from '../../testing/test-store.ts'
import { categoricalProfile, numericProfile, type BaselineProfile } from '../evaluation/baseline-profile.ts'
import { setAlias } from '../registry/version-requests.ts'
import { activeFreezes } from '../release/freeze-store.ts'
import { openReleases } from '../release/release-store.ts'
import { listAlerts } from './alert-store.ts'
import { STUCK_MS } from './arrival.ts'
import { liveBuckets, observedManifest, recordObservation } from './histogram-store.ts'
import { monitoredUntil } from './monitored-until.ts'
import { MonitoringController } from './monitoring-controller.ts'
import { monitorStates } from './monitor-store.ts'
import { DAY_MS, HOUR_MS, type ObserveInput } from './observation.ts'
import { runObserveJob } from './observe-job.ts'

const DAY_0 = Date.UTC(2001, 0, 2)
const MODEL = 'late-flight'

let store: Store
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())

let lab: ControlLab
let clock: FakeClock
let controller: MonitoringController
let observed: ObserveInput[]
/** Stands in for the job; tests make it fail. */
let trouble: Error | null
let sequence: number

beforeEach(async () => {
  clock = fakeClock(DAY_0)
  lab = await controlLab(store, clock)
  observed = []
  trouble = null
  sequence = 0
  controller = newController()
})
afterEach(() => lab.close())

const lakeDir = () => join(lab.dataDir, 'lake')
const spoolDir = () => join(lab.dataDir, 'spool')
const ingest = async () =>
  void (await runIngestJob({
    spoolDir: spoolDir(),
    lakeDir: lakeDir(),
    observedManifest: await observedManifest(store.db),
  }))

function newController(): MonitoringController {
  return new MonitoringController(lab.context, {
    observe(input) {
      observed.push(input)
      return trouble === null ? runObserveJob(input) : Promise.reject(trouble)
    },
    flushLake: ingest,
  })
}

const config = (monitors: ModelInput['monitors'] = {}): Record<string, ModelInput> => ({
  [MODEL]: { train: 'true', task: 'binary', label: 'late', holdout: 'holdout.csv', monitors },
})

/** Distances from 0 to 999, each once; predictions of distance ÷ 1000. */
const usual = Array.from({ length: 1_000 }, (_, i) => i)
const PROFILE: BaselineProfile = {
  format: 1,
  source: 'holdout',
  rows: 1_000,
  profiledRows: 1_000,
  columns: [
    numericProfile('distance', Float64Array.from(usual)),
    categoricalProfile(
      'origin_airport',
      Array.from({ length: 1_000 }, (_, i) => `A${i % 20}`),
    ),
  ],
  prediction: numericProfile(
    'late',
    Float64Array.from(usual, (distance) => distance / 1_000),
  ),
}

/** A version with a baseline profile and an evaluation, as champion. */
async function champion({ profile = true, evaluated = 0.6 }: { profile?: boolean; evaluated?: number | null } = {}) {
  const id = await lab.version(MODEL)
  const { digest } = await lab.context.artifacts.putBytes(Buffer.from(JSON.stringify(PROFILE)))
  await store.db
    .updateTable('version')
    .set({
      signature: JSON.stringify(FLIGHTS),
      score_output: JSON.stringify({ output: 'late', index: null }),
      profile_digest: profile ? digest : null,
    })
    .where('id', '=', id)
    .execute()
  if (evaluated !== null) {
    const figures = JSON.stringify({ meanLoss: evaluated, rows: 5_000, lossName: 'logLoss' })
    const values = { version_id: id, status: 'done', attempts: 1, figures, created_at_ms: 0 }
    await store.db.insertInto('evaluation').values(values).execute()
  }
  await store.transaction((tx) =>
    setAlias(tx, clock, { model: MODEL, alias: 'champion', versionId: id, cause: 'test' }),
  )
  return id
}

/** One batch of rows with the same airports as the profile, in the lake. */
async function serve(facts: Partial<PredictionRecord>, distances: number[], labelled: 'labelled' | '' = '') {
  const request = Buffer.from(
    JSON.stringify({
      inputs: [
        { name: 'distance', datatype: 'FP32', shape: [distances.length, 1], data: distances },
        {
          name: 'origin_airport',
          datatype: 'BYTES',
          shape: [distances.length, 1],
          data: distances.map((_, i) => `A${i % 20}`),
        },
      ],
    }),
  )
  const made = prediction({ request, ...facts }, distances)
  const labels =
    labelled === '' ? [] : distances.map((_, row) => label(made.predictionId, row % 2, { row, atMs: made.atMs }))
  await send([made, ...labels])
}

async function send(records: SegmentRecord[]): Promise<void> {
  await writeSegment(spoolDir(), [schema(), schema({ version: '2' }), ...records], { sequence: ++sequence })
  await ingest()
}

/** Moves the calendar, and lets everything that hangs on it happen. */
async function goTo(calendarMs: number): Promise<void> {
  clock.advanceCalendar(calendarMs - clock.calendarMs())
  for (let turn = 0; turn < 2; turn++) {
    await controller.look()
    await controller.idle()
    clock.advance(1_000)
  }
}

const far = usual.map((distance) => distance * 1.6)
const alertOf = async (source: string, subject = '') =>
  (await listAlerts(store.db, { all: true })).find((a) => a.source === source && a.subject === subject)
const stateOf = async (monitor: string, subject = '') =>
  (await monitorStates(store.db, MODEL)).find((s) => s.monitor === monitor && s.subject === subject)

describe('monitoring a champion', () => {
  it('says nothing of a quiet day, and how far it has come', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, usual)
    await goTo(DAY_0 + 10 * HOUR_MS)
    expect(await stateOf('drift', 'distance')).toBeUndefined()
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect(await listAlerts(store.db, { all: true })).toEqual([])
    expect(await stateOf('drift', 'distance')).toMatchObject({ last: { verdict: 'ok', n: 1_000, limit: 0.25 } })
    expect(await stateOf('drift')).toMatchObject({ judgedUntilMs: DAY_0 + DAY_MS, last: { verdict: 'ok' } })
    const model = lab.context.project()!.project.models[0]!
    expect(await monitoredUntil(store.db, model)).toEqual({ dataMs: DAY_0 + DAY_MS, labelsMs: DAY_0 })
  })

  it('raises drift at the second bad day and clears it at the second good one', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    const statuses: (string | undefined)[] = []
    for (const [day, distances] of [far, far, usual, usual].entries()) {
      await serve({ atMs: DAY_0 + day * DAY_MS + HOUR_MS }, distances)
      await goTo(DAY_0 + (day + 1) * DAY_MS + 1_000)
      statuses.push((await alertOf('drift', 'distance'))?.status)
    }
    expect(statuses).toEqual(['pending', 'firing', 'firing', 'resolved'])
    const alert = await alertOf('drift', 'distance')
    expect(alert).toMatchObject({ versionId: `${MODEL}@1`, severity: 'warning', response: 'tell' })
    expect(alert!.why).toMatch(/PSI 0\.\d+ of distance beyond chance exceeds 0\.25/)
    expect(await alertOf('drift', 'origin_airport')).toBeUndefined()
  })

  it('counts on through a restart at any moment, and judges no window twice', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    for (let day = 0; day < 2; day++) {
      await serve({ atMs: DAY_0 + day * DAY_MS + HOUR_MS }, far.slice(0, 500))
      controller = newController()
      await serve({ atMs: DAY_0 + day * DAY_MS + 2 * HOUR_MS }, far.slice(500))
      await goTo(DAY_0 + (day + 1) * DAY_MS + 1_000)
      controller = newController()
      await goTo(DAY_0 + (day + 1) * DAY_MS + 2_000)
    }
    expect(await stateOf('drift', 'distance')).toMatchObject({ bad: 2, good: 0, judgedUntilMs: DAY_0 + 2 * DAY_MS })
    const buckets = await liveBuckets(store.db, `${MODEL}@1`, DAY_0, DAY_0 + 2 * DAY_MS)
    expect(buckets.map((bucket) => bucket.rows)).toEqual([500, 500, 500, 500])
  })

  it('judges every window of a jump in order, and none again when the calendar goes back', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    for (const day of [0, 1, 2]) await serve({ atMs: DAY_0 + day * DAY_MS + HOUR_MS }, far)
    await goTo(DAY_0 + 3 * DAY_MS + 1_000)
    expect(await stateOf('drift', 'distance')).toMatchObject({ bad: 3 })
    await goTo(DAY_0 + DAY_MS)
    await goTo(DAY_0 + 3 * DAY_MS)
    expect(await stateOf('drift', 'distance')).toMatchObject({ bad: 3, judgedUntilMs: DAY_0 + 3 * DAY_MS })
    expect(await listAlerts(store.db, { all: true })).toHaveLength(2)
  })

  it('waits for rows that are still in the spool, and brings them into the lake itself', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    // lake-builders begin segments at noon of that day.
    clock.advance(12 * HOUR_MS)
    const records = [schema(), prediction({ atMs: DAY_0 + HOUR_MS }, far)]
    const path = await writeSegment(spoolDir(), records, { sequence: 1, open: true })
    // The gateway that writes it is alive: else the ingest would seal it.
    const alive = tryLock(lockPath(spoolDir(), 'gateway-1'))!
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect((await stateOf('drift'))?.judgedUntilMs).toBe(DAY_0)
    renameSync(path, path.replace('.open', '.seg'))
    alive.release()
    await goTo(DAY_0 + DAY_MS + 2_000)
    await goTo(DAY_0 + DAY_MS + 3_000)
    expect(await stateOf('drift', 'distance')).toMatchObject({ last: { verdict: 'bad', n: 1_000 } })
  })

  it('does not wait for ever for a segment that nobody seals', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    clock.advance(12 * HOUR_MS)
    await writeSegment(spoolDir(), [schema()], { sequence: 1, open: true })
    const alive = tryLock(lockPath(spoolDir(), 'gateway-1'))!
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect((await stateOf('drift'))?.judgedUntilMs).toBe(DAY_0)
    clock.advance(STUCK_MS)
    await goTo(DAY_0 + DAY_MS + 2_000 + STUCK_MS)
    expect((await stateOf('drift'))?.judgedUntilMs).toBe(DAY_0 + DAY_MS)
    alive.release()
  })

  it('measures quality on labels that had their time, and not before', async () => {
    await lab.apply(config({ quality: { worseBy: 0.05, raiseAfter: 1 }, predictedActual: false }))
    await champion({ evaluated: 0.3 })
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, usual, 'labelled')
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect(await stateOf('quality')).toMatchObject({ last: null })
    await goTo(DAY_0 + 2 * DAY_MS + 1_000)
    const alert = await alertOf('quality')
    expect(alert).toMatchObject({ status: 'firing', figures: { labels: 1_000, predictions: 1_000 } })
    expect(alert!.why).toMatch(/mean logLoss 0\.99\d* against 0\.3 of the evaluation/)
  })

  it('says that labels never came, and keeps its counts', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, usual)
    await goTo(DAY_0 + 2 * DAY_MS + 1_000)
    for (const monitor of ['quality', 'predictedActual'])
      expect((await stateOf(monitor))?.last).toMatchObject({
        verdict: 'insufficient',
        why: 'no labels for 1,000 predictions within 1 d',
      })
  })

  it('starts fresh with a new champion, and ends the alarms of the one before', async () => {
    await lab.apply(config({ drift: { raiseAfter: 2 } }))
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    for (const day of [0, 1]) await serve({ atMs: DAY_0 + day * DAY_MS + HOUR_MS }, far)
    await goTo(DAY_0 + 2 * DAY_MS + HOUR_MS)
    expect(await alertOf('drift', 'distance')).toMatchObject({ status: 'firing' })
    const second = await champion()
    await goTo(DAY_0 + 2 * DAY_MS + 2 * HOUR_MS)
    expect(await alertOf('drift', 'distance')).toMatchObject({ status: 'resolved' })
    await serve({ atMs: DAY_0 + 2 * DAY_MS + 3 * HOUR_MS, version: '2' }, far)
    await goTo(DAY_0 + 3 * DAY_MS + 1_000)
    expect(await stateOf('drift', 'distance')).toMatchObject({ bad: 1, last: { versionId: second, n: 1_000 } })
    expect(await alertOf('drift', 'distance')).toMatchObject({ status: 'pending', versionId: second })
  })

  it('has a defined verdict where there is no profile, and where there were no requests', async () => {
    await lab.apply(config())
    await champion({ profile: false, evaluated: null })
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, usual, 'labelled')
    await goTo(DAY_0 + 2 * DAY_MS + 1_000)
    expect((await stateOf('drift'))?.last).toMatchObject({
      verdict: 'insufficient',
      why: expect.stringMatching(/no baseline profile/),
    })
    expect((await stateOf('predictionDrift'))?.last?.why).toMatch(/no baseline profile/)
    expect((await stateOf('quality'))?.last?.why).toMatch(/no evaluation to compare/)
    expect(await listAlerts(store.db, { all: true })).toEqual([])
  })

  it('notices silence, too few requests and age', async () => {
    await lab.apply(
      config({ silence: { after: '6h' }, traffic: { min: 10, raiseAfter: 1 }, modelAge: { after: '2d' } }),
    )
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, usual)
    await goTo(DAY_0 + 5 * HOUR_MS)
    expect(await alertOf('silence')).toBeUndefined()
    await goTo(DAY_0 + 8 * HOUR_MS)
    expect(await alertOf('silence')).toMatchObject({
      status: 'firing',
      why: expect.stringMatching(/no request for 7 h/),
    })
    await serve({ atMs: DAY_0 + 8 * HOUR_MS }, usual)
    await goTo(DAY_0 + 8 * HOUR_MS + 10_000)
    expect(await alertOf('silence')).toMatchObject({ status: 'resolved' })
    await goTo(DAY_0 + 2 * DAY_MS + 10_000)
    expect(await alertOf('traffic')).toMatchObject({
      status: 'firing',
      why: expect.stringMatching(/0 requests in the window, at least 10/),
    })
    expect(await alertOf('modelAge')).toMatchObject({
      status: 'firing',
      why: expect.stringMatching(/was made 2 d ago/),
    })
  })

  it('goes on after its job has failed, without losing or doubling a row', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, usual)
    trouble = new Error('out of memory')
    await goTo(DAY_0 + DAY_MS)
    expect((await stateOf('drift'))?.judgedUntilMs).toBe(DAY_0)
    trouble = null
    clock.advance(60_000)
    await goTo(DAY_0 + DAY_MS + 70_000)
    expect(await stateOf('drift', 'distance')).toMatchObject({ last: { verdict: 'ok', n: 1_000 } })
  })

  it('leaves out rows that can not be counted for long, and goes on with the next', async () => {
    await lab.apply(config())
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, usual.slice(0, 100))
    trouble = new Error('a file is damaged')
    for (let tries = 0; tries < 12; tries++) {
      clock.advance(60_000)
      await controller.look()
      await controller.idle()
    }
    expect(await observedManifest(store.db)).toBe(await newestNumber(lakeDir()))
    trouble = null
    clock.advance(60_000)
    await serve({ atMs: DAY_0 + 2 * HOUR_MS }, usual)
    await goTo(DAY_0 + DAY_MS + 60_000)
    expect(await stateOf('drift', 'distance')).toMatchObject({ last: { verdict: 'ok', n: 1_000 } })
  })

  it('leaves out no rows for any other trouble, judges the other models, and keeps the alarms of this one', async () => {
    await lab.apply({ ...config({ drift: { raiseAfter: 1 } }), other: { train: 'true' } })
    const id = await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, far)
    await goTo(DAY_0 + DAY_MS)
    const fired = await alertOf('drift', 'distance')
    expect(fired).toMatchObject({ status: 'firing' })
    // The profile of the champion is lost: nobody can say what is watched of it.
    await store.db
      .updateTable('version')
      .set({ profile_digest: `sha256:${'0'.repeat(64)}` })
      .where('id', '=', id)
      .execute()
    await lab.version('other')
    await store.transaction((tx) =>
      setAlias(tx, clock, { model: 'other', alias: 'champion', versionId: 'other@1', cause: 'test' }),
    )
    controller = newController()
    const manifests: number[] = []
    for (let tries = 0; tries < 14; tries++) {
      await serve({ atMs: DAY_0 + DAY_MS + tries }, usual.slice(0, 10))
      clock.advance(61_000)
      await controller.look()
      await controller.idle()
      // What comes after the look is counted by the next one, however often another part of it has failed.
      await serve({ atMs: DAY_0 + DAY_MS + tries }, usual.slice(0, 10))
      manifests.push(await observedManifest(store.db))
    }
    expect(manifests).toEqual(manifests.toSorted((x, y) => x - y))
    expect(manifests.at(-1)).toBeLessThan(await newestNumber(lakeDir()))
    const rows = await liveBuckets(store.db, id, DAY_0 + DAY_MS, DAY_0 + 2 * DAY_MS)
    expect(rows.reduce((sum, bucket) => sum + bucket.rows, 0)).toBe(14 * 10 + 13 * 10)
    expect(await alertOf('drift', 'distance')).toMatchObject({ id: fired!.id, status: 'firing' })
    expect(await monitorStates(store.db, 'other')).not.toEqual([])
  })

  it('adds nothing twice where the watermark has moved meanwhile', async () => {
    const counts = { requests: 1, lastAtMs: DAY_0, columns: {}, prediction: null }
    const bucket = { versionId: 'm@1', origin: 'live', bucketMs: DAY_0, rows: 5, counts }
    const add = () => store.transaction((tx) => recordObservation(tx, 0, { manifest: 1, buckets: [bucket] }))
    expect([await add(), await add()]).toEqual([true, false])
    expect(await liveBuckets(store.db, 'm@1', DAY_0, DAY_0 + 1)).toMatchObject([{ rows: 5 }])
  })

  it('starts nothing on a full disk', async () => {
    await lab.apply(config())
    await champion()
    await serve({ atMs: DAY_0 + HOUR_MS }, usual)
    lab.disk.low = true
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect(observed).toEqual([])
  })

  it('resolves the alarms of a monitor that is turned off', async () => {
    await lab.apply(config({ drift: { raiseAfter: 1 } }))
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, far)
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect(await alertOf('drift', 'distance')).toMatchObject({ status: 'firing' })
    await lab.apply(config({ drift: false }))
    await goTo(DAY_0 + DAY_MS + 2_000)
    expect(await alertOf('drift', 'distance')).toMatchObject({ status: 'resolved' })
    expect(await stateOf('drift')).toBeUndefined()
  })
})

describe('responses', () => {
  it('roll back a champion that was bad from the start', async () => {
    await lab.apply(config({ predictionDrift: { raiseAfter: 1, then: 'rollBack' } }))
    const first = await champion()
    await goTo(DAY_0 + HOUR_MS)
    const second = await champion()
    await serve({ atMs: DAY_0 + 2 * HOUR_MS, version: '2' }, far)
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect(await openReleases(store.db)).toMatchObject([{ kind: 'rollback', versionId: first, status: 'queued' }])
    expect(await alertOf('predictionDrift')).toMatchObject({
      versionId: second,
      responseTaken: `release-1: rollback to ${first}`,
    })
    await goTo(DAY_0 + DAY_MS + 10_000)
    expect(await openReleases(store.db)).toHaveLength(1)
    expect(lab.woken).toContain('release')
  })

  it('do not roll back what has served well for long: the one before is older still', async () => {
    await lab.apply(config({ predictionDrift: { raiseAfter: 1, then: 'rollBack' } }))
    await champion()
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    for (let day = 0; day < 5; day++) {
      await serve({ atMs: DAY_0 + day * DAY_MS + 2 * HOUR_MS, version: '2' }, day < 4 ? usual : far)
      await goTo(DAY_0 + (day + 1) * DAY_MS + 1_000)
    }
    expect(await openReleases(store.db)).toEqual([])
    expect((await alertOf('predictionDrift'))!.responseTaken).toMatch(
      /not rolled back: late-flight@2 had served for 5 d/,
    )
  })

  it('freeze automatic release for as long as the alarm lasts', async () => {
    await lab.apply(config({ drift: { raiseAfter: 1, clearAfter: 1, then: 'freeze' } }))
    await champion()
    await goTo(DAY_0 + HOUR_MS)
    await serve({ atMs: DAY_0 + HOUR_MS }, far)
    await goTo(DAY_0 + DAY_MS + 1_000)
    expect(await activeFreezes(store.db, MODEL)).toMatchObject([
      { kind: 'alert', why: expect.stringMatching(/drift of distance.*PSI/) },
    ])
    await serve({ atMs: DAY_0 + DAY_MS + HOUR_MS }, usual)
    await goTo(DAY_0 + 2 * DAY_MS + 1_000)
    expect(await activeFreezes(store.db, MODEL)).toEqual([])
  })
})
