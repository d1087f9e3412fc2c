import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { LossName } from '../../config/project.ts'
import { messageOf } from '../../kernel/errors.ts'
import { columnsOf as lakeColumnsOf } from '../../kernel/lake/columns.ts'
import { openDuckDB, quoteName, timestampLiteral, type DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { readManifest } from '../../kernel/lake/manifest.ts'
import { createLakeViews, viewNames } from '../../kernel/lake/views.ts'
import type { ScoreOutput, Signature, Task } from '../../kernel/model/signature.ts'
import { openRunnable, type ModelPlace } from '../../kernel/server/open-runnable.ts'
import { featuresOf } from '../evaluation/features.ts'
import { bestConstant, rowLosses } from '../evaluation/losses.ts'
import { modelRunner } from '../evaluation/model-runner.ts'
import { readHoldoutLabels, scoreHoldout, type Holdout } from '../evaluation/score-holdout.ts'
import { columnsOf, materialise, parquet, requireColumns } from '../evaluation/source.ts'
import type { MeasuredVersion } from './reevaluation.ts'

/** Measures model files on what was served and labelled in one window of the lake, in a process of its own. */
export interface ReevaluateJobInput {
  lakeDir: string
  root: string
  model: string
  /** Predictions from here to there, calendar; the end is not part of it. */
  fromMs: number
  toMs: number
  task: Task
  positive: string | null
  loss: LossName
  versions: (ModelPlace & { versionId: string; signature: Signature; scoreOutput: ScoreOutput | null })[]
  /** Of more labelled rows than this a sample by their ids is taken. */
  maxRows: number
  /** The rows, a file that the job writes. */
  rowsPath: string
}

export interface ReevaluateJobOutput {
  versions: MeasuredVersion[]
  /** Live rows of the window with a label, and all of them. */
  labelled: number
  predictions: number
  /** Of the best constant on the same rows; null: there were none. */
  constantLoss: number | null
  /** Why the rows can't be trusted or measured; null: nothing was found. */
  dataTrouble: string | null
}

const DUCKDB = { threads: 1, memoryLimitMb: 512 }

/** A smaller share of labels than this says more of who sends labels than of the models. */
const LABELLED_SHARE_MIN = 0.1

export async function runReevaluateJob(input: ReevaluateJobInput): Promise<ReevaluateJobOutput> {
  await mkdir(dirname(input.rowsPath), { recursive: true })
  const database = await openDuckDB({ ...DUCKDB, root: input.root })
  try {
    return await measureWindow(database.connection, input)
  } finally {
    await database.close()
  }
}

async function measureWindow(connection: DuckDBConnection, input: ReevaluateJobInput): Promise<ReevaluateJobOutput> {
  const view = await viewOf(connection, input)
  const [predictions, labelled] = view === null ? [0, 0] : await countRows(connection, view, input)
  const nothing = { predictions, labelled, constantLoss: null }
  if (view === null || labelled === 0)
    return { ...nothing, versions: unmeasured(input, 'no row of the window has a label'), dataTrouble: null }
  const rows = await materialise(
    connection,
    {
      name: 'labelled window',
      source: { kind: 'sql', sql: await windowSql(connection, view, input, labelled) },
      root: input.root,
    },
    input.rowsPath,
    0,
  )
  const relation = parquet(input.rowsPath)
  const holdout: Holdout = { relation, rows, columns: await columnsOf(connection, relation) }
  let labels: Float64Array
  try {
    labels = (await readHoldoutLabels(connection, holdout, { ...input, column: LABEL })).values
  } catch (error) {
    // One class only, or no numbers: the labels are in question, not the models.
    return { ...nothing, versions: unmeasured(input, messageOf(error)), dataTrouble: messageOf(error) }
  }
  const versions: MeasuredVersion[] = []
  for (const version of input.versions) versions.push(await measureVersion(connection, holdout, labels, version, input))
  const constant = bestConstant(input.loss, labels).value
  const constantLoss = meanOf(rowLosses(input.loss, new Float64Array(labels.length).fill(constant), labels))
  const share = labelled / predictions
  const dataTrouble =
    share < LABELLED_SHARE_MIN ? `only ${(share * 100).toFixed(1)}% of ${predictions} rows have a label` : null
  return { versions, labelled, predictions, constantLoss, dataTrouble }
}

/** The label's column in the file; no feature can have this name. */
const LABEL = '__label'

async function viewOf(connection: DuckDBConnection, { lakeDir, model }: ReevaluateJobInput): Promise<string | null> {
  const manifest = await readManifest(lakeDir)
  await createLakeViews(connection, lakeDir, { manifest: manifest.number })
  return viewNames(Object.keys(manifest.models)).get(model) ?? null
}

const within = ({ fromMs, toMs }: ReevaluateJobInput) =>
  `status = 200 AND predicted_at >= ${timestampLiteral(fromMs)} AND predicted_at < ${timestampLiteral(toMs)}`

async function countRows(
  connection: DuckDBConnection,
  view: string,
  input: ReevaluateJobInput,
): Promise<[number, number]> {
  const reader = await connection.runAndReadAll(
    `SELECT count(*), count(*) FILTER (${usable(input)}) FROM ${quoteName(view)} WHERE ${within(input)}`,
  )
  const [predictions, labelled] = reader.getRows()[0]!.map(Number) as [number, number]
  return [predictions, labelled]
}

const usable = ({ task }: ReevaluateJobInput) =>
  task === 'regression' ? 'isfinite(TRY_CAST(label_text AS DOUBLE))' : 'label_text IS NOT NULL'

/** The models' inputs under the names that the models know, with the label; the same rows each time. */
async function windowSql(
  connection: DuckDBConnection,
  view: string,
  input: ReevaluateJobInput,
  labelled: number,
): Promise<string> {
  const held = new Set((await columnsOf(connection, quoteName(view))).map((c) => c.name))
  const features = new Map<string, string>()
  for (const { signature } of input.versions)
    for (const tensor of lakeColumnsOf(signature).inputs) {
      const names = signature.inputs.find((i) => i.name === tensor.tensor)?.columns ?? []
      names.forEach((name, at) => {
        const column = tensor.columns[at]?.name
        if (column !== undefined && held.has(column)) features.set(name, column)
      })
    }
  const columns = [...features].map(([name, column]) => `${quoteName(column)} AS ${quoteName(name)}`)
  const label = input.task === 'regression' ? 'TRY_CAST(label_text AS DOUBLE)' : 'label_text'
  const sample = labelled <= input.maxRows ? '' : `ORDER BY hash(prediction_id), "row" LIMIT ${input.maxRows}`
  return `SELECT ${[...columns, `${label} AS ${LABEL}`].join(', ')} FROM (
    SELECT * FROM ${quoteName(view)} WHERE ${within(input)} AND ${usable(input)} ${sample})
    ORDER BY prediction_id, "row"`
}

async function measureVersion(
  connection: DuckDBConnection,
  holdout: Holdout,
  labels: Float64Array,
  version: ReevaluateJobInput['versions'][number],
  { task, loss }: ReevaluateJobInput,
): Promise<MeasuredVersion> {
  const { versionId, signature, scoreOutput } = version
  const features = featuresOf(signature)
  try {
    requireColumns(features, holdout.columns, versionId, 'holdout')
    const model = await openRunnable(version, { features: signature.inputs.length === 1 ? features : null })
    try {
      const runner = modelRunner(model, { signature, task, scoreOutput, who: versionId })
      const [scores] = await scoreHoldout(connection, holdout, {
        runners: [runner],
        aside: null,
        onBlock: () => {},
        onProgress: () => {},
      })
      return { versionId, rows: holdout.rows, meanLoss: meanOf(rowLosses(loss, scores!, labels)), why: null }
    } finally {
      await model.close()
    }
  } catch (error) {
    // One version that can't run on these rows says nothing about the others.
    return { versionId, rows: 0, meanLoss: null, why: messageOf(error) }
  }
}

const unmeasured = ({ versions }: ReevaluateJobInput, why: string): MeasuredVersion[] =>
  versions.map(({ versionId }) => ({ versionId, rows: 0, meanLoss: null, why }))

const meanOf = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length
