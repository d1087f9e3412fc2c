import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  label,
  newLake,
  prediction,
  schema,
  segmentBytes,
  writeGatewayCounters,
  writeSegment,
} from './lake-builders.ts'
import { NO_COUNTS, readCounters } from './log-counters.ts'
import { tryLock } from './process-lock.ts'
import { recoverSpool } from './recover-spool.ts'
import { readSegment } from './segment-reader.ts'
import { spoolBacklog } from './spool-backlog.ts'
import { lockPath } from './spool-files.ts'
import { decodeBody } from './spool-format.ts'

let spoolDir: string
beforeEach(async () => {
  spoolDir = (await newLake()).spoolDir
})
afterEach(() => rm(join(spoolDir, '..'), { recursive: true, force: true }))

async function kindsIn(path: string): Promise<string[]> {
  return readSegment(await readFile(path)).bodies.map(({ body }) => decodeBody(body).kind)
}

describe('recovering a spool', () => {
  it('seals what a dead gateway left, cut after its last whole record, wherever the tail is torn', async () => {
    const records = [schema(), prediction(), label('a', 1)]
    const whole = segmentBytes(records)
    const start = segmentBytes(records.slice(0, 2)).length
    for (let cut = start; cut < whole.length; cut += 5) {
      const path = await writeSegment(spoolDir, [], { open: true, sequence: cut })
      await writeFile(path, whole.subarray(0, cut))
      const report = await recoverSpool(spoolDir)
      expect(report).toEqual({ sealed: 1, tornBytes: cut - start })
      expect(await kindsIn(path.replace('.open', '.seg'))).toEqual(['header', 'schema', 'prediction', 'footer'])
    }
  })

  it('removes a segment in which nothing was logged', async () => {
    await writeSegment(spoolDir, [schema()], { open: true })
    expect(await recoverSpool(spoolDir)).toEqual({ sealed: 0, tornBytes: 0 })
    expect(await readdir(join(spoolDir, 'gateway-1'))).toEqual(['counters.json'])
  })

  it('leaves a running gateway alone', async () => {
    await writeSegment(spoolDir, [schema(), prediction()], { open: true })
    const lock = tryLock(lockPath(spoolDir, 'gateway-1'))
    expect(await recoverSpool(spoolDir)).toEqual({ sealed: 0, tornBytes: 0 })
    lock?.release()
    expect(await recoverSpool(spoolDir)).toEqual({ sealed: 1, tornBytes: 0 })
  })

  it('brings old counters up to what the segment shows', async () => {
    await writeGatewayCounters(spoolDir, { answered: 11, logged: 10, dropped: 1 })
    const counters = { ...NO_COUNTS, answered: 11, logged: 10, dropped: 1 }
    await writeSegment(spoolDir, [schema(), prediction(), prediction(), label('a', 1)], { open: true, counters })
    await recoverSpool(spoolDir)
    const now = { ...counters, answered: 13, logged: 12, labels: 1 }
    expect(await readCounters(join(spoolDir, 'gateway-1'))).toEqual(now)
    expect(await recoverSpool(spoolDir)).toEqual({ sealed: 0, tornBytes: 0 })
    expect((await spoolBacklog(spoolDir)).counters).toEqual(now)
  })

  it('counts what waits, by the footer where there is one and by the records where not', async () => {
    await writeSegment(spoolDir, [schema(), prediction(), prediction()], { open: true, instance: 'gateway-2' })
    await recoverSpool(spoolDir)
    await writeSegment(spoolDir, [schema(), prediction(), label('a', 1)])
    const { waiting } = await spoolBacklog(spoolDir)
    expect(waiting).toMatchObject({ segments: 2, predictions: 3, labels: 1 })
  })
})
