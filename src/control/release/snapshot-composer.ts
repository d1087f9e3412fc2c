import { join } from 'node:path'
import { listCallers } from '../caller/caller-store.ts'
import { nextKeyEndMs, routedCallers } from '../caller/caller.ts'
import type { AppliedProject, ControlContext } from '../control-context.ts'
import { aliases } from '../registry/version-store.ts'
import type { DeployedVersions } from './deployed-versions.ts'
import type { DeploymentRows } from './deployment-rows.ts'
import { ModuleFiles } from './module-files.ts'
import type { Observations } from './observations.ts'
import type { RoutePublisher } from './route-publisher.ts'
import { endpointRoutes } from './routing-snapshot.ts'

/** Makes what gateways are to serve by out of rows, and of what replicas say of themselves. */
export class SnapshotComposer {
  readonly #context: ControlContext
  readonly #observations: Observations
  readonly #publisher: RoutePublisher
  readonly #versions: DeployedVersions
  readonly #modules: ModuleFiles
  #keyEndsInMs: number | null = null

  constructor(
    context: ControlContext,
    parts: { observations: Observations; publisher: RoutePublisher; versions: DeployedVersions },
    warn: (text: string) => void,
  ) {
    this.#context = context
    this.#observations = parts.observations
    this.#publisher = parts.publisher
    this.#versions = parts.versions
    this.#modules = new ModuleFiles((path, why) => warn(`the combining module ${path} can't be read: ${why}`))
  }

  /** In how many ms a caller's key has to leave the routes; null: none has an end. */
  get keyEndsInMs(): number | null {
    return this.#keyEndsInMs
  }

  /** Nothing is taken out of the routes before replicas had a full lease period to be heard. */
  async publish(rows: DeploymentRows): Promise<void> {
    const applied = this.#context.project()
    if (applied === null || !this.#isHeard(rows)) return
    const endpoints = endpointRoutes({
      routes: rows.routes,
      deployments: rows.deployments,
      replicas: rows.replicas,
      versions: await this.#versions.all(rows.deployments.map(({ versionId }) => versionId)),
      lease: (id) => this.#observations.lease(id),
      models: new Map([...applied.paused, ...applied.project.models].map((m) => [m.name, m])),
      pins: rows.pins,
      aliases: await aliases(this.#context.store.db),
      gathers: gathersOf(applied, rows),
      moduleOf: (path) => this.#modules.of(join(applied.project.root, path)),
    })
    const nowMs = this.#context.clock.epochMs()
    const callers = await listCallers(this.#context.store.db)
    const admission = { callers: routedCallers(callers, nowMs), anonymous: applied.project.gateway.anonymous }
    this.#keyEndsInMs = nextKeyEndMs(callers, nowMs)
    this.#publisher.publish(applied.project.name, endpoints, nowMs, admission)
  }

  #isHeard({ deployments, replicas }: DeploymentRows): boolean {
    const discoverable = new Set(deployments.filter((d) => d.discoverable).map((d) => d.id))
    const expected = replicas.filter((r) => r.status === 'running' && discoverable.has(r.deploymentId))
    return expected.every((r) => this.#observations.lease(r.id) !== null) || this.#observations.observedLongEnough()
  }
}

function gathersOf({ project }: AppliedProject, { gatherMembers }: DeploymentRows) {
  return project.endpoints.map((config) => ({
    config,
    members: gatherMembers.filter((m) => m.endpoint === config.name),
  }))
}
