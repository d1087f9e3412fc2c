import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { DataSource, GateConfig } from '../../config/project.ts'
import { systemClock } from '../../kernel/clock.ts'
import type { PlacedTable } from '../../kernel/features/feature-source.ts'
import { readFeatureTables } from '../../kernel/features/read-tables.ts'
import { openDuckDB } from '../../kernel/lake/duckdb.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { createLakeViews } from '../../kernel/lake/views.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { EvaluationFigures, StabilityFigures } from './evaluation.ts'
import { measure } from './figures.ts'
import { goldenPicker } from './golden-rows.ts'
import { rowLosses } from './losses.ts'
import { writeLosses } from './losses-file.ts'
import { makeProfile } from './make-profile.ts'
import { stabilityFigures } from './predecessors.ts'
import { readHoldoutClusters, readHoldoutLabels } from './score-holdout.ts'
import type { Holdout } from './score-holdout.ts'
import { scoreModels, type ModelsToScore, type Scored } from './score-models.ts'
import { columnsOf, materialise, parquet, setAsOf } from './source.ts'

/**
 * Measures a model on its holdout, in a short-lived process of its own:
 *
 *   holdout → one Parquet file → labels, clusters → scores of model and champion, row by row
 *           → losses, metrics, BCa intervals → losses file, golden rows, baseline profile
 */
export interface EvaluateJobInput extends ModelsToScore {
  /** Of the model: `late-flight@4` */
  version: string
  /** Tables that come with it: each is read whole, and must fit it. */
  tables?: PlacedTable[]
  holdout: DataSource
  trainingRows: DataSource | null
  projectRoot: string
  /** null: sources can't read the lake's views. */
  lakeDir: string | null
  asOfMs: number
  gate: GateConfig
  goldenRows: number
  /** Files that the job writes; folders are made. */
  holdoutPath: string
  lossesPath: string
  goldenPath: string
  profilePath: string
}

export interface EvaluateJobOutput extends EvaluationFigures {
  /** ms by the monotonic clock. */
  durations: { materialiseMs: number; scoreMs: number; compareMs: number; keepMs: number; totalMs: number }
  /** Why there are fewer golden rows than asked for; null where there are enough. */
  goldenWhy: string | null
  goldenRows: number
}

/** @param fraction - of the whole job, 0 … 1, never decreasing */
export type ReportProgress = (fraction: number, text: string) => void

/** Rows are read by one thread, so that an order not asked for in SQL is still the same every time. */
const DUCKDB = { threads: 1, memoryLimitMb: 1024 }

/**
 * @throws SourceError, SourceColumnError, SourceValueError, LabelError for the data; ModelNotServableError,
 * ModelRunError, ScoreOutputError, ScoreValueError for a model: each names the rows, columns or outputs in question;
 * FeatureTableError for a table that comes with it
 */
export async function runEvaluateJob(input: EvaluateJobInput, report: ReportProgress): Promise<EvaluateJobOutput> {
  const paths = [input.holdoutPath, input.lossesPath, input.goldenPath, input.profilePath]
  for (const path of paths) await mkdir(dirname(path), { recursive: true })
  const database = await openDuckDB({ ...DUCKDB, root: input.projectRoot })
  try {
    return await evaluate(database.connection, input, report)
  } finally {
    await database.close()
  }
}

async function evaluate(
  connection: DuckDBConnection,
  input: EvaluateJobInput,
  report: ReportProgress,
): Promise<EvaluateJobOutput> {
  const lap = stopwatch()
  report(0, 'reading the holdout')
  const holdout = await prepareHoldout(connection, input)
  const labels = await readHoldoutLabels(connection, holdout, { ...input, column: input.label })
  const clusters = await readHoldoutClusters(connection, holdout, input.gate.cluster)
  const materialiseMs = lap()

  const golden = goldenPicker(input.goldenRows, holdout.rows)
  const scored = await scoreModels(connection, input, holdout, {
    onBlock: (block) => golden.offer(block),
    onProgress: (rows) => report(0.15 + 0.5 * (rows / holdout.rows), `scored ${rows} of ${holdout.rows} rows`),
  })
  const scoreMs = lap()

  report(0.7, `comparing on ${holdout.rows} rows with ${input.gate.resamples} resamples`)
  const { figures, losses } = measure({ ...input, ...scored, labels, clusters })
  const signature = await withTables(figures.signature, input.tables ?? [])
  const stability = measureStability(input, scored, labels.values)
  const compareMs = lap()

  report(0.85, 'keeping losses, golden rows and the baseline profile')
  await writeLosses(connection, input.lossesPath, losses)
  const goldenFile = golden.file(scored.model.scoreOutput)
  await writeFile(input.goldenPath, JSON.stringify(goldenFile))
  await writeFile(input.profilePath, JSON.stringify(await makeProfile(connection, input, holdout, scored.model)))
  const holdoutDigest = await digestOf(input.holdoutPath)
  const keepMs = lap()
  report(1, 'done')
  return {
    ...figures,
    signature,
    stability,
    holdoutDigest,
    goldenRows: goldenFile.rows.length,
    goldenWhy: goldenFile.why,
    durations: { materialiseMs, scoreMs, compareMs, keepMs, totalMs: materialiseMs + scoreMs + compareMs + keepMs },
  }
}

/** Rows of the holdout have every column: tables are proven here, and joined by whoever serves. */
async function withTables(signature: Signature, tables: readonly PlacedTable[]): Promise<Signature> {
  return tables.length === 0 ? signature : (await readFeatureTables(tables, signature)).signature
}

async function prepareHoldout(connection: DuckDBConnection, input: EvaluateJobInput): Promise<Holdout> {
  await setAsOf(connection, input.asOfMs)
  if (input.lakeDir !== null) await createLakeViews(connection, input.lakeDir)
  const from = { name: 'holdout', source: input.holdout, root: input.projectRoot }
  const rows = await materialise(connection, from, input.holdoutPath, input.seed)
  const relation = parquet(input.holdoutPath)
  return { relation, rows, columns: await columnsOf(connection, relation) }
}

function measureStability(input: EvaluateJobInput, scored: Scored, labels: Float64Array): StabilityFigures {
  const { model, champion, sample, aside, leftOut } = scored
  const at = (values: Float64Array) => Float64Array.from(sample, (row) => values[row]!)
  const [known, wanted] = [at(labels), input.predecessors.map(({ version }) => version)]
  const lossOf = (scores: Float64Array) => {
    const losses = rowLosses(input.gate.loss, scores, known)
    return losses.reduce((total, loss) => total + loss, 0) / losses.length
  }
  const isBefore = champion !== null && wanted.includes(champion.version)
  const results = isBefore ? [...aside, { version: champion.version, scores: at(champion.scores) }] : aside
  return stabilityFigures(
    { measured: sample.length, all: labels.length },
    { version: input.version, meanLoss: lossOf(at(model.scores)) },
    results.toSorted((a, b) => wanted.indexOf(a.version) - wanted.indexOf(b.version)),
    lossOf,
    leftOut,
  )
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return `sha256:${hash.digest('hex')}`
}

/** ms since the last call, or since it was made. */
function stopwatch(): () => number {
  let last = systemClock.monotonicMs()
  return () => {
    const now = systemClock.monotonicMs()
    const lap = now - last
    last = now
    return Math.round(lap)
  }
}
