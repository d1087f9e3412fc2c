import type { ModelConfig, MonitorConfig, ServiceLevelName } from '../../config/project.ts'
import type { GatewayReport } from '../../kernel/contract/routing.ts'
import type { ControlContext } from '../control-context.ts'
import { recordSli, type SliMeasurement } from './sli-requests.ts'

export const QUARTER_MS = 15 * 60_000
export const HOUR_MS = 3_600_000
/** A calendar that jumps makes everything late at once: monitors get so much real time before they count as late. */
const GRACE_MS = 60_000

/**
 * Indicators that are no events but states, looked at again and again: how far the log lags (each quarter of an hour, the
 * worst that was seen in it), and how late monitors and how old champions are (each hour of the calendar, at most one look
 * for each, however fast it runs). Where the clock goes back, an hour that was looked at is not counted twice.
 */
export class Sampler {
  readonly #context: ControlContext
  readonly #gateways: () => GatewayReport[]
  #quarter: { startMs: number; worstMs: number | null } | null = null
  /** By model and level: the hour that was looked at last. */
  readonly #hours = new Map<string, number>()
  /** By model: since when (monotonic) its monitors have been later than allowed. */
  readonly #lateSinceMs = new Map<string, number>()

  constructor(context: ControlContext, gateways: () => GatewayReport[]) {
    this.#context = context
    this.#gateways = gateways
  }

  async look(models: ModelConfig[]): Promise<void> {
    await this.#lookAtLog(models)
    await this.#noteLateMonitors(models)
    const hour = Math.floor(this.#context.clock.calendarMs() / HOUR_MS)
    for (const model of models) {
      await this.#oncePer(hour, model, 'monitorFreshness', () => this.#sampleMonitors(model, hour))
      await this.#oncePer(hour, model, 'modelAge', () => this.#sampleAge(model, hour))
    }
  }

  /** Where there is nothing to see yet, it is looked at again within the hour. */
  async #oncePer(hour: number, model: ModelConfig, name: ServiceLevelName, sample: () => Promise<boolean>) {
    const key = `${model.name} ${name}`
    if (!declares(model, name) || this.#hours.get(key) === hour) return
    if (await sample()) this.#hours.set(key, hour)
  }

  async #lookAtLog(models: ModelConfig[]): Promise<void> {
    const startMs = Math.floor(this.#context.clock.epochMs() / QUARTER_MS) * QUARTER_MS
    if (this.#quarter !== null && this.#quarter.startMs !== startMs) {
      const { startMs: endedMs, worstMs } = this.#quarter
      if (worstMs !== null)
        for (const model of models.filter((m) => declares(m, 'logLag')))
          await this.#record(model, endedMs, { phase: 'log', indicator: 'logLagMs', value: worstMs })
      this.#quarter = null
    }
    const seen = this.#gateways().map((report) => report.log.lagMs)
    const worst = Math.max(this.#quarter?.worstMs ?? -Infinity, ...seen)
    this.#quarter = { startMs, worstMs: worst === -Infinity ? null : worst }
  }

  async #noteLateMonitors(models: ModelConfig[]): Promise<void> {
    const nowMs = this.#context.clock.monotonicMs()
    for (const model of models.filter((m) => declares(m, 'monitorFreshness'))) {
      const lagMs = await this.#monitorLagMs(model)
      if (lagMs === null || lagMs <= thresholdOf(model, 'monitorFreshness')) this.#lateSinceMs.delete(model.name)
      else if (!this.#lateSinceMs.has(model.name)) this.#lateSinceMs.set(model.name, nowMs)
    }
  }

  async #sampleMonitors(model: ModelConfig, hour: number): Promise<boolean> {
    const lagMs = await this.#monitorLagMs(model)
    if (lagMs === null) return false
    const lateSinceMs = this.#lateSinceMs.get(model.name)
    // Late, but not for long enough to tell: neither good nor bad.
    if (lateSinceMs !== undefined && this.#context.clock.monotonicMs() - lateSinceMs < GRACE_MS) return false
    await this.#record(model, hour * HOUR_MS, { phase: 'monitoring', indicator: 'monitorLagMs', value: lagMs })
    return true
  }

  /** How long the oldest complete window of any monitor has waited; null where there is no champion, or none judged yet. */
  async #monitorLagMs({ name, monitors }: ModelConfig): Promise<number | null> {
    const { store, clock } = this.#context
    if ((await this.#championTrainedMs(name)) === null) return null
    const rows = await store.db
      .selectFrom('monitor_state')
      .select((eb) => ['monitor', eb.fn.max('evaluated_until_ms').as('until_ms')])
      .where('model', '=', name)
      .groupBy('monitor')
      .execute()
    const due = rows.flatMap((row) => {
      const config = monitors.monitors.find((monitor) => monitor.name === row.monitor)
      const delayMs = config === undefined ? null : ripensAfterMs(config, monitors.labelDelayMs)
      return delayMs === null ? [] : [Number(row.until_ms) + monitors.windowMs + delayMs]
    })
    return due.length === 0 ? null : Math.max(0, clock.calendarMs() - Math.min(...due))
  }

  async #sampleAge(model: ModelConfig, hour: number): Promise<boolean> {
    const trainedMs = await this.#championTrainedMs(model.name)
    if (trainedMs === null) return false
    const value = Math.max(0, this.#context.clock.calendarMs() - trainedMs)
    await this.#record(model, hour * HOUR_MS, { phase: 'registry', indicator: 'modelAgeMs', value })
    return true
  }

  /** Calendar; null where none is champion. */
  async #championTrainedMs(model: string): Promise<number | null> {
    const champion = await this.#context.store.db
      .selectFrom('alias')
      .innerJoin('version', 'version.id', 'alias.version_id')
      .select('version.created_calendar_ms')
      .where('alias.model', '=', model)
      .where('alias.alias', '=', 'champion')
      .executeTakeFirst()
    return champion?.created_calendar_ms ?? null
  }

  #record(
    model: ModelConfig,
    startMs: number,
    measured: Pick<SliMeasurement, 'phase' | 'indicator' | 'value'>,
  ): Promise<void> {
    const { store, clock } = this.#context
    const subject = `${model.name}/${new Date(startMs).toISOString().slice(0, 16)}Z`
    const times = { atMs: clock.epochMs(), calendarMs: clock.calendarMs() }
    return recordSli(store.db, { ...measured, model: model.name, good: true, subject, ...times })
  }
}

const levelOf = (model: ModelConfig, name: ServiceLevelName) => model.serviceLevels.find((level) => level.name === name)
const declares = (model: ModelConfig, name: ServiceLevelName) => levelOf(model, name) !== undefined
const thresholdOf = (model: ModelConfig, name: ServiceLevelName) => levelOf(model, name)?.thresholdMs ?? Infinity

/** After the end of its window; null for monitors that have none. */
function ripensAfterMs({ name }: MonitorConfig, labelDelayMs: number): number | null {
  if (name === 'silence' || name === 'modelAge') return null
  return name === 'quality' || name === 'predictedActual' ? labelDelayMs : 0
}
