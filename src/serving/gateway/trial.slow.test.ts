import type { ServerResponse } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EndpointRoute, RoutedReplica, TrafficReport } from '../../kernel/contract/routing.ts'
import { deploymentOf, fakeLog, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import type { FakeLog } from '../../testing/gateway-fakes.ts'
import { openLab, send } from '../../testing/gateway-lab.ts'
import type { FakeControlPlane, Lab } from '../../testing/gateway-lab.ts'
import { openLabGateway } from '../../testing/lab-gateway.ts'
import { nowMs, openLoop, quantile } from '../../testing/open-loop.ts'
import type { LoopAnswer } from '../../testing/open-loop.ts'
import type { Gateway } from './gateway.ts'

const INFER = '/v2/models/late-flights/infer'
const ROW = { name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }
const BODY = JSON.stringify({ inputs: [ROW] })
let lab: Lab
let log: FakeLog
let control: FakeControlPlane
let gateway: Gateway
beforeEach(async () => {
  lab = openLab()
  log = fakeLog()
  control = await lab.controlPlane()
  gateway = await openLabGateway(lab, {}, { log })
})
afterEach(() => lab.close())

const ask = (path = INFER, body = BODY) => send({ port: gateway.port, path, method: 'POST' }, body)

async function publish(revision: number, route: EndpointRoute): Promise<void> {
  control.publish(snapshotOf(revision, [route]))
  await control.reported((report) => report.revision === revision)
}

/** Load for so long. @returns what came of each request, in the order of its end */
async function load(perSecond: number, forMs: number): Promise<LoopAnswer[]> {
  const answers: LoopAnswer[] = []
  const { port } = gateway
  const loop = openLoop({
    port,
    path: INFER,
    perSecond,
    connections: 32,
    body: () => BODY,
    onAnswer: (answer) => answers.push(answer),
  })
  await sleep(forMs)
  await loop.stop()
  return answers
}

const failures = (answers: LoopAnswer[]) => answers.filter(({ end, status }) => end !== 'answered' || status !== 200)
const latency = (answers: LoopAnswer[], share: number) =>
  quantile(
    answers.map(({ dueMs, endedMs }) => endedMs - dueMs),
    share,
  )

/** All rows that a control plane has counted, each batch once. */
function counted(): TrafficReport[] {
  const batches = new Map(control.reports.map((report) => [report.trafficSeq, report.traffic]))
  return [...batches.values()].flat()
}

function total(origin: string, version: string): { requests: number; failed: number; dropped: number } {
  const rows = counted().filter((row) => row.origin === origin && row.version === version)
  const sum = (field: 'requests' | 'failed' | 'dropped') => rows.reduce((all, row) => all + (row[field] ?? 0), 0)
  return { requests: sum('requests'), failed: sum('failed'), dropped: sum('dropped') }
}

/** Waits until the copy of each request has come to its end: the last ones only at the deadline of their route. */
async function settled(copies: number): Promise<void> {
  const ended = () => {
    const { requests, dropped } = total('shadow', '2')
    return requests + dropped
  }
  await expect.poll(ended, { timeout: 20_000, interval: 50 }).toBeGreaterThanOrEqual(copies)
}

const logged = (origin: string) =>
  log.records.flatMap(({ record }) => (record.kind === 'prediction' && record.origin === origin ? [record] : []))

function shadowed(champion: RoutedReplica, shadow: RoutedReplica): EndpointRoute {
  return routeOf({
    deployments: [
      deploymentOf({ deploymentId: 'deployment-1', replicas: [champion] }),
      deploymentOf({ deploymentId: 'deployment-2', replicas: [shadow] }),
    ],
    members: [{ deploymentId: 'deployment-1', weightPercent: 100 }],
    mirrors: [{ deploymentId: 'deployment-2', sharePercent: 100 }],
    trial: 'trial-1',
    timeoutMs: 2_000,
  })
}

describe('a shadow of real processes', () => {
  it('gets a copy of each request, paired with it, while live answers stay as fast as they were', async () => {
    const champion = await lab.replicaProcess('champion')
    const shadow = await lab.replicaProcess('shadow')
    await publish(1, routeOf({ deployments: [deploymentOf({ deploymentId: 'deployment-1', replicas: [champion] })] }))
    const warmUp = await load(200, 1_000)
    const alone = await load(200, 5_000)
    await publish(2, shadowed(champion, shadow))
    const before = log.records.length
    const beside = await load(200, 5_000)
    await sleep(200)
    expect(failures([...alone, ...beside])).toEqual([])
    const pairs = new Set(
      log.records
        .slice(before)
        .flatMap(({ record }) => (record.kind === 'prediction' ? [record.shadowOf ?? record.predictionId] : [])),
    )
    expect(pairs.size).toBe(beside.length)
    expect(logged('shadow')).toHaveLength(beside.length)
    const figures = [alone, beside].map((answers) => [latency(answers, 0.5), latency(answers, 0.99)] as const)
    console.log(`p50, p99 in ms without a shadow and with one: ${JSON.stringify(figures)}`)
    // Wide, as the machine may be busy: what is meant to fail here is a wait, not a little work.
    expect(figures[1]![0]).toBeLessThan(figures[0]![0] * 3 + 50)
    await gateway.drain()
    expect(total('shadow', '2')).toEqual({ requests: beside.length, failed: 0, dropped: 0 })
    expect(total('live', '1').requests).toBe(warmUp.length + alone.length + beside.length)
  }, 60_000)

  it('costs nothing but evidence when it hangs and when it dies', async () => {
    const champion = await lab.replicaProcess('champion')
    const shadow = await lab.replicaProcess('shadow')
    await publish(1, shadowed(champion, shadow))
    const fine = await load(200, 1_000)
    shadow.process.kill('SIGSTOP')
    const hung = await load(200, 4_000)
    shadow.process.kill('SIGKILL')
    const dead = await load(200, 2_000)
    const all = [...fine, ...hung, ...dead]
    expect(failures(all)).toEqual([])
    expect(latency(hung, 0.99)).toBeLessThan(500)
    await settled(all.length)
    await gateway.drain()
    const { requests, failed, dropped } = total('shadow', '2')
    expect(requests + dropped).toBe(all.length)
    expect(failed).toBeGreaterThanOrEqual(16) // those that were on their way; its circuit keeps most others from it
    expect(logged('shadow')).toHaveLength(requests - failed)
    expect(total('live', '1')).toEqual({ requests: all.length, failed: 0, dropped: 0 })
  }, 60_000)

  it.each<[string, (response: ServerResponse) => void]>([
    ['an endless answer', (response) => endless(response)],
    ['an answer that stops half-way', (response) => void response.writeHead(200, { 'content-length': 99 }).write('{')],
    ['errors', (response) => void response.writeHead(500).end('{"error":"x"}')],
  ])(
    'that gives %s fails by itself, in bounded memory',
    async (_what, answer) => {
      const champion = await lab.replicaProcess('champion')
      const shadow = await lab.replica('shadow', (request, response) => {
        request.resume()
        if (request.method === 'GET') response.end('{"ready":true}')
        else answer(response)
      })
      await publish(1, shadowed(champion, shadow))
      const answers = await load(100, 1_500)
      expect(failures(answers)).toEqual([])
      await settled(answers.length)
      await gateway.drain()
      const { requests, failed, dropped } = total('shadow', '2')
      expect(requests + dropped).toBe(answers.length)
      expect(failed).toBe(requests)
      expect(logged('shadow')).toEqual([])
    },
    60_000,
  )

  it('that speaks no HTTP fails by itself', async () => {
    const champion = await lab.replicaProcess('champion')
    const path = lab.socket('noise')
    const server = createNetServer((socket) => {
      socket.on('error', () => undefined)
      socket.on('data', () => socket.write(Buffer.from('\0\xff\r\n\r\nHTTP/9.9 nonsense', 'latin1')))
    })
    await new Promise<void>((resolve) => server.listen(path, () => resolve()))
    lab.onClose(() => server.close())
    await publish(1, shadowed(champion, { replicaId: 'noise', socketPath: path }))
    const answers = await load(100, 1_000)
    expect(failures(answers)).toEqual([])
    await settled(answers.length)
    await gateway.drain()
    const { requests, failed, dropped } = total('shadow', '2')
    expect(requests + dropped).toBe(answers.length)
    expect(failed).toBe(requests)
  }, 60_000)
})

describe('an endpoint that is taken out of service', () => {
  it('gives its fallback within a second, and is itself again as soon, without a failed request', async () => {
    const replicas = [await lab.replicaProcess('a')]
    const route = routeOf({
      deployments: [deploymentOf({ deploymentId: 'deployment-1', replicas })],
      fallback: { kind: 'constant', outputs: { probability: 0.25 } },
    })
    await publish(1, route)
    const loading = load(200, 5_000)
    await sleep(1_000)
    const disabledMs = nowMs()
    control.publish(snapshotOf(2, [{ ...route, disabled: { why: 'a test' } }]))
    await sleep(2_000)
    const enabledMs = nowMs()
    control.publish(snapshotOf(3, [route]))
    const answers = await loading
    expect(failures(answers)).toEqual([])
    const isFallback = (answer: LoopAnswer) => answer.headers['millrace-fallback'] === 'constant'
    const within = (from: number, to: number) => answers.filter(({ dueMs, endedMs }) => dueMs >= from && endedMs < to)
    const [before, during, after] = [
      within(0, disabledMs),
      within(disabledMs + 1_000, enabledMs),
      within(enabledMs + 1_000, Infinity),
    ]
    expect([before, during, after].map((some) => some.length > 50)).toEqual([true, true, true])
    expect(before.some((answer) => isFallback(answer))).toBe(false)
    expect(during.every((answer) => isFallback(answer))).toBe(true)
    expect(after.some((answer) => isFallback(answer))).toBe(false)
    const eight = { ...ROW, shape: [8, 2], data: Array.from({ length: 16 }, () => 1) }
    control.publish(snapshotOf(4, [{ ...route, disabled: { why: 'a test' } }]))
    await control.reported((report) => report.revision === 4)
    const answer = await ask(INFER, JSON.stringify({ inputs: [eight] }))
    expect((JSON.parse(answer.text) as { outputs: unknown }).outputs).toEqual([
      { name: 'probability', datatype: 'FP32', shape: [8], data: Array.from({ length: 8 }, () => 0.25) },
    ])
    await gateway.drain()
    const fallbacks = answers.filter((one) => isFallback(one)).length + 1
    expect(total('fallback', '')).toEqual({ requests: fallbacks, failed: 0, dropped: 0 })
    expect(total('live', '1').requests).toBe(answers.length + 1 - fallbacks)
    expect(logged('fallback').every((record) => record.version === '' && record.trial === null)).toBe(true)
  }, 60_000)

  it('gives its fallback too once all its replicas are dead', async () => {
    const a = await lab.replicaProcess('a')
    const b = await lab.replicaProcess('b')
    await publish(
      1,
      routeOf({
        deployments: [
          deploymentOf({ deploymentId: 'deployment-0', replicas: [b] }),
          deploymentOf({ deploymentId: 'deployment-1', replicas: [a] }),
        ],
        members: [{ deploymentId: 'deployment-1', weightPercent: 100 }],
        fallback: { kind: 'version', deploymentId: 'deployment-0' },
      }),
    )
    expect((await ask()).headers['millrace-fallback']).toBeUndefined()
    a.process.kill('SIGKILL')
    const answer = await ask()
    expect([answer.status, answer.headers['millrace-fallback']]).toEqual([200, 'version'])
    expect((await ask('/v2/models/late-flights/versions/1/infer')).status).toBe(503)
    await gateway.drain()
    expect(total('live', '1')).toEqual({ requests: 3, failed: 2, dropped: 0 })
    expect(total('fallback', '0')).toEqual({ requests: 1, failed: 0, dropped: 0 })
  }, 30_000)
})

describe('a trial of real processes', () => {
  it('is counted exactly, by the version that was drawn, though its replica is killed', async () => {
    const champion = await lab.replicaProcess('champion')
    const challenger = await lab.replicaProcess('challenger')
    const route = routeOf({
      deployments: [
        deploymentOf({ deploymentId: 'deployment-1', replicas: [champion] }),
        deploymentOf({ deploymentId: 'deployment-2', replicas: [challenger] }),
      ],
      members: [
        { deploymentId: 'deployment-1', weightPercent: 50 },
        { deploymentId: 'deployment-2', weightPercent: 50 },
      ],
      trial: 'trial-9',
    })
    await publish(1, route)
    const loading = load(200, 3_000)
    await sleep(1_500)
    challenger.process.kill('SIGKILL')
    const answers = await loading
    expect(failures(answers)).toEqual([])
    await gateway.drain()
    const [first, second] = [total('live', '1'), total('live', '2')]
    expect(first.requests + second.requests).toBe(answers.length)
    expect(counted().every((row) => row.trial === 'trial-9')).toBe(true)
    expect(first.failed).toBe(0)
    // About half of the requests of its second half.
    expect(second.failed).toBeGreaterThan(80)
    expect(second.failed).toBeLessThan(220)
    const inTrial = logged('live').filter((record) => record.trial === 'trial-9')
    expect(inTrial).toHaveLength(answers.length - second.failed)
    expect(logged('live')).toHaveLength(answers.length)
  }, 30_000)
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
