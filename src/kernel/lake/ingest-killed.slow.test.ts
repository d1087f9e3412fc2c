import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { IngestInput, IngestStep } from './ingest.ts'
import { runIngestJob } from './ingest.ts'
import { label, newLake, NOON_MS, prediction, schema, writeSegment } from './lake-builders.ts'
import { lakeTotals } from './lake-totals.ts'
import { runQueryJob } from './query.ts'

const STEPS: IngestStep[] = [
  'spool recovered',
  'left-over deleted',
  'quarantine written',
  'files written',
  'manifest written',
  'committed',
  'segment deleted',
  'files merged',
  'replaced deleted',
  'pruned',
]
const ROUNDS = 6
const SEGMENTS = 4

/** Resolves to true where the child killed itself on the way. */
async function ingestInChild(input: IngestInput, step: IngestStep, passes: number): Promise<boolean> {
  const script = join(import.meta.dirname, 'ingest-child.ts')
  const child = spawn(process.execPath, [script, JSON.stringify(input), step, String(passes)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  expect(signal ?? code).toBeOneOf(['SIGKILL', 0])
  return signal === 'SIGKILL'
}

describe('an ingest process that is killed', () => {
  it.each(STEPS)('at "%s" leaves every record in the lake exactly once', async (step) => {
    const { root, spoolDir, lakeDir } = await newLake()
    // Each segment is a commit of its own, so that there are many moments to die at and files to merge.
    const input: IngestInput = { spoolDir, lakeDir, threads: 1, batchBytes: 1 }
    let sent = 0
    let killed = 0
    for (let round = 0; round < ROUNDS; round++) {
      for (let at = 0; at < SEGMENTS; at++) {
        const one = prediction({ atMs: NOON_MS + sent })
        const refused = prediction({ version: 'never declared' })
        await writeSegment(spoolDir, [schema(), one, refused, label(one.predictionId, at)], { sequence: ++sent })
      }
      const isRepeated = [
        'quarantine written',
        'files written',
        'manifest written',
        'committed',
        'segment deleted',
      ].includes(step)
      if (step === 'left-over deleted') await ingestInChild(input, 'committed', 0)
      if (await ingestInChild(input, step, isRepeated ? round % 3 : 0)) killed++
    }
    expect(killed).toBeGreaterThan(0)
    await runIngestJob(input)
    const sql = 'SELECT count(*), count(DISTINCT prediction_id), count(label) FROM predictions'
    expect((await runQueryJob({ lakeDir, root, sql, asOfMs: NOON_MS })).rows).toEqual([[sent, sent, sent]])
    const totals = await lakeTotals(lakeDir)
    expect(totals).toMatchObject({ predictions: sent, labels: { records: sent, matched: sent, unmatched: 0 } })
    expect(totals.quarantine).toMatchObject({ records: sent, predictions: sent })
    expect(await readdir(join(lakeDir, 'quarantine'))).toHaveLength(sent)
    await rm(root, { recursive: true })
  })
})
