import type { LossName } from '../../config/project.ts'
import { columnsOf, hasTrials } from '../../kernel/lake/columns.ts'
import { openDuckDB, quoteName, quoteText, type DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { readManifest, type LakeColumn, type LakeFile, type Manifest } from '../../kernel/lake/manifest.ts'
import { parquetFiles } from '../../kernel/lake/parquet-files.ts'
import type { ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import { MEASURABLE_MAX } from '../../kernel/stats/measurable.ts'
import { LOG_LOSS_CLIP } from '../evaluation/losses.ts'
import { NO_MOMENTS, type ArmFigures, type Moments, type TrialFigures } from './trial.ts'

/**
 * Counts what the lake holds of trials, in a short-lived process of its own. Each of a request's r rows counts 1/r among
 * the predictions, and the mean of its labelled rows is its loss: rows of one request share its fate, and a thousand of
 * them are not a thousand findings.
 */
export interface TrialJobInput {
  lakeDir: string
  model: string
  /** Files of earlier days (UTC, calendar, `2001-01-31`) hold nothing of these trials. */
  fromDay: string
  trials: { id: string; kind: 'shadow' | 'canary' }[]
  challenger: ArmInput
  champion: ArmInput
  /** Inner edges of the bins for predictions, ascending; null: they are not counted. */
  edges: number[] | null
  /** Null: labels can't be read. */
  labels: { task: Task; positive: string | null; loss: LossName } | null
}

export interface ArmInput {
  /** As the lake has it: `7`. */
  version: string
  /** Null: not known, then neither predictions nor losses are counted. */
  score: ScoreOutput | null
  signature: Signature
}

export interface TrialJobOutput {
  manifest: number
  trials: TrialFigures[]
}

const DUCKDB = { threads: 1, memoryLimitMb: 512 }

/** @throws LakeManifestError where the lake can't be read */
export async function runTrialJob(input: TrialJobInput): Promise<TrialJobOutput> {
  const manifest = await readManifest(input.lakeDir)
  const database = await openDuckDB(DUCKDB)
  try {
    return { manifest: manifest.number, trials: await measure(database.connection, input, manifest) }
  } finally {
    await database.close()
  }
}

async function measure(
  connection: DuckDBConnection,
  input: TrialJobInput,
  manifest: Manifest,
): Promise<TrialFigures[]> {
  const files = manifest.files.filter(
    (file) => file.table === 'predictions' && file.model === input.model && file.day >= input.fromDay,
  )
  const rows = predictionsSql(input, manifest, files)
  if (rows === null) return input.trials.map(({ id }) => emptyFigures(id, input))
  await connection.run(`CREATE TEMP TABLE answers AS ${rows}`)
  await connection.run(`CREATE TEMP TABLE losses AS ${lossesSql(input, labelsSql(input.lakeDir, manifest, files))}`)
  const found = new Map(input.trials.map(({ id }) => [id, emptyFigures(id, input)]))
  for (const [trial, arm, requests] of await query(
    connection,
    `SELECT trial, arm, count(DISTINCT prediction_id)::DOUBLE FROM answers GROUP BY ALL`,
  ))
    armOf(found, trial, arm).requests = Number(requests)
  for (const [trial, arm, bin, n] of await query(connection, binsSql(input))) {
    const { bins } = armOf(found, trial, arm)
    bins[Number(bin)] = Number(n)
  }
  for (const [trial, arm, ...moments] of await query(
    connection,
    `SELECT trial, arm, ${momentsOf('loss', 'positive')} FROM losses GROUP BY ALL`,
  ))
    armOf(found, trial, arm).losses = toMoments(moments)
  for (const [trial, ...moments] of await query(connection, pairsSql()))
    found.get(String(trial))!.paired = toMoments(moments)
  return [...found.values()]
}

/** Every answered request of the trials, with the arm that answered it. Null: there is none. */
function predictionsSql(input: TrialJobInput, manifest: Manifest, files: LakeFile[]): string | null {
  const shadows = input.trials.filter(({ kind }) => kind === 'shadow').map(({ id }) => quoteText(id))
  const trials = input.trials.map(({ id }) => quoteText(id)).join(', ')
  const [challenger, champion] = [quoteText(input.challenger.version), quoteText(input.champion.version)]
  const copied = shadows.length === 0 ? 'false' : `trial IN (${shadows.join(', ')})`
  const arm = `CASE WHEN version = ${challenger} AND (origin = 'shadow') = (${copied}) THEN 'challenger'
    WHEN version = ${champion} AND origin = 'live' THEN 'champion' END`
  const groups = [...Map.groupBy(files, (file) => file.schema ?? '')]
    .map(([schema, same]) => ({ columns: manifest.schemas[schema] ?? [], from: parquetFiles(input.lakeDir, same) }))
    // Files from before there were trials hold none.
    .filter(({ columns }) => hasTrials(columns))
  if (groups.length === 0 || input.trials.length === 0) return null
  const selects = groups.map(
    ({ columns, from }) => `SELECT prediction_id, "row", trial, shadow_of, ${arm} AS arm,
      CASE version WHEN ${challenger} THEN ${scoreSql(input.challenger, columns)}
        ELSE ${scoreSql(input.champion, columns)} END AS score
    FROM ${from} WHERE trial IN (${trials}) AND status = 200 AND origin IN ('live', 'shadow')`,
  )
  return `SELECT * FROM (${selects.join(' UNION ALL ')}) WHERE arm IS NOT NULL`
}

/** @param columns - of the files: those of the other version may lack this one's output */
function scoreSql({ score, signature }: ArmInput, columns: readonly LakeColumn[]): string {
  const tensor = columnsOf(signature).outputs.find((output) => output.tensor === score?.output)
  if (tensor === undefined || score === null) return 'NULL::DOUBLE'
  const list = tensor.columns.find((column) => column.element === null)
  const column = list ?? tensor.columns.find((c) => c.element === (score.index ?? 0))
  if (column === undefined || !columns.some(({ name, type }) => name === column.name && type === column.type))
    return 'NULL::DOUBLE'
  const value = list === undefined ? quoteName(column.name) : `${quoteName(column.name)}[${(score.index ?? 0) + 1}]`
  return `TRY_CAST(${value} AS DOUBLE)`
}

/** The latest label of each row, of the predictions in `files` alone where that can be told. */
function labelsSql(lakeDir: string, manifest: Manifest, files: LakeFile[]): string | null {
  const labels = manifest.files.filter(
    (file) => file.table === 'labels' && files.some((other) => file.minId <= other.maxId && other.minId <= file.maxId),
  )
  if (labels.length === 0) return null
  return `SELECT prediction_id, "row", max_by(label_text, {labelled_at: labelled_at, arrival: arrival}) AS label_text
    FROM ${parquetFiles(lakeDir, labels)} GROUP BY prediction_id, "row"`
}

/** Mean loss of each labelled request. */
function lossesSql({ labels }: TrialJobInput, latest: string | null): string {
  if (labels === null || latest === null)
    return `SELECT NULL::VARCHAR AS trial, NULL::VARCHAR AS arm, NULL::VARCHAR AS request, NULL::DOUBLE AS loss, NULL::DOUBLE AS positive WHERE false`
  const loss = lossSql(labels.loss)
  const positive = labels.task === 'regression' ? 'NULL::DOUBLE' : 'truth'
  return `SELECT trial, arm, request, avg(loss) AS loss, avg(positive) AS positive FROM (
      SELECT trial, arm, request, ${loss} AS loss, ${positive} AS positive FROM (
        SELECT trial, arm, coalesce(shadow_of, a.prediction_id) AS request, score, ${truthSql(labels)} AS truth
        FROM answers a JOIN (${latest}) l
          ON l.prediction_id = coalesce(a.shadow_of, a.prediction_id) AND l."row" = a."row"
      ) WHERE abs(truth) < ${MEASURABLE_MAX}::DOUBLE AND abs(score) < ${MEASURABLE_MAX}::DOUBLE
    ) GROUP BY trial, arm, request`
}

/** As the evaluation reads labels; what can't be read is left out. */
function truthSql({ task, positive }: NonNullable<TrialJobInput['labels']>): string {
  if (task === 'regression') return `TRY_CAST(l.label_text AS DOUBLE)`
  const isPositive =
    positive === null ? `lower(l.label_text) IN ('1', 'true', 'yes')` : `l.label_text = ${quoteText(positive)}`
  return `CASE WHEN ${isPositive} THEN 1.0::DOUBLE ELSE 0.0::DOUBLE END`
}

/** The same formulas as evaluation/losses.ts. */
function lossSql(loss: LossName): string {
  switch (loss) {
    case 'logLoss': {
      const clipped = `least(greatest(score, ${LOG_LOSS_CLIP}), ${1 - LOG_LOSS_CLIP})`
      return `-ln(CASE WHEN truth = 1 THEN ${clipped} ELSE 1 - ${clipped} END)`
    }
    case 'brier':
    case 'squaredError':
      return `(score - truth) * (score - truth)`
    case 'absoluteError':
      return `abs(score - truth)`
  }
}

/** Bins as kernel/stats/histogram.ts numbers them, and one more for what is no finite number. */
function binsSql({ edges }: TrialJobInput): string {
  if (edges === null) return `SELECT NULL, NULL, NULL, NULL WHERE false`
  const cases = edges.map((edge, bin) => `WHEN score <= ${sqlNumber(edge)} THEN ${bin}`).join(' ')
  const bin = `CASE WHEN score IS NULL OR NOT isfinite(score) THEN ${edges.length + 1} ${cases} ELSE ${edges.length} END`
  return `SELECT trial, arm, bin, sum(weight)::DOUBLE FROM (
    SELECT trial, arm, ${bin} AS bin, 1.0::DOUBLE / count(*) OVER (PARTITION BY prediction_id) AS weight FROM answers
  ) GROUP BY ALL`
}

function pairsSql(): string {
  return `SELECT c.trial, ${momentsOf('(c.loss - o.loss)', 'c.positive')}
    FROM losses c JOIN losses o ON o.trial = c.trial AND o.request = c.request AND o.arm = 'champion'
    WHERE c.arm = 'challenger' GROUP BY c.trial`
}

const sqlNumber = (value: number) => `${value}::DOUBLE`
const momentsOf = (value: string, positive: string) =>
  `count(*)::DOUBLE, sum(${value})::DOUBLE, sum(${value} * ${value})::DOUBLE, sum(${positive})::DOUBLE`

function toMoments([n, sum, squares, positives]: unknown[]): Moments {
  const known = { n: Number(n), sum: Number(sum), squares: Number(squares) }
  return positives === null ? known : { ...known, positives: Number(positives) }
}

function emptyFigures(trialId: string, { edges }: TrialJobInput): TrialFigures {
  const arm = (): ArmFigures => ({
    requests: 0,
    bins: edges === null ? [] : Array.from({ length: edges.length + 2 }, () => 0),
    losses: NO_MOMENTS,
  })
  return { trialId, challenger: arm(), champion: arm(), paired: NO_MOMENTS }
}

function armOf(found: Map<string, TrialFigures>, trial: unknown, arm: unknown): ArmFigures {
  return found.get(String(trial))![arm === 'challenger' ? 'challenger' : 'champion']
}

async function query(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows()
}
