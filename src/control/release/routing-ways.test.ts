import { describe, expect, it } from 'vitest'
import type { ModelInput, ProjectInput } from '../../config/input.ts'
import { deploymentOf, leaseOf, projectOf, replicaOf, versionOf } from '../../testing/control-builders.ts'
import type { GatherMember } from './gather.ts'
import { endpointRoutes, type RoutingFacts } from './routing-snapshot.ts'

/* What an endpoint declares beyond its weights, as gateways are told it. */

const versions = new Map(['m@1', 'm@2', 'm@3', 'n@1', 'n@2'].map((id) => [id, versionOf({ id })]))
const deployments = [...versions.keys()].map((versionId, i) => {
  const model = versionId.split('@')[0]!
  return deploymentOf({ id: `deployment-${i + 1}`, versionId, model, endpoint: model })
})
const replicas = deployments.map(({ id }, i) => replicaOf({ id: `replica-${i + 1}`, deploymentId: id }))

function routesOf(
  serving: ModelInput['serving'],
  overrides: Partial<RoutingFacts> = {},
  endpoints: ProjectInput['endpoints'] = {},
  members: GatherMember[] = [],
) {
  const project = projectOf('/p', { m: { train: 'true', serving }, n: { train: 'true' } }, { endpoints })
  const live = [{ deploymentId: 'deployment-1', weightPercent: 100 }]
  const facts: RoutingFacts = {
    routes: [{ endpoint: 'm', model: 'm', members: live, mirrors: [], trialId: null, disabled: null }],
    deployments,
    replicas,
    versions,
    lease: (id) => leaseOf({ replicaId: id }),
    models: new Map(project.models.map((model) => [model.name, model])),
    pins: [],
    aliases: [
      { model: 'm', alias: 'champion', versionId: 'm@1' },
      { model: 'm', alias: 'previous', versionId: 'm@3' },
    ],
    gathers: project.endpoints.map((config) => ({ config, members })),
    moduleOf: (path) => ({ path: `/p/${path}`, digest: 'sha256:1' }),
    ...overrides,
  }
  return new Map(endpointRoutes(facts).map((route) => [route.endpoint, route]))
}

describe('what an endpoint declares', () => {
  it('is not said where it is nothing', () => {
    expect(Object.keys(routesOf({}).get('m')!)).not.toContain('sticky')
    expect(Object.keys(routesOf({}).get('m')!)).not.toContain('rules')
    expect(Object.keys(routesOf({}).get('m')!)).not.toContain('limits')
  })

  it('keeps callers by a header in lower case, and within limits', () => {
    const route = routesOf({ sticky: { header: 'X-User' }, limits: { perCaller: 3 } }).get('m')!
    expect(route.sticky).toEqual({ header: 'x-user' })
    expect(route.limits).toEqual({ concurrency: null, perCaller: 3 })
  })

  it('leads by rules to what aliases and numbers mean now, leaving out what is not deployed', () => {
    const rules: NonNullable<ModelInput['serving']>['rules'] = [
      { header: 'x-group', equals: 'old', version: 'previous' },
      { header: 'x-group', equals: 'new', version: 'challenger' },
      { parameter: 'market', equals: 'se', version: 2 },
      { parameter: 'market', equals: 'no', version: 9 },
      { parameter: 'market', equals: 'dk', version: 'champion' },
    ]
    const shown = (overrides: Partial<RoutingFacts> = {}) =>
      routesOf({ rules }, overrides)
        .get('m')!
        .rules!.map(({ equals, deploymentId }) => `${equals} ${deploymentId}`)
    expect(shown()).toEqual(['old deployment-3', 'se deployment-2', 'dk deployment-1'])
    const split = [
      { deploymentId: 'deployment-1', weightPercent: 90 },
      { deploymentId: 'deployment-2', weightPercent: 10 },
    ]
    const canary = { endpoint: 'm', model: 'm', members: split, mirrors: [], trialId: 'trial-1', disabled: null }
    expect(shown({ routes: [canary] })).toEqual([
      'old deployment-3',
      'new deployment-2',
      'se deployment-2',
      'dk deployment-1',
    ])
  })
})

describe('an endpoint that asks several', () => {
  const member = (versionId: string, status: GatherMember['status'] = 'member'): GatherMember => ({
    endpoint: 'both',
    versionId,
    model: versionId.split('@')[0]!,
    status,
    why: 'test',
    requests: 0,
    failed: 0,
    beganAtMs: 0,
    admittedAtMs: 0,
    statusAtMs: 0,
  })
  const both: ProjectInput['endpoints'] = {
    both: {
      gather: {
        members: [
          { model: 'n', weight: 3 },
          { model: 'm', versions: 2 },
        ],
        combine: { module: 'combine.ts', timeout: '50ms' },
        quorum: 2,
      },
      log: { mode: 'durable' },
    },
  }

  it('has its members as declared, the newest version first, under names of their own', () => {
    const members = [member('m@1'), member('m@2'), member('n@1'), member('n@2', 'joining'), member('m@3', 'left')]
    const route = routesOf({}, {}, both, members).get('both')!
    expect(route).toMatchObject({
      endpoint: 'both',
      model: 'both',
      logMode: 'durable',
      trial: null,
      fallback: { kind: 'error' },
      mirrors: [{ deploymentId: 'deployment-5', sharePercent: 100 }],
      members: [
        { deploymentId: 'deployment-4', weightPercent: 60 },
        { deploymentId: 'deployment-2', weightPercent: 20 },
        { deploymentId: 'deployment-1', weightPercent: 20 },
      ],
      gather: {
        members: [
          { deploymentId: 'deployment-4', name: 'n@1', weight: 3 },
          { deploymentId: 'deployment-2', name: 'm@2', weight: 1 },
          { deploymentId: 'deployment-1', name: 'm@1', weight: 1 },
        ],
        combine: { kind: 'module', path: '/p/combine.ts', digest: 'sha256:1', timeoutMs: 50 },
        quorum: 2,
        joining: [{ deploymentId: 'deployment-5' }],
      },
    })
    expect(route.deployments.map(({ version, model }) => `${version} of ${model}`)).toEqual([
      'n@2 of n',
      'n@1 of n',
      'm@2 of m',
      'm@1 of m',
    ])
  })

  it('is there without members, so that its clients read 503 and not 404, and may be disabled', () => {
    const stopped = { why: 'wrong', by: 'ann', sinceMs: 1 }
    const row = { endpoint: 'both', model: 'both', members: [], mirrors: [], trialId: null, disabled: stopped }
    expect(routesOf({}, { routes: [row] }, both).get('both')).toMatchObject({
      members: [],
      gather: { members: [] },
      disabled: { why: 'wrong' },
    })
  })

  it('leaves out a member that nobody has deployed', () => {
    const left = deployments.filter(({ versionId }) => versionId !== 'm@2')
    const route = routesOf({}, { deployments: left }, both, [member('m@2'), member('n@1')]).get('both')!
    expect(route.gather!.members.map(({ name }) => name)).toEqual(['n@1'])
  })
})
