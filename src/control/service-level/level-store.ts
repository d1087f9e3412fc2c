import type { Kysely } from 'kysely'
import type { Project } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { serviceLevelSource, type Alert } from '../monitoring/alert.ts'
import { listAlerts } from '../monitoring/alert-store.ts'
import { activeFreezes } from '../release/freeze-store.ts'
import type { Freeze } from '../release/freeze.ts'
import { countEvents } from './count-events.ts'
import { decideBudget, type Budget, type BudgetState } from './decide-budget.ts'
import type { DeclaredLevel } from './level.ts'

/** One level of one model now. */
export interface LevelNow extends DeclaredLevel {
  budget: Budget
  /** While it burns or is spent. */
  alert: Alert | null
  /** What its spent budget froze, while that lasts. */
  freeze: Freeze | null
}

/** All that was declared, in the order of the configuration. Models that left it are not judged. */
export async function readLevels(
  db: Kysely<Database>,
  project: Project,
  now: { epochMs: number; calendarMs: number },
): Promise<LevelNow[]> {
  const levels = declaredLevels(project)
  const events = await countEvents(db, levels, now)
  const alerts = await openLevelAlerts(db)
  const freezes = (await activeFreezes(db)).filter((freeze) => freeze.kind === 'budget')
  return levels.map((declared, i) => {
    const { model, level } = declared
    const alert = alerts.find((a) => a.model === model && a.source === serviceLevelSource(level.name)) ?? null
    const budget = decideBudget(level, events[i]!, stateOf(alert))
    const froze = level.effect === 'freeze' && budget.state === 'spent'
    const freeze = froze ? (freezes.find((f) => f.model === model) ?? null) : null
    return { ...declared, budget, alert, freeze }
  })
}

export function declaredLevels({ models }: Project): DeclaredLevel[] {
  return models.flatMap(({ name, endpoint, serviceLevels }) =>
    serviceLevels.map((level) => ({ model: name, endpoint, level })),
  )
}

/** Alerts that service levels opened and that are not resolved. */
export async function openLevelAlerts(db: Kysely<Database>): Promise<Alert[]> {
  return (await listAlerts(db)).filter(({ source }) => source.startsWith(serviceLevelSource('')))
}

/** What the level was found to be when its alert was last raised; nobody else remembers it. */
function stateOf(alert: Alert | null): BudgetState | null {
  const state = alert?.figures['state']
  return state === 'burning' || state === 'spent' ? state : null
}
