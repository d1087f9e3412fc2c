import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import { reasonOf, unreachable } from '../../kernel/errors.ts'
import { compareAndSet } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { ControlContext } from '../control-context.ts'
import { gateOf } from '../evaluation/evaluation-store.ts'
import type { GoldenFile } from '../evaluation/golden-rows.ts'
import type { Version } from '../registry/version.ts'
import { setAlias, setDisposition } from '../registry/version-requests.ts'
import { aliasHistory, championOf, findVersion, undecidedVersions } from '../registry/version-store.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import { decideRelease, type ReleaseDecision } from './decide-release.ts'
import { decideReleaseStep, type ReleaseStep, type ReleaseView } from './decide-release-step.ts'
import type { Observations } from './observations.ts'
import { preflight, type PreflightResult } from './preflight.ts'
import { releaseMachine, type Deployment, type Release, type ReleaseEvent } from './release.ts'
import { requestRelease } from './release-requests.ts'
import { findDeployment, openDeployments, openReleases, openReplicas, routeOf } from './release-store.ts'

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

  constructor(context: ControlContext, observations: Observations, missing: (model: ModelConfig) => string[]) {
    this.#context = context
    this.#observations = observations
    this.#missing = missing
  }

  async look(): Promise<void> {
    for (const version of await undecidedVersions(this.#context.store.db)) await this.#decide(version)
    for (const release of await openReleases(this.#context.store.db)) await this.#advance(release.id)
  }

  #model(name: string): ModelConfig | null {
    return this.#context.project()?.project.models.find((m) => m.name === name) ?? null
  }

  async #decide(version: Version): Promise<void> {
    const model = this.#model(version.model)
    if (model === null) return
    const { db } = this.#context.store
    const champion = await championOf(db, version.model)
    const spans = champion === null ? [] : (await aliasHistory(db, version.model)).filter((s) => s.alias === 'champion')
    const decision = decideRelease(
      {
        version,
        gate: await gateOf(db, version.id),
        missing: this.#missing(model),
        champion: champion === null ? null : { id: champion.id, liveSinceCalendarMs: spans.at(-1)?.fromCalendarMs ?? champion.createdCalendarMs },
        when: model.release.when,
      },
      this.#context.clock.calendarMs(),
    )
    await this.#settle(version, model, decision)
  }

  async #settle(version: Version, model: ModelConfig, decision: ReleaseDecision): Promise<void> {
    const { store, clock } = this.#context
    switch (decision.kind) {
      case 'wait':
        return
      case 'awaitApproval':
        if (version.disposition === 'awaiting-approval') return
        return store.transaction((tx) => setDisposition(tx, clock, version.id, 'awaiting-approval', decision.why))
      case 'spare':
        return store.transaction((tx) => setDisposition(tx, clock, version.id, 'spare', decision.why))
      case 'refuse':
        return store.transaction((tx) => setDisposition(tx, clock, version.id, 'refused', decision.why))
      case 'release':
        await store.transaction(async (tx) => {
          await setDisposition(tx, clock, version.id, 'released', decision.why)
          await requestRelease(tx, clock, { kind: 'release', endpoint: model.endpoint, model: model.name, versionId: version.id, cause: decision.why, by: version.approval?.by ?? 'gate' })
        })
        return this.#context.wake('release')
      default:
        return unreachable(decision)
    }
  }

  /** Takes one release as far as it goes now. */
  async #advance(releaseId: string): Promise<void> {
    for (let turn = 0; turn < 10; turn++) {
      const view = await this.#view(releaseId)
      if (view === null) return
      const step = decideReleaseStep(view, this.#context.clock.epochMs())
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
    const readyOf = (id: string) => replicas.filter((r) => r.deploymentId === id && r.status === 'running' && this.#observations.lease(r.id)?.state === 'ready').length
    const warm = deployments.find((d) => d.versionId === release.versionId && d.endpoint === release.endpoint && d.discoverable && d.status !== 'draining')
    const deployment = release.deploymentId === null ? null : await findDeployment(db, release.deploymentId)
    return {
      release,
      open: open.filter((r) => r.endpoint === release.endpoint),
      deployment,
      warm: warm === undefined ? null : { deploymentId: warm.id, readyReplicas: readyOf(warm.id) },
      readyReplicas: deployment === null ? 0 : readyOf(deployment.id),
      preflight: this.#preflights.get(release.id) ?? null,
      timeoutMs: this.#model(release.model)?.release.preflight.timeoutMs ?? 60_000,
      diskLow: this.#context.diskLow(),
    }
  }

  async #do(view: ReleaseView, step: Exclude<ReleaseStep, { kind: 'hold' }>): Promise<void> {
    const { release } = view
    switch (step.kind) {
      case 'supersede':
        return this.#end(release, 'supersede', step.why)
      case 'fail':
        this.#preflights.delete(release.id)
        return this.#end(release, 'fail', step.why)
      case 'deploy':
        return this.#deploy(release)
      case 'useWarm':
        return this.#useWarm(view, step.deploymentId, step.why)
      case 'startPreflight':
        return this.#startPreflight(view)
      case 'passPreflight':
        return this.#passPreflight(view, step.why)
      case 'flip':
        return this.#flip(release, view.deployment!, step.why)
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
        .values({ endpoint: release.endpoint, model: release.model, version_id: release.versionId, status: 'starting', replicas_wanted: wanted, discoverable: false, created_at_ms: clock.epochMs() })
        .returning('id')
        .executeTakeFirstOrThrow()
      const moved = await this.#move(tx, release, 'deploy', `${wanted} replica${wanted === 1 ? '' : 's'} of ${release.versionId} in ${id}`, { deployment_id: id })
      if (!moved) await tx.deleteFrom('deployment').where('id', '=', id).execute()
    })
    this.#context.wake('deployment')
  }

  /** The version is up already: no new deployment, no preflight. Releases under way on the endpoint end here. */
  async #useWarm(view: ReleaseView, deploymentId: string, why: string): Promise<void> {
    const { release } = view
    await this.#context.store.transaction(async (tx) => {
      for (const other of view.open) {
        if (other.id === release.id || other.status === 'queued') continue
        await this.#move(tx, other, other.status === 'switching' ? 'fail' : 'cancel', `${release.id} goes back to ${release.versionId}`, { ended_at_ms: this.#context.clock.epochMs() })
      }
      await this.#move(tx, release, 'preflightPassed', why, { deployment_id: deploymentId })
    })
  }

  async #startPreflight(view: ReleaseView): Promise<void> {
    const { release } = view
    if (release.status === 'deploying') await this.#context.store.transaction((tx) => this.#move(tx, release, 'replicaReady', 'a replica has loaded the model'))
    this.#preflights.set(release.id, 'running')
    void this.#preflight(release, view.deployment!)
      .catch((error: unknown): PreflightResult => ({ kind: 'failed', why: reasonOf(error) }))
      .then((result) => {
        this.#preflights.set(release.id, result)
        this.#context.wake('release')
      })
  }

  async #preflight(release: Release, deployment: Deployment): Promise<PreflightResult> {
    const { store, artifacts } = this.#context
    const version = await findVersion(store.db, release.versionId)
    const replica = (await openReplicas(store.db)).find((r) => r.deploymentId === deployment.id && this.#observations.lease(r.id)?.state === 'ready')
    const lease = replica === undefined ? null : this.#observations.lease(replica.id)
    if (version === null || lease === null) return { kind: 'failed', why: 'its replica was lost before preflight' }
    if (lease.loadedDigest !== version.modelDigest) return { kind: 'failed', why: `the replica loaded ${lease.loadedDigest}, the version is ${version.modelDigest}` }
    const config = this.#model(release.model)?.release.preflight ?? { goldenRows: 64, tolerance: 1e-5, timeoutMs: 60_000 }
    const rows = version.goldenDigest === null ? [] : (JSON.parse(Buffer.from(await artifacts.readBytes(version.goldenDigest)).toString()) as GoldenFile).rows
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

  /** All traffic in one write: route, aliases and release change together or not at all. */
  async #flip(release: Release, deployment: Deployment, why: string): Promise<void> {
    const { store, clock } = this.#context
    const nowMs = clock.epochMs()
    const champion = await championOf(store.db, release.model)
    const before = await routeOf(store.db, release.endpoint)
    await store.transaction(async (tx) => {
      const previousId = champion?.id === release.versionId ? release.previousId : (champion?.id ?? null)
      if (!(await this.#move(tx, release, 'flip', why, { previous_id: previousId, switched_at_ms: nowMs, ended_at_ms: nowMs }))) return
      const members = JSON.stringify([{ deploymentId: deployment.id, weightPercent: 100 }])
      await tx
        .insertInto('route')
        .values({ endpoint: release.endpoint, model: release.model, members, updated_at_ms: nowMs })
        .onConflict((conflict) => conflict.column('endpoint').doUpdateSet({ members, model: release.model, updated_at_ms: nowMs }))
        .execute()
      if (champion?.id !== release.versionId) {
        await setAlias(tx, clock, { model: release.model, alias: 'champion', versionId: release.versionId, cause: `${release.id}: ${release.cause}` })
        if (champion !== null) await setAlias(tx, clock, { model: release.model, alias: 'previous', versionId: champion.id, cause: `${release.id}: was the champion` })
      }
      if (release.kind === 'rollback') await this.#markRolledBack(tx, release, before?.members[0]?.deploymentId ?? null)
      await recordSli(tx, { phase: 'release', indicator: 'releaseSuccess', model: release.model, value: 1, good: true, subject: release.id, atMs: nowMs })
    })
    this.#context.log.info({ release: release.id, version: release.versionId, endpoint: release.endpoint }, 'the route has flipped')
    this.#context.wake('route')
  }

  async #markRolledBack(tx: Transaction<Database>, rollback: Release, deploymentId: string | null): Promise<void> {
    if (deploymentId === null) return
    const row = await tx.selectFrom('release').select(['id', 'status']).where('deployment_id', '=', deploymentId).where('status', '=', 'released').where('id', '<>', rollback.id).orderBy('seq', 'desc').executeTakeFirst()
    if (row === undefined) return
    await compareAndSet(tx, { table: 'release', key: [row.id], from: 'released', to: releaseMachine.transition('released', 'rollBack'), cause: `${rollback.id}: ${rollback.cause}`, ...this.#times() })
  }

  async #end(release: Release, event: 'fail' | 'supersede', why: string): Promise<void> {
    const { store, clock } = this.#context
    await store.transaction(async (tx) => {
      if (!(await this.#move(tx, release, event, why, { why, ended_at_ms: clock.epochMs() }))) return
      const disposition = event === 'fail' ? 'refused' : 'spare'
      if (release.kind === 'release') await setDisposition(tx, clock, release.versionId, disposition, `${release.id} ${event === 'fail' ? 'failed' : 'superseded'}: ${why}`)
      if (event === 'fail') await recordSli(tx, { phase: 'release', indicator: 'releaseSuccess', model: release.model, value: 0, good: false, subject: release.id, atMs: clock.epochMs() })
    })
    this.#context.log.warn({ release: release.id, event, why }, 'a release ended without the traffic')
    this.#context.wake('deployment')
  }

  #move(tx: Transaction<Database>, release: Release, event: ReleaseEvent, why: string, set: Record<string, unknown> = {}): Promise<boolean> {
    return compareAndSet(tx, {
      table: 'release',
      key: [release.id],
      from: release.status,
      to: releaseMachine.transition(release.status, event),
      cause: why,
      ...this.#times(),
      set: { why, status_at_ms: this.#context.clock.epochMs(), ...set },
    })
  }

  #times(): { atMs: number; calendarMs: number } {
    return { atMs: this.#context.clock.epochMs(), calendarMs: Math.round(this.#context.clock.calendarMs()) }
  }
}
