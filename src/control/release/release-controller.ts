import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import { MillraceError, reasonOf, unreachable } from '../../kernel/errors.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { ControlContext } from '../control-context.ts'
import { evaluationOf, gateOf } from '../evaluation/evaluation-store.ts'
import type { GoldenFile } from '../evaluation/golden-rows.ts'
import type { Disposition, Version } from '../registry/version.ts'
import { setDisposition } from '../registry/version-requests.ts'
import { aliasHistory, championOf, findVersion, undecidedVersions } from '../registry/version-store.ts'
import { decideRelease, type ReleaseDecision } from './decide-release.ts'
import { replicasAtStart } from './decide-replicas.ts'
import { decideReleaseStep, type ReleaseStep, type ReleaseView } from './decide-release-step.ts'
import type { Observations } from './observations.ts'
import { preflight, type PreflightResult } from './preflight.ts'
import { endRelease, flipRoute, moveRelease } from './flip-route.ts'
import { sameAsLost, type Freeze } from './freeze.ts'
import { reviewFreezes } from './freeze-review.ts'
import { activeFreezes, lastRollbackFreeze } from './freeze-store.ts'
import type { Deployment, Release, ReleaseEvent } from './release.ts'
import { requestRelease } from './release-requests.ts'
import { scaleDeployment } from './scale-requests.ts'
import { findDeployment, isRollingBack, openDeployments, openReleases, openReplicas, routeOf } from './release-store.ts'
import { beginTrial, describeTrial, incumbent, lockRelease, raiseHeldAlert, settleHeldAlert } from './trial-acts.ts'
import type { TrialJobInput, TrialJobOutput } from './trial-job.ts'
import { trialPlanOf, type NextTrial } from './trial.ts'
import { TrialWatch } from './trial-watch.ts'

/**
 * Decides what becomes of each proven version, and drives releases: deploy out of sight, preflight, flip the route in
 * one write. Every act is one transaction; after a crash the same look finds the same rows.
 */
export class ReleaseController {
  readonly #context: ControlContext
  readonly #observations: Observations
  /** What is missing in a model's configuration for automatic release. */
  readonly #missing: (model: ModelConfig) => string[]
  /** Preflights of this process. After a crash they are run again. */
  readonly #preflights = new Map<string, PreflightResult | 'running'>()

  readonly #trials: TrialWatch
  /** Versions that wait for a person, with what the answer depends on. */
  readonly #asked = new Map<string, string>()

  /** @param measure - counts what the lake holds of trials, in a process of its own */
  constructor(
    context: ControlContext,
    observations: Observations,
    missing: (model: ModelConfig) => string[],
    measure: (input: TrialJobInput) => Promise<TrialJobOutput>,
  ) {
    this.#context = context
    this.#observations = observations
    this.#missing = missing
    this.#trials = new TrialWatch(context, measure)
  }

  async look(): Promise<void> {
    const { db } = this.#context.store
    const freezes = await reviewFreezes(this.#context)
    for (const version of await undecidedVersions(db)) {
      const active = freezes.filter((f) => f.model === version.model)
      await this.#safely({ version: version.id }, () => this.#decide(version, active))
    }
    const open = await openReleases(db)
    for (const id of this.#preflights.keys()) if (!open.some((r) => r.id === id)) this.#preflights.delete(id)
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

  #model(name: string): ModelConfig | null {
    return this.#context.project()?.project.models.find((m) => m.name === name) ?? null
  }

  /** Also of a model that has left the configuration. */
  #declared(name: string): ModelConfig | null {
    return this.#model(name) ?? this.#context.project()?.paused.find((m) => m.name === name) ?? null
  }

  async #decide(version: Version, freezes: Freeze[]): Promise<void> {
    const model = this.#model(version.model)
    if (model === null || version.status === 'evaluating') return
    // Until a person speaks, a freeze begins or ends, or the configuration changes, the answer is the same.
    const asks = [
      this.#context.project()!.revisionId,
      version.approval?.atMs,
      version.status,
      ...freezes.map((f) => f.id),
    ]
    const question = asks.join(' ')
    if (version.disposition === 'awaiting-approval' && this.#asked.get(version.id) === question) return
    const { db } = this.#context.store
    const champion = await championOf(db, version.model)
    const spans = champion === null ? [] : (await aliasHistory(db, version.model)).filter((s) => s.alias === 'champion')
    const decision = decideRelease(
      {
        version,
        gate: await gateOf(db, version.id),
        comparedWith: (await evaluationOf(db, version.id))?.championId ?? null,
        missing: this.#missing(model),
        champion:
          champion === null
            ? null
            : { id: champion.id, liveSinceCalendarMs: spans.at(-1)?.fromCalendarMs ?? champion.createdCalendarMs },
        when: model.release.when,
        freezes,
        sameAsLost: sameAsLost(await lastRollbackFreeze(db, version.model), {
          codeDigest: version.lineage.codeDigest,
          createdAtMs: version.createdAtMs,
        }),
      },
      this.#context.clock.calendarMs(),
    )
    // While a person or a monitor goes back nothing goes forward by itself: what then freezes it is a moment away.
    const byItself = decision.kind === 'release' && version.approval?.decision !== 'approved'
    if (byItself && (await isRollingBack(db, version.model))) return
    await this.#settle(version, model, decision)
    if (decision.kind === 'awaitApproval') this.#asked.set(version.id, question)
    else this.#asked.delete(version.id)
  }

  async #settle(version: Version, model: ModelConfig, decision: ReleaseDecision): Promise<void> {
    switch (decision.kind) {
      case 'wait':
        return
      case 'awaitApproval':
        if (version.disposition === 'awaiting-approval' && version.dispositionWhy === decision.why) return
        return this.#dispose(version, 'awaiting-approval', decision.why)
      case 'spare':
        return this.#dispose(version, 'spare', decision.why)
      case 'refuse':
        return this.#dispose(version, 'refused', decision.why)
      case 'keep':
        return this.#dispose(version, 'released', decision.why)
      case 'release':
        await this.#dispose(version, 'released', decision.why, model)
        return this.#context.wake('release')
      default:
        return unreachable(decision)
    }
  }

  /** @param release - given, a release is asked for with it */
  async #dispose(version: Version, disposition: Disposition, why: string, release?: ModelConfig): Promise<void> {
    const { store, clock } = this.#context
    await store.transaction(async (tx) => {
      // A person may have spoken since it was looked at: then the question is open again.
      const now = await findVersion(tx, version.id)
      if (now?.disposition !== version.disposition || now.approval?.atMs !== version.approval?.atMs) return
      const byItself = release !== undefined && now.approval?.decision !== 'approved'
      if (byItself && (await activeFreezes(tx, version.model)).length > 0) return
      if (byItself && (await isRollingBack(tx, version.model))) return
      await setDisposition(tx, clock, version.id, disposition, why)
      if (release === undefined) return
      const by = version.approval?.by ?? 'gate'
      const { endpoint, name: model } = release
      await requestRelease(tx, clock, { kind: 'release', endpoint, model, versionId: version.id, cause: why, by })
    })
    this.#context.wake('evaluation')
  }

  /** Takes one release as far as it goes now. */
  async #advance(releaseId: string): Promise<void> {
    for (let turn = 0; turn < 10; turn++) {
      const view = await this.#view(releaseId)
      if (view === null) return
      const step = decideReleaseStep(view)
      if (step.kind === 'hold') return
      await this.#do(view, step)
    }
  }

  async #view(releaseId: string): Promise<ReleaseView | null> {
    const { db } = this.#context.store
    const open = await openReleases(db)
    const release = open.find((r) => r.id === releaseId)
    if (release === undefined) return null
    const deployments = await openDeployments(db)
    const replicas = await openReplicas(db)
    const readyOf = (id: string) =>
      replicas.filter(
        (r) => r.deploymentId === id && r.status === 'running' && this.#observations.lease(r.id)?.state === 'ready',
      ).length
    const warm = deployments.find(
      (d) =>
        d.versionId === release.versionId &&
        d.endpoint === release.endpoint &&
        d.discoverable &&
        d.status !== 'draining',
    )
    const deployment = release.deploymentId === null ? null : await findDeployment(db, release.deploymentId)
    const champion = incumbent(await routeOf(db, release.endpoint), deployments, release)
    const model = this.#declared(release.model)
    // After a restart nobody is held to be down before there was time to hear of it.
    const known = (ready: number) => (ready > 0 || this.#observations.observedLongEnough() ? ready : null)
    const readyReplicas = deployment === null ? 0 : readyOf(deployment.id)
    const health = {
      championReady: champion === null ? 0 : known(readyOf(champion.id)),
      challengerReady: known(readyReplicas),
    }
    return {
      release,
      open: open.filter((r) => r.endpoint === release.endpoint),
      deployment,
      warm:
        warm === undefined
          ? null
          : { deploymentId: warm.id, readyReplicas: readyOf(warm.id), isAsleep: warm.replicasWanted === 0 },
      readyReplicas,
      preflight: this.#preflights.get(release.id) ?? null,
      rejected: await this.#rejected(release.versionId),
      waitedMs: Math.min(this.#context.clock.epochMs() - release.statusAtMs, this.#observations.listeningMs()),
      timeoutMs: this.#model(release.model)?.release.preflight.timeoutMs ?? 60_000,
      diskLow: this.#context.diskLow(),
      configured: this.#context.project() === null || this.#model(release.model) !== null,
      plan: model === null ? null : trialPlanOf(model),
      champion: champion === null ? null : { versionId: champion.versionId },
      trial: model === null || !isTried(release) ? null : await this.#trials.look(release, model, health),
    }
  }

  async #rejected(versionId: string): Promise<string | null> {
    const approval = (await findVersion(this.#context.store.db, versionId))?.approval
    return approval?.decision === 'rejected' ? `rejected by ${approval.by}: ${approval.why}` : null
  }

  async #do(view: ReleaseView, step: Exclude<ReleaseStep, { kind: 'hold' }>): Promise<void> {
    const { release } = view
    switch (step.kind) {
      case 'supersede':
      case 'cancel':
      case 'fail':
      case 'rollBack':
        return this.#end(view, step.kind, step.why)
      case 'deploy':
        return this.#deploy(release)
      case 'useWarm':
        return this.#useWarm(release, step.deploymentId, step.why)
      case 'startPreflight':
        return this.#startPreflight(view)
      case 'passPreflight':
        return this.#passPreflight(view, step.why)
      case 'beginTrial':
        return this.#beginTrial(release, step.next, step.why)
      case 'ask':
        return this.#ask(view, step.why)
      case 'flip':
        return this.#flip(release, step.why)
      default:
        return unreachable(step)
    }
  }

  async #deploy(release: Release): Promise<void> {
    const { store, clock } = this.#context
    const wanted = await this.#replicasFor(release)
    await store.transaction(async (tx) => {
      const { id } = await tx
        .insertInto('deployment')
        .values({
          endpoint: release.endpoint,
          model: release.model,
          version_id: release.versionId,
          status: 'starting',
          replicas_wanted: wanted,
          discoverable: false,
          created_at_ms: clock.epochMs(),
        })
        .returning('id')
        .executeTakeFirstOrThrow()
      const moved = await this.#move(
        tx,
        release,
        'deploy',
        `${wanted} replica${wanted === 1 ? '' : 's'} of ${release.versionId} in ${id}`,
        { deployment_id: id },
      )
      if (!moved) await tx.deleteFrom('deployment').where('id', '=', id).execute()
    })
    this.#context.wake('deployment')
  }

  /** As many as those have whose traffic it is to take. */
  async #replicasFor(release: Release): Promise<number> {
    const { db } = this.#context.store
    const champion = incumbent(await routeOf(db, release.endpoint), await openDeployments(db), release)
    const declared = this.#model(release.model)?.serving.replicas ?? null
    return replicasAtStart(declared, champion?.replicasWanted ?? 0)
  }

  /** The version is up already: no new deployment, no preflight. One that was kept with less gets more at once. */
  async #useWarm(release: Release, deploymentId: string, why: string): Promise<void> {
    const { store, clock } = this.#context
    const wanted = await this.#replicasFor(release)
    await store.transaction(async (tx) => {
      // It may have begun to drain since it was looked at.
      const deployment = await findDeployment(tx, deploymentId)
      if (deployment?.status !== 'starting' && deployment?.status !== 'ready') return
      const moved = await this.#move(tx, release, 'preflightPassed', why, { deployment_id: deploymentId })
      if (moved && wanted > deployment.replicasWanted)
        await scaleDeployment(tx, clock, deployment, wanted, `${release.id}: as many as the champion`)
    })
    this.#context.wake('deployment')
  }

  async #startPreflight(view: ReleaseView): Promise<void> {
    const { release } = view
    if (release.status === 'deploying')
      await this.#context.store.transaction((tx) =>
        this.#move(tx, release, 'replicaReady', 'a replica has loaded the model'),
      )
    this.#preflights.set(release.id, 'running')
    void this.#preflight(release, view.deployment!)
      .catch((error: unknown): PreflightEnd =>
        isLostConnection(error) ? { kind: 'lost', why: reasonOf(error) } : { kind: 'failed', why: reasonOf(error) },
      )
      .then((end) => {
        if (this.#preflights.get(release.id) !== 'running') return
        if (end.kind === 'lost') {
          // Says nothing about the version. Not woken: the next look, a second later, knows which replicas are left.
          this.#preflights.delete(release.id)
          this.#context.log.warn({ release: release.id, why: end.why }, 'a preflight lost its replica and is run again')
          return
        }
        this.#preflights.set(release.id, end)
        this.#context.wake('release')
      })
  }

  async #preflight(release: Release, deployment: Deployment): Promise<PreflightEnd> {
    const { store, artifacts } = this.#context
    const version = await findVersion(store.db, release.versionId)
    const replica = (await openReplicas(store.db)).find(
      (r) => r.deploymentId === deployment.id && this.#observations.lease(r.id)?.state === 'ready',
    )
    const lease = replica === undefined ? null : this.#observations.lease(replica.id)
    if (version === null) return { kind: 'failed', why: `there is no ${release.versionId}` }
    if (lease === null) return { kind: 'lost', why: 'its replica was lost before preflight' }
    if (lease.loadedDigest !== version.modelDigest)
      return { kind: 'failed', why: `the replica loaded ${lease.loadedDigest}, the version is ${version.modelDigest}` }
    const config = this.#model(release.model)?.release.preflight ?? {
      goldenRows: 64,
      tolerance: 1e-5,
      timeoutMs: 60_000,
    }
    const rows =
      version.goldenDigest === null
        ? []
        : (JSON.parse(Buffer.from(await artifacts.readBytes(version.goldenDigest)).toString()) as GoldenFile).rows
    return preflight({
      place: lease.socketPath === '' ? { port: lease.httpPort! } : { socketPath: lease.socketPath },
      ...servedAs(version),
      rows: rows.slice(0, config.goldenRows),
      tolerance: config.tolerance,
      timeoutMs: config.timeoutMs,
    })
  }

  async #passPreflight(view: ReleaseView, why: string): Promise<void> {
    await this.#context.store.transaction(async (tx) => {
      if (!(await this.#move(tx, view.release, 'preflightPassed', why))) return
      await tx.updateTable('deployment').set({ discoverable: true }).where('id', '=', view.deployment!.id).execute()
    })
    this.#preflights.delete(view.release.id)
    this.#context.wake('route')
  }

  async #flip(release: Release, why: string): Promise<void> {
    const { store, clock, log } = this.#context
    if (!(await store.transaction((tx) => flipRoute(tx, clock, release, why)))) return
    log.info({ release: release.id, version: release.versionId, endpoint: release.endpoint }, 'the route has flipped')
    this.#context.wake('route')
  }

  async #beginTrial(release: Release, next: NextTrial, why: string): Promise<void> {
    const { store, clock, log } = this.#context
    const begun = await store.transaction(async (tx) => {
      if (!(await lockRelease(tx, release))) return null
      const id = await beginTrial(tx, clock, release, next)
      if (id === null) return null
      const text = `${describeTrial(next)} begins: ${why}`
      await this.#move(tx, release, trialEvent(release, next), text)
      await settleHeldAlert(tx, clock, release, text)
      return id
    })
    if (begun === null) return
    log.info({ release: release.id, trial: begun, ...next }, 'a trial has begun')
    this.#context.wake('route')
  }

  /** It is judged on; a person may decide without the evidence. */
  async #ask({ release }: ReleaseView, why: string): Promise<void> {
    const { store, clock, log } = this.#context
    await store.transaction(async (tx) => {
      if (!(await this.#move(tx, release, 'hold', why))) return
      await raiseHeldAlert(tx, clock, release, why)
    })
    log.warn({ release: release.id, why }, 'a release is held, and a person is asked')
  }

  async #end(view: ReleaseView, event: 'fail' | 'supersede' | 'cancel' | 'rollBack', why: string): Promise<void> {
    const { release, rejected } = view
    const { store, clock } = this.#context
    const disposition = event === 'fail' || event === 'rollBack' || rejected !== null ? 'refused' : 'spare'
    await store.transaction((tx) => endRelease(tx, clock, release, { event, why, disposition }))
    this.#context.log.warn({ release: release.id, event, why }, 'a release ended without the traffic')
    for (const topic of ['route', 'release', 'deployment', 'evaluation'] as const) this.#context.wake(topic)
  }

  #move(
    tx: Transaction<Database>,
    release: Release,
    event: ReleaseEvent,
    why: string,
    set: Record<string, unknown> = {},
  ): Promise<boolean> {
    return moveRelease(tx, this.#context.clock, release, event, why, set)
  }
}

/** A server of the user's own has its own name for the model, and counts no versions. */
function servedAs({ model, number, lineage }: Version): { model: string; version: string | null } {
  const { server } = lineage
  return server === undefined ? { model, version: String(number) } : { model: server.modelName, version: null }
}

const isTried = ({ status }: Release) => status === 'shadowing' || status === 'canary' || status === 'held'

/** Which event the beginning of a trial is, by what was there before. */
function trialEvent({ status }: Release, { kind, step }: NextTrial): ReleaseEvent {
  if (kind === 'shadow') return 'startShadow'
  if (step === 1) return 'startCanary'
  return status === 'held' ? 'resume' : 'nextStep'
}

type PreflightEnd = PreflightResult | { kind: 'lost'; why: string }

/** The replica died under it, which a system error says; what took too long or answered wrongly is an error of ours. */
function isLostConnection(error: unknown): boolean {
  if (error instanceof MillraceError || !(error instanceof Error)) return false
  const { code, syscall } = error as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE' || (syscall === 'connect' && code !== undefined)
}
