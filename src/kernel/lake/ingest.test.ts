import { createHash } from 'node:crypto'
import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { PredictionRecord, SchemaRecord } from '../contract/prediction.ts'
import { numberToHalf } from '../model/float16.ts'
import type { Signature } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { encodeInferAnswer, encodeInferRequestBody } from '../protocol/inference.ts'
import { LakeBusyError } from './errors.ts'
import type { IngestHooks, IngestInput, IngestStep } from './ingest.ts'
import { runIngestJob } from './ingest.ts'
import {
  body,
  label,
  newLake,
  NOON_MS,
  prediction,
  schema,
  writeGatewayCounters,
  writeSegment,
} from './lake-builders.ts'
import { ingestLockPath } from './lake-files.ts'
import { lakeTotals, reconcile } from './lake-totals.ts'
import { readManifest } from './manifest.ts'
import { tryLock } from './process-lock.ts'
import { runQueryJob } from './query.ts'
import { spoolBacklog } from './spool-backlog.ts'
import { encodeFrame, FRAME_HEAD_BYTES, walkFrames } from './spool-format.ts'

const DAY_MS = 86_400_000
let root: string
let spoolDir: string
let lakeDir: string
beforeEach(async () => {
  ;({ root, spoolDir, lakeDir } = await newLake())
})

afterEach(() => rm(root, { recursive: true, force: true }))

const ingest = (input: Partial<IngestInput> = {}, hooks: IngestHooks = {}) =>
  runIngestJob({ spoolDir, lakeDir, threads: 1, ...input }, hooks)

async function query(sql: string): Promise<unknown[][]> {
  return (await runQueryJob({ lakeDir, root, sql, asOfMs: NOON_MS, threads: 1, limitRows: 10_000 })).rows
}

async function dataFiles(): Promise<string[]> {
  return (await readdir(join(lakeDir, 'data'), { recursive: true })).filter((name) => name.endsWith('.parquet'))
}

function predictions(count: number, facts: Partial<PredictionRecord> = {}): PredictionRecord[] {
  return Array.from({ length: count }, (_, at) => prediction({ atMs: NOON_MS + at, ...facts }, [at]))
}

/** A frame whose CRC is right and whose content is nonsense. */
function nonsense(kind: number): Buffer {
  const frame = Buffer.alloc(FRAME_HEAD_BYTES + 5, 0xee)
  frame[FRAME_HEAD_BYTES] = kind
  frame.writeUInt32LE(5, 0)
  frame.writeUInt32LE(crc32(frame.subarray(FRAME_HEAD_BYTES)), 4)
  return frame
}

describe('the ingest', () => {
  it('counts a prediction without rows, which is nothing to refuse', async () => {
    const request = body('inputs', [{ name: 'distance', datatype: 'FP32', shape: [0, 1], data: [] }])
    const response = body('outputs', [{ name: 'late', datatype: 'FP32', shape: [0], data: [] }])
    await writeSegment(spoolDir, [schema(), prediction({ request, response })])
    expect(await ingest()).toMatchObject({ predictions: 1, rows: 0, quarantined: 0 })
    await writeSegment(spoolDir, [schema(), prediction({}, [1, 2])], { sequence: 2 })
    expect(await ingest()).toMatchObject({ predictions: 1, rows: 2 })
    expect(await query('SELECT count(*) FROM "late-flight"')).toEqual([[2]])
    expect((await lakeTotals(lakeDir)).predictions).toBe(2)
  })

  it('keeps who was absent of a gather', async () => {
    await writeSegment(spoolDir, [schema(), prediction({ absent: ['a@1', 'b@2'] }, [1]), prediction({}, [2])])
    expect(await ingest()).toMatchObject({ predictions: 2, quarantined: 0 })
    expect(await query('SELECT distance::INTEGER, absent FROM "late-flight" ORDER BY distance')).toEqual([
      [1, 'a@1, b@2'],
      [2, null],
    ])
  })

  it('takes in long lists and images in bytes: the former whole, of the latter digest and shape', async () => {
    const signature: Signature = {
      inputs: [
        { name: 'embedding', datatype: 'FP32', shape: [-1, 4_096], columns: null },
        { name: 'photo', datatype: 'UINT8', shape: [-1, 100, 100], columns: null },
      ],
      outputs: [{ name: 'late', datatype: 'FP16', shape: [-1], columns: null }],
    }
    const rows = 100
    const inputs: Record<string, Tensor> = {
      embedding: { datatype: 'FP32', shape: [rows, 4_096], data: new Float32Array(rows * 4_096).fill(0.5) },
      photo: { datatype: 'UINT8', shape: [rows, 100, 100], data: new Uint8Array(rows * 10_000).fill(7) },
    }
    const late: Tensor = { datatype: 'FP16', shape: [rows], data: new Uint16Array(rows).fill(numberToHalf(0.25)) }
    const request = encodeInferRequestBody({ inputs }, { binaryInputs: 'all' })
    const answer = { modelName: 'm', modelVersion: '1', id: null, outputs: { late } }
    const response = encodeInferAnswer(answer, new Set(['late']))
    const bodies = {
      request: request.body,
      requestJsonBytes: request.jsonBytes,
      response: response.body,
      responseJsonBytes: response.jsonBytes,
    }
    await writeSegment(spoolDir, [schema({ signature }), prediction(bodies), prediction(bodies), prediction(bodies)])
    expect(await ingest()).toMatchObject({ predictions: 3, rows: 300, quarantined: 0 })
    const digest = createHash('sha256').update(Buffer.alloc(10_000, 7)).digest('hex')
    expect(
      await query(
        'SELECT count(*)::INTEGER, sum(list_sum(embedding))::INTEGER, any_value(photo), min(photo_digest), max(photo_digest), sum(late)::INTEGER FROM "late-flight"',
      ),
    ).toEqual([[300, 300 * 2_048, null, `sha256:${digest} UINT8[100,100]`, `sha256:${digest} UINT8[100,100]`, 75]])
  })

  it('moves predictions and labels into typed columns and empties the spool', async () => {
    const [first, second] = [prediction({ latencyMs: 2.25 }, [100, 200]), prediction({ origin: 'shadow' })]
    await writeSegment(spoolDir, [schema(), first, second, label(first.predictionId, true, { row: 1 })])
    const report = await ingest()
    expect(report).toMatchObject({ manifest: 2, segments: 1, predictions: 2, rows: 3, labels: 1, moreWaiting: false })
    expect(await query(`SELECT * FROM "late-flight" ORDER BY row`)).toEqual([
      [
        first.predictionId,
        0,
        '2001-01-02T12:00:00.000Z',
        'late-flight',
        'late-flight',
        '1',
        'live',
        'anonymous',
        2.25,
        200,
        null,
        null,
        null,
        100,
        'A100',
        expect.closeTo(0.1),
        null,
        null,
        null,
      ],
      [
        first.predictionId,
        1,
        '2001-01-02T12:00:00.000Z',
        'late-flight',
        'late-flight',
        '1',
        'live',
        'anonymous',
        2.25,
        200,
        null,
        null,
        null,
        200,
        'A200',
        expect.closeTo(0.2),
        1,
        'true',
        '2001-01-03T12:00:00.000Z',
      ],
    ])
    expect(await query('SELECT count(*) FROM predictions_all')).toEqual([[3]])
    expect((await spoolBacklog(spoolDir)).waiting.segments).toBe(0)
  })

  it('is not stopped by names, texts and rows that SQL has no form for', async () => {
    const columns = ['', 'a\0b', 'ok']
    const signature: Signature = {
      inputs: [{ name: 't', datatype: 'BYTES', shape: [-1, 3], columns }],
      outputs: [{ name: 'late', datatype: 'FP32', shape: [-1], columns: null }],
    }
    const tensor = { name: 't', datatype: 'BYTES', shape: [1, 3], data: ['x\0y', 'lone \ud800', `'"`] }
    const one = prediction({ caller: "a'\0b", request: body('inputs', [tensor]) }, [1])
    const beyond = label(one.predictionId, 1, { row: 2 ** 31 })
    await writeSegment(spoolDir, [schema({ signature }), one, beyond, label(one.predictionId, 'c\0d')])
    expect(await ingest()).toMatchObject({ predictions: 1, labels: 1, quarantined: 1 })
    expect(await query('SELECT unnamed, "a\uFFFDb", ok, caller, label FROM predictions')).toEqual([
      ['x\0y', 'lone \uFFFD', `'"`, "a'\0b", 'c\0d'],
    ])
    const [refused] = (await readManifest(lakeDir)).quarantine.latest
    expect(refused!.why).toContain('a label for row 2147483648, of 2147483647 at most')
  })

  it('is not stopped by a file that somebody has left in the spool', async () => {
    await writeSegment(spoolDir, [schema(), prediction()])
    await writeFile(join(spoolDir, 'README'), 'what is this?')
    await writeFile(join(spoolDir, 'gateway-1', '0000000001.seg~'), 'an editor’s')
    expect(await ingest()).toMatchObject({ predictions: 1, quarantined: 0 })
    expect((await spoolBacklog(spoolDir)).instances.map(({ instance }) => instance)).toEqual(['gateway-1'])
  })

  it('does nothing, and commits nothing, where nothing waits', async () => {
    await writeSegment(spoolDir, [schema(), prediction()])
    const { manifest } = await ingest()
    expect(await ingest()).toMatchObject({ manifest, commits: 0 })
  })

  it('takes in what a killed gateway left open', async () => {
    await writeSegment(spoolDir, [schema(), ...predictions(3)], { open: true })
    expect(await ingest()).toMatchObject({ predictions: 3 })
  })

  it('keeps several gateways, streams and commits apart', async () => {
    for (const instance of ['gateway-1', 'gateway-2'])
      for (const sequence of [1, 2, 3])
        await writeSegment(spoolDir, [schema(), ...predictions(2)], { instance, stream: instance, sequence })
    expect(await ingest({ batchBytes: 1 })).toMatchObject({ segments: 6, predictions: 12, manifest: 7 })
    // A restarted gateway numbers from 1 again, in a stream of its own.
    await writeSegment(spoolDir, [schema(), ...predictions(5)], { stream: 'again', sequence: 1 })
    expect(await ingest()).toMatchObject({ predictions: 5 })
    expect(await query('SELECT count(*), count(DISTINCT prediction_id) FROM predictions')).toEqual([[17, 17]])
  })

  it('files by day and model, and lets no name leave the lake', async () => {
    const names = ['../../evil', 'a/b', 'Ünï "quoted" \'x\' *?[]', 'labels', 'Predictions', '.', 'x'.repeat(300)]
    const records = names.flatMap((model, at) => [
      schema({ model }),
      prediction({ model, atMs: NOON_MS + at * DAY_MS }),
    ])
    await writeSegment(spoolDir, records)
    await ingest()
    const { files } = await readManifest(lakeDir)
    expect(files.map(({ model, day }) => [model, day])).toEqual(names.map((model, at) => [model, `2001-01-0${2 + at}`]))
    expect((await dataFiles()).length).toBe(names.length)
    for (const name of names.slice(0, 3))
      expect(await query(`SELECT model FROM "${name.replaceAll('"', '""')}"`)).toEqual([[name]])
    expect(await query(`SELECT model FROM labels_2 UNION ALL SELECT model FROM "Predictions_2"`)).toEqual([
      ['labels'],
      ['Predictions'],
    ])
  })

  it('reads versions with other columns and types side by side', async () => {
    const signature = {
      inputs: [{ name: 'distance', datatype: 'BYTES' as const, shape: [-1], columns: null }],
      outputs: [{ name: 'late', datatype: 'FP64' as const, shape: [-1], columns: null }],
    }
    const second: SchemaRecord = { kind: 'schema', model: 'late-flight', version: '2', signature }
    const request = Buffer.from('{"inputs":[{"name":"distance","shape":[1],"data":["far"]}]}')
    await writeSegment(spoolDir, [
      schema(),
      prediction({}, [7]),
      second,
      prediction({ version: '2', request, atMs: NOON_MS + 1 }, [7]),
    ])
    await ingest()
    expect(
      await query('SELECT version, distance, origin_airport, typeof(late) FROM "late-flight" ORDER BY version'),
    ).toEqual([
      ['1', '7.0', 'A7', 'DOUBLE'],
      ['2', 'far', null, 'DOUBLE'],
    ])
  })

  it('quarantines what it cannot read, counts it, and goes on', async () => {
    const path = await writeSegment(spoolDir, [schema(), prediction()])
    const noSchema = prediction({ version: '9' })
    const unreadable = prediction({ request: Buffer.from('nope') })
    const damaged = Buffer.concat([encodeFrame(prediction())]).fill(0xff, 20, 30)
    const rest = [
      nonsense(3),
      nonsense(99),
      encodeFrame(noSchema),
      encodeFrame(unreadable),
      damaged,
      encodeFrame(prediction()),
    ]
    await writeFile(path, Buffer.concat([await readFile(path), ...rest]))
    expect(await ingest()).toMatchObject({ predictions: 2, quarantined: 4 })
    const { quarantine } = await lakeTotals(lakeDir)
    expect(quarantine).toMatchObject({ records: 4, predictions: 3, labels: 0, damagedBytes: damaged.length })
    expect(quarantine.latest.map(({ why }) => why)).toContainEqual(
      expect.stringContaining('no schema of late-flight@9'),
    )
    const [name] = await readdir(join(lakeDir, 'quarantine'))
    const kept = await readFile(join(lakeDir, 'quarantine', name!))
    expect(walkFrames(kept, () => {}, damaged.length).frames).toBe(4)
  })

  it('takes in a segment whose header is damaged', async () => {
    const path = await writeSegment(spoolDir, [schema(), ...predictions(2)])
    const bytes = await readFile(path)
    bytes[12]! ^= 0xff
    await writeFile(path, bytes)
    expect(await ingest()).toMatchObject({ predictions: 2, segments: 1 })
    expect((await ingest()).predictions).toBe(0)
  })

  it('refuses a second ingest at the same time', async () => {
    await ingest()
    const lock = tryLock(ingestLockPath(lakeDir))
    await expect(ingest()).rejects.toThrow(LakeBusyError)
    lock?.release()
    await expect(ingest()).resolves.toBeDefined()
  })
})

describe('labels', () => {
  it('count once however often, late and out of order they come; the latest wins, then the last to arrive', async () => {
    const [a, b, c] = predictions(3)
    await writeSegment(spoolDir, [schema(), label(a!.predictionId, 0, { atMs: 5 }), label('unknown', 1)], {
      sequence: 1,
    })
    await ingest()
    expect((await lakeTotals(lakeDir)).labels).toEqual({ records: 2, rows: 2, matched: 0, unmatched: 2, numeric: 2 })
    await writeSegment(
      spoolDir,
      [schema(), a!, b!, c!, label(a!.predictionId, 1, { atMs: 9 }), label(a!.predictionId, 7, { atMs: 3 })],
      { sequence: 2 },
    )
    await ingest()
    expect((await lakeTotals(lakeDir)).labels).toEqual({ records: 4, rows: 2, matched: 1, unmatched: 1, numeric: 2 })
    const same = NOON_MS
    await writeSegment(
      spoolDir,
      [label(b!.predictionId, 1, { atMs: same }), label(b!.predictionId, 2, { atMs: same })],
      { sequence: 3 },
    )
    await ingest()
    await writeSegment(spoolDir, [label(b!.predictionId, 3, { atMs: same })], { sequence: 4 })
    await ingest()
    expect((await lakeTotals(lakeDir)).labels).toEqual({ records: 7, rows: 3, matched: 2, unmatched: 1, numeric: 3 })
    expect((await readManifest(lakeDir)).models['late-flight']).toEqual({
      predictions: 3,
      rows: 3,
      labelled: 2,
      numericLabels: 2,
    })
    const truth = 'SELECT distance, label FROM predictions ORDER BY distance'
    expect(await query(truth)).toEqual([
      [0, 1],
      [1, 3],
      [2, null],
    ])
    expect(await query('SELECT count(*) FROM labels')).toEqual([[3]])
  })

  it('agree with a count over everything, in whatever order things arrive', async () => {
    const all = predictions(30)
    for (let sequence = 1; sequence <= 12; sequence++) {
      const some = all.splice(0, sequence % 3 === 0 ? 8 : 0)
      const labels = [...some, ...all]
        .slice(0, 5)
        .map(({ predictionId }, at) => label(predictionId, at % 2 === 0, { row: sequence % 2 }))
      await writeSegment(spoolDir, [schema(), ...some, ...labels], { sequence })
      await ingest()
    }
    const counted = await query(
      `SELECT (SELECT count(*) FROM labels), (SELECT count(*) FROM predictions_all WHERE label_text IS NOT NULL)`,
    )
    const { rows, matched } = (await lakeTotals(lakeDir)).labels
    expect([[rows, matched]]).toEqual(counted)
    expect(matched).toBeGreaterThan(0)
  })

  it('are numbers for the models whose labels are, and text for the others', async () => {
    const [a, b] = [prediction({ model: 'numbers' }), prediction({ model: 'words' })]
    const records = [
      schema({ model: 'numbers' }),
      schema({ model: 'words' }),
      a,
      b,
      label(a.predictionId, '1.5'),
      label(b.predictionId, 'cat'),
    ]
    await writeSegment(spoolDir, records)
    await ingest()
    expect(await query('SELECT label, label_text, typeof(label) FROM numbers')).toEqual([[1.5, '1.5', 'DOUBLE']])
    expect(await query('SELECT label, label_text, typeof(label) FROM words')).toEqual([['cat', 'cat', 'VARCHAR']])
  })
})

describe('an ingest that is killed', () => {
  it('between commit and deletion, deletes the left-overs next time and counts nothing twice', async () => {
    for (const sequence of [1, 2, 3]) await writeSegment(spoolDir, [schema(), prediction()], { sequence })
    const die = (wanted: IngestStep) => (at: IngestStep) => {
      if (at === wanted) throw new Error('killed')
    }
    await expect(ingest({}, { reached: die('segment deleted') })).rejects.toThrow('killed')
    expect((await spoolBacklog(spoolDir)).waiting.segments).toBe(2)
    await expect(ingest({}, { reached: die('left-over deleted') })).rejects.toThrow('killed')
    expect(await ingest()).toMatchObject({ predictions: 0, segments: 0 })
    expect((await spoolBacklog(spoolDir)).waiting.segments).toBe(0)
    expect((await lakeTotals(lakeDir)).predictions).toBe(3)
  })
})

describe('housekeeping', () => {
  it('merges small files of a day into one and keeps the old for readers until their grace is over', async () => {
    for (let sequence = 1; sequence <= 9; sequence++)
      await writeSegment(spoolDir, [schema(), prediction({}, [sequence])], { sequence })
    let nowMs = Date.now()
    const hooks = { nowMs: () => nowMs }
    expect(await ingest({ batchBytes: 1, keepManifests: 100 }, hooks)).toMatchObject({ compactedFiles: 9 })
    const merged = await readManifest(lakeDir)
    expect(merged.files).toMatchObject([{ rows: 9 }])
    expect(await dataFiles()).toHaveLength(10)
    const sum = 'SELECT sum(distance), count(DISTINCT prediction_id) FROM predictions'
    expect(await query(sum)).toEqual([[45, 9]])
    const before = await runQueryJob({ lakeDir, root, sql: sum, asOfMs: 0, manifest: 9 })
    expect(before).toMatchObject({ rows: [[45, 9]], manifest: 9 })
    nowMs += 11 * 60_000
    expect(await ingest({}, hooks)).toMatchObject({ deletedFiles: 9 })
    expect(await dataFiles()).toHaveLength(1)
    expect(await query(sum)).toEqual([[45, 9]])
  })

  it('sweeps files that no manifest names once they are old, and keeps few manifests', async () => {
    await writeSegment(spoolDir, [schema(), prediction()])
    const reached = (step: IngestStep) => {
      if (step === 'files written') throw new Error('killed')
    }
    await expect(ingest({}, { reached })).rejects.toThrow('killed')
    await ingest()
    const [orphan] = (await dataFiles()).filter((name) => name.endsWith('.parquet')).toSorted()
    expect(await dataFiles()).toHaveLength(2)
    const { files } = await readManifest(lakeDir)
    for (const name of await dataFiles()) await utimes(join(lakeDir, 'data', name), 1, 1)
    for (let sequence = 2; sequence < 8; sequence++) {
      await writeSegment(spoolDir, [schema(), prediction()], { sequence })
      await ingest({ keepManifests: 3 }, { nowMs: () => Date.now() + 15 * 60_000 })
    }
    expect(orphan).toBeDefined()
    expect(await dataFiles()).toContain(files[0]!.path.slice('data/'.length))
    expect(await dataFiles()).toHaveLength(7)
    expect(await readdir(join(lakeDir, 'manifests'))).toHaveLength(3)
  })

  it('moves the counters of gateways that are gone for good into the manifest, once', async () => {
    for (const instance of ['gateway-1', 'gateway-2']) {
      await writeSegment(spoolDir, [schema(), ...predictions(4)], { instance, stream: instance })
      await writeGatewayCounters(spoolDir, { answered: 6, logged: 4, sampledOut: 2 }, instance)
    }
    const running = tryLock(join(spoolDir, 'gateway-2.lock'))
    const later = { nowMs: () => Date.now() + 2 * 60 * 60_000 }
    const dieOnce = {
      ...later,
      reached: (step: IngestStep) => {
        if (step === 'manifest written') throw new Error('killed')
      },
    }
    await ingest()
    await expect(ingest({}, dieOnce)).rejects.toThrow('killed')
    for (let again = 0; again < 3; again++) await ingest({}, later)
    expect((await readdir(spoolDir)).toSorted()).toEqual(['gateway-2', 'gateway-2.lock'])
    const found = reconcile(await lakeTotals(lakeDir), await spoolBacklog(spoolDir), 0)
    expect(found).toMatchObject({
      answered: 12,
      logged: 8,
      sampledOut: 4,
      inLake: 8,
      inSpool: 0,
      agrees: true,
      why: null,
    })
    running?.release()
  })
})

describe('reconciliation', () => {
  it('adds up what is in the lake, in the spool and in quarantine, and says where it does not', async () => {
    await writeSegment(spoolDir, [schema(), ...predictions(3), prediction({ version: '?' })])
    await ingest()
    await writeSegment(spoolDir, [schema(), ...predictions(2)], { sequence: 2 })
    await writeGatewayCounters(spoolDir, { answered: 6, logged: 6 })
    const now = async () => reconcile(await lakeTotals(lakeDir), await spoolBacklog(spoolDir), NOON_MS + 500)
    expect(await now()).toMatchObject({ inLake: 3, inSpool: 2, agrees: true, why: null, lagMs: 500 })
    await writeGatewayCounters(spoolDir, { answered: 8, logged: 7 })
    expect(await now()).toMatchObject({ agrees: false, why: expect.stringContaining('7 logged, but 6 found') })
    await rm(root, { recursive: true })
    expect(await now()).toMatchObject({ answered: 0, inLake: 0, manifest: 0, agrees: true })
  })
})
