import { describe, expect, it } from 'vitest'
import { deploymentOf, leaseOf, projectOf, replicaOf, versionOf } from '../../testing/control-builders.ts'
import type { VersionServer } from '../registry/version-server.ts'
import type { DeploymentStatus, Route } from './release.ts'
import { endpointRoutes, type RoutingFacts } from './routing-snapshot.ts'

const members = [{ deploymentId: 'deployment-1', weightPercent: 100 }]

describe('the routing snapshot', () => {
  it('leads to the ready replicas of what has the traffic', () => {
    expect(endpointRoutes(facts())).toMatchObject([
      {
        endpoint: 'm',
        model: 'm',
        members,
        deployments: [
          {
            deploymentId: 'deployment-1',
            version: '1',
            replicas: [{ replicaId: 'replica-1', socketPath: '/tmp/replica-1.sock' }],
          },
        ],
      },
    ])
  })

  it('has an endpoint that nothing was released to, so that its clients read 503 and not 404', () => {
    expect(endpointRoutes(facts({ routes: [], deployments: [], replicas: [] }))).toMatchObject([
      { endpoint: 'm', members: [], deployments: [] },
    ])
  })

  it('keeps a member whose replicas are all lost for now, without replicas', () => {
    expect(endpointRoutes(facts({ lease: () => null }))).toMatchObject([{ members, deployments: [{ replicas: [] }] }])
  })

  it('leads to the socket for frames of a replica that has one', () => {
    const lease = (replicaId: string) => leaseOf({ replicaId, framesPath: '/tmp/replica-1.frames' })
    expect(endpointRoutes(facts({ lease }))[0]!.deployments[0]!.replicas).toEqual([
      { replicaId: 'replica-1', socketPath: '/tmp/replica-1.sock', framesPath: '/tmp/replica-1.frames' },
    ])
  })

  it('leads to the port of a server that is a command of its own, in the words of that server', () => {
    const server = { command: 'serve', modelName: 'mine', isPure: false } as VersionServer
    const version = versionOf()
    const versions = new Map([['m@1', { ...version, lineage: { ...version.lineage, server } }]])
    const lease = (replicaId: string) => leaseOf({ replicaId, socketPath: '', httpPort: 4711 })
    expect(endpointRoutes(facts({ versions, lease }))[0]!.deployments[0]).toMatchObject({
      version: '1',
      foreignModel: 'mine',
      isPure: false,
      replicas: [{ replicaId: 'replica-1', socketPath: '', httpPort: 4711 }],
    })
  })

  it.each(['loading', 'draining', 'failed'] as const)('leaves out a replica that is %s', (state) => {
    expect(endpointRoutes(facts({ lease: () => leaseOf({ state }) }))[0]!.deployments[0]!.replicas).toEqual([])
  })

  it('leaves out a replica that was told to stop', () => {
    expect(
      endpointRoutes(facts({ replicas: [replicaOf({ status: 'stopping' })] }))[0]!.deployments[0]!.replicas,
    ).toEqual([])
  })

  it.each<DeploymentStatus>(['draining', 'stopped', 'failed'])('leaves out a deployment that is %s', (status) => {
    expect(endpointRoutes(facts({ deployments: [deploymentOf({ status })] }))).toMatchObject([
      { members: [], deployments: [] },
    ])
  })

  it('shows gateways nothing of what preflight has not proven', () => {
    const deployments = [deploymentOf({ status: 'starting', discoverable: false })]
    expect(endpointRoutes(facts({ deployments }))[0]!.deployments).toEqual([])
  })

  it('lists warm versions, which can be called by number, beside the member', () => {
    const deployments = [deploymentOf(), deploymentOf({ id: 'deployment-2', versionId: 'm@2' })]
    const versions = new Map(['m@1', 'm@2'].map((id) => [id, versionOf({ id })]))
    const [route] = endpointRoutes(facts({ deployments, versions }))
    expect(route).toMatchObject({ members, deployments: [{ version: '1' }, { version: '2' }] })
  })

  it('gives an endpoint to the model that is declared now, not to the one that left it', () => {
    const {
      models: [old],
    } = projectOf('/p', { old: { train: 'true', endpoint: 'shared' } })
    const {
      models: [now],
    } = projectOf('/p', { now: { train: 'true', endpoint: 'shared' } })
    const routes = endpointRoutes(
      facts({
        models: new Map([
          ['old', old!],
          ['now', now!],
        ]),
      }),
    )
    expect(routes.map((r) => [r.endpoint, r.model])).toEqual([['shared', 'now']])
  })

  it('is the same text for the same facts, whatever their order', () => {
    const models = projectOf('/p', { b: { train: 'true' }, a: { train: 'true' } }).models
    const forth = endpointRoutes(facts({ models: new Map(models.map((m) => [m.name, m])) }))
    const back = endpointRoutes(facts({ models: new Map(models.toReversed().map((m) => [m.name, m])) }))
    expect(JSON.stringify(forth)).toBe(JSON.stringify(back))
  })
})

describe('a trial', () => {
  const deployments = [deploymentOf(), deploymentOf({ id: 'deployment-2', versionId: 'm@2' })]
  const versions = new Map(['m@1', 'm@2', 'other@7'].map((id) => [id, versionOf({ id })]))
  const split = [
    { deploymentId: 'deployment-1', weightPercent: 90 },
    { deploymentId: 'deployment-2', weightPercent: 10 },
  ]
  const canary = routeOf({ members: split, trialId: 'trial-3' })
  const shadow = routeOf({ mirrors: [{ deploymentId: 'deployment-2', sharePercent: 50 }], trialId: 'trial-3' })

  it('has its split or its copies, and its name', () => {
    expect(endpointRoutes(facts({ routes: [canary], deployments, versions }))).toMatchObject([
      { members: split, mirrors: [], trial: 'trial-3' },
    ])
    expect(endpointRoutes(facts({ routes: [shadow], deployments, versions }))).toMatchObject([
      { members, mirrors: shadow.mirrors, trial: 'trial-3' },
    ])
  })

  it('is none while one of the two can not be routed to: the other has all of the traffic', () => {
    const left = deployments.slice(0, 1)
    expect(endpointRoutes(facts({ routes: [canary], deployments: left, versions }))).toMatchObject([
      { members, mirrors: [], trial: null },
    ])
    expect(endpointRoutes(facts({ routes: [shadow], deployments: left, versions }))).toMatchObject([
      { members, mirrors: [], trial: null },
    ])
  })

  it('is stopped by nobody who disables the endpoint: the word goes to the gateways with its reason', () => {
    const disabled = { why: 'wrong prices', by: 'ann', sinceMs: 5 }
    expect(endpointRoutes(facts({ routes: [routeOf({ disabled })] }))).toMatchObject([
      { disabled: { why: 'wrong prices' }, members },
    ])
  })

  it('leaves the fallback to the version that is declared, once that is deployed, also of another model', () => {
    const models = new Map(
      projectOf('/p', { m: { train: 'true', serving: { fallback: { version: 'other@7' } } }, other: { train: 'true' } })
        .models.filter((m) => m.name === 'm')
        .map((m) => [m.name, m]),
    )
    expect(endpointRoutes(facts({ models }))).toMatchObject([{ fallback: { kind: 'error' } }])
    const spare = deploymentOf({ id: 'deployment-9', model: 'other', versionId: 'other@7' })
    const [route] = endpointRoutes(facts({ models, versions, deployments: [...deployments, spare] }))
    expect(route!.fallback).toEqual({ kind: 'version', deploymentId: 'deployment-9' })
    expect(route!.deployments.map((d) => d.version)).toEqual(['1', '2', 'other@7'])
  })
})

function routeOf(overrides: Partial<Route> = {}): Route {
  return { endpoint: 'm', model: 'm', members, mirrors: [], trialId: null, disabled: null, ...overrides }
}

function facts(overrides: Partial<RoutingFacts> = {}): RoutingFacts {
  return {
    routes: [routeOf()],
    deployments: [deploymentOf()],
    replicas: [replicaOf()],
    pins: [],
    aliases: [],
    gathers: [],
    moduleOf: (path) => ({ path: `/p/${path}`, digest: 'sha256:1' }),
    versions: new Map([['m@1', versionOf()]]),
    lease: (id) => leaseOf({ replicaId: id }),
    models: new Map(projectOf('/p', { m: { train: 'true' } }).models.map((m) => [m.name, m])),
    ...overrides,
  }
}
