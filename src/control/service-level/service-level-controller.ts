import type { Severity } from '../../config/project.ts'
import type { GatewayReport } from '../../kernel/contract/routing.ts'
import type { ControlContext } from '../control-context.ts'
import { serviceLevelSource, type Alert } from '../monitoring/alert.ts'
import { raiseAlert, recordResponse, resolveAlert, type AlertRequest } from '../monitoring/alert-requests.ts'
import { findAlert } from '../monitoring/alert-store.ts'
import { endFreeze, requestFreeze } from '../release/freeze-requests.ts'
import { activeFreezes } from '../release/freeze-store.ts'
import { percent, span } from './decide-budget.ts'
import { levelFacts } from './level.ts'
import { openLevelAlerts, readLevels, type LevelNow } from './level-store.ts'
import { Retention } from './retention.ts'
import { recordRevivals } from './revivals.ts'
import { Sampler } from './sampler.ts'

/** An alert that fires gets newer numbers at most so often. */
const RENEW_MS = 60_000
const BY = 'service levels'

/**
 * Samples the indicators that nobody else measures, and holds every level against its events: a budget that burns or is
 * spent is an alert, one that is spent does what was declared, and both end when it is back. What a look decided is read
 * from rows again at the next, so that it may end at any point.
 */
export class ServiceLevelController {
  readonly #context: ControlContext
  readonly #sampler: Sampler
  readonly #retention: Retention
  /** By alert: when its numbers were written last, monotonic. */
  readonly #renewedMs = new Map<string, number>()

  constructor(context: ControlContext, gateways: () => GatewayReport[]) {
    this.#context = context
    this.#sampler = new Sampler(context, gateways)
    this.#retention = new Retention(context)
  }

  async look(): Promise<void> {
    const { store, clock } = this.#context
    const project = this.#context.project()?.project
    if (project === undefined) return
    if (!this.#context.diskLow()) {
      await this.#sampler.look(project.models)
      await recordRevivals(this.#context)
      await this.#retention.look(project.models)
    }
    const now = { epochMs: clock.epochMs(), calendarMs: clock.calendarMs() }
    const levels = await readLevels(store.db, project, now)
    for (const level of levels) await this.#settle(level, importanceOf(project.models, level.model))
    await this.#resolveUndeclared(levels)
    await this.#endFreezes(levels)
  }

  async #settle(now: LevelNow, importance: string): Promise<void> {
    const { budget, alert } = now
    if (budget.state === 'burning' || budget.state === 'spent') {
      if (this.#isTold(now)) return
      await this.#raise(now, severityOf(now, importance))
    } else if (alert !== null) {
      await this.#resolve(alert, `the budget is back: ${budget.why}`)
    }
  }

  /** Whether its alert says so already, with numbers that are new enough. */
  #isTold({ budget, alert }: LevelNow): boolean {
    if (alert?.status !== 'firing' || alert.figures['state'] !== budget.state) return false
    const renewedMs = this.#renewedMs.get(alert.id) ?? -Infinity
    return alert.why === budget.why || this.#context.clock.monotonicMs() - renewedMs < RENEW_MS
  }

  /** The alert and the freeze in one: either both are recorded, or the next look does it again. */
  async #raise(now: LevelNow, severity: Severity): Promise<void> {
    const { store, clock } = this.#context
    const { model, endpoint, level, budget } = now
    const id = await store.transaction(async (tx) => {
      const alertId = await raiseAlert(tx, clock, alertOf(now, severity))
      if (budget.state !== 'spent' || level.effect !== 'freeze') return alertId
      // Once for each alert: a person who unfreezes while the budget is spent is not overruled at the next look.
      if ((await findAlert(tx, alertId)).responseTaken !== null) return alertId
      const why = `the budget of ${level.name} is spent: ${budget.why}`
      const unfreezes = `'millrace unfreeze ${model}', or ${budget.restores}`
      const freezeId = await requestFreeze(tx, clock, { model, endpoint, kind: 'budget', why, unfreezes, by: BY })
      await recordResponse(tx, alertId, `froze automatic release (${freezeId})`)
      return alertId
    })
    this.#renewedMs.set(id, clock.monotonicMs())
    this.#context.wake('release')
  }

  async #resolve(alert: Alert, why: string): Promise<void> {
    const { store, clock } = this.#context
    const { model, source, subject } = alert
    await store.transaction((tx) => resolveAlert(tx, clock, { model, source, subject, why }))
    this.#renewedMs.delete(alert.id)
  }

  /** Of levels and models that left the configuration. */
  async #resolveUndeclared(levels: LevelNow[]): Promise<void> {
    const declared = new Set(levels.map(({ model, level }) => `${model} ${serviceLevelSource(level.name)}`))
    for (const alert of await openLevelAlerts(this.#context.store.db))
      if (!declared.has(`${alert.model} ${alert.source}`)) await this.#resolve(alert, 'the level is no longer declared')
  }

  /** A model's releases go on once none of its budgets that freeze is spent. */
  async #endFreezes(levels: LevelNow[]): Promise<void> {
    const { store, clock } = this.#context
    const spent = new Set(
      levels
        .filter(({ level, budget }) => level.effect === 'freeze' && budget.state === 'spent')
        .map(({ model }) => model),
    )
    const over = (await activeFreezes(store.db)).filter((f) => f.kind === 'budget' && !spent.has(f.model))
    for (const freeze of over) {
      const why = 'every budget whose loss freezes releases is back'
      await store.transaction((tx) => endFreeze(tx, clock, { id: freeze.id, by: BY, why }))
      this.#context.wake('release')
    }
  }
}

const importanceOf = (models: { name: string; importance: string }[], name: string) =>
  models.find((model) => model.name === name)?.importance ?? 'normal'

/** A slow burn can wait for the morning; what is spent, or will be within days, can't, unless the model matters little. */
function severityOf({ budget }: LevelNow, importance: string): Severity {
  if (importance === 'low') return 'warning'
  const fast = budget.burns.some((burn) => burn.burning && burn.severity === 'page')
  return budget.state === 'spent' || fast ? 'critical' : 'warning'
}

function alertOf({ model, endpoint, level, budget }: LevelNow, severity: Severity): AlertRequest {
  const burning = budget.burns.find((burn) => burn.burning)
  const spent = budget.state === 'spent' ? `the budget is spent: ${budget.why}` : budget.why
  return {
    model,
    endpoint,
    versionId: null,
    source: serviceLevelSource(level.name),
    subject: '',
    severity,
    why: `${level.name}: ${spent}`,
    figures: {
      state: budget.state,
      phase: levelFacts[level.name].phase,
      objective: level.objective,
      window: span(level.windowMs),
      good: budget.good,
      bad: budget.bad,
      left: budget.left === null ? null : percent(budget.left),
      burnRate: burning === undefined ? null : Number(burning.longRate.toFixed(2)),
      restores: budget.restores,
    },
    response: level.effect,
    runbook: null,
  }
}
