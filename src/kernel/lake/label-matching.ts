import type { DuckDBConnection } from './duckdb.ts'
import { parquetFiles } from './parquet-files.ts'
import type { LakeFile } from './manifest.ts'

/** What a commit adds to the totals of labels. */
export interface NewMatches {
  /** Prediction rows that had no label before. */
  rows: number
  numeric: number
  matched: number
  byModel: Record<string, { labelled: number; numericLabels: number }>
}

/**
 * Counts, exactly and from the new files alone: new labels against all predictions, and new predictions against the
 * labels that were there before them. Only files whose ids overlap are opened.
 */
export async function matchLabels(
  connection: DuckDBConnection,
  lakeDir: string,
  before: readonly LakeFile[],
  added: readonly LakeFile[],
): Promise<NewMatches> {
  const found: NewMatches = { rows: 0, numeric: 0, matched: 0, byModel: {} }
  const newLabels = added.filter((file) => file.table === 'labels')
  const newPredictions = added.filter((file) => file.table === 'predictions')
  const oldLabels = before.filter((file) => file.table === 'labels')
  if (newLabels.length > 0) {
    await firstLabels(connection, lakeDir, newLabels, overlapping(oldLabels, newLabels))
    const [counts] = await rowsOfQuery(
      connection,
      `SELECT count(*)::INTEGER, (count(*) FILTER (numeric))::INTEGER FROM first_labels`,
    )
    found.rows = Number(counts?.[0])
    found.numeric = Number(counts?.[1])
    const predictions = [
      ...overlapping(
        before.filter((file) => file.table === 'predictions'),
        newLabels,
      ),
      ...newPredictions,
    ]
    await addMatches(connection, found, lakeDir, predictions)
  }
  const waiting = overlapping(oldLabels, newPredictions)
  if (waiting.length > 0) {
    await firstLabels(connection, lakeDir, waiting, [])
    await addMatches(connection, found, lakeDir, newPredictions)
  }
  return found
}

/** A table `first_labels` of the rows labelled in `files` and not in `known`. */
async function firstLabels(
  connection: DuckDBConnection,
  lakeDir: string,
  files: LakeFile[],
  known: LakeFile[],
): Promise<void> {
  const seen =
    known.length === 0
      ? ''
      : `ANTI JOIN ${parquetFiles(lakeDir, known)} k ON k.prediction_id = l.prediction_id AND k.row = l.row`
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE first_labels AS
     SELECT l.prediction_id, l.row, bool_or(l.label_number IS NOT NULL) AS numeric
     FROM ${parquetFiles(lakeDir, files)} l ${seen} GROUP BY ALL`,
  )
}

async function addMatches(
  connection: DuckDBConnection,
  found: NewMatches,
  lakeDir: string,
  predictions: LakeFile[],
): Promise<void> {
  if (predictions.length === 0) return
  const rows = await rowsOfQuery(
    connection,
    `SELECT p.model, count(*)::INTEGER, (count(*) FILTER (l.numeric))::INTEGER
     FROM (${predictionKeys(lakeDir, predictions)}) p
     JOIN first_labels l ON l.prediction_id = p.prediction_id AND l.row = p.row GROUP BY p.model`,
  )
  for (const [model, labelled, numeric] of rows) {
    const sum = (found.byModel[String(model)] ??= { labelled: 0, numericLabels: 0 })
    sum.labelled += Number(labelled)
    sum.numericLabels += Number(numeric)
    found.matched += Number(labelled)
  }
}

function overlapping(files: readonly LakeFile[], others: readonly LakeFile[]): LakeFile[] {
  return files.filter((file) => others.some((other) => file.minId <= other.maxId && other.minId <= file.maxId))
}

/** Prediction files of different schemas can't be read as one table, so each schema is read by itself. */
function predictionKeys(lakeDir: string, files: readonly LakeFile[]): string {
  return [...Map.groupBy(files, (file) => file.schema).values()]
    .map((same) => `SELECT prediction_id, "row", model FROM ${parquetFiles(lakeDir, same)}`)
    .join(' UNION ALL ')
}

async function rowsOfQuery(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows()
}
