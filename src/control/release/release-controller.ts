import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import { MillraceError, reasonOf, unreachable } from '../../kernel/errors.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { ControlContext } from '../control-context.ts'
import { gateOf } from '../evaluation/evaluation-store.ts'
import type { GoldenFile } from '../evaluation/golden-rows.ts'
import type { Disposition, Version } from '../registry/version.ts'
import { setDisposition } from '../registry/version-requests.ts'
import { aliasHistory, championOf, findVersion, undecidedVersions } from '../registry/version-store.ts'
import { decideRelease, type ReleaseDecision } from './decide-release.ts'
import { decideReleaseStep, type ReleaseStep, type ReleaseView } from './decide-release-step.ts'
import type { Observations } from './observations.ts'
import { preflight, type PreflightResult } from './preflight.ts'
import { endRelease, flipRoute, moveRelease } from './flip-route.ts'
import type { Deployment, Release, ReleaseEvent } from './release.ts'
import { requestRelease } from './release-requests.ts'
import { findDeployment, openDeployments, openReleases, openReplicas } from './release-store.ts'

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

  /** Versions that wait for a person, with what the answer depends on. */
  readonly #asked = new Map<string, string>()

  constructor(context: ControlContext, observations: Observations, missing: (model: ModelConfig) => string[]) {
    this.#context = context
    this.#observations = observations
    this.#missing = missing
  }

  async look(): Promise<void> {
    const { db } = this.#context.store
    for (const version of await undecidedVersions(db)) {
      await this.#safely({ version: version.id }, () => this.#decide(version))
    }
    const open = await openReleases(db)
    for (const id of this.#preflights.keys()) if (!open.some((r) => r.id === id)) this.#preflights.delete(id)
    for (const { id } of open) await this.#safely({ release: id }, () => this.#advance(id))
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

  async #decide(version: Version): Promise<void> {
    const model = this.#model(version.model)
    if (model === null || version.status === 'evaluating') return
    // Until a person speaks, or the configuration changes, the answer is the same.
    const question = `${this.#context.project()!.revisionId} ${version.approval?.atMs ?? ''} ${version.status}`
    if (version.disposition === 'awaiting-approval' && this.#asked.get(version.id) === question) return
    const { db } = this.#context.store
    const champion = await championOf(db, version.model)
    const spans = champion === null ? [] : (await aliasHistory(db, version.model)).filter((s) => s.alias === 'champion')
    const decision = decideRelease(
      {
        version,
        gate: await gateOf(db, version.id),
        missing: this.#missing(model),
        champion:
          champion === null
            ? null
            : { id: champion.id, liveSinceCalendarMs: spans.at(-1)?.fromCalendarMs ?? champion.createdCalendarMs },
        when: model.release.when,
      },
      this.#context.clock.calendarMs(),
    )
    await this.#settle(version, model, decision)
    if (decision.kind === 'awaitApproval') this.#asked.set(version.id, question)
    else this.#asked.delete(version.id)
  }

  async #settle(version: Version, model: ModelConfig, decision: ReleaseDecision): Promise<void> {
    switch (decision.kind) {
      case 'wait':
        return
      case 'awaitApproval':
        if (version.disposition === 'awaiting-approval') return
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
    return {
      release,
      open: open.filter((r) => r.endpoint === release.endpoint),
      deployment,
      warm: warm === undefined ? null : { deploymentId: warm.id, readyReplicas: readyOf(warm.id) },
      readyReplicas: deployment === null ? 0 : readyOf(deployment.id),
      preflight: this.#preflights.get(release.id) ?? null,
      rejected: await this.#rejected(release.versionId),
      waitedMs: Math.min(this.#context.clock.epochMs() - release.statusAtMs, this.#observations.listeningMs()),
      timeoutMs: this.#model(release.model)?.release.preflight.timeoutMs ?? 60_000,
      diskLow: this.#context.diskLow(),
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
        return this.#end(view, step.kind, step.why)
      case 'deploy':
        return this.#deploy(release)
      case 'useWarm':
        return this.#useWarm(release, step.deploymentId, step.why)
      case 'startPreflight':
        return this.#startPreflight(view)
      case 'passPreflight':
        return this.#passPreflight(view, step.why)
      case 'flip':
        return this.#flip(release, step.why)
      default:
        return unreachable(step)
    }
  }

  async #deploy(release: Release): Promise<void> {
    const { store, clock } = this.#context
    const wanted = this.#model(release.model)?.serving.replicas ?? 1
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

  /** The version is up already: no new deployment, no preflight. */
  async #useWarm(release: Release, deploymentId: string, why: string): Promise<void> {
    await this.#context.store.transaction(async (tx) => {
      // It may have begun to drain since it was looked at.
      const deployment = await findDeployment(tx, deploymentId)
      if (deployment?.status !== 'starting' && deployment?.status !== 'ready') return
      await this.#move(tx, release, 'preflightPassed', why, { deployment_id: deploymentId })
    })
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
      socketPath: lease.socketPath,
      model: version.model,
      version: String(version.number),
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

  async #end(view: ReleaseView, event: 'fail' | 'supersede' | 'cancel', why: string): Promise<void> {
    const { release, rejected } = view
    const { store, clock } = this.#context
    const disposition = event === 'fail' || rejected !== null ? 'refused' : 'spare'
    await store.transaction((tx) => endRelease(tx, clock, release, { event, why, disposition }))
    this.#context.log.warn({ release: release.id, event, why }, 'a release ended without the traffic')
    for (const topic of ['release', 'deployment', 'evaluation'] as const) this.#context.wake(topic)
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

type PreflightEnd = PreflightResult | { kind: 'lost'; why: string }

/** The replica died under it, which a system error says; what took too long or answered wrongly is an error of ours. */
function isLostConnection(error: unknown): boolean {
  if (error instanceof MillraceError || !(error instanceof Error)) return false
  const { code, syscall } = error as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE' || (syscall === 'connect' && code !== undefined)
}
