import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.ts'
import type { LabelRecord, PredictionRecord, SchemaRecord } from '../../kernel/contract/prediction.ts'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import { readSegment } from '../../kernel/lake/segment-reader.ts'
import { spoolBacklog } from '../../kernel/lake/spool-backlog.ts'
import { listSegments } from '../../kernel/lake/spool-files.ts'
import type { SegmentRecord } from '../../kernel/lake/spool-format.ts'
import { decodeBody } from '../../kernel/lake/spool-format.ts'
import { PredictionLogFullError, SchemaNotDeclaredError, SpoolClosedError } from './errors.ts'
import type { Spool, SpoolOptions, SpoolState } from './spool.ts'
import { openSpool } from './spool.ts'
import type { WatchedFs } from './watched-fs.ts'
import { watchedFs } from './watched-fs.ts'

let dir: string
let fs: WatchedFs
let states: SpoolState[]
const opened: Spool[] = []

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-spool-'))
  fs = watchedFs()
  states = []
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((spool) => spool.close()))
  await rm(dir, { recursive: true, force: true })
})

async function open(options: Partial<SpoolOptions> = {}): Promise<Spool> {
  const onState = (state: SpoolState) => states.push(state)
  const spool = await openSpool({
    dir,
    instance: 'gateway-1',
    clock: systemClock,
    sealMs: 60_000,
    fs,
    onState,
    ...options,
  })
  opened.push(spool)
  return spool
}

function schema(version = '1'): SchemaRecord {
  const output = { name: 'y', datatype: 'FP32' as const, shape: [-1], columns: null }
  return { kind: 'schema', model: 'm', version, signature: { inputs: [], outputs: [output] } }
}

function prediction(version = '1', bytes = 10): PredictionRecord {
  const facts = { kind: 'prediction', endpoint: 'e', model: 'm', version, origin: 'live', caller: 'c' } as const
  const times = { atMs: 1, latencyMs: 1, status: 200, trial: null, shadowOf: null }
  return {
    ...facts,
    ...times,
    predictionId: newPredictionId(1),
    request: Buffer.alloc(bytes),
    response: Buffer.alloc(1),
  }
}

const label = (): LabelRecord => ({ kind: 'label', predictionId: newPredictionId(1), row: 0, label: 1, atMs: 1 })

async function recordsOnDisk(): Promise<SegmentRecord[][]> {
  const segments = await listSegments(dir, 'gateway-1')
  return Promise.all(
    segments.map(async ({ path }) => readSegment(await readFile(path)).bodies.map(({ body }) => decodeBody(body))),
  )
}

const kinds = async () => (await recordsOnDisk()).map((segment) => segment.map(({ kind }) => kind))

describe('the spool', () => {
  it('acknowledges a durable record only after fdatasync of the file and fsync of its folder', async () => {
    const spool = await open()
    await spool.append(schema(), 'durable')
    fs.journal.length = 0
    await spool.append(prediction(), 'durable')
    expect(fs.journal).toEqual(['create 0000000001.open', 'write', 'write', 'sync', 'sync folder'])
    fs.journal.length = 0
    await spool.append(prediction(), 'durable')
    expect(fs.journal).toEqual(['write', 'sync'])
  })

  it('does not acknowledge a durable record while the sync is under way, but a relaxed one at once', async () => {
    const spool = await open()
    await spool.append(schema(), 'durable')
    let letGo = () => {}
    fs.gate = new Promise((resolve) => (letGo = resolve))
    let isDone = false
    const durable = spool.append(prediction(), 'durable').then(() => (isDone = true))
    await expect(spool.append(prediction(), 'relaxed')).resolves.toBe('logged')
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(isDone).toBe(false)
    expect(spool.counts()).toMatchObject({ answered: 1, logged: 0 })
    expect(spool.counts().lagMs).toBeGreaterThan(10)
    letGo()
    await durable
    await spool.flush()
    expect(spool.counts()).toMatchObject({ answered: 2, logged: 2, lagMs: 0 })
  })

  it('writes what gathers in one turn, or meanwhile, with one sync', async () => {
    const spool = await open()
    await spool.append(schema(), 'durable')
    await spool.append(prediction(), 'durable')
    fs.journal.length = 0
    await Promise.all(Array.from({ length: 500 }, () => spool.append(prediction(), 'durable')))
    expect(fs.journal).toEqual(['write', 'sync'])
  })

  it('begins each segment with a header and, before its first prediction, the schema of a version', async () => {
    const spool = await open({ sealBytes: 2_000 })
    for (const version of ['1', '2', '3']) await spool.append(schema(version), 'relaxed')
    for (let round = 0; round < 3; round++) {
      await spool.append(prediction('1', 900), 'durable')
      await spool.append(prediction('2', 900), 'durable')
    }
    await spool.close()
    const segment = ['header', 'schema', 'prediction', 'schema', 'prediction', 'footer']
    expect(await kinds()).toEqual([segment, segment, segment])
    expect((await readdir(join(dir, 'gateway-1'))).filter((name) => name.endsWith('.open'))).toEqual([])
  })

  it('seals by age, and by closing, with the content synced before the name changes', async () => {
    const spool = await open({ sealMs: 20 })
    await spool.append(schema(), 'relaxed')
    await spool.append(prediction(), 'durable')
    await expect.poll(() => fs.journal.at(-1)).toBe('sync folder')
    await expect.poll(() => fs.journal.slice(-4)).toEqual(['write', 'sync', 'rename 0000000001.seg', 'sync folder'])
    await spool.append(prediction(), 'relaxed')
    await spool.close()
    expect((await listSegments(dir, 'gateway-1')).map(({ sealed }) => sealed)).toEqual([true, true])
  })

  it('goes on counting, and numbering, where the gateway before it left off', async () => {
    const first = await open()
    await first.append(schema(), 'relaxed')
    await first.append(prediction(), 'durable')
    first.countSampledOut()
    await first.append(label(), 'durable')
    await first.close()
    const second = await open()
    await second.append(schema(), 'relaxed')
    await second.append(prediction(), 'relaxed')
    await second.close()
    expect(second.counts()).toMatchObject({ answered: 3, logged: 2, sampledOut: 1, dropped: 0, labels: 1 })
    const { counters, waiting } = await spoolBacklog(dir)
    expect(counters).toMatchObject({ answered: 3, logged: 2 })
    expect(waiting).toMatchObject({ segments: 2, predictions: 2, labels: 1 })
    const streams = (await recordsOnDisk()).map(([header]) => header!.kind === 'header' && header!.stream)
    expect(new Set(streams).size).toBe(2)
  })

  it('writes nothing for a mode that is off, and counts it as left out', async () => {
    const spool = await open()
    await spool.append(schema(), 'off')
    expect(await spool.append(prediction(), 'off')).toBe('dropped')
    expect(spool.counts()).toMatchObject({ answered: 1, logged: 0, sampledOut: 1, dropped: 0 })
  })

  it('refuses predictions without a schema, and anything once it is closed', async () => {
    const spool = await open()
    await expect(spool.append(prediction(), 'relaxed')).rejects.toThrow(SchemaNotDeclaredError)
    await spool.append(schema(), 'relaxed')
    await spool.close()
    await expect(spool.append(prediction(), 'relaxed')).rejects.toThrow(SpoolClosedError)
  })
})

describe('a spool whose disk is in trouble', () => {
  it('drops relaxed records loudly and refuses durable ones while too little space is free, then goes on', async () => {
    fs.free = 99
    const spool = await open({ minFreeBytes: 100 })
    expect(states).toMatchObject([{ diskFull: true, freeBytes: 99, why: expect.stringContaining('99 bytes free') }])
    await spool.append(schema(), 'relaxed')
    expect(await spool.append(prediction(), 'relaxed')).toBe('dropped')
    await expect(spool.append(prediction(), 'durable')).rejects.toThrow(PredictionLogFullError)
    expect(spool.counts()).toMatchObject({ answered: 1, logged: 0, dropped: 1, diskFull: true })
    fs.free = 100
    await expect.poll(() => spool.counts().diskFull, { timeout: 3_000 }).toBe(false)
    expect(states.at(-1)).toMatchObject({ diskFull: false })
    expect(await spool.append(prediction(), 'durable')).toBe('logged')
  })

  it.each(['ENOSPC', 'EIO'])(
    'counts a batch whose write fails with %s as dropped, and leaves no trace of it',
    async (code) => {
      const spool = await open()
      await spool.append(schema(), 'relaxed')
      await spool.append(prediction('1', 100), 'durable')
      fs.tearNextWrite(code)
      const relaxed = spool.append(prediction('1', 3_000), 'relaxed')
      const durable = spool.append(prediction('1', 3_000), 'durable')
      await expect(relaxed).resolves.toBe('logged')
      const message = expect.stringMatching(new RegExp(`^[^/]*writing \\d+ bytes failed \\(${code}\\)\\.$`)) as string
      await expect(durable).rejects.toMatchObject({ code: 'MR_LOG_FULL', message })
      expect(spool.counts()).toMatchObject({ answered: 2, logged: 1, dropped: 1, diskFull: code === 'ENOSPC' })
      expect(states.at(-1)?.why).toContain('1 predictions and 0 labels dropped')
      await expect.poll(() => spool.counts().diskFull, { timeout: 3_000 }).toBe(false)
      await spool.append(prediction('1', 50), 'durable')
      await spool.close()
      const [segment] = await recordsOnDisk()
      const sizes = segment!.flatMap((record) => (record.kind === 'prediction' ? [record.request.length] : []))
      expect(sizes).toEqual([100, 50])
    },
  )

  it('puts nothing more into a file whose sync failed, and keeps what was synced before', async () => {
    const spool = await open()
    await spool.append(schema(), 'relaxed')
    await spool.append(prediction(), 'durable')
    fs.failNext('sync', 'EIO')
    await expect(spool.append(prediction(), 'durable')).rejects.toThrow(PredictionLogFullError)
    await spool.append(prediction(), 'durable')
    await spool.close()
    const segment = ['header', 'schema', 'prediction', 'footer']
    expect(await kinds()).toEqual([segment, segment])
    expect(spool.counts()).toMatchObject({ logged: 2, answered: 2 })
  })

  it('seals without a footer where there is no room for one, and tries again where the rename fails', async () => {
    const spool = await open({ sealMs: 10 })
    await spool.append(schema(), 'relaxed')
    await spool.append(prediction(), 'durable')
    fs.failNext('write', 'ENOSPC')
    fs.failNext('rename', 'EIO')
    await expect
      .poll(() => states.map(({ why }) => why), { timeout: 3_000 })
      .toContainEqual(expect.stringContaining('tried again'))
    await expect.poll(async () => (await listSegments(dir, 'gateway-1'))[0]?.sealed, { timeout: 5_000 }).toBe(true)
    await spool.append(prediction(), 'durable')
    await spool.close()
    expect((await spoolBacklog(dir)).waiting).toMatchObject({ segments: 2, predictions: 2 })
  })

  it('holds no more than its buffer in memory while the disk is stuck', async () => {
    const spool = await open({ bufferLimitBytes: 10_000 })
    await spool.append(schema(), 'relaxed')
    let letGo = () => {}
    fs.gate = new Promise((resolve) => (letGo = resolve))
    const answers = await Promise.all(Array.from({ length: 30 }, () => spool.append(prediction('1', 1_000), 'relaxed')))
    expect(answers.filter((answer) => answer === 'logged').length).toBe(9)
    await expect(spool.append(prediction('1', 1_000), 'durable')).rejects.toThrow('would pass the limit of 10000')
    letGo()
    await spool.flush()
    expect(spool.counts()).toMatchObject({ answered: 30, logged: 9, dropped: 21, diskFull: false })
    expect(await spool.append(prediction('1', 1_000), 'durable')).toBe('logged')
  })
})

describe('two gateways', () => {
  it('write side by side under names of their own, and not under one', async () => {
    const [one, two] = [await open({ instance: 'a' }), await open({ instance: 'b' })]
    for (const spool of [one, two]) {
      await spool.append(schema(), 'relaxed')
      await spool.append(prediction(), 'durable')
    }
    await expect(openSpool({ dir, instance: 'a', clock: systemClock, lockWaitMs: 100 })).rejects.toMatchObject({
      code: 'MR_SPOOL_IN_USE',
    })
    await one.append(prediction(), 'durable')
    expect((await spoolBacklog(dir)).waiting).toMatchObject({ segments: 2, predictions: 3 })
  })

  it('never write outside the spool, whatever they are called', async () => {
    for (const instance of ['', '.', '..', '../x', 'a/b', 'a.lock', 'a\0', '.hidden'])
      await expect(openSpool({ dir, instance, clock: systemClock })).rejects.toThrow(RangeError)
  })
})
