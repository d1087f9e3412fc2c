import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { answerOf, deploymentOf, routeOf } from '../../testing/gateway-fakes.ts'
import { header, inferenceLab } from '../../testing/inference-lab.ts'
import type { MirrorLimits } from './mirrors.ts'

const champion = deploymentOf({ deploymentId: 'deployment-1' })
const shadow = deploymentOf({ deploymentId: 'deployment-2' })
const SHADOW = '/deployment-2.sock'

const shadowed = (overrides: Partial<EndpointRoute> = {}): EndpointRoute =>
  routeOf({
    deployments: [champion, shadow],
    members: [{ deploymentId: 'deployment-1', weightPercent: 100 }],
    mirrors: [{ deploymentId: 'deployment-2', sharePercent: 100 }],
    trial: 'trial-3',
    ...overrides,
  })

function given(overrides: Partial<EndpointRoute> = {}, limits: Partial<MirrorLimits> = {}) {
  const lab = inferenceLab([shadowed(overrides)], limits)
  return {
    ...lab,
    /** As the data port does: answered, sent, then what follows. */
    ask: async (call: Parameters<typeof lab.infer>[0] = {}) => {
      const answer = await lab.infer(call)
      answer?.afterSent?.()
      return answer
    },
    copies: () => lab.replicas.asked.filter(({ socketPath }) => socketPath === SHADOW),
    shadowRow: () => lab.rows().find((row) => row.origin === 'shadow'),
  }
}

const settle = () => vi.advanceTimersByTimeAsync(0)

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('a copy for a shadow', () => {
  it('is sent once the answer is, logged under its own id, and counted apart', async () => {
    const { infer, copies, predictions, rows } = given()
    const answer = await infer({ caller: 'a' })
    await settle()
    expect(copies()).toEqual([])
    answer?.afterSent?.()
    expect(copies()).toEqual([])
    await settle()
    expect(copies()[0]?.request).toMatchObject({ model: 'late-flight', version: '2' })
    const [live, copy] = predictions()
    expect(live).toMatchObject({ version: '1', origin: 'live', trial: 'trial-3', shadowOf: null })
    expect(copy).toMatchObject({
      version: '2',
      origin: 'shadow',
      trial: 'trial-3',
      shadowOf: header(answer, 'millrace-prediction-id'),
      caller: 'a',
      status: 200,
      request: live?.request,
      response: Buffer.from(`{"from":"${SHADOW}"}`),
    })
    expect(copy?.predictionId).not.toBe(live?.predictionId)
    expect(rows()).toMatchObject([
      { version: '1', origin: 'live', trial: 'trial-3', requests: 1, failed: 0 },
      { version: '2', origin: 'shadow', trial: 'trial-3', requests: 1, failed: 0, firstAnswerAtMs: null },
    ])
  })

  it('keeps its bytes, also where the request gives back its own', async () => {
    const { infer, predictions } = given()
    const body = Buffer.from('{"inputs":[]}')
    const answer = await infer({ body })
    answer?.afterSent?.()
    body.fill(0)
    await settle()
    expect(Buffer.from(predictions()[1]?.request ?? []).toString()).toBe('{"inputs":[]}')
  })

  it('is of so many percent of the requests', async () => {
    const { ask, copies, draws } = given({ mirrors: [{ deploymentId: 'deployment-2', sharePercent: 30 }] })
    for (const draw of [0.29, 0.3, 0.1, 0.9]) {
      draws.push(0, draw)
      await ask()
    }
    await settle()
    expect(copies()).toHaveLength(2)
  })

  it.each<[string, Partial<EndpointRoute>, Parameters<ReturnType<typeof given>['ask']>[0]]>([
    ['names its version', {}, { version: '1' }],
    ['is left out of the log', { logSamplePercent: 0 }, {}],
    ['is not logged at all', { logMode: 'off' }, {}],
    ['has a shadow that is not deployed', { mirrors: [{ deploymentId: 'deployment-9', sharePercent: 100 }] }, {}],
    ['has a shadow with a share of 0', { mirrors: [{ deploymentId: 'deployment-2', sharePercent: 0 }] }, {}],
  ])('is not made of a request that %s', async (_what, overrides, call) => {
    const { ask, copies, rows } = given(overrides)
    expect((await ask(call))?.status).toBe(200)
    await settle()
    expect(copies()).toEqual([])
    expect(rows().filter((row) => row.origin === 'shadow')).toEqual([])
  })

  it.each([400, 500])('is not made of a request that was answered %i', async (status) => {
    const { ask, copies, replicas } = given()
    replicas.script('/deployment-1.sock', answerOf(status, { error: 'x' }))
    await ask()
    await settle()
    expect(copies()).toEqual([])
  })

  it('is not made of a request that the log dropped', async () => {
    const { ask, copies, log } = given()
    log.append = () => Promise.resolve('dropped')
    expect((await ask())?.status).toBe(200)
    await settle()
    expect(copies()).toEqual([])
  })

  it('is made in durable mode too, but waits for no disk', async () => {
    const { ask, log } = given({ logMode: 'durable' })
    await ask()
    await settle()
    expect(log.records.map(({ mode }) => mode)).toEqual(['durable', 'relaxed'])
  })

  it.each([
    ['dies', 'died' as const],
    ['answers what is no HTTP', 'garbled' as const],
    ['refuses', 'refused' as const],
    ['says 500', answerOf(500, { error: 'x' })],
    ['hangs', 'silence' as const],
  ])('of a shadow that %s is a failure of the shadow, and is not logged', async (_what, reply) => {
    const { ask, replicas, predictions, rows, mirrors, pools } = given()
    replicas.script(SHADOW, reply)
    replicas.ready(SHADOW, false)
    expect((await ask())?.status).toBe(200)
    await vi.advanceTimersByTimeAsync(6_000)
    expect(predictions()).toHaveLength(1)
    expect(rows()).toMatchObject([
      { version: '1', origin: 'live', requests: 1, failed: 0 },
      { version: '2', origin: 'shadow', requests: 1, failed: 1 },
    ])
    expect(mirrors.heldBytes).toBe(0)
    expect(pools.inFlight()).toEqual([])
  })

  it('is no failure where the shadow has ended meanwhile', async () => {
    const { ask, replicas, route, shadowRow } = given()
    replicas.script(SHADOW, 'refused')
    replicas.ready(SHADOW, false)
    await ask()
    await settle()
    route(routeOf({ deployments: [champion] }))
    await vi.advanceTimersByTimeAsync(6_000)
    expect(shadowRow()).toMatchObject({ requests: 0, failed: 0, dropped: 1 })
  })

  it('is no failure where the circuit of the shadow is open: it is not asked', async () => {
    const { ask, replicas, copies, shadowRow } = given({ timeoutMs: 4_000 })
    replicas.script(SHADOW, 'silence')
    for (let n = 0; n < 10; n++) await ask()
    await vi.advanceTimersByTimeAsync(4_000)
    expect(shadowRow()).toMatchObject({ requests: 10, failed: 10 })
    for (let n = 0; n < 3; n++) await ask()
    await vi.advanceTimersByTimeAsync(0)
    expect(copies()).toHaveLength(10)
    expect(shadowRow()).toMatchObject({ requests: 0, failed: 0, dropped: 3 })
  })

  it('asks for no larger answer than a shadow may give', async () => {
    const { ask, copies } = given()
    const answer = await ask()
    await settle()
    expect(copies()[0]?.request.answerLimitBytes).toBe(1024 * 1024 + 4 * (answer?.body.length ?? 0))
  })
})

describe('copies that are more than a shadow can take', () => {
  it('wait up to a limit, and are dropped and counted beyond', async () => {
    const { ask, replicas, copies, shadowRow, mirrors } = given({}, { inFlight: 2, waiting: 3 })
    replicas.script(SHADOW, 'silence')
    for (let n = 0; n < 10; n++) {
      await ask()
      await settle()
    }
    expect(copies()).toHaveLength(2)
    expect(shadowRow()).toMatchObject({ requests: 0, dropped: 5 })
    await vi.advanceTimersByTimeAsync(20_000)
    expect(shadowRow()).toMatchObject({ requests: 5, failed: 5 })
    expect(mirrors.heldBytes).toBe(0)
  })

  it('are dropped once they have waited longer than any client would', async () => {
    const { ask, replicas, clock, copies, shadowRow } = given({ timeoutMs: 1_000 }, { inFlight: 1 })
    replicas.script(SHADOW, 'silence')
    for (let n = 0; n < 3; n++) await ask()
    await settle()
    clock.advance(1_001)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(copies()).toHaveLength(1)
    expect(shadowRow()).toMatchObject({ requests: 1, failed: 1, dropped: 2 })
  })

  it('hold no more bytes than they may, over all shadows', async () => {
    const { ask, replicas, mirrors, shadowRow } = given({}, { bytes: 2_500, inFlight: 1 })
    replicas.script(SHADOW, 'silence')
    for (let n = 0; n < 5; n++) await ask({ body: Buffer.alloc(1_000, 0x20) })
    expect(mirrors.heldBytes).toBe(2_000)
    expect(shadowRow()).toMatchObject({ dropped: 3 })
  })

  it('of one shadow do not hold up those of another', async () => {
    const third = deploymentOf({ deploymentId: 'deployment-3' })
    const mirrors = ['deployment-2', 'deployment-3'].map((deploymentId) => ({ deploymentId, sharePercent: 100 }))
    const { ask, replicas } = given({ deployments: [champion, shadow, third], mirrors }, { inFlight: 1 })
    replicas.script(SHADOW, 'silence')
    for (let n = 0; n < 4; n++) await ask()
    await settle()
    expect(replicas.asked.filter(({ socketPath }) => socketPath === '/deployment-3.sock')).toHaveLength(4)
  })

  it('are given up when the gateway ends, and nothing reaches the log after that', async () => {
    const { ask, replicas, mirrors, predictions, shadowRow } = given({}, { inFlight: 1 })
    replicas.script(SHADOW, 'silence')
    for (let n = 0; n < 3; n++) await ask()
    await settle()
    await mirrors.close()
    expect(mirrors.heldBytes).toBe(0)
    await ask()
    await settle()
    expect(predictions().filter((record) => record.origin === 'shadow')).toEqual([])
    expect(shadowRow()).toMatchObject({ requests: 0, dropped: 3 })
    expect(replicas.aborted).toBe(1)
  })
})
