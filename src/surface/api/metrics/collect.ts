import { activeFreezes } from '../../../control/release/freeze-store.ts'
import { openDeployments, openReleases, openReplicas } from '../../../control/release/release-store.ts'
import type { Deployment } from '../../../control/release/release.ts'
import { aliases } from '../../../control/registry/version-store.ts'
import { exposition } from '../../../kernel/metrics/exposition.ts'
import { each, single } from '../../../kernel/metrics/metric.ts'
import type { MetricFamily } from '../../../kernel/metrics/metric.ts'
import { processFamilies } from '../../../kernel/metrics/process-metrics.ts'
import { isAlive, readProcessRecords } from '../../../kernel/runtime/process-record.ts'
import type { ProcessRecord } from '../../../kernel/runtime/process-record.ts'
import { firingAlerts, monitoredViews } from '../handlers/monitoring.ts'
import { budgetViews } from '../handlers/service-levels.ts'
import type { Services } from '../handlers/services.ts'
import { controlMetrics as metrics } from './control-metrics.ts'
import type { LoopTimes } from './loop-times.ts'

/** What of the services the metrics are read from. */
export type ControlSource = Pick<Services, 'context' | 'observations' | 'reconciliation' | 'facts'>

export async function controlMetricsText(source: ControlSource, loops: Pick<LoopTimes, 'all'>): Promise<string> {
  return exposition([...(await controlFamilies(source, loops)), ...processFamilies(source.facts.version)])
}

/** Read from rows at each scrape. Of a model that has left the configuration only what still runs is told. */
export async function controlFamilies(source: ControlSource, loops: Pick<LoopTimes, 'all'>): Promise<MetricFamily[]> {
  const known = new Set((source.context.project()?.project.models ?? []).map(({ name }) => name))
  return [
    ...(await runFamilies(source, known)),
    ...(await releaseFamilies(source, known)),
    ...(await replicaFamilies(source)),
    ...(await watchFamilies(source)),
    ...(await lakeFamilies(source)),
    ...loopFamilies(loops),
    ...recordFamilies(source),
  ]
}

const RUN_OPEN = new Set(['queued', 'running'])

async function runFamilies({ context }: ControlSource, known: ReadonlySet<string>): Promise<MetricFamily[]> {
  const { db } = context.store
  const runs = await db
    .selectFrom('run')
    .select(['model', 'status', (eb) => eb.fn.countAll<number>().as('count')])
    .groupBy(['model', 'status'])
    .execute()
  const versions = await db
    .selectFrom('version')
    .select(['model', 'status', 'disposition', (eb) => eb.fn.countAll<number>().as('count')])
    .groupBy(['model', 'status', 'disposition'])
    .execute()
  const firings = await db
    .selectFrom('trigger_firing')
    .select(['model', 'trigger_name', (eb) => eb.fn.countAll<number>().as('count')])
    .groupBy(['model', 'trigger_name'])
    .execute()
  const isKnown = ({ model }: { model: string }): boolean => known.has(model)
  const mine = runs.filter(isKnown)
  const graded = versions.filter(isKnown)
  const labels = ({ model, status }: { model: string; status: string }): string[] => [model, status]
  const waiting = graded.filter(({ disposition }) => disposition === 'awaiting-approval')
  return [
    each(
      metrics.runsOpen,
      mine.filter(({ status }) => RUN_OPEN.has(status)),
      labels,
      countOf,
    ),
    each(
      metrics.runs,
      mine.filter(({ status }) => !RUN_OPEN.has(status)),
      labels,
      countOf,
    ),
    each(metrics.firings, firings.filter(isKnown), ({ model, trigger_name }) => [model, trigger_name], countOf),
    { definition: metrics.versions, samples: summed(graded, labels, countOf) },
    { definition: metrics.waiting, samples: summed(waiting, ({ model }) => [model], countOf) },
  ]
}

/** One sample for all that have the same labels. @param valueOf - default: how many they are */
function summed<T>(
  things: readonly T[],
  labelsOf: (thing: T) => string[],
  valueOf: (thing: T) => number = () => 1,
): { labels: string[]; value: number }[] {
  const byLabels = new Map<string, { labels: string[]; value: number }>()
  for (const thing of things) {
    const labels = labelsOf(thing)
    const key = labels.join('\0')
    const sum = byLabels.get(key) ?? { labels, value: 0 }
    sum.value += valueOf(thing)
    byLabels.set(key, sum)
  }
  return [...byLabels.values()]
}

const countOf = ({ count }: { count: number }): number => Number(count)

async function releaseFamilies({ context }: ControlSource, known: ReadonlySet<string>): Promise<MetricFamily[]> {
  const { db } = context.store
  const open = (await openReleases(db)).filter(({ model }) => known.has(model))
  const ended = await db
    .selectFrom('release')
    .select(['model', 'kind', 'status', (eb) => eb.fn.countAll<number>().as('count')])
    .where('ended_at_ms', 'is not', null)
    .groupBy(['model', 'kind', 'status'])
    .execute()
  const champions = (await aliases(db)).filter(({ alias, model }) => alias === 'champion' && known.has(model))
  return [
    each(
      metrics.champion,
      champions,
      ({ model }) => [model],
      ({ versionId }) => Number(numberOf(versionId)),
    ),
    { definition: metrics.releasesOpen, samples: summed(open, ({ model, status }) => [model, status]) },
    each(
      metrics.releases,
      ended.filter(({ model }) => known.has(model)),
      ({ model, kind, status }) => [model, kind, status],
      countOf,
    ),
    { definition: metrics.freezes, samples: summed(await activeFreezes(db), ({ model, kind }) => [model, kind]) },
  ]
}

/** `churn@3` */
function numberOf(versionId: string): string {
  return versionId.slice(versionId.lastIndexOf('@') + 1)
}

async function replicaFamilies({ context, observations }: ControlSource): Promise<MetricFamily[]> {
  const { db } = context.store
  const deployments = await openDeployments(db)
  const replicas = await openReplicas(db)
  const labels = ({ endpoint, model, versionId, id }: Deployment): string[] => [
    endpoint,
    model,
    numberOf(versionId),
    id,
  ]
  return [
    each(metrics.wanted, deployments, labels, ({ replicasWanted }) => replicasWanted),
    each(metrics.ready, deployments, labels, ({ id }) => observations.readyOf(id, replicas)),
    single(metrics.gateways, observations.gateways().length),
  ]
}

async function watchFamilies(source: ControlSource): Promise<MetricFamily[]> {
  const { store, clock } = source.context
  const alerts = await firingAlerts(source)
  const { count } = await store.db
    .selectFrom('notification')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('status', '=', 'waiting')
    .executeTakeFirstOrThrow()
  const nowMs = clock.calendarMs()
  const lags = (await monitoredViews(source)).flatMap(({ model, monitoredUntilMs, labelledUntilMs }) => [
    { model, of: 'data', untilMs: monitoredUntilMs },
    { model, of: 'labels', untilMs: labelledUntilMs },
  ])
  const judged = lags.filter(({ untilMs }) => untilMs !== null)
  return [
    {
      definition: metrics.alerts,
      samples: summed(alerts, ({ model, source: from, severity }) => [model, from, severity]),
    },
    single(metrics.notifications, Number(count)),
    each(
      metrics.monitorLag,
      judged,
      ({ model, of }) => [model, of],
      ({ untilMs }) => Math.max(0, nowMs - untilMs!) / 1_000,
    ),
    ...(await budgetFamilies(source)),
  ]
}

async function budgetFamilies(source: ControlSource): Promise<MetricFamily[]> {
  const budgets = await budgetViews(source)
  const labels = ({ model, level }: { model: string; level: string }): string[] => [model, level]
  const burns = budgets.flatMap(({ model, level, burns: pairs }) =>
    pairs.map(({ longMs, longRate }) => ({ labels: [model, level, windowText(longMs)], value: longRate })),
  )
  return [
    each(metrics.objective, budgets, labels, ({ objective }) => objective),
    each(
      metrics.budgetLeft,
      budgets.filter(({ left }) => left !== null),
      labels,
      ({ left }) => left!,
    ),
    { definition: metrics.burnRate, samples: burns },
  ]
}

const HOUR_MS = 3_600_000

/** As Prometheus writes durations: `1h`, `3d`. */
function windowText(ms: number): string {
  const hours = ms / HOUR_MS
  return hours >= 24 && hours % 24 === 0 ? `${hours / 24}d` : `${hours}h`
}

async function lakeFamilies({ reconciliation, facts }: ControlSource): Promise<MetricFamily[]> {
  const { inLake, inSpool, lagMs, agrees } = await reconciliation()
  return [
    single(metrics.lakePredictions, inLake),
    single(metrics.lakeWaiting, inSpool),
    single(metrics.lakeLag, lagMs / 1_000),
    single(metrics.lakeAgrees, agrees ? 1 : 0),
    single(metrics.diskFree, facts.freeBytes()),
    single(metrics.diskMin, facts.minFreeBytes()),
  ]
}

function loopFamilies(loops: Pick<LoopTimes, 'all'>): MetricFamily[] {
  const all = loops.all()
  return [
    { definition: metrics.loops, samples: all.map(({ loop, durations }) => durations.sample([loop])) },
    each(
      metrics.loopFailures,
      all,
      ({ loop }) => [loop],
      ({ failures }) => failures,
    ),
  ]
}

/** Steps and jobs come and go: a time series each would be one a run. */
const LASTING = new Set<ProcessRecord['role']>(['supervisor', 'control-plane', 'gateway', 'replica'])

function recordFamilies({ context }: ControlSource): MetricFamily[] {
  const records = readProcessRecords(context.dataDir).filter(({ role }) => LASTING.has(role))
  const labels = ({ id, role }: ProcessRecord): string[] => [id, role]
  return [
    each(metrics.up, records, labels, (record) => (isAlive(record) ? 1 : 0)),
    each(metrics.started, records, labels, ({ startedAtMs }) => startedAtMs / 1_000),
  ]
}
