import type { LossName } from '../../config/project.ts'
import { hasTrials } from '../../kernel/lake/columns.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { quoteText, timestampLiteral } from '../../kernel/lake/duckdb.ts'
import { dayOf } from '../../kernel/lake/lake-files.ts'
import type { LakeFile, Manifest } from '../../kernel/lake/manifest.ts'
import type { Task } from '../../kernel/model/signature.ts'
import { parquetFiles } from '../../kernel/lake/parquet-files.ts'
import { MEASURABLE_MAX } from '../../kernel/stats/measurable.ts'
import { LOG_LOSS_CLIP } from '../evaluation/losses.ts'
import { bucketSql, queryRows } from './count-rows.ts'
import { scoreValue } from './lake-columns.ts'
import type { QualityBucket, QualityQuestion } from './observation.ts'

/**
 * What became of live predictions in a stretch of calendar time, by the labels that are in the lake now. Only files of
 * those days are opened, and of the labels those whose ids overlap.
 */
export async function measureQuality(
  connection: DuckDBConnection,
  lakeDir: string,
  manifest: Manifest,
  question: QualityQuestion,
): Promise<QualityBucket[]> {
  const files = manifest.files.filter((file) => isWithin(file, question))
  const sources = [...Map.groupBy(files, (file) => file.schema)].flatMap(([schema, same]) =>
    scored(lakeDir, same, manifest.schemas[schema ?? ''] ?? [], question),
  )
  if (sources.length === 0) return []
  const labels = manifest.files.filter((file) => file.table === 'labels' && overlaps(file, files))
  const rows = await queryRows(
    connection,
    `SELECT version, bucket, count(score), count(loss), coalesce(sum(loss), 0), coalesce(sum(loss * loss), 0),
       coalesce(sum(label) FILTER (loss IS NOT NULL), 0), coalesce(sum(score) FILTER (loss IS NOT NULL), 0)
     FROM (SELECT version, ${bucketSql(question.bucketMs)} AS bucket, score, label,
       CASE WHEN abs(label) < ${MEASURABLE_MAX}::DOUBLE AND abs(score) < ${MEASURABLE_MAX}::DOUBLE THEN ${lossSql()} END AS loss
       FROM (${sources.join(' UNION ALL ')}) p LEFT JOIN (${labelsSql(lakeDir, labels, question)}) l
       ON l.prediction_id = p.prediction_id AND l."row" = p."row") GROUP BY ALL`,
  )
  return rows.map(([version, bucket, predictions, labelled, ...sums]) => {
    const [lossSum, lossSquares, labelSum, scoreSum] = sums.map(Number) as [number, number, number, number]
    const versionId = `${question.model}@${String(version)}`
    const counts = { predictions: Number(predictions), labelled: Number(labelled) }
    return { versionId, bucketMs: Number(bucket), ...counts, lossSum, lossSquares, labelSum, scoreSum }
  })
}

function isWithin(file: LakeFile, { model, fromMs, toMs }: QualityQuestion): boolean {
  if (file.table !== 'predictions' || file.model !== model) return false
  return file.day >= dayOf(fromMs) && file.day <= dayOf(toMs - 1)
}

function overlaps(file: LakeFile, others: LakeFile[]): boolean {
  return others.some((other) => file.minId <= other.maxId && other.minId <= file.maxId)
}

/** One query for each version that these files may hold: `prediction_id, row, predicted_at, version, score, loss_name`. */
function scored(
  lakeDir: string,
  files: LakeFile[],
  columns: Manifest['schemas'][string],
  { task, versions, fromMs, toMs }: QualityQuestion,
): string[] {
  return versions.flatMap(({ version, signature, scoreOutput, loss }) => {
    const value = scoreValue(signature, scoreOutput, columns)
    if (value === null) return []
    const number = `(${value.sql})::DOUBLE`
    const score = task === 'binary' ? `least(greatest(${number}, 0), 1)` : number
    // A member of a gather is labelled by the answer that the client got.
    const labelledAs = hasTrials(columns) ? 'coalesce(shadow_of, prediction_id)' : 'prediction_id'
    return [
      `SELECT ${labelledAs} AS prediction_id, "row", predicted_at, version, '${loss}' AS loss_name,
         CASE WHEN isfinite(${number}) THEN ${score} END AS score
       FROM ${parquetFiles(lakeDir, files)}
       WHERE version = ${quoteText(version)} AND origin = 'live' AND status = 200
         AND predicted_at >= ${timestampLiteral(fromMs)} AND predicted_at < ${timestampLiteral(toMs)}`,
    ]
  })
}

/** The latest label of each row, as a number. */
function labelsSql(lakeDir: string, files: LakeFile[], question: QualityQuestion): string {
  if (files.length === 0) return `SELECT '' AS prediction_id, 0 AS "row", 0::DOUBLE AS label WHERE false`
  return `SELECT prediction_id, "row", arg_max(${labelSql(question.task, question.positive)},
      {labelled_at: labelled_at, arrival: arrival}) AS label
    FROM ${parquetFiles(lakeDir, files)} GROUP BY prediction_id, "row"`
}

/** As the evaluation reads labels, see readLabels. */
function labelSql(task: Task, positive: string | null): string {
  if (task === 'regression') return 'label_number'
  const isPositive =
    positive === null ? `lower(label_text) IN ('1', 'true', 'yes')` : `label_text = ${quoteText(positive)}`
  return `(CASE WHEN ${isPositive} THEN 1 ELSE 0 END)::DOUBLE`
}

const clipped = `least(greatest(score, ${LOG_LOSS_CLIP}), 1 - ${LOG_LOSS_CLIP})`

/** The same losses as in evaluation/losses.ts, row by row. */
const LOSS_SQL: Record<LossName, string> = {
  logLoss: `-ln(CASE WHEN label = 1 THEN ${clipped} ELSE 1 - ${clipped} END)`,
  brier: `(score - label) * (score - label)`,
  squaredError: `(score - label) * (score - label)`,
  absoluteError: `abs(score - label)`,
}

function lossSql(): string {
  return `CASE loss_name ${Object.entries(LOSS_SQL)
    .map(([name, sql]) => `WHEN '${name}' THEN ${sql}`)
    .join(' ')} END`
}
