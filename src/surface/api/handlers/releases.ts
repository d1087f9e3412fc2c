import { allModels } from '../../../control/control-context.ts'
import { gateOf } from '../../../control/evaluation/evaluation-store.ts'
import { mayBeReleased, type Version } from '../../../control/registry/version.ts'
import { setDisposition } from '../../../control/registry/version-requests.ts'
import { aliasHistory, aliasTarget, resolveVersion } from '../../../control/registry/version-store.ts'
import type { Release } from '../../../control/release/release.ts'
import { disableEndpoint, enableEndpoint } from '../../../control/release/disable-requests.ts'
import { joinAgain } from '../../../control/release/gather-requests.ts'
import { requestRelease } from '../../../control/release/release-requests.ts'
import { findRelease, listReleases, openReleases } from '../../../control/release/release-store.ts'
import { rollbackTargetOf } from '../../../control/release/rollback-requests.ts'
import { VersionDeletedError } from '../../../control/retirement/errors.ts'
import { versionsBeyondUse } from '../../../control/retirement/retirement-store.ts'
import type { ModelConfig } from '../../../config/project.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { EndpointView } from '../endpoint-schemas.ts'
import type { ReleaseView } from '../release-schemas.ts'
import { declaredModel } from './models.ts'
import { endpointViews } from './endpoint-view.ts'
import { releaseView } from './release-view.ts'
import type { Services } from './services.ts'

class GateNotPassedError extends MillraceError {
  constructor(ref: string, status: string, why: string) {
    const how = status === 'candidate' || status === 'evaluating' ? `it is ${status}` : `gate ${status}`
    super({
      code: 'MR_GATE_NOT_PASSED',
      kind: 'conflict',
      message: `${ref} can't be released: ${how}: ${why.replace(/\.$/, '')}.`,
      fix: `Run 'millrace gate show ${ref}' for the figures, or 'millrace approve ${ref} --why …' to let it through.`,
    })
  }
}

class AlreadyLiveError extends MillraceError {
  constructor(ref: string) {
    super({
      code: 'MR_ALREADY_LIVE',
      kind: 'conflict',
      message: `${ref} is live already.`,
      fix: `Run 'millrace models' to see what serves.`,
    })
  }
}

class NothingToRollBackToError extends MillraceError {
  constructor(endpoint: string) {
    super({
      code: 'MR_NO_PREVIOUS',
      kind: 'conflict',
      message: `Endpoint '${endpoint}' has no version before the live one to go back to.`,
      fix: `Name one that may serve: 'millrace rollback ${endpoint} --to model@number --why …'.`,
    })
  }
}

export class EndpointUnknownError extends MillraceError {
  /** @param isGather - there is one, though none of a model */
  constructor(endpoint: string, known: string[], isGather = false) {
    const others = known.length === 0 ? '' : `; there are: ${known.join(', ')}`
    super({
      code: 'MR_ENDPOINT_UNKNOWN',
      kind: 'not-found',
      message: isGather
        ? `Endpoint '${endpoint}' asks several versions at once, and is no model's own${others}.`
        : `There is no endpoint '${endpoint}'${others}.`,
      fix: `Run 'millrace status' to see the endpoints.`,
    })
  }
}

class NotDisabledError extends MillraceError {
  constructor(endpoint: string) {
    super({
      code: 'MR_NOT_DISABLED',
      kind: 'conflict',
      message: `Endpoint '${endpoint}' is not disabled.`,
      fix: `Run 'millrace status' to see how it is.`,
    })
  }
}

export class OtherModelError extends MillraceError {
  constructor(version: string, endpoint: string, model: string) {
    super({
      code: 'MR_OTHER_MODEL',
      kind: 'invalid',
      message: `${version} is not a version of '${model}', which endpoint '${endpoint}' serves.`,
      fix: `Run 'millrace models show ${model}' to see its versions.`,
    })
  }
}

export const releaseHandlers = (services: Services): HandlerGroup<'releases'> => ({
  async list({ model, limit }) {
    return Promise.all(
      (await listReleases(services.context.store.db, { model, limit })).map((r) => releaseView(services, r)),
    )
  },
  async get({ id }) {
    return releaseView(services, await findRelease(services.context.store.db, id))
  },
  async create({ ref, why, by }) {
    const { store } = services.context
    const version = await resolveVersion(store.db, ref)
    if (!mayBeReleased(version)) {
      throw new GateNotPassedError(version.id, version.status, await gateReason(services, version))
    }
    return request(services, version, 'release', `by hand: ${why}`, by)
  },
  async rollback({ endpoint, to, why, by }) {
    const { context } = services
    const { store } = context
    const model = modelOfEndpoint(services, endpoint)
    const target = to ?? (await rollbackTargetOf(store.db, model.name))
    if (target === null) throw new NothingToRollBackToError(endpoint)
    const version = await resolveVersion(store.db, target)
    if (version.model !== model.name) throw new OtherModelError(version.id, endpoint, model.name)
    if (!(await mayBeGoneBackTo(services, version)))
      throw new GateNotPassedError(version.id, version.status, await gateReason(services, version))
    return request(services, version, 'rollback', `rollback: ${why}`, by)
  },
})

/** By its name or its model's. Also of a model that has left the configuration: it still serves. @throws EndpointUnknownError */
export function modelOfEndpoint({ context }: Services, endpoint: string): ModelConfig {
  const models = allModels(context.project())
  const model = models.find((m) => m.endpoint === endpoint) ?? models.find((m) => m.name === endpoint)
  if (model !== undefined) return model
  throw new EndpointUnknownError(
    endpoint,
    models.map((m) => m.endpoint),
    context.project()?.project.endpoints.some(({ name }) => name === endpoint),
  )
}

/** What has served before may serve again, whatever a later gate would say; a person's rejection counts over that. */
async function mayBeGoneBackTo({ context }: Services, version: Version): Promise<boolean> {
  if (version.signature === null || version.approval?.decision === 'rejected') return false
  if (mayBeReleased(version)) return true
  const history = await aliasHistory(context.store.db, version.model)
  return history.some((span) => span.alias === 'champion' && span.versionId === version.id)
}

async function gateReason({ context }: Services, version: Version): Promise<string> {
  const { approval } = version
  if (approval?.decision === 'rejected') return `rejected by ${approval.by}: ${approval.why}`
  return (await gateOf(context.store.db, version.id))?.why ?? version.why ?? 'no verdict'
}

/** An endpoint of a model, or one that asks several, which stands for itself. */
function servedBy(services: Services, endpoint: string): { endpoint: string; model: string } {
  const gathers = services.context.project()?.project.endpoints ?? []
  if (gathers.some((gather) => gather.name === endpoint)) return { endpoint, model: endpoint }
  const model = modelOfEndpoint(services, endpoint)
  return { endpoint: model.endpoint, model: model.name }
}

class NotRefusedError extends MillraceError {
  constructor(endpoint: string, versionId: string) {
    super({
      code: 'MR_NOT_REFUSED',
      kind: 'conflict',
      message: `${versionId} was not refused by '${endpoint}': there is nothing to try again.`,
      fix: `Run 'millrace endpoints' to see who answers there, who joins, and who could not.`,
    })
  }
}

export const endpointHandlers = (services: Services): HandlerGroup<'endpoints'> => ({
  list: (): Promise<EndpointView[]> => endpointViews(services),
  async disable({ endpoint, why, by }) {
    const { store, clock } = services.context
    const served = servedBy(services, endpoint)
    await store.transaction((tx) => disableEndpoint(tx, clock, { ...served, why, by }))
    services.context.wake('route')
    return endpointNamed(services, served.endpoint)
  },
  async join({ endpoint, ref, why, by }) {
    const { store, clock } = services.context
    const version = await resolveVersion(store.db, ref)
    const wish = { endpoint, versionId: version.id, why, by }
    if (!(await store.transaction((tx) => joinAgain(tx, clock, wish)))) throw new NotRefusedError(endpoint, version.id)
    services.context.wake('deployment')
    return endpointNamed(services, endpoint)
  },
  async enable({ endpoint, by }) {
    const { store, clock } = services.context
    const served = servedBy(services, endpoint)
    const enabled = await store.transaction((tx) => enableEndpoint(tx, clock, { endpoint: served.endpoint, by }))
    if (!enabled) throw new NotDisabledError(served.endpoint)
    services.context.wake('route')
    return endpointNamed(services, served.endpoint)
  },
})

async function endpointNamed(services: Services, endpoint: string): Promise<EndpointView> {
  return (await endpointViews(services)).find((e) => e.name === endpoint)!
}

async function request(
  services: Services,
  version: Version,
  kind: Release['kind'],
  cause: string,
  by: string,
): Promise<ReleaseView> {
  const { store, clock } = services.context
  const model = declaredModel(services, version.model, kind === 'rollback')
  if ((await versionsBeyondUse(store.db, version.model)).has(version.id))
    throw new VersionDeletedError(version.id, `a ${kind}`)
  const live = (await aliasTarget(store.db, version.model, 'champion')) === version.id
  // Back to the champion while another has part of its traffic: that one loses it.
  const shares = kind === 'rollback' && (await openReleases(store.db)).some((r) => r.model === version.model)
  if (live && !shares) throw new AlreadyLiveError(version.id)
  const id = await store.transaction(async (tx) => {
    if (kind === 'release') await setDisposition(tx, clock, version.id, 'released', cause)
    return requestRelease(tx, clock, {
      kind,
      endpoint: model.endpoint,
      model: model.name,
      versionId: version.id,
      cause,
      by,
    })
  })
  services.context.wake('release')
  return releaseView(services, await findRelease(store.db, id))
}
