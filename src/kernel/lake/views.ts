import type { Origin } from '../contract/prediction.ts'
import { LABEL_FILE_COLUMNS, META_COLUMNS, metaColumnsOf } from './columns.ts'
import type { DuckDBConnection } from './duckdb.ts'
import { quoteName, quoteText } from './duckdb.ts'
import type { LakeColumn, LakeFile, Manifest } from './manifest.ts'
import { readManifest } from './manifest.ts'
import { parquetFiles } from './parquet-files.ts'
import { unifyTypes } from './unify-types.ts'

export interface LakeViewsOptions {
  /** Reads the lake as of this number; the newest where it is not given. */
  manifest?: number
  /** Which predictions `predictions` and the models' views show; `live` alone unless said. */
  origins?: Origin[]
}

/** Names that a model's view can't have, since the lake's own views do. */
const OWN_VIEWS = ['labels', 'predictions', 'predictions_all']

/**
 * Creates the views that SQL over the lake sees, all at one manifest:
 *
 * - `labels`: the latest label of each prediction row (by `labelled_at`, then by arrival): `prediction_id`, `row`,
 *   `label`, `label_text`, `labelled_at`
 * - `predictions`: one row per prediction and batch row, all models, joined with their labels; origin `live`
 * - `predictions_all`: the same for every origin; a copy (`shadow_of`) has the labels of the live prediction
 * - one view per model under its name, e.g. `"late-flight"`, as `predictions` but with its own columns only
 *
 * `label` is a DOUBLE (booleans are 1 and 0) where at least half of the labels so far are numbers, else it is text;
 * `label_text` is always text. A model named like one of the lake's views, or like another but for its case, gets `_2`.
 * @returns the manifest's number and the views' names
 */
export async function createLakeViews(
  connection: DuckDBConnection,
  lakeDir: string,
  options: LakeViewsOptions = {},
): Promise<{ manifest: number; views: string[] }> {
  const manifest = await readManifest(lakeDir, options.manifest)
  const origins = options.origins ?? ['live']
  const isLive = `origin IN (${origins.map(quoteText).join(', ')})`
  const create = (name: string, sql: string) => connection.run(`CREATE OR REPLACE VIEW ${quoteName(name)} AS ${sql}`)

  await create('labels', labelsSql(lakeDir, manifest))
  const files = manifest.files.filter((file) => file.table === 'predictions')
  await create('predictions_all', joinLabels(predictionsSql(lakeDir, manifest, files), numericLabels(manifest)))
  await create('predictions', `FROM predictions_all WHERE ${isLive}`)
  const names = viewNames(Object.keys(manifest.models))
  for (const [model, name] of names) {
    const own = predictionsSql(
      lakeDir,
      manifest,
      files.filter((file) => file.model === model),
    )
    await create(name, `FROM (${joinLabels(own, numericLabels(manifest, model))}) WHERE ${isLive}`)
  }
  return { manifest: manifest.number, views: [...OWN_VIEWS, ...names.values()] }
}

/** Names of the models' views; the same models give the same names. */
export function viewNames(models: readonly string[]): Map<string, string> {
  const taken = new Set(OWN_VIEWS)
  const names = new Map<string, string>()
  for (const model of models.toSorted()) {
    let name = model
    for (let n = 2; taken.has(name.toLowerCase()); n++) name = `${model}_${n}`
    taken.add(name.toLowerCase())
    names.set(model, name)
  }
  return names
}

function labelsSql(lakeDir: string, manifest: Manifest): string {
  const files = manifest.files.filter((file) => file.table === 'labels')
  const from = files.length === 0 ? emptyTable(LABEL_FILE_COLUMNS) : `FROM ${parquetFiles(lakeDir, files)}`
  const label = numericLabels(manifest) ? 'label_number' : 'label_text'
  return `SELECT prediction_id, "row", ${label} AS label, label_text, labelled_at, label_number FROM (
    SELECT prediction_id, "row", unnest(max_by(
      {label_text: label_text, label_number: label_number, labelled_at: labelled_at}, {labelled_at: labelled_at, arrival: arrival}
    )) FROM (${from}) GROUP BY prediction_id, "row")`
}

function joinLabels(predictions: string, numeric: boolean): string {
  const label = numeric ? 'l.label_number' : 'l.label_text'
  return `SELECT p.*, ${label} AS label, l.label_text, l.labelled_at FROM (${predictions}) p
    LEFT JOIN labels l ON l.prediction_id = coalesce(p.shadow_of, p.prediction_id) AND l."row" = p."row"`
}

/** Each schema is read by itself, newest first, and brought to common types; columns that a version lacks are null. */
function predictionsSql(lakeDir: string, manifest: Manifest, files: LakeFile[]): string {
  if (files.length === 0) return emptyTable(META_COLUMNS)
  const groups = [...Map.groupBy(files.toReversed(), (file) => file.schema ?? '')].map(([schema, same]) => ({
    columns: manifest.schemas[schema] ?? [],
    from: parquetFiles(lakeDir, same.toReversed()),
  }))
  const shown = groups.map(({ columns, from }) => ({ columns: shownColumns(columns), from }))
  const types = unifyTypes(shown.map((group) => group.columns))
  return shown
    .map(({ columns, from }) => `SELECT ${columnList(columns, types)} FROM ${from}`)
    .join(' UNION ALL BY NAME ')
}

interface ShownColumn extends LakeColumn {
  /** SQL over the file's columns. */
  from: string
}

/** META_COLUMNS, then the model's: also for files that were written before some of the former existed. */
function shownColumns(columns: readonly LakeColumn[]): ShownColumn[] {
  const held = metaColumnsOf(columns)
  const meta = META_COLUMNS.map(({ name, type }, at) => ({
    name,
    type,
    from: at < held.length ? quoteName(name) : `NULL::${type}`,
  }))
  const own = columns.slice(held.length)
  const taken = new Set([...META_COLUMNS, ...own].map(({ name }) => name.toLowerCase()))
  return [
    ...meta,
    ...own.map((column) => ({ ...column, name: freeOf(column.name, taken), from: quoteName(column.name) })),
  ]
}

/** A model's column from before META_COLUMNS took its name is shown as a newer one of the same name would be. */
function freeOf(wanted: string, taken: Set<string>): string {
  if (!META_COLUMNS.some(({ name }) => name === wanted.toLowerCase())) return wanted
  let name = `input_${wanted}`
  for (let n = 2; taken.has(name.toLowerCase()); n++) name = `input_${wanted}_${n}`
  taken.add(name.toLowerCase())
  return name
}

function columnList(columns: readonly ShownColumn[], types: Map<string, string>): string {
  return columns
    .map(({ name, from }) => {
      const type = types.get(name.toLowerCase())
      return `${type === undefined ? from : `CAST(${from} AS ${type})`} AS ${quoteName(name)}`
    })
    .join(', ')
}

function emptyTable(columns: readonly LakeColumn[]): string {
  return `SELECT ${columns.map(({ name, type }) => `NULL::${type} AS ${quoteName(name)}`).join(', ')} WHERE false`
}

function numericLabels(manifest: Manifest, model?: string): boolean {
  if (model === undefined) return manifest.labels.numeric * 2 >= manifest.labels.rows
  const totals = manifest.models[model]
  return totals === undefined || totals.numericLabels * 2 >= totals.labelled
}
