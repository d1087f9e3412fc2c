import type { ModelConfig } from '../../config/project.ts'
import { configuredModel, type ControlContext } from '../control-context.ts'
import { undecidedVersions } from '../registry/version-store.ts'
import { decideReleaseStep, type ReleaseStep, type ReleaseView } from './decide-release-step.ts'
import { moveRelease } from './flip-route.ts'
import { reviewFreezes } from './freeze-review.ts'
import type { Observations } from './observations.ts'
import { observeRelease, type ReleaseEyes } from './observe-release.ts'
import { PreflightRuns } from './preflight-runs.ts'
import { takeStep } from './release-acts.ts'
import { openReleases } from './release-store.ts'
import { StatusWaits } from './status-waits.ts'
import type { TrialJobInput, TrialJobOutput } from './trial-job.ts'
import { TrialWatch } from './trial-watch.ts'
import { VersionDispositions } from './version-dispositions.ts'

/** Steps that one release may take in one look. */
const STEPS_MAX = 10

/**
 * Decides what becomes of each proven version, and drives releases: deploy out of sight, preflight, flip the route in
 * one write. Every act is one transaction; after a crash the same look finds the same rows.
 */
export class ReleaseController {
  readonly #context: ControlContext
  readonly #dispositions: VersionDispositions
  readonly #preflights: PreflightRuns
  readonly #trials: TrialWatch
  readonly #waits: StatusWaits
  readonly #eyes: ReleaseEyes

  /**
   * @param missing - what is missing in a model's configuration for automatic release
   * @param measure - counts what the lake holds of trials, in a process of its own
   */
  constructor(
    context: ControlContext,
    observations: Observations,
    missing: (model: ModelConfig) => string[],
    measure: (input: TrialJobInput) => Promise<TrialJobOutput>,
  ) {
    this.#context = context
    this.#dispositions = new VersionDispositions(context, missing)
    this.#preflights = new PreflightRuns(context, observations)
    this.#trials = new TrialWatch(context, measure)
    this.#waits = new StatusWaits(context.clock)
    this.#eyes = { observations, preflights: this.#preflights, trials: this.#trials, waits: this.#waits }
  }

  async look(): Promise<void> {
    const { db } = this.#context.store
    const freezes = await reviewFreezes(this.#context)
    for (const version of await undecidedVersions(db)) {
      const active = freezes.filter((f) => f.model === version.model)
      await this.#safely({ version: version.id }, () => this.#dispositions.decide(version, active))
    }
    const open = await openReleases(db)
    const openIds = open.map(({ id }) => id)
    this.#preflights.keepOnly(openIds)
    this.#waits.keepOnly(openIds)
    for (const { id } of open) await this.#safely({ release: id }, () => this.#advance(id))
    await this.#trials.sweep()
  }

  /** One that fails must not keep the others waiting. */
  async #safely(facts: Record<string, string>, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#context.log.error({ ...facts, err: error }, 'a release could not be looked at, and is looked at again')
    }
  }

  /** Takes one release as far as it goes now. */
  async #advance(releaseId: string): Promise<void> {
    for (let turn = 0; turn < STEPS_MAX; turn++) {
      const view = await observeRelease(this.#context, this.#eyes, releaseId)
      if (view === null) return
      const step = decideReleaseStep(view)
      if (step.kind === 'hold') return
      await this.#do(view, step)
    }
  }

  async #do(view: ReleaseView, step: Exclude<ReleaseStep, { kind: 'hold' }>): Promise<void> {
    if (step.kind === 'startPreflight') return this.#startPreflight(view)
    await takeStep(this.#context, view, step)
    if (step.kind === 'passPreflight') this.#preflights.forget(view.release.id)
  }

  async #startPreflight({ release, deployment }: ReleaseView): Promise<void> {
    const { store, clock } = this.#context
    if (release.status === 'deploying')
      await store.transaction((tx) => moveRelease(tx, clock, release, 'replicaReady', 'a replica has loaded the model'))
    const config = configuredModel(this.#context.project(), release.model)?.release.preflight ?? null
    this.#preflights.start(release, deployment!, config)
  }
}
