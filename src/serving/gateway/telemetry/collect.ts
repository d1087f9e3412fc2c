import { LATENCY_BOUNDS_MS } from '../../../kernel/contract/routing.ts'
import type { LogReport } from '../../../kernel/contract/routing.ts'
import { exposition } from '../../../kernel/metrics/exposition.ts'
import { each, single } from '../../../kernel/metrics/metric.ts'
import type { HistogramSample, MetricFamily } from '../../../kernel/metrics/metric.ts'
import { processFamilies } from '../../../kernel/metrics/process-metrics.ts'
import type { DeploymentPools, PoolReport } from '../deployment-pools.ts'
import type { EndpointGuards } from '../endpoint-guards.ts'
import { accountName } from '../routing-table.ts'
import type { RoutingTable } from '../routing-table.ts'
import type { Traffic, Version } from '../traffic.ts'
import { gatewayMetrics as metrics } from './gateway-metrics.ts'
import type { AccountTotal } from './lifetime-traffic.ts'
import type { RequestDurations } from './request-durations.ts'

/** Where a gateway's numbers are; all are kept for other reasons, but the durations. */
export interface GatewaySource {
  /** Of Millrace. */
  version: string
  table: () => RoutingTable
  traffic: Pick<Traffic, 'totals' | 'sinceStart' | 'forgetBut' | 'uncounted'>
  guards: Pick<EndpointGuards, 'counts' | 'underWay'>
  pools: Pick<DeploymentPools, 'report'>
  durations: Pick<RequestDurations, 'samples'>
  http: () => { connections: number; underWay: number }
  /** Null: there is no gRPC. */
  grpcCalls: () => number | null
  isFollowing: () => boolean
  log: () => LogReport
  access: { readonly lines: number; readonly dropped: number }
}

export function gatewayMetricsText(source: GatewaySource): string {
  return exposition([...gatewayFamilies(source), ...processFamilies(source.version)])
}

export function gatewayFamilies(source: GatewaySource): MetricFamily[] {
  return [
    { definition: metrics.httpDuration, samples: source.durations.samples() },
    ...trafficFamilies(source),
    ...poolFamilies(source),
    ...frontFamilies(source),
    ...routeFamilies(source),
    ...logFamilies(source.log()),
    single(metrics.accessLines, source.access.lines),
    single(metrics.accessDropped, source.access.dropped),
  ]
}

const OUTCOMES = ['answered', 'failed', 'rescued', 'interrupted', 'dropped'] as const

function trafficFamilies({ table, traffic, guards }: GatewaySource): MetricFamily[] {
  const isKnown = knownAccounts(table())
  traffic.forgetBut(isKnown)
  const accounts = traffic.sinceStart().filter(isKnown)
  const { refused } = guards.counts
  return [
    {
      definition: metrics.requests,
      samples: accounts.flatMap((account) => {
        const { endpoint, model, version, origin } = account
        const outcomes = OUTCOMES.filter((outcome) => outcome !== 'dropped' || origin === 'shadow')
        return outcomes.map((outcome) => ({
          labels: [endpoint, model, version, origin, outcome],
          value: account[outcome],
        }))
      }),
    },
    { definition: metrics.duration, samples: durationSamples(accounts, traffic.totals) },
    each(
      metrics.endpointInFlight,
      guards.underWay(),
      ([endpoint]) => [endpoint],
      ([, requests]) => requests,
    ),
    each(
      metrics.refused,
      Object.entries(refused),
      ([limit]) => [limit],
      ([, count]) => count,
    ),
    single(metrics.uncounted, traffic.uncounted),
  ]
}

/** What the routes in use know: an endpoint as such, each of its versions, and a gather as a whole. */
/** Whether the routes know a version, or nothing but the endpoint. */
export function knownAccounts({ snapshot, byName }: RoutingTable): (account: Version) => boolean {
  const known = new Set<string>()
  const add = (endpoint: string, model: string, version: string): void =>
    void known.add(`${endpoint}\0${model}\0${version}`)
  for (const route of snapshot.endpoints) {
    const { endpoint, model, deployments } = route
    add(endpoint, model, '')
    const gather = byName.get(endpoint)?.gather ?? null
    if (gather !== null) add(endpoint, model, gather.version)
    for (const deployment of deployments) {
      const name = accountName(route, deployment)
      add(endpoint, name.model, name.version)
    }
  }
  return ({ endpoint, model, version }) => known.has(`${endpoint}\0${model}\0${version}`)
}

const BOUNDS_S = LATENCY_BOUNDS_MS.map((bound) => bound / 1_000)

/** By version, live requests and fallbacks together: the sums are kept so. */
function durationSamples(accounts: readonly AccountTotal[], totals: Traffic['totals']): HistogramSample[] {
  const byVersion = new Map<string, HistogramSample & { counts: number[] }>()
  for (const { endpoint, model, version, origin, latencyCounts } of accounts) {
    if (origin === 'shadow' || version === '') continue
    const key = origin === 'member' ? `${model}@${version}` : version
    const known = byVersion.get(`${endpoint}\0${key}`)
    if (known !== undefined) {
      for (const [bucket, count] of latencyCounts.entries())
        known.counts[bucket] = (known.counts[bucket] as number) + count
      continue
    }
    const { success, fail } = totals.of(endpoint, key)
    const sum = (success.ns + fail.ns) / 1e9
    byVersion.set(`${endpoint}\0${key}`, {
      labels: [endpoint, model, version],
      bounds: BOUNDS_S,
      counts: [...latencyCounts],
      sum,
    })
  }
  return [...byVersion.values()]
}

const REPLICA_STATES = ['up', 'out', 'ejected'] as const

function poolFamilies({ table, pools }: GatewaySource): MetricFamily[] {
  const names = deploymentNames(table())
  const reports = pools.report()
  const labelsOf = ({ deploymentId }: PoolReport): string[] => [deploymentId, ...(names.get(deploymentId) ?? ['', ''])]
  const of = (metric: Parameters<typeof each>[0], value: (report: PoolReport) => number): MetricFamily =>
    each(metric, reports, labelsOf, value)
  return [
    of(metrics.inFlight, ({ requests }) => requests),
    of(metrics.waiting, ({ waiting }) => waiting),
    {
      definition: metrics.replicas,
      samples: reports.flatMap((report) =>
        REPLICA_STATES.map((state) => ({
          labels: [...labelsOf(report), state],
          value: report.replicas.filter((replica) => replica.state === state).length,
        })),
      ),
    },
    of(metrics.ejections, ({ counts }) => counts.ejected),
    of(metrics.hung, ({ counts }) => counts.hung),
    of(metrics.late, ({ counts }) => counts.late),
    of(metrics.retries, ({ counts }) => counts.retries),
    of(metrics.retriesRefused, ({ counts }) => counts.retriesRefused),
    of(metrics.circuitOpen, ({ isCircuitOpen }) => (isCircuitOpen ? 1 : 0)),
    of(metrics.circuitOpened, ({ counts }) => counts.circuitOpened),
    of(metrics.circuitRefused, ({ counts }) => counts.refusedByCircuit),
    of(metrics.shed, ({ counts }) => counts.shed),
  ]
}

/** Model and version by deployment. One that has left the routes and is still at work has lost its name. */
function deploymentNames({ snapshot }: RoutingTable): Map<string, [model: string, version: string]> {
  const names = new Map<string, [string, string]>()
  for (const route of snapshot.endpoints) {
    for (const deployment of route.deployments) {
      const { model, version } = accountName(route, deployment)
      if (!names.has(deployment.deploymentId)) names.set(deployment.deploymentId, [model, version])
    }
  }
  return names
}

function frontFamilies({ http, grpcCalls }: GatewaySource): MetricFamily[] {
  const { connections, underWay } = http()
  const calls = grpcCalls()
  return [
    single(metrics.connections, connections),
    single(metrics.httpInFlight, underWay),
    { definition: metrics.grpcInFlight, samples: calls === null ? [] : [{ labels: [], value: calls }] },
  ]
}

function routeFamilies({ table, isFollowing }: GatewaySource): MetricFamily[] {
  const { epoch, revision, issuedAtMs } = table().snapshot
  return [
    single(metrics.routesRevision, revision),
    single(metrics.routesEpoch, epoch),
    single(metrics.routesIssued, issuedAtMs / 1_000),
    single(metrics.controlConnected, isFollowing() ? 1 : 0),
  ]
}

function logFamilies(log: LogReport): MetricFamily[] {
  return [
    single(metrics.answered, log.answered),
    single(metrics.logged, log.logged),
    single(metrics.sampledOut, log.sampledOut),
    single(metrics.logDropped, log.dropped),
    single(metrics.labels, log.labels),
    single(metrics.logLag, log.lagMs / 1_000),
    single(metrics.diskFull, log.diskFull ? 1 : 0),
  ]
}
