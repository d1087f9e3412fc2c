import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.ts'
import type { PredictionRecord, SchemaRecord } from '../../kernel/contract/prediction.ts'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import { runIngestJob } from '../../kernel/lake/ingest.ts'
import { lakeTotals, reconcile } from '../../kernel/lake/lake-totals.ts'
import { spoolBacklog } from '../../kernel/lake/spool-backlog.ts'
import { openSpool } from './spool.ts'

const SIZE_BYTES = 4 * 1024 * 1024
const disk = await mkdtemp(join(tmpdir(), 'millrace-small-disk-'))
const isMounted = mount()
if (!isMounted)
  process.stderr.write(
    'skipped: tests on a full disk need the right to mount a tmpfs; run them as root: sudo npm test\n',
  )

function mount(): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_BYTES}`, 'tmpfs', disk], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

afterAll(async () => {
  if (isMounted) execFileSync('umount', ['-l', disk])
  await rm(disk, { recursive: true, force: true })
})

const signature = { inputs: [{ name: 'x', datatype: 'BYTES' as const, shape: [-1], columns: null }], outputs: [] }
const schema: SchemaRecord = { kind: 'schema', model: 'm', version: '1', signature }

function prediction(): PredictionRecord {
  const facts = { kind: 'prediction', endpoint: 'm', model: 'm', version: '1', origin: 'live', caller: 'c' } as const
  const request = Buffer.from(JSON.stringify({ inputs: [{ name: 'x', shape: [1], data: ['y'.repeat(20_000)] }] }))
  const times = { atMs: Date.now(), latencyMs: 1, status: 200, trial: null, shadowOf: null }
  return {
    ...facts,
    ...times,
    predictionId: newPredictionId(Date.now()),
    request,
    response: Buffer.from('{"outputs":[]}'),
  }
}

describe.runIf(isMounted)('a spool on a disk that fills up', () => {
  let lakeDir: string
  beforeAll(async () => {
    lakeDir = await mkdtemp(join(tmpdir(), 'millrace-lake-'))
  })

  it('refuses what it cannot keep, keeps what it acknowledged, and goes on when there is space again', async () => {
    const dir = join(disk, 'spool')
    await mkdir(dir)
    // No watermark at all: the disk itself has to say no, in the middle of a write.
    const spool = await openSpool({ dir, instance: 'g', clock: systemClock, minFreeBytes: 0, sealMs: 50 })
    await spool.append(schema, 'durable')
    await writeFile(join(disk, 'ballast'), Buffer.alloc(2 * 1024 * 1024))
    let acknowledged = 0
    let refused = 0
    while (refused < 50) {
      await spool.append(prediction(), 'durable').then(
        () => acknowledged++,
        (error: { code: string }) => {
          expect(error.code).toBe('MR_LOG_FULL')
          refused++
        },
      )
    }
    expect(spool.counts()).toMatchObject({ answered: acknowledged, logged: acknowledged, diskFull: true })
    expect(await spool.append(prediction(), 'relaxed')).toBe('dropped')

    await rm(join(disk, 'ballast'))
    await expect.poll(() => spool.counts().diskFull, { timeout: 5_000 }).toBe(false)
    await spool.append(prediction(), 'durable')
    await spool.close()
    await runIngestJob({ spoolDir: dir, lakeDir })
    const found = reconcile(await lakeTotals(lakeDir), await spoolBacklog(dir), Date.now())
    expect(found).toMatchObject({
      inLake: acknowledged + 1,
      logged: acknowledged + 1,
      dropped: 1,
      why: null,
      agrees: true,
    })
  })
})
