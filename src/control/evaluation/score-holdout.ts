import { quoteName } from '../../kernel/lake/duckdb.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { readClusters, readLabels } from './labels.ts'
import type { LabelQuestion, Labels } from './labels.ts'
import type { Block, ModelRunner, RunBlock } from './model-runner.ts'
import { readableColumn, readBlocks, readColumn, requireColumns } from './source.ts'
import type { SourceColumn } from './source.ts'
import type { AsideScores } from './predecessors.ts'
import { featuresOf } from './features.ts'

/** The materialised holdout. */
export interface Holdout {
  relation: string
  columns: SourceColumn[]
  rows: number
}

/** @throws SourceColumnError, LabelError */
export async function readHoldoutLabels(
  connection: DuckDBConnection,
  holdout: Holdout,
  question: LabelQuestion,
): Promise<Labels> {
  requireColumns([question.column], holdout.columns, 'The evaluation', 'holdout')
  const column = holdout.columns.find(({ name }) => name === question.column)!
  return readLabels(await readColumn(connection, holdout.relation, readableColumn(column, 'holdout')), question)
}

/** Any type will do for a cluster, a day for instance: its text tells clusters apart. */
export async function readHoldoutClusters(
  connection: DuckDBConnection,
  holdout: Holdout,
  column: string | null,
): Promise<{ ofRow: Uint32Array; count: number } | null> {
  if (column === null) return null
  requireColumns([column], holdout.columns, 'gate.cluster', 'holdout')
  return readClusters(await readColumn(connection, holdout.relation, `CAST(${quoteName(column)} AS VARCHAR)`), column)
}

export interface ScoringOptions {
  runners: readonly ModelRunner[]
  /** See some of the rows only, and may fail without harm to the others. */
  aside: AsideScores | null
  /** Sees what the first runner took in and gave, in row order. */
  onBlock: (block: RunBlock) => void
  onProgress: (rows: number) => void
}

/**
 * Runs every model over every row, in one pass over the file.
 * @returns one array of scores per runner
 */
export async function scoreHoldout(
  connection: DuckDBConnection,
  holdout: Holdout,
  { runners, aside, onBlock, onProgress }: ScoringOptions,
): Promise<Float64Array[]> {
  const all = [...runners, ...(aside?.runners ?? [])]
  const names = [...new Set(all.flatMap(({ signature }) => featuresOf(signature)))]
  const columns = names.map((name) => holdout.columns.find((column) => column.name === name)!)
  const expressions = columns.map((column) => readableColumn(column, 'holdout'))
  const scores = runners.map(() => new Float64Array(holdout.rows))
  let firstRow = 0
  for await (const values of readBlocks(connection, holdout.relation, expressions)) {
    const block: Block = Object.fromEntries(names.map((name, i) => [name, values[i]!]))
    const rows = values[0]!.length
    for (const [i, runner] of runners.entries()) {
      for await (const run of runner.run(block, rows, firstRow)) {
        scores[i]!.set(run.scores, run.firstRow)
        if (i === 0) onBlock(run)
      }
    }
    await aside?.score(block, rows, firstRow)
    firstRow += rows
    onProgress(firstRow)
  }
  return scores
}
