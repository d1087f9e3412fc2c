import type { ServerResponse } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe } from 'vitest'
import type { ExpectStatic } from 'vitest'
import type { EndpointRoute, RoutedReplica } from '../../kernel/contract/routing.ts'
import { deploymentOf, routeOf } from '../../testing/gateway-fakes.ts'
import { failures, INFER, ROW, sceneTest as it, tookMs } from '../../testing/gateway-scene.ts'
import type { GatewayScene } from '../../testing/gateway-scene.ts'
import { nowMs, quantile } from '../../testing/open-loop.ts'
import type { LoopAnswer } from '../../testing/open-loop.ts'
import { ownMsOf } from '../../testing/stopwatch.ts'
import { mirrorLimits } from './mirrors.ts'

/* Shadows, fallbacks and trials of real processes. */

const latency = (answers: LoopAnswer[], share: number) => quantile(tookMs(answers), share)

function total(
  scene: GatewayScene,
  origin: string,
  version: string,
): { requests: number; failed: number; dropped: number } {
  const rows = scene.counted().filter((row) => row.origin === origin && row.version === version)
  const sum = (field: 'requests' | 'failed' | 'dropped') => rows.reduce((all, row) => all + (row[field] ?? 0), 0)
  return { requests: sum('requests'), failed: sum('failed'), dropped: sum('dropped') }
}

/** Waits until the copy of each request has come to its end: the last ones only at the deadline of their route. */
async function settled(scene: GatewayScene, copies: number, expect: ExpectStatic): Promise<void> {
  const ended = () => {
    const { requests, dropped } = total(scene, 'shadow', '2')
    return requests + dropped
  }
  await expect.poll(ended, { timeout: 20_000, interval: 50 }).toBeGreaterThanOrEqual(copies)
}

const logged = ({ log }: GatewayScene, origin: string) =>
  log.records.flatMap(({ record }) => (record.kind === 'prediction' && record.origin === origin ? [record] : []))

const alone = (champion: RoutedReplica): EndpointRoute =>
  routeOf({ deployments: [deploymentOf({ deploymentId: 'deployment-1', replicas: [champion] })] })

const both = (first: RoutedReplica, second: RoutedReplica) => [
  deploymentOf({ deploymentId: 'deployment-1', replicas: [first] }),
  deploymentOf({ deploymentId: 'deployment-2', replicas: [second] }),
]

function shadowed(champion: RoutedReplica, shadow: RoutedReplica): EndpointRoute {
  return routeOf({
    deployments: both(champion, shadow),
    members: [{ deploymentId: 'deployment-1', weightPercent: 100 }],
    mirrors: [{ deploymentId: 'deployment-2', sharePercent: 100 }],
    trial: 'trial-1',
    timeoutMs: 2_000,
  })
}

describe('a shadow of real processes', () => {
  it('gets a copy of each request, paired with it, while live answers stay as fast as they were', async ({
    scene,
    expect,
  }) => {
    const champion = await scene.lab.replicaProcess('champion')
    const shadow = await scene.lab.replicaProcess('shadow')
    await scene.publishRoute(alone(champion))
    const warmUp = await scene.load(200, 1_000)
    const before = await scene.load(200, 2_500)
    await scene.publishRoute(shadowed(champion, shadow))
    const already = scene.log.records.length
    const beside = await scene.load(200, 2_500)
    await settled(scene, beside.length, expect)
    expect(failures([...before, ...beside])).toEqual([])
    const pairs = new Set(
      scene.log.records
        .slice(already)
        .flatMap(({ record }) => (record.kind === 'prediction' ? [record.shadowOf ?? record.predictionId] : [])),
    )
    expect(pairs.size).toBe(beside.length)
    expect(logged(scene, 'shadow')).toHaveLength(beside.length)
    const figures = [before, beside].map((answers) => [latency(answers, 0.5), latency(answers, 0.99)] as const)
    console.log(`p50, p99 in ms without a shadow and with one: ${JSON.stringify(figures)}`)
    // Wide, as the machine may be busy: what is meant to fail here is a wait, not a little work.
    expect(figures[1]![0]).toBeLessThan(figures[0]![0] * 3 + 50)
    await scene.gateway.drain()
    expect(total(scene, 'shadow', '2')).toEqual({ requests: beside.length, failed: 0, dropped: 0 })
    expect(total(scene, 'live', '1').requests).toBe(warmUp.length + before.length + beside.length)
  }, 60_000)

  it('costs nothing but evidence when it hangs and when it dies', async ({ scene, expect }) => {
    const champion = await scene.lab.replicaProcess('champion')
    const shadow = await scene.lab.replicaProcess('shadow')
    const route = shadowed(champion, shadow)
    await scene.publishRoute(route)
    const fine = await scene.load(200, 1_000)
    shadow.process.kill('SIGSTOP')
    const hung = await scene.load(200, route.timeoutMs + 1_000)
    shadow.process.kill('SIGKILL')
    const dead = await scene.load(200, 1_000)
    const all = [...fine, ...hung, ...dead]
    expect(failures(all)).toEqual([])
    // Each copy under way takes all the time of its route: no live answer waits for one.
    expect(latency(hung, 0.99)).toBeLessThan(400 + latency(fine, 0.99) * 3)
    await settled(scene, all.length, expect)
    await scene.gateway.drain()
    const { requests, failed, dropped } = total(scene, 'shadow', '2')
    expect(requests + dropped).toBe(all.length)
    // As many as may be on their way; its circuit keeps most others from it.
    expect(failed).toBeGreaterThanOrEqual(mirrorLimits.inFlight)
    expect(failed).toBeLessThan(all.length / 4)
    expect(logged(scene, 'shadow')).toHaveLength(requests - failed)
    expect(total(scene, 'live', '1')).toEqual({ requests: all.length, failed: 0, dropped: 0 })
  }, 60_000)
})

describe('a shadow', () => {
  it.for<[string, (response: ServerResponse) => void]>([
    ['an endless answer', (response) => endless(response)],
    ['an answer that stops half-way', (response) => void response.writeHead(200, { 'content-length': 99 }).write('{')],
    ['errors', (response) => void response.writeHead(500).end('{"error":"x"}')],
  ])('that gives %s fails by itself, in bounded memory', { timeout: 60_000 }, async ([, answer], { scene, expect }) => {
    const champion = await scene.lab.replicaProcess('champion')
    const shadow = await scene.lab.replica('shadow', (request, response) => {
      request.resume()
      if (request.method === 'GET') response.end('{"ready":true}')
      else answer(response)
    })
    await scene.publishRoute(shadowed(champion, shadow))
    const answers = await scene.load(100, 1_000)
    expect(failures(answers)).toEqual([])
    await settled(scene, answers.length, expect)
    await scene.gateway.drain()
    const { requests, failed, dropped } = total(scene, 'shadow', '2')
    expect(requests + dropped).toBe(answers.length)
    expect(failed).toBe(requests)
    expect(logged(scene, 'shadow')).toEqual([])
  })

  it('that speaks no HTTP fails by itself', async ({ scene, expect }) => {
    const champion = await scene.lab.replicaProcess('champion')
    const path = scene.lab.socket('noise')
    const server = createNetServer((socket) => {
      socket.on('error', () => undefined)
      socket.on('data', () => socket.write(Buffer.from('\0\xff\r\n\r\nHTTP/9.9 nonsense', 'latin1')))
    })
    await new Promise<void>((resolve) => server.listen(path, () => resolve()))
    scene.lab.onClose(() => server.close())
    await scene.publishRoute(shadowed(champion, { replicaId: 'noise', socketPath: path }))
    const answers = await scene.load(100, 1_000)
    expect(failures(answers)).toEqual([])
    await settled(scene, answers.length, expect)
    await scene.gateway.drain()
    const { requests, failed, dropped } = total(scene, 'shadow', '2')
    expect(requests + dropped).toBe(answers.length)
    expect(failed).toBe(requests)
  }, 60_000)
})

describe('an endpoint that is taken out of service', () => {
  it('gives its fallback within a second, and is itself again as soon, without a failed request', async ({
    scene,
    expect,
  }) => {
    const replicas = [await scene.lab.replicaProcess('a')]
    const route = routeOf({
      deployments: [deploymentOf({ deploymentId: 'deployment-1', replicas })],
      fallback: { kind: 'constant', outputs: { probability: 0.25 } },
    })
    await scene.publishRoute(route)
    const { answers, stop } = scene.startLoop(200)
    const within = (from: number, to: number) => answers.filter(({ dueMs, endedMs }) => dueMs >= from && endedMs < to)
    /** Until so many were answered that were sent from now on. @returns from when */
    const seen = async (): Promise<number> => {
      const fromMs = nowMs()
      await expect.poll(() => within(fromMs, Infinity).length, { timeout: 20_000 }).toBeGreaterThan(50)
      return fromMs
    }
    const publish = (changed: EndpointRoute) => ownMsOf(() => scene.publishRoute(changed))
    await seen()
    const disabledMs = nowMs()
    expect(await publish({ ...route, disabled: { why: 'a test' } })).toBeLessThan(1_000)
    const goneMs = await seen()
    const enabledMs = nowMs()
    expect(await publish(route)).toBeLessThan(1_000)
    const backMs = await seen()
    await stop()
    expect(failures(answers)).toEqual([])
    const isFallback = (answer: LoopAnswer) => answer.headers['millrace-fallback'] === 'constant'
    const [before, during, after] = [within(0, disabledMs), within(goneMs, enabledMs), within(backMs, Infinity)]
    expect(before.some((answer) => isFallback(answer))).toBe(false)
    expect(during.every((answer) => isFallback(answer))).toBe(true)
    expect(after.some((answer) => isFallback(answer))).toBe(false)
    const eight = { ...ROW, shape: [8, 2], data: Array.from({ length: 16 }, () => 1) }
    await publish({ ...route, disabled: { why: 'a test' } })
    const answer = await scene.ask(INFER, JSON.stringify({ inputs: [eight] }))
    expect((JSON.parse(answer.text) as { outputs: unknown }).outputs).toEqual([
      { name: 'probability', datatype: 'FP32', shape: [8], data: Array.from({ length: 8 }, () => 0.25) },
    ])
    await scene.gateway.drain()
    const fallbacks = answers.filter((one) => isFallback(one)).length + 1
    expect(total(scene, 'fallback', '')).toEqual({ requests: fallbacks, failed: 0, dropped: 0 })
    expect(total(scene, 'live', '1').requests).toBe(answers.length + 1 - fallbacks)
    expect(logged(scene, 'fallback').every((record) => record.version === '' && record.trial === null)).toBe(true)
  }, 60_000)

  it('gives its fallback too once all its replicas are dead', async ({ scene, expect }) => {
    const a = await scene.lab.replicaProcess('a')
    const b = await scene.lab.replicaProcess('b')
    await scene.publishRoute(
      routeOf({
        deployments: [
          deploymentOf({ deploymentId: 'deployment-0', replicas: [b] }),
          deploymentOf({ deploymentId: 'deployment-1', replicas: [a] }),
        ],
        members: [{ deploymentId: 'deployment-1', weightPercent: 100 }],
        fallback: { kind: 'version', deploymentId: 'deployment-0' },
      }),
    )
    expect((await scene.ask()).headers['millrace-fallback']).toBeUndefined()
    a.process.kill('SIGKILL')
    const answer = await scene.ask()
    expect([answer.status, answer.headers['millrace-fallback']]).toEqual([200, 'version'])
    expect((await scene.ask('/v2/models/late-flights/versions/1/infer')).status).toBe(503)
    await scene.gateway.drain()
    expect(total(scene, 'live', '1')).toEqual({ requests: 3, failed: 2, dropped: 0 })
    expect(total(scene, 'fallback', '0')).toEqual({ requests: 1, failed: 0, dropped: 0 })
  }, 60_000)
})

describe('a trial of real processes', () => {
  it('is counted exactly, by the version that was drawn, though its replica is killed', async ({ scene, expect }) => {
    const champion = await scene.lab.replicaProcess('champion')
    const challenger = await scene.lab.replicaProcess('challenger')
    const members = [
      { deploymentId: 'deployment-1', weightPercent: 50 },
      { deploymentId: 'deployment-2', weightPercent: 50 },
    ]
    await scene.publishRoute(routeOf({ deployments: both(champion, challenger), members, trial: 'trial-9' }))
    const loading = scene.load(200, 2_500)
    await sleep(1_000)
    challenger.process.kill('SIGKILL')
    const killedMs = nowMs()
    const answers = await loading
    expect(failures(answers)).toEqual([])
    await scene.gateway.drain()
    const [first, second] = [total(scene, 'live', '1'), total(scene, 'live', '2')]
    expect(first.requests + second.requests).toBe(answers.length)
    expect(scene.counted().every((row) => row.trial === 'trial-9')).toBe(true)
    expect(first.failed).toBe(0)
    // About half of the requests since then.
    const since = answers.filter(({ endedMs }) => endedMs >= killedMs).length
    expect(second.failed).toBeGreaterThan(since * 0.3)
    expect(second.failed).toBeLessThan(since * 0.7)
    const inTrial = logged(scene, 'live').filter((record) => record.trial === 'trial-9')
    expect(inTrial).toHaveLength(answers.length - second.failed)
    expect(logged(scene, 'live')).toHaveLength(answers.length)
  }, 60_000)
})

/** Writes until nobody reads any more. */
function endless(response: ServerResponse): void {
  const part = Buffer.alloc(256 * 1024, 0x20)
  const write = (): void => {
    if (!response.destroyed) response.write(part, () => setTimeout(write, 1))
  }
  response.on('error', () => undefined)
  response.writeHead(200)
  write()
}
