import type { ModelConfig } from '../../config/project.ts'
import type { CallerPin } from '../caller/caller.ts'
import { findModel, type ControlContext } from '../control-context.ts'
import { findVersion } from '../registry/version-store.ts'
import type { Version } from '../registry/version.ts'
import { versionsBeyondUse } from '../retirement/retirement-store.ts'
import { replicasAtStart } from './decide-replicas.ts'
import { createDeployment } from './deployment-acts.ts'
import type { DeploymentRows } from './deployment-rows.ts'
import { fallbackDeployment, type Fallback } from './fallback.ts'
import { hasServed } from './release-store.ts'

/** Versions that are kept up for something else than the route of their model. */
export function keptVersions(models: readonly ModelConfig[], declared: readonly Fallback[]): Fallback[] {
  // They are to answer where the live ones can't.
  const fallbacks = models.flatMap(({ endpoint, serving: { fallback } }) =>
    fallback.kind === 'version' ? [{ endpoint, versionId: fallback.version }] : [],
  )
  return [...fallbacks, ...declared]
}

/** Versions with which somebody is to be served whatever the route is, each once. */
export function wantedVersions(pins: readonly CallerPin[], kept: readonly Fallback[]): Required<Fallback>[] {
  const wanted = [
    ...pins.map(({ endpoint, versionId }) => ({ endpoint, versionId, as: 'pin' })),
    ...kept.map((fallback) => ({ as: 'fallback', ...fallback })),
  ]
  return [...new Map(wanted.map((one) => [`${one.endpoint} ${one.versionId}`, one])).values()]
}

/**
 * Deploys those that have been stopped since they served. What was never proven by a preflight must not answer.
 * @returns whether there were any
 */
export async function deployWanted(
  context: ControlContext,
  { pins, declared, deployments }: Pick<DeploymentRows, 'pins' | 'declared' | 'deployments'>,
  warn: (text: string) => void,
): Promise<boolean> {
  const { store, clock, log } = context
  const kept = keptVersions(context.project()?.project.models ?? [], declared)
  let deployed = false
  for (const wanted of wantedVersions(pins, kept)) {
    if (context.diskLow() || fallbackDeployment(wanted, deployments) !== null) continue
    const { endpoint, versionId, as } = wanted
    const version = await findVersion(store.db, versionId)
    const isGone = (await versionsBeyondUse(store.db, version?.model ?? '')).has(versionId)
    const unfit = whyUnfit(version, { isGone, isProven: await hasServed(store.db, versionId) })
    if (version === null || unfit !== null) {
      warn(`${versionId} ${wantedFor(wanted)} and ${unfit}`)
      continue
    }
    const { model } = version
    const declaredReplicas = findModel(context.project(), model)?.serving.replicas ?? null
    const replicasWanted = replicasAtStart(declaredReplicas)
    await createDeployment(store.db, clock, { endpoint, model, versionId, replicasWanted, discoverable: true, why: as })
    log.info({ endpoint, version: versionId, as }, 'a version that is wanted is deployed')
    deployed = true
  }
  return deployed
}

function whyUnfit(version: Version | null, { isGone, isProven }: { isGone: boolean; isProven: boolean }) {
  if (isGone) return 'is retired'
  if (version?.approval?.decision === 'rejected') return 'was rejected'
  return version === null || !isProven ? 'was never released' : null
}

function wantedFor({ as, endpoint }: Required<Fallback>): string {
  if (as === 'pin') return `is what a caller is pinned to on ${endpoint}`
  if (as === 'fallback') return `is declared as the fallback of ${endpoint}`
  return `is wanted on ${endpoint} for a ${as}`
}
