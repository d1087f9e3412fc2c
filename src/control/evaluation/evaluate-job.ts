import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { DataSource, GateConfig } from '../../config/project.ts'
import { systemClock } from '../../kernel/clock.ts'
import { reasonOf } from '../../kernel/errors.ts'
import type { PlacedTable } from '../../kernel/features/feature-source.ts'
import { readFeatureTables } from '../../kernel/features/read-tables.ts'
import { openDuckDB } from '../../kernel/lake/duckdb.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { createLakeViews } from '../../kernel/lake/views.ts'
import type { RunnableModel } from '../../kernel/model/runnable-model.ts'
import type { EnrichedInputs, ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import { openRunnable, type ModelPlace } from '../../kernel/server/open-runnable.ts'
import { numericProfile } from './baseline-profile.ts'
import type { BaselineProfile } from './baseline-profile.ts'
import type { EvaluationFigures, StabilityFigures } from './evaluation.ts'
import { featuresOf, nameColumns, refuseLabelAsInput } from './features.ts'
import { measure } from './figures.ts'
import type { Measurement, ScoredModel } from './figures.ts'
import { goldenPicker } from './golden-rows.ts'
import type { GoldenPicker } from './golden-rows.ts'
import { rowLosses } from './losses.ts'
import { writeLosses } from './losses-file.ts'
import { modelRunner } from './model-runner.ts'
import type { ModelRunner } from './model-runner.ts'
import { AsideScores, stabilityFigures, stabilityRows } from './predecessors.ts'
import { profileColumns } from './profile-source.ts'
import { readHoldoutClusters, readHoldoutLabels, scoreHoldout } from './score-holdout.ts'
import type { Holdout } from './score-holdout.ts'
import { columnsOf, materialise, parquet, readableColumn, requireColumns, setAsOf } from './source.ts'

/**
 * Measures a model on its holdout, in a short-lived process of its own:
 *
 *   holdout → one Parquet file → labels, clusters → scores of model and champion, row by row
 *           → losses, metrics, BCa intervals → losses file, golden rows, baseline profile
 */
export interface EvaluateJobInput extends ModelPlace {
  /** Of the model: `late-flight@4` */
  version: string
  /** Tables that come with it: each is read whole, and must fit it. */
  tables?: PlacedTable[]
  /** Columns of a single `[N, K]` input; null: the file's own, else the holdout's in order. */
  features: string[] | null
  /** `name` or `name[index]`; null: guessed. */
  scoreOutput: string | null
  champion: ChampionInput | null
  /** Earlier versions for the spread across runs, oldest first; the champion may be one of them. */
  predecessors: ChampionInput[]
  /** Those that are not there to be measured. */
  predecessorsLeftOut: { version: string; why: string }[]
  task: Task
  label: string
  positive: string | null
  holdout: DataSource
  trainingRows: DataSource | null
  projectRoot: string
  /** null: sources can't read the lake's views. */
  lakeDir: string | null
  asOfMs: number
  gate: GateConfig
  goldenRows: number
  seed: number
  /** Files that the job writes; folders are made. */
  holdoutPath: string
  lossesPath: string
  goldenPath: string
  profilePath: string
}

export interface ChampionInput extends ModelPlace {
  /** `late-flight@3` */
  version: string
  /** Columns of its single `[N, K]` input, from its signature. */
  features: string[] | null
  scoreOutput: ScoreOutput | null
  /** What its callers send, where tables give some of its inputs. */
  enriched?: EnrichedInputs
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
  const scored = await scoreBoth(connection, input, holdout, golden, report)
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

/** Both models see each block of rows in turn; the champion is opened here too, and must run on today's holdout. */
async function scoreBoth(
  connection: DuckDBConnection,
  input: EvaluateJobInput,
  holdout: Holdout,
  golden: GoldenPicker,
  report: ReportProgress,
): Promise<Scored> {
  const models: RunnableModel[] = []
  try {
    return await scoreOpened(connection, input, holdout, golden, report, models)
  } finally {
    for (const model of models) await model.close()
  }
}

/** @param opened - gets every model that was opened, for the caller to close */
async function scoreOpened(
  connection: DuckDBConnection,
  input: EvaluateJobInput,
  holdout: Holdout,
  golden: GoldenPicker,
  report: ReportProgress,
  opened: RunnableModel[],
): Promise<Scored> {
  const { champion } = input
  const model = await openRunner(opened, input, holdout, { ...input, who: 'the model' })
  refuseLabelAsInput(model.signature, input.label)
  const rival =
    champion && (await openRunner(opened, input, holdout, { ...champion, who: `the champion ${champion.version}` }))
  const sample = stabilityRows(holdout.rows, input.seed)
  const before = await openPredecessors(opened, input, holdout)
  const aside = new AsideScores(sample, before.runners)
  const [scores, rivalScores] = await scoreHoldout(connection, holdout, {
    runners: rival ? [model, rival] : [model],
    aside,
    onBlock: (block) => golden.offer(block),
    onProgress: (rows) => report(0.15 + 0.5 * (rows / holdout.rows), `scored ${rows} of ${holdout.rows} rows`),
  })
  return {
    model: scoredModel(model, scores!),
    champion:
      champion && rival ? { ...scoredModel(rival, rivalScores!, champion.enriched), version: champion.version } : null,
    sample,
    aside: aside.results(),
    leftOut: before.leftOut,
  }
}

/** What was scored, on which rows besides, and who could not be opened. */
interface Scored extends Pick<Measurement, 'model' | 'champion'> {
  sample: Uint32Array
  aside: ReturnType<AsideScores['results']>
  leftOut: StabilityFigures['leftOut']
}

/** The champion is scored anyway. One that no longer fits the holdout is left out: it must not block its successors. */
async function openPredecessors(
  opened: RunnableModel[],
  input: EvaluateJobInput,
  holdout: Holdout,
): Promise<{ runners: { version: string; runner: ModelRunner }[]; leftOut: StabilityFigures['leftOut'] }> {
  const runners: { version: string; runner: ModelRunner }[] = []
  const leftOut = [...input.predecessorsLeftOut]
  for (const before of input.predecessors.filter(({ version }) => version !== input.champion?.version)) {
    try {
      const runner = await openRunner(opened, input, holdout, { ...before, who: before.version })
      const columns = featuresOf(runner.signature).map((name) => holdout.columns.find((c) => c.name === name)!)
      for (const column of columns) readableColumn(column, 'holdout')
      runners.push({ version: before.version, runner })
    } catch (error) {
      leftOut.push({ version: before.version, why: reasonOf(error) })
    }
  }
  return { runners, leftOut }
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

function scoredModel(
  { signature, scoreOutput }: ModelRunner,
  scores: Float64Array,
  enriched?: EnrichedInputs,
): ScoredModel {
  const asked = enriched === undefined ? signature : { ...signature, enriched }
  return { signature: asked, scoreOutput: scoreOutput!, scores }
}

async function openRunner(
  opened: RunnableModel[],
  { label, task, gate, positive }: EvaluateJobInput,
  holdout: Holdout,
  of: ModelPlace & { features: string[] | null; scoreOutput: ScoreOutput | string | null; who: string },
): Promise<ModelRunner> {
  const model = await openRunnable(of, { features: of.features })
  opened.push(model)
  const columns = holdout.columns.map(({ name }) => name)
  const signature = nameColumns(model.signature, { columns, label, cluster: gate.cluster }, of.who)
  requireColumns(featuresOf(signature), holdout.columns, of.who, 'holdout')
  return modelRunner(model, { signature, task, positive, scoreOutput: of.scoreOutput, who: of.who })
}

/** The inputs as in training, where training rows are declared; the prediction as on the holdout, which is unseen. */
async function makeProfile(
  connection: DuckDBConnection,
  input: EvaluateJobInput,
  holdout: Holdout,
  { signature, scoreOutput, scores }: ScoredModel,
): Promise<BaselineProfile> {
  const inputs = input.trainingRows
    ? await profileTraining(connection, input, input.trainingRows, signature)
    : await profileColumns(connection, { ...holdout, source: 'holdout', seed: input.seed }, signature)
  return { ...inputs, prediction: numericProfile(scoreOutput.output, scores) }
}

async function profileTraining(
  connection: DuckDBConnection,
  { projectRoot, seed, holdoutPath }: EvaluateJobInput,
  source: DataSource,
  signature: Signature,
): Promise<Omit<BaselineProfile, 'prediction'>> {
  const path = `${holdoutPath}.training`
  try {
    const rows = await materialise(connection, { name: 'training rows', source, root: projectRoot }, path, seed)
    return await profileColumns(connection, { relation: parquet(path), rows, source: 'training', seed }, signature)
  } finally {
    await rm(path, { force: true })
  }
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
