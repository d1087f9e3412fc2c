import { levelFacts } from '../../../control/service-level/level.ts'
import { readLevels, type LevelNow } from '../../../control/service-level/level-store.ts'
import type { BudgetView } from '../service-level-schemas.ts'
import { declaredModel } from './models.ts'
import type { Services } from './services.ts'

/** Every level that is declared, of one model or of all. @throws ModelUnknownError */
export async function budgetViews(services: Pick<Services, 'context'>, model?: string): Promise<BudgetView[]> {
  const { context } = services
  if (model !== undefined) declaredModel(services, model)
  const applied = context.project()
  if (applied === null) return []
  const models = applied.project.models.filter(({ name }) => model === undefined || name === model)
  const now = { epochMs: context.clock.epochMs(), calendarMs: context.clock.calendarMs() }
  return (await readLevels(context.store.db, { ...applied.project, models }, now)).map(toView)
}

function toView({ model, level, budget, freeze, alert }: LevelNow): BudgetView {
  return {
    model,
    level: level.name,
    phase: levelFacts[level.name].phase,
    events: levelFacts[level.name].events[1],
    objective: level.objective,
    thresholdMs: level.thresholdMs,
    windowMs: level.windowMs,
    good: budget.good,
    bad: budget.bad,
    left: budget.left,
    burns: budget.burns.map(({ burn, severity, longMs, longRate, shortMs, shortRate, burning }) => ({
      limit: burn,
      severity,
      longMs,
      longRate,
      shortMs,
      shortRate,
      burning,
    })),
    state: budget.state,
    why: budget.why,
    effect: level.effect,
    freeze: freeze?.id ?? null,
    restores: budget.restores,
    alert: alert?.id ?? null,
  }
}
