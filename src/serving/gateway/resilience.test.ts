import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { answerOf, deploymentOf, inferBody, routeOf } from '../../testing/gateway-fakes.ts'
import { header, inferenceLab, textOf } from '../../testing/inference-lab.ts'
import type { Answer } from '../front/answer.ts'
import { Cancellation } from '../front/cancellation.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

const given = (...endpoints: EndpointRoute[]) => inferenceLab(endpoints)
const one = '/deployment-1.sock'
const two = deploymentOf({ deploymentId: 'deployment-2' })

/** A deployment whose replica takes requests and never answers; each of these has timed out. */
async function timeOut(lab: ReturnType<typeof inferenceLab>, times: number, timeoutMs: number): Promise<void> {
  const answers = Array.from({ length: times }, () => lab.infer())
  await vi.advanceTimersByTimeAsync(timeoutMs)
  expect((await Promise.all(answers)).map((answer) => answer?.status)).toEqual(Array(times).fill(504))
}

const statusOf = async (answer: Promise<Answer | null>) => (await answer)?.status

describe('a deployment that leaves ten requests in a row unanswered', () => {
  const silent = routeOf({ timeoutMs: 4_000 })

  it('is not asked any more: its callers are told at once when to come again', async () => {
    const lab = given(silent)
    lab.replicas.script(one, 'silence')
    await timeOut(lab, 10, 4_000)
    const answer = await lab.infer()
    expect([answer?.status, header(answer, 'Retry-After')]).toEqual([503, '1'])
    expect(textOf(answer)).toBe(
      `{"error":"Endpoint 'late-flights' can't answer now: its last requests got no answer, so it is given time."}`,
    )
    expect(lab.replicas.asked).toHaveLength(10)
    expect(lab.pools.report()[0]?.counts).toMatchObject({ circuitOpened: 1, refusedByCircuit: 1 })
  })

  it('gets one request to find out, and serves all again after its answer', async () => {
    const lab = given(silent)
    lab.replicas.script(one, 'silence')
    await timeOut(lab, 10, 4_000)
    await vi.advanceTimersByTimeAsync(1_000)
    const tries = Array.from({ length: 5 }, () => lab.infer())
    await vi.advanceTimersByTimeAsync(4_000)
    const statuses = await Promise.all(tries.map((answer) => statusOf(answer)))
    expect(statuses).toEqual([504, 503, 503, 503, 503])
    await vi.advanceTimersByTimeAsync(1_999)
    expect(await statusOf(lab.infer())).toBe(503)
    lab.replicas.script(one, answerOf(200))
    await vi.advanceTimersByTimeAsync(1)
    expect(await statusOf(lab.infer())).toBe(200)
    expect(await Promise.all([1, 2, 3].map(() => statusOf(lab.infer())))).toEqual([200, 200, 200])
  })

  it('is tried again at once where the one that was to find out left', async () => {
    const lab = given(silent)
    lab.replicas.script(one, 'silence')
    await timeOut(lab, 10, 4_000)
    await vi.advanceTimersByTimeAsync(1_000)
    const cancellation = new Cancellation()
    const gone = lab.infer({ cancellation })
    cancellation.cancel('client-gone')
    expect(await gone).toBeNull()
    lab.replicas.script(one, answerOf(200))
    expect(await statusOf(lab.infer())).toBe(200)
  })

  it('has its fallback answer instead, as where no replica is left', async () => {
    const deployments = [deploymentOf({ deploymentId: 'deployment-1' }), two]
    const fallback = { kind: 'version', deploymentId: 'deployment-2' } as const
    const lab = given({ ...silent, deployments, fallback })
    lab.replicas.script(one, 'silence')
    await timeOut(lab, 10, 4_000)
    lab.rows()
    const answer = await lab.infer()
    expect([answer?.status, header(answer, 'millrace-fallback')]).toEqual([200, 'version'])
    expect(lab.rows()).toMatchObject([
      { origin: 'fallback', version: '2', requests: 1, failed: 0 },
      { origin: 'live', version: '1', requests: 1, failed: 1, rescued: 1 },
    ])
  })

  it('is not spared for errors that it answers with, nor for clients that are in a hurry', async () => {
    const lab = given(silent)
    lab.replicas.script(one, answerOf(500))
    for (let i = 0; i < 20; i++) expect(await statusOf(lab.infer())).toBe(500)
    lab.replicas.script(one, 'silence')
    for (let i = 0; i < 20; i++) {
      const answer = lab.infer({ headers: { 'x-request-timeout-ms': '20' } })
      await vi.advanceTimersByTimeAsync(20)
      expect(await statusOf(answer)).toBe(504)
    }
    lab.replicas.script(one, answerOf(200))
    expect(await statusOf(lab.infer())).toBe(200)
  })
})

describe('a canary whose circuit is open', () => {
  it('still has to answer for every request that was drawn for it', async () => {
    const deployments = [deploymentOf({ deploymentId: 'deployment-1' }), two]
    const members = [
      { deploymentId: 'deployment-1', weightPercent: 50 },
      { deploymentId: 'deployment-2', weightPercent: 50 },
    ]
    const lab = given(routeOf({ deployments, members, trial: 'trial-1', timeoutMs: 4_000 }))
    lab.replicas.script('/deployment-2.sock', 'silence')
    lab.draws.push(...Array(10).fill(0.9))
    await timeOut(lab, 10, 4_000)
    lab.draws.push(...Array(30).fill(0.9), ...Array(20).fill(0.1))
    for (let i = 0; i < 50; i++) expect(await statusOf(lab.infer())).toBe(200)
    expect(lab.rows()).toMatchObject([
      { version: '2', trial: 'trial-1', requests: 40, failed: 40, rescued: 30 },
      { version: '1', trial: 'trial-1', requests: 20, failed: 0 },
    ])
    expect(lab.replicas.asked.filter(({ socketPath }) => socketPath === '/deployment-2.sock')).toHaveLength(10)
  })
})

describe('the time that a request gives', () => {
  it('ends it before the endpoint does, and the answer names both', async () => {
    const { infer, replicas } = given(routeOf({ timeoutMs: 5_000 }))
    replicas.script(one, 'silence')
    const body = Buffer.from('{"inputs":[],"parameters":{"timeout":250000}}')
    const answer = infer({ body })
    await vi.advanceTimersByTimeAsync(250)
    expect([await statusOf(answer), textOf(await answer)]).toEqual([
      504,
      `{"error":"Endpoint 'late-flights' did not answer within 250 ms, the time that the request gives; the endpoint's own is 5000 ms."}`,
    ])
    expect(replicas.asked[0]?.request.timeoutMs).toBe(250)
  })

  it('can only be shorter', async () => {
    const { infer, replicas } = given(routeOf({ timeoutMs: 300 }))
    replicas.script(one, 'silence')
    const answer = infer({ timeoutMs: 60_000 })
    await vi.advanceTimersByTimeAsync(300)
    expect(textOf(await answer)).toBe(`{"error":"Endpoint 'late-flights' did not answer within 300 ms."}`)
    expect(replicas.asked[0]?.request.timeoutMs).toBe(300)
  })

  it('is shared by its attempts: each replica is told what is left', async () => {
    const lab = given(routeOf({ timeoutMs: 5_000 }))
    lab.replicas.script(one, 'died', answerOf(200))
    lab.replicas.ready(one, false)
    const answer = lab.infer({ timeoutMs: 900 })
    await vi.advanceTimersByTimeAsync(10)
    lab.clock.advance(200)
    lab.replicas.ready(one, true)
    await vi.advanceTimersByTimeAsync(20)
    expect(await statusOf(answer)).toBe(200)
    expect(lab.replicas.asked.map(({ request }) => request.timeoutMs)).toEqual([900, 700])
  })
})

describe('a deployment that must not compute the same request twice', () => {
  const impure = deploymentOf({
    deploymentId: 'deployment-1',
    isPure: false,
    replicas: [
      { replicaId: 'a', socketPath: '/a' },
      { replicaId: 'b', socketPath: '/b' },
    ],
  })

  it.each(['refused', 'busy'] as const)('is asked again where nothing was sent: %s', async (fault) => {
    const { infer, replicas } = given(routeOf({ deployments: [impure] }))
    replicas.script('/a', fault)
    expect(await statusOf(infer())).toBe(200)
    expect(replicas.asked.map(({ socketPath }) => socketPath)).toEqual(['/a', '/b'])
  })

  it.each(['died', 'garbled'] as const)('is not asked again where something was: %s', async (fault) => {
    const { infer, replicas } = given(routeOf({ deployments: [impure] }))
    replicas.script('/a', fault)
    expect(await statusOf(infer())).toBe(502)
    expect(replicas.asked).toHaveLength(1)
  })

  it('is not followed by another version, be it the fallback; a constant stands in', async () => {
    const members = [
      { deploymentId: 'deployment-1', weightPercent: 50 },
      { deploymentId: 'deployment-2', weightPercent: 50 },
    ]
    const deployments = [impure, two]
    const version = given(
      routeOf({ deployments, members, fallback: { kind: 'version', deploymentId: 'deployment-2' } }),
    )
    version.replicas.script('/a', 'died')
    const refused = await version.infer()
    expect(refused?.status).toBe(502)
    expect(textOf(refused)).toContain('the request may have been computed, and must not be twice')
    expect(version.replicas.asked).toHaveLength(1)
    const constant = given(
      routeOf({ deployments, members, fallback: { kind: 'constant', outputs: { probability: 0.5 } } }),
    )
    constant.replicas.script('/a', 'died')
    expect(header(await constant.infer(), 'millrace-fallback')).toBe('constant')
  })
})

describe('retries', () => {
  it('are a hundred and a fifth of the requests at most, so that trouble is not multiplied', async () => {
    const lab = given(routeOf())
    const replies = Array.from({ length: 1_000 }, (_, i) => (i % 2 === 0 ? ('died' as const) : answerOf(200)))
    lab.replicas.script(one, ...replies)
    const texts: string[] = []
    for (let i = 0; i < 400; i++) {
      const answer = lab.infer()
      await vi.advanceTimersByTimeAsync(1)
      if ((await statusOf(answer)) !== 200) texts.push(textOf(await answer))
    }
    expect(new Set(texts)).toEqual(
      new Set([
        `{"error":"Endpoint 'late-flights' lost every replica that took this request; the last: replica 'deployment-1-replica' went away before its answer, and too many requests are tried again already."}`,
      ]),
    )
    const retried = lab.replicas.asked.length - 400
    expect(retried).toBeGreaterThan(100 + 0.2 * 400 - 5)
    expect(retried).toBeLessThanOrEqual(100 + 0.2 * 400)
  })
})

describe('a limit of an endpoint', () => {
  it('refuses before anybody is drawn: on no version’s account, and in no trial', async () => {
    const limits = { concurrency: 1, perCaller: null }
    const lab = given(routeOf({ limits, trial: 'trial-1', timeoutMs: 500 }))
    lab.replicas.script(one, 'silence')
    const first = lab.infer()
    expect(await statusOf(lab.infer())).toBe(503)
    await vi.advanceTimersByTimeAsync(500)
    expect(await statusOf(first)).toBe(504)
    lab.replicas.script(one, answerOf(200))
    expect(await statusOf(lab.infer({ body: inferBody }))).toBe(200)
    expect(lab.rows()).toMatchObject([
      { version: '', trial: null, requests: 1, failed: 1 },
      { version: '1', trial: 'trial-1', requests: 2, failed: 1 },
    ])
  })

  it('of one caller is 429, which is no failure of the service', async () => {
    const lab = given(routeOf({ limits: { concurrency: null, perCaller: 1 }, timeoutMs: 500 }))
    lab.replicas.script(one, 'silence')
    const first = lab.infer({ caller: 'clinic' })
    expect(await statusOf(lab.infer({ caller: 'clinic' }))).toBe(429)
    const other = lab.infer({ caller: 'other' })
    await vi.advanceTimersByTimeAsync(500)
    expect([await statusOf(first), await statusOf(other)]).toEqual([504, 504])
    expect(lab.rows()[0]).toMatchObject({ version: '', requests: 1, failed: 0 })
  })
})

describe('a deployment that is scaled to zero', () => {
  const asleep = (replicas: string[]) =>
    routeOf({
      deployments: [
        deploymentOf({
          deploymentId: 'deployment-1',
          wakesWithinMs: 3_000,
          replicas: replicas.map((name) => ({ replicaId: name, socketPath: `/${name}` })),
        }),
      ],
    })

  it('has a request wait until a replica is there, and says meanwhile that one waits', async () => {
    const lab = given(asleep([]))
    const answer = lab.infer()
    await vi.advanceTimersByTimeAsync(2_500)
    expect(lab.pools.inFlight()).toEqual([{ deploymentId: 'deployment-1', requests: 1 }])
    lab.route(asleep(['a']))
    expect(await statusOf(answer)).toBe(200)
  })

  it('refuses once that has taken too long', async () => {
    const lab = given(asleep([]))
    const answer = lab.infer()
    await vi.advanceTimersByTimeAsync(3_000)
    expect([await statusOf(answer), textOf(await answer)]).toEqual([
      503,
      `{"error":"Endpoint 'late-flights' can't answer now: none of its replicas came free in time."}`,
    ])
  })
})
