import { configuredModel, findModel, type ControlContext } from '../control-context.ts'
import { findVersion } from '../registry/version-store.ts'
import { isTried, type ReleaseView } from './decide-release-step.ts'
import { frozenBy } from './freeze.ts'
import { activeFreezes } from './freeze-store.ts'
import type { Observations } from './observations.ts'
import type { PreflightRuns } from './preflight-runs.ts'
import { GATE, type Deployment, type Release } from './release.ts'
import { findDeployment, openDeployments, openReleases, openReplicas, routeOf } from './release-store.ts'
import { incumbent } from './trial-acts.ts'
import type { StatusWaits } from './status-waits.ts'
import type { TrialWatch } from './trial-watch.ts'
import { trialPlanOf } from './trial.ts'

/** What a release is seen by, besides rows. */
export interface ReleaseEyes {
  observations: Observations
  preflights: Pick<PreflightRuns, 'result'>
  trials: Pick<TrialWatch, 'look'>
  waits: Pick<StatusWaits, 'waitedMs'>
}

/** All that its next step depends on. @returns null where it is no longer open */
export async function observeRelease(
  context: ControlContext,
  { observations, preflights, trials, waits }: ReleaseEyes,
  releaseId: string,
): Promise<ReleaseView | null> {
  const { db } = context.store
  const open = await openReleases(db)
  const release = open.find((r) => r.id === releaseId)
  if (release === undefined) return null
  const deployments = await openDeployments(db)
  const replicas = await openReplicas(db)
  const readyOf = (id: string) => observations.readyOf(id, replicas)
  const warm = warmDeployment(release, deployments)
  const deployment = release.deploymentId === null ? null : await findDeployment(db, release.deploymentId)
  const champion = incumbent(await routeOf(db, release.endpoint), deployments, release)
  const model = findModel(context.project(), release.model)
  const configured = configuredModel(context.project(), release.model)
  // After a restart nobody is held to be down before there was time to hear of it.
  const known = (ready: number) => (ready > 0 || observations.observedLongEnough() ? ready : null)
  const readyReplicas = deployment === null ? 0 : readyOf(deployment.id)
  const health = {
    championReady: champion === null ? 0 : known(readyOf(champion.id)),
    challengerReady: known(readyReplicas),
  }
  return {
    release,
    open: open.filter((r) => r.endpoint === release.endpoint),
    deployment,
    warm: warm && { deploymentId: warm.id, readyReplicas: readyOf(warm.id), isAsleep: warm.replicasWanted === 0 },
    readyReplicas,
    preflight: preflights.result(release.id),
    ...(await words(context, release)),
    waitedMs: waits.waitedMs(release),
    timeoutMs: configured?.release.preflight.timeoutMs ?? 60_000,
    diskLow: context.diskLow(),
    configured: context.project() === null || configured !== null,
    plan: model === null ? null : trialPlanOf(model),
    champion: champion === null ? null : { versionId: champion.versionId },
    trial: model === null || !isTried(release) ? null : await trials.look(release, model, health),
  }
}

function warmDeployment({ versionId, endpoint }: Release, deployments: Deployment[]): Deployment | null {
  const isWarm = (d: Deployment) =>
    d.versionId === versionId && d.endpoint === endpoint && d.discoverable && d.status !== 'draining'
  return deployments.find(isWarm) ?? null
}

/** What a person has said of its version, and what holds for those of which nobody has said anything. */
async function words(
  { store }: ControlContext,
  { kind, model, versionId, requestedBy, createdAtMs }: Release,
): Promise<Pick<ReleaseView, 'rejected' | 'frozen'>> {
  const approval = (await findVersion(store.db, versionId))?.approval
  const rejected = approval?.decision === 'rejected' ? `rejected by ${approval.by}: ${approval.why}` : null
  const byItself = kind === 'release' && approval?.decision !== 'approved'
  const active = byItself ? await activeFreezes(store.db, model) : []
  // A person who asks for it during a freeze means it all the same; one that begins later was not known then.
  const freezes = active.filter((freeze) => requestedBy === GATE || freeze.createdAtMs > createdAtMs)
  return { rejected, frozen: freezes.length === 0 ? null : frozenBy(freezes) }
}
