import type { GateConfig } from '../../config/project.ts'
import { reasonOf } from '../../kernel/errors.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import type { RunnableModel } from '../../kernel/model/runnable-model.ts'
import type { EnrichedInputs, ScoreOutput, Task } from '../../kernel/model/signature.ts'
import { openRunnable, type ModelPlace } from '../../kernel/server/open-runnable.ts'
import type { StabilityFigures } from './evaluation.ts'
import { featuresOf, nameColumns, refuseLabelAsInput } from './features.ts'
import type { Measurement, ScoredModel } from './figures.ts'
import { modelRunner, type ModelRunner } from './model-runner.ts'
import { AsideScores, stabilityRows } from './predecessors.ts'
import { scoreHoldout, type Holdout, type ScoringOptions } from './score-holdout.ts'
import { readableColumn, requireColumns } from './source.ts'

/** The model in question, and those that it is compared with on the same rows. */
export interface ModelsToScore extends ModelPlace {
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
  gate: Pick<GateConfig, 'cluster'>
  seed: number
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

/** What was scored, on which rows besides, and who could not be opened. */
export interface Scored extends Pick<Measurement, 'model' | 'champion'> {
  sample: Uint32Array
  aside: ReturnType<AsideScores['results']>
  leftOut: StabilityFigures['leftOut']
}

/**
 * Both models see each block of rows in turn; the champion is opened here too, and must run on today's holdout.
 * @throws ModelNotServableError, ModelRunError, ScoreOutputError, ScoreValueError; SourceColumnError where the holdout
 * lacks a column
 */
export async function scoreModels(
  connection: DuckDBConnection,
  input: ModelsToScore,
  holdout: Holdout,
  listeners: Pick<ScoringOptions, 'onBlock' | 'onProgress'>,
): Promise<Scored> {
  const opened: RunnableModel[] = []
  try {
    return await scoreOpened(connection, input, holdout, listeners, opened)
  } finally {
    for (const model of opened) await model.close()
  }
}

/** @param opened - gets every model that was opened, for the caller to close */
async function scoreOpened(
  connection: DuckDBConnection,
  input: ModelsToScore,
  holdout: Holdout,
  listeners: Pick<ScoringOptions, 'onBlock' | 'onProgress'>,
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
    ...listeners,
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

/** The champion is scored anyway. One that no longer fits the holdout is left out: it must not block its successors. */
async function openPredecessors(
  opened: RunnableModel[],
  input: ModelsToScore,
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
  { label, task, gate, positive }: ModelsToScore,
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
