import { describe, expect, it } from 'vitest'
import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { gatewayReportOf } from '../../testing/control-builders.ts'
import * as routed from '../../testing/gateway-fakes.ts'
import { haveTaken, isUnused, listsReplica, type GatewaysSeen } from './gateway-use.ts'

const routesTo = (revision: number, ...deploymentIds: string[]): RoutingSnapshot =>
  routed.snapshotOf(revision, [
    routed.routeOf({ deployments: deploymentIds.map((deploymentId) => routed.deploymentOf({ deploymentId })) }),
  ])

function seen(overrides: Partial<GatewaysSeen> = {}): GatewaysSeen {
  const reports = [gatewayReportOf({ gatewayId: 'a', revision: 5 }), gatewayReportOf({ gatewayId: 'b', revision: 5 })]
  return { current: routesTo(5, 'deployment-2'), reports, alive: ['a', 'b'], ...overrides }
}

describe('a deployment', () => {
  it('is unused when every gateway serves without it and has nothing in flight on it', () => {
    expect(isUnused('deployment-1', seen())).toBe(true)
  })

  it.each<[string, Partial<GatewaysSeen>]>([
    ['no routes were published yet', { current: null }],
    ['the routes still have it', { current: routesTo(5, 'deployment-1', 'deployment-2') }],
    ['a gateway that is alive does not report', { alive: ['a', 'b', 'silent'] }],
    ['a gateway serves by older routes', { current: routesTo(6, 'deployment-2') }],
    ['a gateway serves by routes of another control plane', { current: { ...routesTo(5, 'deployment-2'), epoch: 2 } }],
    [
      'a gateway has a request on it',
      {
        reports: [
          gatewayReportOf({ gatewayId: 'a', revision: 5 }),
          gatewayReportOf({
            gatewayId: 'b',
            revision: 5,
            inFlight: [{ deploymentId: 'deployment-1', requests: 1 }],
          }),
        ],
      },
    ],
  ])('counts as used where %s', (_why, overrides) => {
    expect(isUnused('deployment-1', seen(overrides))).toBe(false)
  })

  it('is unused where what is in flight is on another, or has been answered', () => {
    const inFlight = [
      { deploymentId: 'deployment-1', requests: 0 },
      { deploymentId: 'deployment-2', requests: 7 },
    ]
    const reports = [gatewayReportOf({ gatewayId: 'a', revision: 5, inFlight })]
    expect(isUnused('deployment-1', seen({ reports, alive: ['a'] }))).toBe(true)
  })

  it('is unused where no gateway is alive, whatever dead ones have said', () => {
    const inFlight = [{ deploymentId: 'deployment-1', requests: 3 }]
    expect(isUnused('deployment-1', seen({ reports: [gatewayReportOf({ inFlight })], alive: [] }))).toBe(true)
  })
})

describe('a revision of the routes', () => {
  it('is taken once every gateway that is alive serves by it, or by a later one', () => {
    expect([4, 5, 6].map((revision) => haveTaken(revision, seen()))).toEqual([true, true, false])
    expect(haveTaken(5, seen({ alive: ['a', 'silent'] }))).toBe(false)
    expect(haveTaken(4, seen({ current: { ...routesTo(5), epoch: 2 } }))).toBe(false)
  })
})

it('finds a replica in whichever endpoint lists it', () => {
  const routes = routesTo(1, 'deployment-1', 'deployment-2')
  expect(listsReplica(routes, 'deployment-2-replica')).toBe(true)
  expect(listsReplica(routes, 'deployment-3-replica')).toBe(false)
})
