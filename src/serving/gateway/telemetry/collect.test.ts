import { describe, expect, it } from 'vitest'
import type { EndpointRoute, LogReport } from '../../../kernel/contract/routing.ts'
import { exposition } from '../../../kernel/metrics/exposition.ts'
import { hasPromtool, promtoolFindings, readExposition, valueOf } from '../../../testing/exposition.ts'
import { fakeClock } from '../../../testing/fake-clock.ts'
import { deploymentOf, fakeReplicas, routeOf, snapshotOf } from '../../../testing/gateway-fakes.ts'
import { Cancellation } from '../../front/cancellation.ts'
import { DeploymentPools } from '../deployment-pools.ts'
import { EndpointGuards } from '../endpoint-guards.ts'
import { poolLimits } from '../replica-pool.ts'
import { buildTable } from '../routing-table.ts'
import { Traffic } from '../traffic.ts'
import type { Served } from '../traffic.ts'
import { gatewayFamilies, gatewayMetricsText } from './collect.ts'
import type { GatewaySource } from './collect.ts'
import { gatewayMetrics } from './gateway-metrics.ts'
import { RequestDurations } from './request-durations.ts'

const first = deploymentOf({ deploymentId: 'deployment-1' })
const second = deploymentOf({ deploymentId: 'deployment-2' })
const log: LogReport = { answered: 9, logged: 6, sampledOut: 2, dropped: 1, labels: 4, lagMs: 250, diskFull: true }

function gatewayOf(endpoints: EndpointRoute[] = [routeOf({ deployments: [first, second] })]) {
  const traffic = new Traffic()
  const durations = new RequestDurations()
  const guards = new EndpointGuards(fakeClock())
  const pools = new DeploymentPools(fakeReplicas().open, poolLimits, () => undefined)
  let table = buildTable(snapshotOf(7, endpoints))
  pools.apply(table.deployments)
  const source: GatewaySource = {
    version: '1.2.3',
    table: () => table,
    traffic,
    durations,
    guards,
    pools,
    http: () => ({ connections: 12, underWay: 3 }),
    grpcCalls: () => null,
    isFollowing: () => true,
    log: () => log,
    access: { lines: 5, dropped: 2 },
  }
  return {
    source,
    traffic,
    durations,
    guards,
    pools,
    table: () => table,
    route: (...next: EndpointRoute[]) => {
      table = buildTable(snapshotOf(8, next))
      pools.apply(table.deployments)
    },
    read: () => readExposition(exposition(gatewayFamilies(source))),
  }
}

const served = (overrides: Partial<Served> = {}): Served => ({
  endpoint: 'late-flights',
  model: 'late-flight',
  version: '1',
  origin: 'live',
  trial: null,
  status: 200,
  rescued: false,
  pinnedBy: null,
  latencyMs: 4,
  ...overrides,
})

describe('the metrics of a gateway', () => {
  it('are all there from the start, with nothing in them', () => {
    const { source } = gatewayOf([])
    const metrics = readExposition(gatewayMetricsText(source))
    const names = Object.values(gatewayMetrics).map(({ name }) => name)
    expect([...metrics.keys()].slice(0, names.length)).toEqual(names)
  })

  it('count requests by what became of them, once, before and after they were reported', () => {
    const { traffic, read } = gatewayOf()
    const of = (outcome: string) =>
      valueOf(read(), 'millrace_requests_total', { endpoint: 'late-flights', version: '1', origin: 'live', outcome })
    const counted = () => ['answered', 'failed', 'rescued', 'interrupted'].map(of)
    traffic.count(served(), 0)
    traffic.count(served({ status: 400, trial: 'trial-1' }), 0)
    traffic.count(served({ status: 503 }), 0)
    traffic.count(served({ status: 503, rescued: true }), 0)
    traffic.count(served({ status: null }), 0)
    expect(counted()).toEqual([2, 1, 1, 1])
    traffic.acknowledge(traffic.batch().seq)
    expect(counted()).toEqual([2, 1, 1, 1])
    traffic.count(served(), 0)
    expect(counted()).toEqual([3, 1, 1, 1])
    traffic.batch()
    traffic.batch() // the same again, as it was not acknowledged
    expect(counted()).toEqual([3, 1, 1, 1])
  })

  it('tell copies apart, and those that were not sent', () => {
    const { traffic, read } = gatewayOf()
    traffic.count(served({ version: '2', origin: 'shadow' }), 0)
    traffic.countDropped(served({ version: '2', origin: 'shadow' }))
    const of = (outcome: string) =>
      valueOf(read(), 'millrace_requests_total', { version: '2', origin: 'shadow', outcome })
    expect([of('answered'), of('dropped')]).toEqual([1, 1])
    expect(() => valueOf(read(), 'millrace_request_duration_seconds_count', { version: '2' })).toThrow(/0 of 0/)
  })

  it('say how long a version takes, fallbacks of it included', () => {
    const { traffic, read } = gatewayOf()
    traffic.count(served({ latencyMs: 4 }), 0)
    traffic.count(served({ latencyMs: 40, origin: 'fallback' }), 0)
    traffic.batch()
    traffic.count(served({ latencyMs: 20_000, status: 504 }), 0)
    const of = (name: string, labels = {}) =>
      valueOf(read(), `millrace_request_duration_seconds_${name}`, {
        endpoint: 'late-flights',
        version: '1',
        ...labels,
      })
    expect([of('bucket', { le: '0.005' }), of('bucket', { le: '0.05' }), of('bucket', { le: '10' })]).toEqual([1, 2, 2])
    expect([of('count'), of('sum')]).toEqual([3, 20.044])
  })

  it('lose what the routes no longer know: versions, endpoints, deployments', () => {
    const { traffic, route, read } = gatewayOf()
    traffic.count(served({ version: '1' }), 0)
    traffic.count(served({ version: '2' }), 0)
    traffic.batch()
    const versions = () =>
      new Set(
        read()
          .get('millrace_requests_total')!
          .samples.map(({ labels }) => labels['version']),
      )
    const deployments = () =>
      new Set(
        read()
          .get('millrace_deployment_replicas')!
          .samples.map(({ labels }) => labels['deployment']),
      )
    expect([versions(), deployments()]).toEqual([new Set(['1', '2']), new Set(['deployment-1', 'deployment-2'])])
    route(routeOf({ deployments: [second] }))
    expect([versions(), deployments()]).toEqual([new Set(['2']), new Set(['deployment-2'])])
    route(routeOf({ endpoint: 'others', deployments: [second] }))
    expect(versions()).toEqual(new Set())
    route(routeOf({ deployments: [first, second] }))
    expect(versions()).toEqual(new Set()) // forgotten, not hidden
  })

  it('show replicas, what is under way and what was refused', () => {
    const { pools, guards, table, read } = gatewayOf()
    const limited = routeOf({ limits: { concurrency: 1, perCaller: null } })
    const call = { caller: 'anonymous', body: Buffer.alloc(0), jsonBytes: null }
    expect(guards.enter(table(), limited, call).kind).toBe('entered')
    expect(guards.enter(table(), limited, call).kind).toBe('refuse')
    const pool = pools.enter('deployment-1')
    const taken = pool.replicas.take(1_000, new Cancellation())
    if (taken instanceof Promise || taken.kind !== 'replica') throw new Error('one is free')
    pool.replicas.health.reportOut(taken.replica, 'it broke', 1_000)
    const metrics = read()
    const of = (name: string, labels: Record<string, string> = {}) => valueOf(metrics, name, labels)
    const deployment = { deployment: 'deployment-1', model: 'late-flight', version: '1' }
    expect(of('millrace_deployment_replicas', { ...deployment, state: 'up' })).toBe(0)
    expect(of('millrace_deployment_replicas', { ...deployment, state: 'out' })).toBe(1)
    expect(of('millrace_deployment_requests_in_flight', deployment)).toBe(1)
    expect(of('millrace_deployment_circuit_open', deployment)).toBe(0)
    expect(of('millrace_endpoint_requests_in_flight', { endpoint: 'late-flights' })).toBe(1)
    expect(of('millrace_requests_refused_total', { limit: 'endpoint' })).toBe(1)
    expect(of('millrace_requests_refused_total', { limit: 'caller' })).toBe(0)
    pool.replicas.release(taken.replica)
    pools.leave(pool)
    pools.close()
  })

  it('show the routes, the log and the fronts', () => {
    const metrics = gatewayOf().read()
    const of = (name: string) => valueOf(metrics, name)
    expect([
      of('millrace_routes_epoch'),
      of('millrace_routes_revision'),
      of('millrace_control_plane_connected'),
    ]).toEqual([1, 7, 1])
    expect(of('millrace_prediction_log_answered_total')).toBe(9)
    expect([of('millrace_prediction_log_lag_seconds'), of('millrace_prediction_log_disk_full')]).toEqual([0.25, 1])
    expect([of('millrace_http_connections'), of('millrace_http_requests_in_flight')]).toEqual([12, 3])
    expect(metrics.get('millrace_grpc_calls_in_flight')!.samples).toEqual([])
    expect([of('millrace_access_log_lines_total'), of('millrace_access_log_dropped_total')]).toEqual([5, 2])
  })

  it.skipIf(!hasPromtool)('are nothing that promtool (where it is installed) objects to', () => {
    const { source, traffic, durations } = gatewayOf()
    traffic.count(served(), 0)
    durations.observe('POST', '/v2/models/x/infer', 200, 1)
    expect(promtoolFindings(gatewayMetricsText(source))).toEqual([])
  })
})
