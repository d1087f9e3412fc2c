import type { GatewayConfig } from '../../../config/project.ts'
import { endingSoon, type CallerPin } from '../../../control/caller/caller.ts'
import { listPins } from '../../../control/caller/caller-store.ts'
import { readIndicators } from '../../../control/service-level/service-levels.ts'
import { openRuns } from '../../../control/pipeline/run-store.ts'
import { undecidedVersions } from '../../../control/registry/version-store.ts'
import { openDeployments, openReleases, openReplicas } from '../../../control/release/release-store.ts'
import type { Freeze } from '../../../control/release/freeze.ts'
import { activeFreezes } from '../../../control/release/freeze-store.ts'
import type { Replica } from '../../../control/release/release.ts'
import { lastRuns, stateKey, triggerStates } from '../../../control/trigger/trigger-store.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { EndpointView } from '../endpoint-schemas.ts'
import type { Reconciliation } from '../prediction-log-schemas.ts'
import type { ServiceLevel } from '../service-level-schemas.ts'
import type { StatusView } from '../status-schemas.ts'
import type { TriggerView } from '../triggers-schemas.ts'
import { endpointViews, NO_GATEWAY } from './endpoint-view.ts'
import { EXPOSED_FIX, exposures } from './exposures.ts'
import { releaseView } from './release-view.ts'
import { runSummary } from './run-view.ts'
import { firingAlerts, monitoredViews } from './monitoring.ts'
import { budgetViews } from './service-levels.ts'
import type { Services } from './services.ts'

const WINDOW_MS = 7 * 86_400_000

export const statusHandlers = (services: Services): HandlerGroup<'status'> => ({
  async get() {
    const { context, facts } = services
    const { db, backend } = context.store
    const applied = context.project()
    const endpoints = await endpointViews(services)
    const reconciliation = await services.reconciliation()
    const waiting = (await undecidedVersions(db)).filter((v) => v.disposition === 'awaiting-approval')
    const disk = { freeBytes: facts.freeBytes(), minFreeBytes: facts.minFreeBytes(), low: context.diskLow() }
    return {
      project:
        applied === null
          ? null
          : { name: applied.project.name, revision: applied.revisionId, root: applied.project.root },
      controlPlane: {
        version: facts.version,
        pid: process.pid,
        startedAtMs: facts.startedAtMs,
        dataDir: context.dataDir,
        store: backend,
        apiUrl: facts.apiUrl,
      },
      clock: services.clock.view(),
      processes: await services.processes(),
      endpoints,
      replicas: await replicaViews(services),
      runs: await Promise.all((await openRuns(db)).map((r) => runSummary(services, r))),
      releases: await Promise.all((await openReleases(db)).map((r) => releaseView(services, r))),
      waiting: waiting.map((v) => ({ version: v.id, why: v.dispositionWhy ?? '' })),
      triggers: await triggerViews(services),
      reconciliation,
      serviceLevels: await serviceLevelViews(services, reconciliation),
      budgets: await budgetViews(services),
      alerts: await firingAlerts(services),
      monitoring: await monitoredViews(services),
      disk,
      warnings: warningsOf(
        endpoints,
        reconciliation,
        disk,
        waiting.map((v) => v.id),
        await activeFreezes(db),
        endingSoon(await listPins(db), context.clock.epochMs()),
        applied?.project.gateway ?? null,
        services.ingest.failing,
      ),
    }
  },
})

export const serviceLevelHandlers = (services: Services): HandlerGroup<'serviceLevels'> => ({
  async get() {
    return serviceLevelViews(services, await services.reconciliation())
  },
  budgets: ({ model }) => budgetViews(services, model),
})

/** Indicators over all models; what was promised of each model is in its budgets. */
async function serviceLevelViews({ context }: Services, reconciliation: Reconciliation): Promise<ServiceLevel[]> {
  const values = await readIndicators(context.store.db, context.clock.epochMs(), WINDOW_MS)
  const lag: ServiceLevel = {
    phase: 'log',
    indicator: 'log lag',
    model: null,
    value: reconciliation.lagMs,
    unit: 'ms',
    objective: null,
    met: null,
    count: reconciliation.logged,
    windowMs: 0,
  }
  return [...values.map((v) => ({ ...v, objective: null, met: null })), lag]
}

async function replicaViews({ context, observations }: Services): Promise<StatusView['replicas']> {
  const deployments = await openDeployments(context.store.db)
  return (await openReplicas(context.store.db)).map((replica) => {
    const lease = observations.lease(replica.id)
    return {
      id: replica.id,
      deployment: replica.deploymentId,
      version: deployments.find((d) => d.id === replica.deploymentId)?.versionId ?? '',
      state: replicaState(replica, lease?.state ?? null),
      why: lease?.why ?? replica.why,
      pid: lease?.pid ?? null,
      httpPort: lease?.httpPort ?? null,
      inFlight: lease?.inFlight ?? 0,
    }
  })
}

function replicaState(
  replica: Replica,
  lease: StatusView['replicas'][number]['state'] | null,
): StatusView['replicas'][number]['state'] {
  if (replica.status === 'stopping') return 'draining'
  return lease ?? 'starting'
}

async function triggerViews({ context, triggers }: Services): Promise<TriggerView[]> {
  const { db } = context.store
  const [states, runs] = [await triggerStates(db), await lastRuns(db)]
  return triggers.views().map(({ model, name, kind, state, why, nextMs }) => {
    const id = stateKey(model, name)
    const lastFiredAtMs = states.get(id)?.lastFiredMs ?? null
    return { id, model, kind, state, why, lastFiredAtMs, lastRun: runs.get(id) ?? null, nextAtMs: nextMs }
  })
}

function warningsOf(
  endpoints: EndpointView[],
  reconciliation: Reconciliation,
  disk: StatusView['disk'],
  waiting: string[],
  freezes: Freeze[],
  pins: CallerPin[],
  gateway: GatewayConfig | null,
  ingestFails: string | null,
): StatusView['warnings'] {
  const warnings: StatusView['warnings'] = []
  const warn = (text: string, fix: string | null) => warnings.push({ text, fix })
  if (disk.low)
    warn(
      `Free disk space is ${mb(disk.freeBytes)}, below ${mb(disk.minFreeBytes)}: nothing new is started.`,
      'Free some space; work goes on by itself then.',
    )
  for (const e of endpoints)
    if (e.state === 'down' || e.state === 'degraded')
      warn(
        `Endpoint ${e.name} is ${e.state}: ${e.why}.`,
        e.why === NO_GATEWAY
          ? `'millrace logs --process gateway' tells why it does not start.`
          : `'millrace logs --process' tells why a replica does not start.`,
      )
  for (const e of endpoints)
    if (e.state === 'disabled') warn(`Endpoint ${e.name} is ${e.why}.`, `'millrace enable ${e.name}'`)
  for (const f of freezes)
    warn(`Automatic release of ${f.model} is frozen (${f.id}): ${f.why.replace(/\.$/, '')}.`, `Ends by ${f.unfreezes}.`)
  for (const pin of pins)
    warn(
      `Caller ${pin.caller} is pinned to ${pin.versionId} on ${pin.endpoint} until ${minute(pin.expiresAtMs)}, and served as others are from then on.`,
      `'millrace pin ${pin.caller} ${pin.endpoint} ${pin.versionId}' renews it.`,
    )
  for (const text of gateway === null ? [] : exposures(gateway)) warn(text, EXPOSED_FIX)
  if (ingestFails !== null)
    warn(
      `What was logged can't be moved into the lake: ${ingestFails.replace(/\.$/, '')}.`,
      'It is kept in the spool, and tried again by itself.',
    )
  if (!reconciliation.agrees) warn(`The prediction log does not agree: ${reconciliation.why}.`, null)
  if (reconciliation.dropped > 0)
    warn(
      `${reconciliation.dropped} predictions were not logged for want of disk space.`,
      `Free some space, or set log.mode to 'durable' to refuse instead.`,
    )
  for (const version of waiting)
    warn(`${version} waits for approval.`, `'millrace gate show ${version}', then approve or reject it.`)
  return warnings
}

const minute = (ms: number) => `${new Date(ms).toISOString().slice(0, 16)}Z`

const mb = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MB`

export class NotRehearsedError extends MillraceError {
  constructor() {
    super({
      code: 'MR_NOT_REHEARSED',
      kind: 'conflict',
      message: 'The calendar is the real one and can not be moved.',
      fix: `Start with 'millrace up --rehearse 2001-01-01T00:00Z' to rehearse another time.`,
    })
  }
}
