import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rm } from 'node:fs/promises'
import type { PredictionRecord } from '../../kernel/contract/prediction.ts'
import { runIngestJob } from '../../kernel/lake/ingest.ts'
import { readManifest } from '../../kernel/lake/manifest.ts'
import {
  body,
  FLIGHTS,
  label,
  newLake,
  NOON_MS,
  prediction,
  schema,
  writeSegment,
} from '../../kernel/lake/lake-builders.ts'
import type { SegmentRecord } from '../../kernel/lake/spool-format.ts'
import { categoricalProfile, numericProfile, type BaselineProfile } from '../evaluation/baseline-profile.ts'
import { DAY_MS, HOUR_MS, type CountedBucket, type Observation, type ObserveInput } from './observation.ts'
import { runObserveJob } from './observe-job.ts'

/** Values that float32 does not hold exactly. */
const tenths = Array.from({ length: 9 }, (_, i) => (i + 1) / 10)
const PROFILE: BaselineProfile = {
  format: 1,
  source: 'holdout',
  rows: 100,
  profiledRows: 100,
  columns: [
    { ...numericProfile('distance', Float64Array.from(tenths)), edges: tenths },
    categoricalProfile('origin_airport', ['A0.1', 'A0.1', 'A0.2', null]),
  ],
  prediction: numericProfile('late', Float64Array.from([0, 0.0001, 0.0002, 1])),
}

let lake: Awaited<ReturnType<typeof newLake>>
let sequence = 0
beforeEach(async () => {
  lake = await newLake()
  sequence = 0
  await writeFile(join(lake.root, 'profile.json'), JSON.stringify(PROFILE))
})
afterEach(() => rm(lake.root, { recursive: true, force: true }))

async function ingest(records: SegmentRecord[], observedManifest?: number): Promise<void> {
  await writeSegment(lake.spoolDir, [schema(), schema({ version: '2' }), ...records], { sequence: ++sequence })
  await runIngestJob({ spoolDir: lake.spoolDir, lakeDir: lake.lakeDir, observedManifest })
}

const observe = (facts: Partial<ObserveInput> = {}): Promise<Observation> =>
  runObserveJob({
    lakeDir: lake.lakeDir,
    afterManifest: 0,
    versions: [
      {
        model: 'late-flight',
        version: '1',
        signature: FLIGHTS,
        scoreOutput: { output: 'late', index: null },
        profilePath: join(lake.root, 'profile.json'),
        bucketMs: HOUR_MS,
      },
    ],
    quality: [],
    ...facts,
  })

const bucketOf = (buckets: CountedBucket[], versionId: string, origin = 'live') =>
  buckets.find((bucket) => bucket.versionId === versionId && bucket.origin === origin)

describe('observing new rows', () => {
  it('counts them over the bins of the baseline profile, an edge in its own bin', async () => {
    await ingest([prediction({}, [0.1, 0.2, 0.3, 0.9, 1, 5]), prediction({}, [0.1])])
    const { buckets, rows } = await observe()
    expect(rows).toBe(7)
    expect(buckets).toHaveLength(1)
    expect(buckets[0]).toMatchObject({ versionId: 'late-flight@1', origin: 'live', bucketMs: NOON_MS, rows: 7 })
    const { requests, lastAtMs, columns, prediction: score } = buckets[0]!.counts
    expect({ requests, lastAtMs }).toEqual({ requests: 2, lastAtMs: NOON_MS })
    expect(columns['distance']).toEqual([0, 0, 2, 1, 1, 0, 0, 0, 0, 0, 1, 2])
    // A0.1 twice, A0.2 once, the other four are unseen.
    expect(columns['origin_airport']).toEqual([0, 4, 2, 1])
    expect(score!.reduce((sum, count) => sum + count, 0)).toBe(7)
  })

  it('tells missing, infinite and empty values apart', async () => {
    const request = body('inputs', [
      { name: 'distance', datatype: 'FP32', shape: [3, 1], data: [null, 1, null] },
      { name: 'origin_airport', datatype: 'BYTES', shape: [3, 1], data: [null, '', 'A0.2'] },
    ])
    const response = Buffer.from('{"outputs":[{"name":"late","datatype":"FP32","shape":[3],"data":[null,0.5,1e39]}]}')
    await ingest([prediction({ request, response })])
    const { counts } = (await observe()).buckets[0]!
    expect(counts.columns['distance']!.slice(0, 2)).toEqual([2, 0])
    expect(counts.columns['origin_airport']).toEqual([1, 1, 0, 1])
    expect(counts.prediction!.slice(0, 2)).toEqual([1, 1])
  })

  it('counts rows of versions without a profile, of every origin, and by hour', async () => {
    const of = (facts: Partial<PredictionRecord>) => prediction(facts, [0.5, 0.5])
    await ingest([of({ version: '2' }), of({ origin: 'shadow' }), of({ atMs: NOON_MS + HOUR_MS }), of({})])
    const { buckets } = await observe()
    expect(bucketOf(buckets, 'late-flight@2')).toMatchObject({ rows: 2, counts: { requests: 1, columns: {} } })
    expect(bucketOf(buckets, 'late-flight@1', 'shadow')!.counts.columns['distance']![6]).toBe(2)
    const live = buckets.filter((bucket) => bucket.versionId === 'late-flight@1' && bucket.origin === 'live')
    expect(new Map(live.map((bucket) => [bucket.bucketMs, bucket.rows]))).toEqual(
      new Map([
        [NOON_MS, 2],
        [NOON_MS + HOUR_MS, 2],
      ]),
    )
  })

  it('counts each row once, through compaction and whatever is ingested in between', async () => {
    let [after, counted, sent] = [0, 0, 0]
    for (let round = 0; round < 30; round++) {
      await ingest(
        [
          prediction(
            {},
            Array.from({ length: 1 + (round % 3) }, () => 0.5),
          ),
        ],
        after,
      )
      sent += 1 + (round % 3)
      // Looks now and then only, so that files pile up and merge in between.
      if (round % 4 !== 3) continue
      const seen = await observe({ afterManifest: after })
      counted += seen.rows
      after = seen.manifest
    }
    counted += (await observe({ afterManifest: after })).rows
    expect(counted).toBe(sent)
    const files = (await readManifest(lake.lakeDir)).files.filter((file) => file.table === 'predictions')
    expect(files.some((file) => file.arrived !== undefined)).toBe(true)
    expect((await observe()).rows).toBe(sent)
  })

  it('finds an empty lake empty', async () => {
    expect(await observe()).toEqual({ manifest: 0, rows: 0, buckets: [], quality: [] })
  })
})

describe('measuring quality', () => {
  const question: ObserveInput['quality'][number] = {
    model: 'late-flight',
    versions: [{ version: '1', signature: FLIGHTS, scoreOutput: { output: 'late', index: null }, loss: 'logLoss' }],
    task: 'binary',
    positive: null,
    fromMs: NOON_MS - 12 * HOUR_MS,
    toMs: NOON_MS + 12 * HOUR_MS,
    bucketMs: DAY_MS,
  }
  const measure = async (facts: Partial<typeof question> = {}) =>
    (await observe({ quality: [{ ...question, ...facts }] })).quality

  it('joins the latest labels and adds up their losses', async () => {
    const [a, b, c] = [prediction({}, [800, 200]), prediction({}, [500]), prediction({ version: '2' }, [500])]
    await ingest([a, b, c])
    await ingest([label(a.predictionId, 0), label(a.predictionId, 1, { row: 1 }), label(c.predictionId, 1)])
    await ingest([label(a.predictionId, true, { atMs: NOON_MS + 2 * DAY_MS })])
    const [day, ...others] = await measure()
    expect(others).toEqual([])
    const losses = [-Math.log(0.8), -Math.log(0.2)]
    expect(day).toMatchObject({
      versionId: 'late-flight@1',
      bucketMs: NOON_MS - 12 * HOUR_MS,
      predictions: 3,
      labelled: 2,
    })
    expect(day!.lossSum).toBeCloseTo(losses[0]! + losses[1]!, 5)
    expect(day!.lossSquares).toBeCloseTo(losses[0]! ** 2 + losses[1]! ** 2, 5)
    expect([day!.labelSum, day!.scoreSum]).toEqual([2, expect.closeTo(1, 6)])
  })

  it('finds the labels of what answered as a member of a gather by the id of the answer', async () => {
    const answer = prediction({ model: 'second-opinion', version: 'late-flight@1' }, [500])
    const members = [prediction({ shadowOf: answer.predictionId }, [800]), prediction({ version: '2' }, [500])]
    await ingest([schema({ model: 'second-opinion', version: 'late-flight@1' }), answer, ...members])
    await ingest([label(answer.predictionId, 1)])
    expect(await measure()).toMatchObject([{ predictions: 1, labelled: 1, labelSum: 1 }])
  })

  it('has nothing to say of other days, and no labels is not an error', async () => {
    await ingest([prediction({}, [500])])
    expect(await measure({ fromMs: NOON_MS + DAY_MS, toMs: NOON_MS + 2 * DAY_MS })).toEqual([])
    expect(await measure()).toMatchObject([{ predictions: 1, labelled: 0, lossSum: 0 }])
  })

  it('counts a certain and wrong prediction with a finite loss', async () => {
    const sure = prediction({}, [1000])
    await ingest([sure, label(sure.predictionId, 0)])
    expect((await measure())[0]!.lossSum).toBeCloseTo(-Math.log(1e-7), 1)
  })

  it('reads the declared positive class, and numbers of a regression', async () => {
    const [a, b] = [prediction({}, [500]), prediction({}, [500])]
    await ingest([a, b, label(a.predictionId, 'late'), label(b.predictionId, 'fine')])
    expect((await measure({ positive: 'late' }))[0]).toMatchObject({ labelled: 2, labelSum: 1 })
    const versions = [{ ...question.versions[0]!, loss: 'squaredError' as const }]
    expect((await measure({ task: 'regression', versions }))[0]).toMatchObject({ predictions: 2, labelled: 0 })
  })
})
