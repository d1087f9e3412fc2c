import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parsePredictionId } from '../../kernel/contract/prediction-id.ts'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { answerOf, deploymentOf, inferBody, routeOf } from '../../testing/gateway-fakes.ts'
import { header, inferenceLab, textOf } from '../../testing/inference-lab.ts'
import { Cancellation } from '../front/cancellation.ts'

const given = (...endpoints: EndpointRoute[]) => inferenceLab(endpoints)

const twoReplicas = deploymentOf({
  deploymentId: 'deployment-1',
  replicas: [
    { replicaId: 'a', socketPath: '/a' },
    { replicaId: 'b', socketPath: '/b' },
  ],
})

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('an answered inference', () => {
  it('passes the body of the replica on unchanged, with an id, the version and the endpoint', async () => {
    const { infer, replicas, clock } = given(routeOf())
    const answer = await infer()
    expect(answer?.status).toBe(200)
    expect(answer?.body.toString()).toBe('{"from":"/deployment-1.sock"}')
    expect(parsePredictionId(header(answer, 'millrace-prediction-id') ?? '')).toEqual({ atMs: clock.calendarMs() })
    expect(header(answer, 'millrace-model-version')).toBe('1')
    expect(header(answer, 'millrace-endpoint')).toBe('late-flights')
    expect(replicas.asked[0]?.request).toMatchObject({
      model: 'late-flight',
      version: '1',
      headers: ['content-type', 'application/json'],
      body: inferBody,
    })
  })

  it('is logged with both bodies as they were, under the calendar', async () => {
    const { infer, log, clock } = given(routeOf())
    clock.advanceCalendar(86_400_000)
    const answer = await infer()
    expect(log.records).toHaveLength(1)
    expect(log.records[0]).toMatchObject({
      mode: 'relaxed',
      record: {
        kind: 'prediction',
        predictionId: header(answer, 'millrace-prediction-id'),
        endpoint: 'late-flights',
        model: 'late-flight',
        version: '1',
        origin: 'live',
        atMs: clock.calendarMs(),
        status: 200,
        request: inferBody,
        response: answer?.body,
      },
    })
  })

  it('is counted under its version, with the time of its first answer once', async () => {
    const { infer, traffic, clock } = given(routeOf())
    await infer()
    clock.advance(10)
    await infer()
    expect(traffic.batch().traffic).toMatchObject([
      {
        endpoint: 'late-flights',
        model: 'late-flight',
        version: '1',
        requests: 2,
        failed: 0,
        interrupted: 0,
        firstAnswerAtMs: clock.epochMs() - 10,
      },
    ])
  })

  it('of an odd name keeps headers valid', async () => {
    const odd = routeOf({
      endpoint: 'vérité/1\r\nx',
      model: 'a b?',
      deployments: [deploymentOf({ deploymentId: 'deployment-1', version: 'ü' })],
    })
    const { infer, replicas } = given(odd)
    const answer = await infer({ name: odd.endpoint })
    expect(header(answer, 'millrace-endpoint')).toBe('v%C3%A9rit%C3%A9%2F1%0D%0Ax')
    expect(replicas.asked[0]?.request).toMatchObject({ model: 'a b?', version: 'ü' })
  })
})

describe('logging', () => {
  it('leaves out what the sample leaves out, and counts it', async () => {
    const { infer, log, draws } = given(routeOf({ logSamplePercent: 25 }))
    draws.push(0.24, 0.25)
    await infer()
    await infer()
    expect(log.records).toHaveLength(1)
    expect(log.sampledOut).toBe(1)
  })

  it('is left out where the endpoint says off, though the answer has an id', async () => {
    const { infer, log } = given(routeOf({ logMode: 'off' }))
    expect(header(await infer(), 'millrace-prediction-id')).toHaveLength(26)
    expect(log.records).toEqual([])
  })

  it('leaves out errors of the model server, which pass through as they are', async () => {
    const { infer, log, replicas, traffic } = given(routeOf())
    replicas.script('/deployment-1.sock', answerOf(400, { error: "unexpected input 'y'" }))
    const answer = await infer()
    expect(answer?.status).toBe(400)
    expect(textOf(answer)).toBe(`{"error":"unexpected input 'y'"}`)
    expect(header(answer, 'millrace-prediction-id')).toBeUndefined()
    expect(log.records).toEqual([])
    expect(traffic.batch().traffic[0]).toMatchObject({ requests: 1, failed: 0, firstAnswerAtMs: null })
  })

  it('in durable mode answers only once the record is on disk', async () => {
    const { infer, log } = given(routeOf({ logMode: 'durable' }))
    let onDisk: () => void = () => undefined
    log.hold = new Promise((resolve) => (onDisk = resolve))
    let answered = false
    const answer = infer().finally(() => (answered = true))
    await vi.advanceTimersByTimeAsync(100)
    expect(answered).toBe(false)
    onDisk()
    expect((await answer)?.status).toBe(200)
    expect(log.records[0]?.record).toMatchObject({ predictionId: header(await answer, 'millrace-prediction-id') })
  })

  it('in durable mode refuses with 503 when the log is full, and acknowledges nothing', async () => {
    const { infer, log, traffic } = given(routeOf({ logMode: 'durable' }))
    log.failure = new Error('the disk is full')
    const answer = await infer()
    expect(answer?.status).toBe(503)
    expect(header(answer, 'Retry-After')).toBe('1')
    expect(header(answer, 'millrace-prediction-id')).toBeUndefined()
    expect(textOf(answer)).toContain('the disk is full')
    expect(traffic.batch().traffic[0]).toMatchObject({ requests: 1, failed: 1 })
  })

  it('in durable mode keeps to the deadline while the disk stalls', async () => {
    const { infer, log } = given(routeOf({ logMode: 'durable', timeoutMs: 200 }))
    log.hold = new Promise(() => undefined)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(200)
    expect((await answer)?.status).toBe(504)
  })
})

describe('a replica that fails', () => {
  it.each(['refused', 'died', 'garbled', 'busy'] as const)(
    '(%s) is replaced by another, unseen by the client',
    async (fault) => {
      const { infer, replicas, traffic } = given(routeOf({ deployments: [twoReplicas] }))
      replicas.script('/a', fault)
      replicas.ready('/a', false)
      for (let i = 0; i < 4; i++) expect((await infer())?.status).toBe(200)
      expect(replicas.asked.map(({ socketPath }) => socketPath)).toEqual(['/a', '/b', '/b', '/b', '/b'])
      expect(traffic.batch().traffic[0]).toMatchObject({ requests: 4, failed: 0 })
    },
  )

  it.each([
    ['refused', 503, "no connection to replica 'a' can be made"],
    ['busy', 503, "replica 'a' has more to take already than it can"],
    ['died', 502, "replica 'a' went away before its answer"],
    ['garbled', 502, "replica 'a' answered what can't be understood"],
    ['aborted', 503, "replica 'a' was taken away"],
  ] as const)('(%s) is named to clients, and where it listens is not', async (fault, status, why) => {
    const alone = deploymentOf({
      deploymentId: 'deployment-1',
      replicas: [{ replicaId: 'a', socketPath: '/run/secret/a.sock' }],
    })
    const { infer, replicas } = given(routeOf({ deployments: [alone] }))
    replicas.script('/run/secret/a.sock', fault)
    const asked = infer()
    await vi.advanceTimersByTimeAsync(30_000)
    const answer = await asked
    expect([answer?.status, textOf(answer)]).toEqual([status, expect.stringContaining(why)])
    expect(textOf(answer)).not.toContain('secret')
  })

  it('by saying 503 is replaced by another too', async () => {
    const { infer, replicas } = given(routeOf({ deployments: [twoReplicas] }))
    replicas.script('/a', answerOf(503, { error: 'loading' }))
    replicas.ready('/a', false)
    expect((await infer())?.status).toBe(200)
    expect((await infer())?.status).toBe(200)
    expect(replicas.asked.map(({ socketPath }) => socketPath)).toEqual(['/a', '/b', '/b'])
  })

  it('is asked again when it was the only one and comes back', async () => {
    const { infer, replicas } = given(routeOf())
    replicas.script('/deployment-1.sock', 'died', answerOf(200))
    const answer = infer()
    await vi.advanceTimersByTimeAsync(0)
    expect((await answer)?.status).toBe(200)
  })

  it('and does not come back gives 503 with Retry-After after a bounded wait', async () => {
    const { infer, replicas } = given(routeOf())
    replicas.script('/deployment-1.sock', 'refused')
    replicas.ready('/deployment-1.sock', false)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    expect((await answer)?.status).toBe(503)
    expect(header(await answer, 'Retry-After')).toBe('1')
  })

  it('because of the request itself is not followed by more than two others', async () => {
    const many = deploymentOf({
      deploymentId: 'deployment-1',
      replicas: Array.from({ length: 9 }, (_, i) => ({ replicaId: `r${i}`, socketPath: `/${i}` })),
    })
    const { infer, replicas, traffic } = given(routeOf({ deployments: [many] }))
    for (let i = 0; i < 9; i++) replicas.script(`/${i}`, 'died')
    const answer = await infer()
    expect(answer?.status).toBe(502)
    expect(replicas.asked).toHaveLength(3)
    expect(traffic.batch().traffic[0]).toMatchObject({ requests: 1, failed: 1 })
  })

  it('never takes more than five exchanges for one request', async () => {
    const { infer, replicas } = given(routeOf())
    replicas.script('/deployment-1.sock', answerOf(503))
    const answer = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    expect((await answer)?.status).toBe(503)
    expect(replicas.asked).toHaveLength(5)
  })
})

describe('an endpoint', () => {
  it('without replicas answers 503 with Retry-After at once', async () => {
    const { infer } = given(routeOf({ deployments: [deploymentOf({ deploymentId: 'deployment-1', replicas: [] })] }))
    const answer = await infer()
    expect(answer?.status).toBe(503)
    expect(header(answer, 'Retry-After')).toBe('1')
    expect(textOf(answer)).toBe(
      `{"error":"Endpoint 'late-flights' can't answer now: it has no replica that is ready."}`,
    )
  })

  it('without live members answers 503, counted without a version', async () => {
    const { infer, traffic } = given(routeOf({ members: [], deployments: [] }))
    expect((await infer())?.status).toBe(503)
    expect(traffic.batch().traffic[0]).toMatchObject({ version: '', requests: 1, failed: 1 })
  })

  it('that is unknown gives 404 and what exists', async () => {
    const { infer } = given(routeOf())
    const answer = await infer({ name: 'M' })
    expect(answer?.status).toBe(404)
    expect(textOf(answer)).toBe(`{"error":"Request for unknown model: 'M' is not found. Endpoints: late-flights."}`)
  })

  it('gives 404 for an unknown version, naming the live ones, and serves a version that has no traffic', async () => {
    const deployments = [deploymentOf({ deploymentId: 'deployment-1' }), deploymentOf({ deploymentId: 'deployment-2' })]
    const { infer } = given(routeOf({ deployments }))
    expect(textOf(await infer({ version: '9' }))).toContain("version '9' is not found. Live versions: 1, 2.")
    expect(header(await infer({ version: '2' }), 'millrace-model-version')).toBe('2')
  })
})

describe('routes that change under a request', () => {
  it('bring it to the deployment that took over', async () => {
    const { infer, replicas, route } = given(routeOf())
    replicas.script('/deployment-1.sock', 'refused')
    replicas.ready('/deployment-1.sock', false)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(10)
    route(routeOf({ deployments: [deploymentOf({ deploymentId: 'deployment-2' })] }))
    expect((await answer)?.status).toBe(200)
    expect(header(await answer, 'millrace-model-version')).toBe('2')
  })

  it('leave it with the old deployment, reported in flight, while that still works on it', async () => {
    const { infer, replicas, route, pools } = given(routeOf({ timeoutMs: 500 }))
    replicas.script('/deployment-1.sock', 'silence')
    const answer = infer()
    route(routeOf({ deployments: [deploymentOf({ deploymentId: 'deployment-2' })] }))
    await vi.advanceTimersByTimeAsync(100)
    expect(pools.inFlight()).toEqual([{ deploymentId: 'deployment-1', requests: 1 }])
    await vi.advanceTimersByTimeAsync(400)
    expect((await answer)?.status).toBe(504)
    expect(pools.inFlight()).toEqual([])
  })

  it('give the other side of a split what one side lost', async () => {
    const deployments = [deploymentOf({ deploymentId: 'deployment-1' }), deploymentOf({ deploymentId: 'deployment-2' })]
    const members = [
      { deploymentId: 'deployment-1', weightPercent: 90 },
      { deploymentId: 'deployment-2', weightPercent: 10 },
    ]
    const { infer, replicas } = given(routeOf({ deployments, members }))
    replicas.script('/deployment-1.sock', 'died')
    replicas.ready('/deployment-1.sock', false)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(header(await answer, 'millrace-model-version')).toBe('2')
    expect(header(await infer(), 'millrace-model-version')).toBe('2')
  })
})

describe('a request that is given up', () => {
  it('at its deadline gets 504, and the exchange is ended', async () => {
    const { infer, replicas, traffic } = given(routeOf({ timeoutMs: 250 }))
    replicas.script('/deployment-1.sock', 'silence')
    const answer = infer()
    await vi.advanceTimersByTimeAsync(250)
    expect((await answer)?.status).toBe(504)
    expect(textOf(await answer)).toContain('did not answer within 250 ms')
    expect(replicas.aborted).toBe(1)
    expect(traffic.batch().traffic[0]).toMatchObject({ requests: 1, failed: 1, interrupted: 0 })
  })

  it('by its client is counted as interrupted, not as failed, and not logged', async () => {
    const { infer, replicas, traffic, log } = given(routeOf())
    replicas.script('/deployment-1.sock', 'silence')
    const cancellation = new Cancellation()
    const answer = infer({ cancellation })
    await vi.advanceTimersByTimeAsync(10)
    cancellation.cancel('client-gone')
    expect(await answer).toBeNull()
    expect(replicas.aborted).toBe(1)
    expect(log.records).toEqual([])
    expect(traffic.batch().traffic[0]).toMatchObject({ requests: 1, failed: 0, interrupted: 1 })
  })
})
