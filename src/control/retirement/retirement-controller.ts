import type { ModelConfig } from '../../config/project.ts'
import type { GatewayReport } from '../../kernel/contract/routing.ts'
import { allModels, type ControlContext } from '../control-context.ts'
import { openAlert } from '../monitoring/alert-store.ts'
import { decideRetirement, type RetirementOutlook } from './decide-retirement.ts'
import { allOf } from './artifact-collector.ts'
import { sweep, SWEEP_LIMITS, type SweepLimits } from './housekeeping.ts'
import { liveArtifacts } from './live-artifacts.ts'
import { SUSPECTED_DATA } from './reevaluation-controller.ts'
import { actOnVersion, removeFiles } from './retirement-acts.ts'
import { retirementQuestion } from './retirement-facts.ts'
import { openRetirements } from './retirement-store.ts'
import type { UsesOutside } from './use-facts.ts'

/** Of one look: the rest waits for the next, so that nothing else waits for it. */
const ACTS_MAX = 20
const REMOVALS_MAX = 5
/** While something is under way it looks sooner. */
const BUSY_MS = 250
/** Folders and events are swept so often. */
const SWEEP_EVERY_MS = 60_000

export interface RetirementSources {
  /** What gateways say is in flight. */
  gateways(): Pick<GatewayReport, 'inFlight'>[]
  /** By version: jobs of this process that read it. */
  readers(): Map<string, string[]>
  /** @see removeFiles */
  unusedForMs?: number
  sweepLimits?: SweepLimits
}

/**
 * kept → proposed → draining → stopped → cold → deleting → deleted, one act a transaction that asks the in-use guard
 * again. A crash between any two acts leaves a status from which the next look goes on.
 */
export class RetirementController {
  readonly #context: ControlContext
  readonly #sources: RetirementSources
  #sweptMs = Number.NEGATIVE_INFINITY

  constructor(context: ControlContext, sources: RetirementSources) {
    this.#context = context
    this.#sources = sources
  }

  /** @returns when to look again, ms, where it is under way */
  async look(): Promise<number | void> {
    let acts = 0
    for (const model of this.#context.project()?.project.models ?? []) {
      for (const outlook of await this.outlook(model)) {
        if (acts >= ACTS_MAX) break
        if (outlook.act !== null && (await this.#do(model, outlook))) acts++
      }
    }
    const removed = await this.#removeDeleting()
    await this.#sweep()
    if (acts > 0) this.#context.wake('deployment')
    return acts > 0 || removed > 0 ? BUSY_MS : undefined
  }

  /** Every version of a model with what becomes of it and why: what `--explain` shows, and what a look acts by. */
  async outlook(model: ModelConfig): Promise<RetirementOutlook[]> {
    const { store, clock } = this.#context
    const suspected = await openAlert(store.db, { model: model.name, source: SUSPECTED_DATA, subject: '' })
    const frozen = suspected === null ? null : `retirement is frozen (${suspected.id}: ${suspected.why})`
    const now = { calendarMs: clock.calendarMs(), frozen }
    return decideRetirement(await retirementQuestion(store.db, model, this.outside(), now))
  }

  /** Uses that the database does not know. */
  outside(): UsesOutside {
    const inFlight = new Map<string, number>()
    for (const report of this.#sources.gateways())
      for (const { deploymentId, requests } of report.inFlight)
        inFlight.set(deploymentId, (inFlight.get(deploymentId) ?? 0) + requests)
    return { models: allModels(this.#context.project()), inFlight, readers: this.#sources.readers() }
  }

  async #do(model: ModelConfig, { view, act }: RetirementOutlook): Promise<boolean> {
    const { store, clock, log } = this.#context
    const { versionId } = view
    const seen = view.retirement?.status ?? 'kept'
    const outside = this.outside()
    const done = await store.transaction((tx) =>
      actOnVersion(tx, clock, { versionId, model: model.name, seen, act: act!, outside }),
    )
    if (done && act!.kind !== 'note') log.info({ version: versionId, act: act!.kind }, 'a version’s retirement went on')
    return done && act!.kind !== 'note'
  }

  async #removeDeleting(): Promise<number> {
    const { store, log } = this.#context
    const deleting = (await openRetirements(store.db)).filter((r) => r.status === 'deleting')
    let live: Map<string, unknown> | null = null
    let removed = 0
    for (const { versionId, model } of deleting) {
      if (removed >= REMOVALS_MAX) break
      // A run that is under way may be about to put the same files; it looks again when that has ended.
      if (await this.#hasOpenRun(model)) continue
      live ??= await this.#liveArtifacts()
      const waits = await removeFiles(this.#context, versionId, live, this.#sources.unusedForMs)
      if (waits === null) removed++
      else log.debug({ version: versionId, why: waits }, 'the files of a version are not removed yet')
    }
    return removed
  }

  #liveArtifacts() {
    const { store, artifacts, clock } = this.#context
    const retention = this.#sources.sweepLimits ?? SWEEP_LIMITS
    return allOf(liveArtifacts({ db: store.db, artifacts }, retention, clock.calendarMs()))
  }

  async #sweep(): Promise<void> {
    const nowMs = this.#context.clock.monotonicMs()
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return
    this.#sweptMs = nowMs
    await sweep(this.#context, this.#sources.sweepLimits)
  }

  async #hasOpenRun(model: string): Promise<boolean> {
    const { db } = this.#context.store
    const run = await db
      .selectFrom('run')
      .select('id')
      .where('model', '=', model)
      .where('status', 'in', ['queued', 'running'])
      .executeTakeFirst()
    return run !== undefined
  }
}
