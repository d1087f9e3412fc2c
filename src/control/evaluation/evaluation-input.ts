import { join } from 'node:path'
import type { ModelConfig } from '../../config/project.ts'
import { reasonOf } from '../../kernel/errors.ts'
import type { ControlContext } from '../control-context.ts'
import { modelToMeasure } from '../registry/server-place.ts'
import { mayBeReleased, type Version } from '../registry/version.ts'
import { versionsBefore } from '../registry/version-store.ts'
import type { EvaluateJobInput } from './evaluate-job.ts'
import type { Evaluation } from './evaluation-store.ts'
import { featuresOf } from './features.ts'
import type { ChampionInput } from './score-models.ts'

export interface EvaluationPlan {
  version: Version
  /** Null: there is none to compare with. */
  champion: Version | null
  model: ModelConfig
  evaluation: Evaluation
  /** The job's own folder: models are laid out in it, and results written. */
  dir: string
}

/** All that the job is given: files and figures, no rows of the store. */
export async function evaluationInput(context: ControlContext, plan: EvaluationPlan): Promise<EvaluateJobInput> {
  const { clock, dataDir } = context
  const { version, champion, model, evaluation, dir } = plan
  const rival = champion === null ? null : await measurable(context, champion, plan)
  return {
    version: version.id,
    ...(await modelToMeasure(context, version, dir)),
    features: model.features,
    scoreOutput: model.scoreOutput,
    champion: rival,
    ...(await predecessorsOf(context, plan, rival)),
    task: model.task!,
    label: model.label!,
    positive: model.positive,
    holdout: model.holdout!,
    trainingRows: model.trainingRows,
    projectRoot: context.project()!.project.root,
    lakeDir: join(dataDir, 'lake'),
    asOfMs: version.lineage.asOfMs ?? clock.calendarMs(),
    gate: model.gate,
    goldenRows: model.release.preflight.goldenRows,
    seed: Number(evaluation.id.split('-')[1]),
    holdoutPath: join(dir, 'holdout.parquet'),
    lossesPath: join(dir, 'losses.parquet'),
    goldenPath: join(dir, 'golden.json'),
    profilePath: join(dir, 'profile.json'),
  }
}

async function measurable(
  context: ControlContext,
  version: Version,
  { model, dir }: Pick<EvaluationPlan, 'model' | 'dir'>,
): Promise<ChampionInput> {
  return {
    ...(await modelToMeasure(context, version, dir)),
    version: version.id,
    features: version.signature === null ? model.features : featuresOf(version.signature),
    scoreOutput: version.scoreOutput,
    enriched: version.signature?.enriched,
  }
}

/**
 * Of the last versions those that were good enough to serve: a failed experiment says nothing of the spread that users
 * would see, and must not block what comes after it. A backfilled one is made as of the past.
 */
async function predecessorsOf(
  context: ControlContext,
  plan: EvaluationPlan,
  champion: ChampionInput | null,
): Promise<Pick<EvaluateJobInput, 'predecessors' | 'predecessorsLeftOut'>> {
  const last = await versionsBefore(context.store.db, plan.version, plan.model.gate.stability.versions - 1)
  const predecessors: ChampionInput[] = []
  const predecessorsLeftOut: EvaluateJobInput['predecessorsLeftOut'] = []
  for (const before of last.filter(mayBeReleased).toReversed()) {
    try {
      const isChampion = champion !== null && before.id === champion.version
      predecessors.push(isChampion ? champion : await measurable(context, before, plan))
    } catch (error) {
      predecessorsLeftOut.push({ version: before.id, why: reasonOf(error) })
    }
  }
  return { predecessors, predecessorsLeftOut }
}
