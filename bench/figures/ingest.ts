import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newPredictionId } from '../../src/kernel/contract/prediction-id.ts'
import { runIngestJob } from '../../src/kernel/lake/ingest.ts'
import { NO_COUNTS } from '../../src/kernel/lake/log-counters.ts'
import { segmentName } from '../../src/kernel/lake/spool-files.ts'
import { encodeFrame } from '../../src/kernel/lake/spool-format.ts'
import { seededRandom } from '../../src/kernel/stats/random.ts'
import type { Signature } from '../../src/kernel/model/signature.ts'
import { median, type Figure } from '../harness/figure.ts'
import { columns } from '../harness/tree-model.ts'

const SAMPLES = 5
const SEGMENTS = 4
/** Rows of one sample, by rows per request. */
const variants = [
  { rowsPerRequest: 1, rows: 200_000 },
  { rowsPerRequest: 64, rows: 1_000_000 },
] as const
const TARGET = { of: 'p50', atLeast: 1_000_000 } as const

const signature: Signature = {
  inputs: columns.map((name) => ({ name, datatype: 'FP32', shape: [-1, 1], columns: [name] })),
  outputs: [{ name: 'probability', datatype: 'FP32', shape: [-1, 1], columns: null }],
}

/** Sealed segments into Parquet with its manifest, by the function that the ingest job runs; both variants in turn. */
export const ingest: Figure = {
  id: 'P11',
  title: 'Spool to Parquet, 10 features',
  async measure({ samples, note }) {
    const rates = variants.map((): number[] => [])
    for (let i = 0; i < (samples ?? SAMPLES); i++) {
      for (const [v, { rowsPerRequest, rows }] of variants.entries()) {
        const rate = await ingestOnce(rowsPerRequest, rows)
        rates[v]!.push(rate)
        note(`${rowsPerRequest} rows a request: ${Math.round(rate).toLocaleString('en')} rows/s`)
      }
    }
    const [single, batch] = rates.map(median)
    return {
      setup: {
        features: columns.length,
        'single rows': variants[0].rows,
        'rows in requests of 64': variants[1].rows,
        threads: 2,
      },
      measures: variants.map(({ rowsPerRequest }, v) => ({
        name: `${rowsPerRequest} row${rowsPerRequest === 1 ? '' : 's'} a request`,
        unit: 'rows/s',
        samples: rates[v]!,
        target: TARGET,
      })),
      limitedBy:
        `Reading the JSON that went over the wire, in one thread: ${Math.round(1e6 / single!)} µs a request of one row, ` +
        `${Math.round(1e8 / batch!) / 100} µs a row in requests of 64.`,
    }
  },
}

/** @returns rows per second */
async function ingestOnce(rowsPerRequest: number, rows: number): Promise<number> {
  const home = mkdtempSync(join(tmpdir(), 'millrace-bench-ingest-'))
  try {
    const spoolDir = join(home, 'spool')
    const requests = Math.ceil(rows / rowsPerRequest)
    for (let sequence = 1; sequence <= SEGMENTS; sequence++) {
      writeSegment(spoolDir, sequence, Math.ceil(requests / SEGMENTS), rowsPerRequest)
    }
    const startMs = performance.now()
    const report = await runIngestJob({ spoolDir, lakeDir: join(home, 'lake'), threads: 2 })
    return report.rows / ((performance.now() - startMs) / 1_000)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

/** As a gateway writes it: the bodies as they went over the wire. */
function writeSegment(spoolDir: string, sequence: number, requests: number, rowsPerRequest: number): void {
  const random = seededRandom(sequence)
  const atMs = Date.now()
  const tensor = (name: string, value: () => number) => ({
    name,
    datatype: 'FP32',
    shape: [rowsPerRequest, 1],
    data: Array.from({ length: rowsPerRequest }, value),
  })
  const feature = () => Math.round(random.normal() * 10_000) / 10_000
  const score = () => Math.fround(random.uniform())
  const records = Array.from({ length: requests }, () =>
    encodeFrame({
      kind: 'prediction',
      predictionId: newPredictionId(atMs),
      endpoint: 'trees',
      model: 'trees',
      version: '1',
      origin: 'live',
      caller: 'anonymous',
      atMs,
      latencyMs: 1.5,
      status: 200,
      trial: null,
      shadowOf: null,
      request: Buffer.from(JSON.stringify({ inputs: columns.map((name) => tensor(name, feature)) })),
      response: Buffer.from(
        JSON.stringify({ model_name: 'trees', model_version: '1', outputs: [tensor('probability', score)] }),
      ),
    }),
  )
  const dir = join(spoolDir, 'gateway')
  mkdirSync(dir, { recursive: true })
  const header = encodeFrame({
    kind: 'header',
    stream: 'a1',
    instance: 'gateway',
    openedAtMs: atMs,
    counters: NO_COUNTS,
  })
  const schema = encodeFrame({ kind: 'schema', model: 'trees', version: '1', signature })
  const footer = encodeFrame({ kind: 'footer', predictions: requests, labels: 0 })
  writeFileSync(join(dir, segmentName(sequence, true)), Buffer.concat([header, schema, ...records, footer]))
}
