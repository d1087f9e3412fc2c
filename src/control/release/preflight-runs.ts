import type { ModelConfig } from '../../config/project.ts'
import { MillraceError, reasonOf } from '../../kernel/errors.ts'
import type { ControlContext } from '../control-context.ts'
import type { GoldenFile } from '../evaluation/golden-rows.ts'
import { findVersion } from '../registry/version-store.ts'
import type { Version } from '../registry/version.ts'
import type { Observations } from './observations.ts'
import { preflight, type PreflightResult } from './preflight.ts'
import type { Deployment, Release } from './release.ts'
import { openReplicas } from './release-store.ts'

type PreflightConfig = ModelConfig['release']['preflight']

const UNDECLARED: PreflightConfig = { goldenRows: 64, tolerance: 1e-5, timeoutMs: 60_000 }

/** Preflights in the background, each for one release. After a crash they are run again. */
export class PreflightRuns {
  readonly #context: ControlContext
  readonly #observations: Observations
  readonly #results = new Map<string, PreflightResult | 'running'>()

  constructor(context: ControlContext, observations: Observations) {
    this.#context = context
    this.#observations = observations
  }

  /** Null: not started, or to be started again. */
  result(releaseId: string): PreflightResult | 'running' | null {
    return this.#results.get(releaseId) ?? null
  }

  forget(releaseId: string): void {
    this.#results.delete(releaseId)
  }

  /** Those of releases that have ended are of no use. */
  keepOnly(releaseIds: readonly string[]): void {
    for (const id of this.#results.keys()) if (!releaseIds.includes(id)) this.#results.delete(id)
  }

  /** @param config - null: the model has left the configuration */
  start(release: Release, deployment: Deployment, config: PreflightConfig | null): void {
    this.#results.set(release.id, 'running')
    void this.#run(release, deployment, config ?? UNDECLARED)
      .catch((error: unknown): PreflightEnd =>
        isLostConnection(error) ? { kind: 'lost', why: reasonOf(error) } : { kind: 'failed', why: reasonOf(error) },
      )
      .then((end) => {
        if (this.#results.get(release.id) !== 'running') return
        if (end.kind === 'lost') {
          // Says nothing about the version. Not woken: the next look, a second later, knows which replicas are left.
          this.#results.delete(release.id)
          this.#context.log.warn({ release: release.id, why: end.why }, 'a preflight lost its replica and is run again')
          return
        }
        this.#results.set(release.id, end)
        this.#context.wake('release')
      })
  }

  async #run(release: Release, deployment: Deployment, config: PreflightConfig): Promise<PreflightEnd> {
    const { db } = this.#context.store
    const version = await findVersion(db, release.versionId)
    const replica = (await openReplicas(db)).find(
      (r) => r.deploymentId === deployment.id && this.#observations.lease(r.id)?.state === 'ready',
    )
    const lease = replica === undefined ? null : this.#observations.lease(replica.id)
    if (version === null) return { kind: 'failed', why: `there is no ${release.versionId}` }
    if (lease === null) return { kind: 'lost', why: 'its replica was lost before preflight' }
    if (lease.loadedDigest !== version.modelDigest)
      return { kind: 'failed', why: `the replica loaded ${lease.loadedDigest}, the version is ${version.modelDigest}` }
    return preflight({
      place: lease.socketPath === '' ? { port: lease.httpPort! } : { socketPath: lease.socketPath },
      ...servedAs(version),
      rows: (await this.#goldenRows(version)).slice(0, config.goldenRows),
      tolerance: config.tolerance,
      timeoutMs: config.timeoutMs,
    })
  }

  async #goldenRows({ goldenDigest }: Version): Promise<GoldenFile['rows']> {
    if (goldenDigest === null) return []
    return (JSON.parse(Buffer.from(await this.#context.artifacts.readBytes(goldenDigest)).toString()) as GoldenFile)
      .rows
  }
}

/** A server of the user's own has its own name for the model, and counts no versions. */
function servedAs({ model, number, lineage }: Version): { model: string; version: string | null } {
  const { server } = lineage
  return server === undefined ? { model, version: String(number) } : { model: server.modelName, version: null }
}

type PreflightEnd = PreflightResult | { kind: 'lost'; why: string }

/** The replica died under it, which a system error says; what took too long or answered wrongly is an error of ours. */
function isLostConnection(error: unknown): boolean {
  if (error instanceof MillraceError || !(error instanceof Error)) return false
  const { code, syscall } = error as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE' || (syscall === 'connect' && code !== undefined)
}
