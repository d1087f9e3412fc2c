import type { ModelConfig } from '../../../config/project.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import { findModel } from '../../../control/control-context.ts'
import { findRelease, openReplicas } from '../../../control/release/release-store.ts'
import type { Release } from '../../../control/release/release.ts'
import { demandsOf, NO_COUNTS, trialAfter, trialPlanOf, type Look } from '../../../control/release/trial.ts'
import { promoteTrial, stopTrial, triedRelease } from '../../../control/release/trial-requests.ts'
import {
  keptLooks,
  lastTrial,
  runningTrials,
  trialCounts,
  trialsOf,
  type TrialRow,
} from '../../../control/release/trial-store.ts'
import type { CanaryLook, CanaryStep, CanaryView } from '../canary-schemas.ts'
import type { HandlerGroup } from '../handlers.ts'
import { releaseView } from './release-view.ts'
import { modelOfEndpoint } from './releases.ts'
import type { Services } from './services.ts'

/** So many of the looks that were kept are shown. */
const LOOKS_SHOWN = 20

export class NotReadyToPromoteError extends MillraceError {
  constructor(release: Release) {
    super({
      code: 'MR_CANARY_NOT_READY',
      kind: 'conflict',
      message: `${release.versionId} can't be given all traffic: none of its replicas is ready.`,
      fix: `'millrace logs --process' tells why; 'millrace canary ${release.endpoint} --stop --why …' ends it.`,
      retryable: true,
    })
  }
}

class NothingTriedError extends MillraceError {
  constructor(endpoint: string) {
    super({
      code: 'MR_NOTHING_TRIED',
      kind: 'not-found',
      message: `No version has ever been tried on endpoint '${endpoint}'.`,
      fix: `A release begins with a canary where there is a champion and 'release.strategy' is not 'immediate'.`,
    })
  }
}

export const canaryHandlers = (services: Services): HandlerGroup<'canaries'> => ({
  async list() {
    const { db } = services.context.store
    return Promise.all((await runningTrials(db)).map((trial) => canaryView(services, trial)))
  },
  async get({ endpoint }) {
    const { endpoint: name } = modelOfEndpoint(services, endpoint)
    const trial = await lastTrial(services.context.store.db, name)
    if (trial === null) throw new NothingTriedError(name)
    return canaryView(services, trial)
  },
  async stop({ endpoint, why, by }) {
    const { endpoint: name } = modelOfEndpoint(services, endpoint)
    const { store, clock } = services.context
    return ended(services, await store.transaction((tx) => stopTrial(tx, clock, { endpoint: name, why, by })))
  },
  async promote({ endpoint, why, by }) {
    const { endpoint: name } = modelOfEndpoint(services, endpoint)
    const { store, clock } = services.context
    const release = await store.transaction((tx) => triedRelease(tx, name))
    if (!(await hasReadyReplica(services, release))) throw new NotReadyToPromoteError(release)
    return ended(services, await store.transaction((tx) => promoteTrial(tx, clock, { endpoint: name, why, by })))
  },
})

async function ended(services: Services, releaseId: string) {
  for (const topic of ['route', 'release', 'deployment', 'evaluation'] as const) services.context.wake(topic)
  return releaseView(services, await findRelease(services.context.store.db, releaseId))
}

async function hasReadyReplica({ context, observations }: Services, release: Release): Promise<boolean> {
  const replicas = (await openReplicas(context.store.db)).filter((r) => r.deploymentId === release.deploymentId)
  return replicas.some((replica) => observations.isReady(replica))
}

async function canaryView(services: Services, last: TrialRow): Promise<CanaryView> {
  const { context } = services
  const { db } = context.store
  const release = await findRelease(db, last.releaseId)
  const trials = await trialsOf(db, release.id)
  const ids = trials.map(({ id }) => id)
  const model = findModel(context.project(), release.model)
  const running = last.status === 'running'
  const kept = await keptLooks(db, ids, LOOKS_SHOWN)
  return {
    endpoint: release.endpoint,
    model: release.model,
    release: release.id,
    status: release.status,
    why: release.why,
    running,
    challenger: last.challengerId,
    champion: last.championId,
    steps: [
      ...(await stepsSoFar(services, model, trials)),
      ...(running && model !== null ? stepsToCome(model, last) : []),
    ],
    maxTimeMs: model === null ? 0 : demandsOf(trialPlanOf(model), last).maxTimeMs,
    look: last.look === null ? null : lookView(last.look),
    looks: kept.map(({ figures }) => lookView(figures)),
  }
}

async function stepsSoFar({ context }: Services, model: ModelConfig | null, trials: TrialRow[]): Promise<CanaryStep[]> {
  const counts = await trialCounts(
    context.store.db,
    trials.map(({ id }) => id),
  )
  return trials.map((trial): CanaryStep => {
    const demands = model === null ? { soakMs: 0, minRequests: 0, minLabels: 0 } : demandsOf(trialPlanOf(model), trial)
    const arm = (version: string) => {
      const { requests, failed } = counts(trial.id, version)
      return { requests, failed }
    }
    return {
      trial: trial.id,
      kind: trial.kind,
      step: trial.step,
      weightPercent: trial.weightPercent,
      state: trial.status,
      why: trial.why,
      soakMs: demands.soakMs,
      minRequests: demands.minRequests,
      minLabels: demands.minLabels,
      elapsedMs: trial.look?.elapsedMs ?? 0,
      startedAtMs: trial.startedAtMs,
      endedAtMs: trial.endedAtMs,
      challenger: arm(trial.challengerId),
      champion: arm(trial.championId),
    }
  })
}

function stepsToCome(model: ModelConfig, from: TrialRow): CanaryStep[] {
  const plan = trialPlanOf(model)
  const steps: CanaryStep[] = []
  const none = { requests: NO_COUNTS.requests, failed: NO_COUNTS.failed }
  for (let next = trialAfter(plan, from); next !== null; next = trialAfter(plan, next)) {
    const { soakMs, minRequests, minLabels } = demandsOf(plan, next)
    const waiting = {
      trial: null,
      state: 'waiting',
      why: null,
      elapsedMs: 0,
      startedAtMs: null,
      endedAtMs: null,
    } as const
    steps.push({ ...next, ...waiting, soakMs, minRequests, minLabels, challenger: none, champion: none })
  }
  return steps
}

function lookView({ harm: _harm, ...look }: Look): CanaryLook {
  return look
}
