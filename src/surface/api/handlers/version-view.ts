import type { Evaluation, GateRecord } from '../../../control/evaluation/evaluation-store.ts'
import { evaluationOf, gateOf } from '../../../control/evaluation/evaluation-store.ts'
import type { MetricTree } from '../../../control/pipeline/step-output.ts'
import type { Version } from '../../../control/registry/version.ts'
import { aliases, aliasHistory } from '../../../control/registry/version-store.ts'
import { retirementOf } from '../../../control/retirement/retirement-store.ts'
import { openDeployments, openReplicas, releasesOf, routeOf } from '../../../control/release/release-store.ts'
import type { GateView } from '../gate-schemas.ts'
import type { VersionSummary, VersionView } from '../version-schemas.ts'
import type { Services } from './services.ts'
import { flatMetrics, stepFiles } from './step-files.ts'

export async function versionSummary(services: Services, version: Version): Promise<VersionSummary> {
  const { db } = services.context.store
  const named = (await aliases(db)).filter((a) => a.versionId === version.id).map((a) => a.alias)
  const evaluation = await evaluationOf(db, version.id)
  const gate = await gateOf(db, version.id)
  const deployment = await deploymentView(services, version)
  const since = (await aliasHistory(db, version.model)).findLast(
    (h) => h.alias === 'champion' && h.versionId === version.id,
  )
  const live = named.includes('champion')
  const retirement = await retirementOf(db, version.id)
  return {
    ref: version.id,
    model: version.model,
    number: version.number,
    status: version.status,
    why: gate?.why ?? version.why,
    standing: version.approval?.decision ?? version.status,
    aliases: named,
    approval: version.approval,
    release: releaseState(version, live, deployment !== null, since !== undefined),
    releaseWhy: version.dispositionWhy,
    metrics: evaluation?.figures?.metrics.values ?? null,
    createdAtMs: version.trainedAtMs,
    liveSinceMs: live ? (since?.fromMs ?? null) : null,
    retirement: retirement === null ? null : { status: retirement.status, why: retirement.why },
  }
}

function releaseState(version: Version, live: boolean, deployed: boolean, wasLive: boolean): VersionSummary['release'] {
  if (live) return 'live'
  if (version.disposition === 'awaiting-approval') return 'awaiting-approval'
  if (wasLive) return deployed ? 'warm' : 'retired'
  if (version.disposition === 'released') return 'releasing'
  if (version.disposition === 'spare') return 'spare'
  return 'none'
}

export async function versionView(services: Services, version: Version): Promise<VersionView> {
  const { db } = services.context.store
  const evaluation = await evaluationOf(db, version.id)
  const history = await aliasHistory(db, version.model)
  return {
    ...(await versionSummary(services, version)),
    gate: gateView(version, evaluation, await gateOf(db, version.id)),
    lineage: {
      run: version.runId,
      revision: version.revisionId,
      ...version.lineage,
      holdoutDigest: evaluation?.holdoutDigest ?? null,
    },
    signature: version.signature,
    reportedMetrics: flatMetrics(version.reportedMetrics as MetricTree | null),
    artifacts: [
      ...artifactsOf(version, evaluation),
      ...(version.runId === null ? [] : await stepFiles(services, version.runId)),
    ],
    deployment: await deploymentView(services, version),
    history: history
      .map((h, i) => ({ ...h, until: history.slice(i + 1).find((later) => later.alias === h.alias)?.fromMs ?? null }))
      .filter((h) => h.versionId === version.id)
      .map((h) => ({ alias: h.alias, fromMs: h.fromMs, untilMs: h.until, why: h.cause })),
  }
}

export function gateView(version: Version, evaluation: Evaluation | null, gate: GateRecord | null): GateView {
  const figures = evaluation?.figures ?? null
  return {
    version: version.id,
    verdict: gate?.verdict ?? null,
    why: gate?.why ?? version.why ?? 'not decided yet',
    champion: evaluation?.championId ?? null,
    checks: gate?.checks ?? [],
    metrics: figures?.metrics.values ?? {},
    championMetrics: figures?.champion?.metrics.values ?? null,
    rows: figures?.rows ?? null,
    approval: version.approval,
    decidedAtMs: gate?.decidedAtMs ?? null,
  }
}

function artifactsOf(version: Version, evaluation: Evaluation | null): VersionView['artifacts'] {
  const named: [string, string | null][] = [
    ['profile', version.profileDigest],
    ['golden', version.goldenDigest],
    ['losses', evaluation?.lossesDigest ?? null],
    ['holdout', evaluation?.holdoutDigest ?? null],
  ]
  return [
    { name: 'model', digest: version.modelDigest, sizeBytes: version.sizeBytes },
    ...named.flatMap(([name, digest]) => (digest === null ? [] : [{ name, digest, sizeBytes: null }])),
  ]
}

async function deploymentView(
  { context, observations }: Services,
  version: Version,
): Promise<VersionView['deployment']> {
  const { db } = context.store
  const deployment = (await openDeployments(db)).findLast((d) => d.versionId === version.id)
  if (deployment === undefined) return null
  const replicas = (await openReplicas(db)).filter((r) => r.deploymentId === deployment.id)
  const route = await routeOf(db, deployment.endpoint)
  return {
    id: deployment.id,
    status: deployment.status,
    why: deployment.why,
    replicasReady: replicas.filter((r) => observations.lease(r.id)?.state === 'ready').length,
    replicasWanted: deployment.replicasWanted,
    weightPercent: route?.members.find((m) => m.deploymentId === deployment.id)?.weightPercent ?? 0,
  }
}

/** The newest release of a version, if any. */
export async function newestRelease(services: Services, versionId: string) {
  return (await releasesOf(services.context.store.db, versionId))[0] ?? null
}
