import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { MonitorConfig } from '../../src/config/project.ts'
import {
  categoricalProfile,
  numericProfile,
  type BaselineProfile,
} from '../../src/control/evaluation/baseline-profile.ts'
import { decideMonitor } from '../../src/control/monitoring/decide-monitor.ts'
import type { WindowFacts } from '../../src/control/monitoring/finding.ts'
import { addCounts, HOUR_MS, type Observation } from '../../src/control/monitoring/observation.ts'
import { runObserveJob } from '../../src/control/monitoring/observe-job.ts'
import { columnsOf } from '../../src/kernel/lake/columns.ts'
import { openDuckDB, quoteName, quoteText } from '../../src/kernel/lake/duckdb.ts'
import { commitManifest, EMPTY_MANIFEST } from '../../src/kernel/lake/manifest.ts'
import type { Signature } from '../../src/kernel/model/signature.ts'
import { seededRandom } from '../../src/kernel/stats/random.ts'
import type { Figure } from '../harness/figure.ts'

const SAMPLES = 5
const ROWS = 1_000_000
const NUMBERS = 45
const TEXTS = 5
/** Different texts of a column: more than a baseline profile keeps. */
const KINDS = 60
const FROM_MS = Date.UTC(2001, 0, 1)

const numbers = Array.from({ length: NUMBERS }, (_, i) => `number_${i}`)
const texts = Array.from({ length: TEXTS }, (_, i) => `text_${i}`)
const signature: Signature = {
  inputs: [
    ...numbers.map((name) => ({ name, datatype: 'FP32' as const, shape: [-1, 1], columns: [name] })),
    ...texts.map((name) => ({ name, datatype: 'BYTES' as const, shape: [-1, 1], columns: [name] })),
  ],
  outputs: [{ name: 'score', datatype: 'FP32', shape: [-1], columns: null }],
}

/**
 * One day of predictions that the lake holds and no monitor has seen: counted by hour over the bins of the baseline
 * profile, as the job `observe` does, then the distances of every column and of the predictions.
 */
export const drift: Figure = {
  id: 'P12',
  title: 'Drift (PSI and Jensen-Shannon) of 1M rows × 50 features from the lake',
  async measure({ samples, note }) {
    const home = mkdtempSync(join(tmpdir(), 'millrace-bench-drift-'))
    try {
      await writeLake(home)
      const profile = profileOf()
      writeFileSync(join(home, 'profile.json'), JSON.stringify(profile))
      const seconds: number[] = []
      for (let i = 0; i < (samples ?? SAMPLES); i++) {
        const startMs = performance.now()
        const findings = verdicts(await observe(home), profile)
        seconds.push((performance.now() - startMs) / 1_000)
        note(`${seconds.at(-1)!.toFixed(2)} s, ${findings} distances`)
      }
      return {
        setup: { rows: ROWS, 'numeric columns': NUMBERS, 'text columns': TEXTS, hours: 24, threads: 2 },
        measures: [{ name: 'counted and judged', unit: 's', samples: seconds, target: { of: 'p50', atMost: 5 } }],
        limitedBy: 'Counting in DuckDB: each value is searched for its bin, per hour. The distances take milliseconds.',
      }
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  },
}

function observe(home: string): Promise<Observation> {
  const scoreOutput = { output: 'score', index: null }
  const profilePath = join(home, 'profile.json')
  const version = { model: 'm', version: '1', signature, scoreOutput, profilePath, bucketMs: HOUR_MS }
  return runObserveJob({ lakeDir: join(home, 'lake'), afterManifest: 0, versions: [version], quality: [], threads: 2 })
}

/** @returns how many columns were judged */
function verdicts({ buckets }: Observation, profile: BaselineProfile): number {
  const facts: WindowFacts = {
    window: { fromMs: FROM_MS, toMs: FROM_MS + 24 * HOUR_MS },
    versionId: 'm@1',
    profile,
    counts: buckets.map((bucket) => bucket.counts).reduce(addCounts),
    requests: ROWS,
    logShare: 1,
    quality: null,
    labelDelayMs: 0,
    reference: null,
    loss: 'logLoss',
    nowMs: FROM_MS,
    championSinceMs: FROM_MS,
    lastRequestMs: null,
    trainedMs: FROM_MS,
  }
  const findings = (['drift', 'predictionDrift'] as const).flatMap((name) => decideMonitor(monitorOf(name), facts))
  if (findings.some(({ n }) => n !== ROWS)) throw new Error('Not all rows were counted.')
  return findings.length
}

function monitorOf(name: MonitorConfig['name']): MonitorConfig {
  const rest = { min: null, max: null, columns: [], severity: 'warning', response: 'tell', runbook: null } as const
  return { name, limit: 0.25, minRows: 200, alpha: 0.001, raiseAfter: 2, clearAfter: 2, ...rest, columns: [] }
}

function profileOf(): BaselineProfile {
  const random = seededRandom(1)
  const values = () => Float64Array.from({ length: 20_000 }, () => random.uniform())
  const kinds = () => Array.from({ length: 20_000 }, () => `kind ${Math.floor(random.uniform() * KINDS)}`)
  return {
    format: 1,
    source: 'holdout',
    rows: 20_000,
    profiledRows: 20_000,
    columns: [
      ...numbers.map((name) => numericProfile(name, values())),
      ...texts.map((name) => categoricalProfile(name, kinds())),
    ],
    prediction: numericProfile('score', values()),
  }
}

/** A lake of one file, as an ingest and a compaction would leave it. */
async function writeLake(home: string): Promise<void> {
  const lakeDir = join(home, 'lake')
  const path = 'data/predictions/model=m/day=2001-01-01/0000000001-00000000.parquet'
  mkdirSync(join(lakeDir, path, '..'), { recursive: true })
  const { columns, digest } = columnsOf(signature)
  const values: Record<string, string> = {
    prediction_id: `'p' || i`,
    row: '0',
    predicted_at: `TIMESTAMP '2001-01-01' + INTERVAL (i * 86) MILLISECOND`,
    endpoint: `'m'`,
    model: `'m'`,
    version: `'1'`,
    origin: `'live'`,
    caller: `'bench'`,
    latency_ms: '1',
    status: '200',
    trial: 'NULL',
    shadow_of: 'NULL',
    score: 'random()',
    ...Object.fromEntries(numbers.map((name) => [name, 'random()'])),
    ...Object.fromEntries(texts.map((name) => [name, `'kind ' || floor(random() * ${KINDS})::INTEGER`])),
  }
  const list = columns.map(({ name, type }) => `(${values[name]})::${type} AS ${quoteName(name)}`)
  const database = await openDuckDB({ threads: 2 })
  const { connection } = database
  try {
    await connection.run(`SELECT setseed(0.5)`)
    await connection.run(
      `COPY (SELECT ${list.join(', ')} FROM range(${ROWS}) t(i)) TO ${quoteText(join(lakeDir, path))} (FORMAT parquet, COMPRESSION zstd)`,
    )
  } finally {
    await database.close()
  }
  const file = {
    path,
    table: 'predictions',
    model: 'm',
    day: '2001-01-01',
    schema: digest,
    rows: ROWS,
    bytes: 0,
  } as const
  const files = [{ ...file, minId: 'p0', maxId: 'p999999' }]
  const manifest = { ...EMPTY_MANIFEST, number: 1, files, schemas: { [digest]: columns } }
  await commitManifest(lakeDir, manifest, () => Promise.resolve())
}
