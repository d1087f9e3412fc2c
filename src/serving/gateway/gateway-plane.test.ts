import { describe, expect, it } from 'vitest'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { deploymentOf, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { jsonAnswer } from '../front/answer.ts'
import { Cancellation } from '../front/cancellation.ts'
import type { InferCall } from '../front/data-plane.ts'
import { GatewayPlane } from './gateway-plane.ts'
import { buildTable } from './routing-table.ts'
import { ServedTotals } from './served-totals.ts'

const first = deploymentOf({ deploymentId: 'deployment-1' })
const second = deploymentOf({ deploymentId: 'deployment-2' })
const bare = deploymentOf({ deploymentId: 'deployment-3', replicas: [] })

function planeOf(endpoints: EndpointRoute[], hasRoutes = true) {
  const table = buildTable(snapshotOf(1, endpoints))
  const totals = new ServedTotals()
  const asked: InferCall[] = []
  const plane = new GatewayPlane({
    table: () => table,
    hasRoutes: () => hasRoutes,
    answers: (id) => (table.deployments.get(id)?.replicas.length ?? 0) > 0,
    inference: {
      infer: (call) => {
        asked.push(call)
        return Promise.resolve(jsonAnswer(200, {}))
      },
    },
    totals,
    server: { name: 'millrace', version: '1.2.3' },
  })
  return { plane, totals, asked }
}

const callOf = (body: string, jsonBytes: number | null = null): InferCall => ({
  name: 'late-flights',
  version: null,
  headers: {},
  body: Buffer.from(body),
  jsonBytes,
  caller: 'anonymous',
  cancellation: new Cancellation(),
})

describe('the endpoints of a gateway', () => {
  it('are its models, described by the version with most traffic or the one that is asked for', () => {
    const members = [
      { deploymentId: 'deployment-1', weightPercent: 10 },
      { deploymentId: 'deployment-2', weightPercent: 90 },
    ]
    const { plane } = planeOf([routeOf({ deployments: [first, second], members, bodyLimitBytes: 77 })])
    expect(plane.modelNames()).toEqual(['late-flights'])
    expect(plane.describe('late-flights', null)).toEqual({
      name: 'late-flights',
      version: '2',
      versions: ['1', '2'],
      platform: 'onnxruntime_onnx',
      signature: second.signature,
      maxBatchRows: 0,
      bodyLimitBytes: 77,
    })
    expect(plane.describe('late-flight', '1').version).toBe('1')
  })

  it('that are unknown are named beside those that there are; what nothing is deployed of can not be described', () => {
    const { plane } = planeOf([routeOf(), routeOf({ endpoint: 'empty', model: 'empty', deployments: [], members: [] })])
    const error = (status: number, message: string) => expect.objectContaining({ status, message })
    expect(() => plane.describe('x', null)).toThrow(
      error(404, `Request for unknown model: 'x' is not found. Endpoints: late-flights, empty.`),
    )
    expect(() => plane.describe('late-flights', '9')).toThrow(
      error(404, `Request for unknown model: 'late-flights' version '9' is not found. Live versions: 1.`),
    )
    expect(() => plane.modelReadiness('x', null)).toThrow(error(404, expect.any(String)))
    expect(() => plane.statistics('x', null)).toThrow(error(404, expect.any(String)))
    expect(() => plane.describe('empty', null)).toThrow(error(503, `Nothing has been released to 'empty' yet.`))
  })

  it('are ready while a replica answers, and where one is woken by the first request', () => {
    const asleep = { ...bare, wakesWithinMs: 5_000 }
    const { plane } = planeOf([
      routeOf(),
      routeOf({ endpoint: 'gone', model: 'gone', deployments: [bare] }),
      routeOf({ endpoint: 'asleep', model: 'asleep', deployments: [{ ...asleep, deploymentId: 'deployment-4' }] }),
    ])
    expect(plane.modelReadiness('late-flights', null)).toEqual({ ready: true })
    expect(plane.modelReadiness('gone', null)).toEqual({
      ready: false,
      why: `Model 'gone' has no replica that is ready.`,
    })
    expect(plane.modelReadiness('asleep', null)).toEqual({ ready: true })
  })

  it('of a gather are ready with its quorum, and counted together and by member', () => {
    const gather = {
      members: [first, bare].map(({ deploymentId }) => ({ deploymentId, name: `m@${deploymentId}`, weight: 1 })),
      combine: { kind: 'mean' as const },
      deadlineMs: 100,
      joining: [],
    }
    const gathered = (quorum: number) =>
      planeOf([routeOf({ deployments: [first, bare], gather: { ...gather, quorum } })]).plane
    expect(gathered(1).modelReadiness('late-flights', null)).toEqual({ ready: true })
    expect(gathered(2).modelReadiness('late-flights', null)).toMatchObject({ ready: false })
    const version = 'm@deployment-1,m@deployment-3'
    expect(gathered(1).describe('late-flights', null).version).toBe(version)
    const versions = gathered(1)
      .statistics('late-flights', null)
      .map((each) => each.version)
    expect(versions).toEqual([version, '1', '3'])
  })
})

describe('a gateway', () => {
  it('is not ready before its first routes', () => {
    expect(planeOf([], false).plane.readiness()).toEqual({ ready: false, why: 'The gateway has no routes yet.' })
    expect(planeOf([]).plane.readiness()).toEqual({ ready: true })
  })

  it('finds what can be no request without asking a model server', async () => {
    const { plane, asked } = planeOf([routeOf()])
    const status = async (call: InferCall): Promise<number | undefined> => (await plane.infer(call))?.status
    expect(await status(callOf(''))).toBe(400)
    expect(await status(callOf(' \n\t'))).toBe(400)
    expect(await status(callOf(' [1]'))).toBe(400)
    expect(asked).toEqual([])
    expect(await status(callOf(' {"a":1}'))).toBe(200)
    expect(await status(callOf('raw bytes', 0))).toBe(200)
    expect(asked).toHaveLength(2)
  })

  it('counts whole requests of each version of an endpoint', () => {
    const { plane, totals } = planeOf([routeOf({ deployments: [first, second] })])
    const served = { endpoint: 'late-flights', model: 'late-flight', origin: 'live' as const, latencyMs: 2 }
    totals.count({ ...served, version: '1', status: 200 }, 5_000)
    totals.count({ ...served, version: '1', status: 503 }, 6_000)
    const none = { count: 0, ns: 0 }
    const nothing = { fail: none, queue: none, computeInput: none, computeInfer: none, computeOutput: none }
    const [one, two] = plane.statistics('late-flights', null)
    expect(one).toEqual({
      ...nothing,
      name: 'late-flights',
      version: '1',
      lastInferenceMs: 6_000,
      inferenceCount: 1,
      executionCount: 1,
      success: { count: 1, ns: 2_000_000 },
      fail: { count: 1, ns: 2_000_000 },
    })
    expect(two).toMatchObject({ version: '2', inferenceCount: 0, success: none })
    expect(plane.statistics('late-flight', '2')).toMatchObject([{ name: 'late-flight', version: '2' }])
    expect(plane.statistics(null, null)).toHaveLength(2)
  })

  it('lists what is deployed, with the reason where it does not answer', () => {
    const { plane } = planeOf([
      routeOf({ deployments: [first, bare] }),
      routeOf({ endpoint: 'off', model: 'off', deployments: [second], disabled: { why: 'it went mad' } }),
    ])
    expect(plane.repository.index(false)).toEqual([
      { name: 'late-flights', version: '1', state: 'READY', reason: '' },
      { name: 'late-flights', version: '3', state: 'UNAVAILABLE', reason: 'no replica is ready' },
      { name: 'off', version: '2', state: 'UNAVAILABLE', reason: 'disabled: it went mad' },
    ])
    expect(plane.repository.index(true).map(({ version }) => version)).toEqual(['1'])
  })

  it('lets no client load or unload, and says who decides', async () => {
    const { repository } = planeOf([routeOf()]).plane
    const refused = {
      status: 400,
      message: expect.stringMatching(/^'m' can't be loaded by a client: .*'millrace train/),
    }
    await expect(repository.load('m')).rejects.toMatchObject(refused)
    await expect(repository.unload('m')).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('unloaded'),
    })
  })
})
