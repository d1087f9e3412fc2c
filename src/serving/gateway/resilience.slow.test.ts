import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EndpointRoute, RoutedReplica } from '../../kernel/contract/routing.ts'
import { deploymentOf, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { openLab, send } from '../../testing/gateway-lab.ts'
import type { FakeControlPlane, Lab } from '../../testing/gateway-lab.ts'
import { openLabGateway } from '../../testing/lab-gateway.ts'
import { nowMs, openLoop, quantile } from '../../testing/open-loop.ts'
import type { LoopAnswer } from '../../testing/open-loop.ts'
import { stopwatch } from '../../testing/stopwatch.ts'
import type { Gateway } from './gateway.ts'

const INFER = '/v2/models/late-flights/infer'
const ROW = { name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }
const BODY = JSON.stringify({ inputs: [ROW] })

interface Told {
  atMs: number
  what: string
  facts: Record<string, unknown>
}

let lab: Lab
let control: FakeControlPlane
let gateway: Gateway
let told: Told[]
let revision: number

beforeEach(async () => {
  lab = openLab()
  told = []
  revision = 0
  control = await lab.controlPlane()
  gateway = await openLabGateway(
    lab,
    {},
    { tell: (_level, what, facts = {}) => void told.push({ atMs: nowMs(), what, facts }) },
  )
})
afterEach(async () => {
  await gateway.drain({ idleMs: 50, limitMs: 1_000 })
  await lab.close()
})

async function publish(replicas: RoutedReplica[], overrides: Partial<EndpointRoute> = {}): Promise<void> {
  revision += 1
  const wanted = revision
  const deployments = [deploymentOf({ deploymentId: 'deployment-1', replicas })]
  control.publish(snapshotOf(wanted, [routeOf({ deployments, ...overrides })]))
  await control.reported((report) => report.revision === wanted)
}

/** Load from now on. */
function startLoop(perSecond: number): { answers: LoopAnswer[]; stop: () => Promise<void> } {
  const answers: LoopAnswer[] = []
  const loop = openLoop({
    port: gateway.port,
    path: INFER,
    perSecond,
    connections: 64,
    body: () => BODY,
    onAnswer: (answer) => answers.push(answer),
  })
  return { answers, stop: () => loop.stop() }
}

const failures = (answers: LoopAnswer[]) =>
  answers
    .filter(({ end, status }) => end !== 'answered' || status !== 200)
    .map(({ end, status, why }) => [end, status, why])
const tookMs = (answers: LoopAnswer[]) => answers.map(({ dueMs, endedMs }) => endedMs - dueMs)
const toldOf = (what: string, replicaId: string) =>
  told.filter((line) => line.what === what && line.facts['replicaId'] === replicaId)

/** How long it takes until this is said, by the time that this process, with the gateway and its clients, could run. */
async function timeUntil(isTrue: () => boolean): Promise<number> {
  const watch = stopwatch()
  while (!isTrue()) {
    if (watch.ms() > 10_000) throw new Error('it did not happen within 10 s')
    await sleep(5)
  }
  watch.stop()
  return watch.ms()
}

/**
 * What is promised of a frozen replica: suspected after 250 ms, or three times the slowest answer, out after half a second
 * more; looked at every 100 ms. Under a second where answers take less than 80 ms, as on a machine that has nothing else to do.
 */
function frozenIsOutAfterMs(answers: LoopAnswer[]): number {
  return Math.max(250, 3 * Math.max(...tookMs(answers))) + 500 + 2 * 100
}

function figures(what: string, answers: LoopAnswer[], outMs: number[]): void {
  const [p50, p99] = [0.5, 0.99].map((share) => quantile(tookMs(answers), share).toFixed(1))
  const longest = Math.max(...tookMs(answers)).toFixed(0)
  const out = outMs.map((ms) => ms.toFixed(0)).join(', ')
  console.log(
    `${what}: ${answers.length} requests, p50 ${p50} ms, p99 ${p99} ms, longest ${longest} ms; left out after ${out} ms`,
  )
}

/** A replica on a bare socket: gets each connection. */
async function bareReplica(name: string, serve: (socket: Socket) => void): Promise<RoutedReplica> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(lab.socket(name), () => resolve()))
  lab.onClose(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { replicaId: name, socketPath: lab.socket(name) }
}

const READY = 'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"ready":true}'

describe('a replica that is killed under 500 requests a second', () => {
  it('gets no request a second later, and none fails, five times over', async () => {
    const replicas = await Promise.all(['a', 'b', 'c'].map((name) => lab.replicaProcess(name, 5)))
    await publish(replicas)
    const { answers, stop } = startLoop(500)
    await sleep(1_000)
    const outMs: number[] = []
    for (let round = 0; round < 5; round++) {
      const victim = replicas[round % 3] as (typeof replicas)[number]
      const before = toldOf('replica out', victim.replicaId).length
      victim.process.kill('SIGKILL')
      outMs.push(await timeUntil(() => toldOf('replica out', victim.replicaId).length > before))
      await sleep(300)
      replicas[round % 3] = await lab.replicaProcess(victim.replicaId, 5)
      await sleep(1_200)
    }
    await stop()
    figures('SIGKILL', answers, outMs)
    expect(failures(answers)).toEqual([])
    expect(answers.length).toBeGreaterThan(3_000)
    expect(Math.max(...outMs)).toBeLessThan(1_000)
  }, 60_000)
})

describe('a replica that is frozen under 500 requests a second', () => {
  it('is left out soon, what it had is answered by others, and it serves again once it is awake', async () => {
    const replicas = await Promise.all(['a', 'b', 'c'].map((name) => lab.replicaProcess(name, 5)))
    await publish(replicas)
    const { answers, stop } = startLoop(500)
    await sleep(1_000)
    const frozen = replicas[0] as (typeof replicas)[number]
    frozen.process.kill('SIGSTOP')
    const promisedMs = frozenIsOutAfterMs(answers)
    const outMs = await timeUntil(() => toldOf('replica ejected', 'a').length === 1)
    await sleep(1_000)
    frozen.process.kill('SIGCONT')
    await expect.poll(() => toldOf('replica up', 'a').length, { timeout: 10_000 }).toBe(1)
    await sleep(500)
    await stop()
    figures('SIGSTOP', answers, [outMs])
    expect(failures(answers)).toEqual([])
    expect(outMs).toBeLessThan(promisedMs)
    expect(told.filter(({ what }) => what === 'replica out')).toEqual([])
    for (const other of replicas.slice(1)) other.process.kill('SIGKILL')
    expect((await send({ port: gateway.port, path: INFER, method: 'POST' }, BODY)).status).toBe(200)
  }, 60_000)

  it('the same with model servers', async () => {
    const servers = [await lab.modelServer('a'), await lab.modelServer('b')]
    await publish(servers)
    const { answers, stop } = startLoop(500)
    await sleep(1_000)
    servers[0]?.process.kill('SIGSTOP')
    const promisedMs = frozenIsOutAfterMs(answers)
    const outMs = await timeUntil(() => toldOf('replica ejected', 'a').length === 1)
    await sleep(500)
    await stop()
    figures('SIGSTOP of a model server', answers, [outMs])
    expect(failures(answers)).toEqual([])
    expect(outMs).toBeLessThan(promisedMs)
  }, 60_000)
})

describe('a model server that is told to stop before the routes say so', () => {
  it('finishes what it has, and what comes then is answered by another', async () => {
    const servers = [await lab.modelServer('a'), await lab.modelServer('b')]
    await publish(servers)
    const { answers, stop } = startLoop(300)
    await sleep(1_000)
    const [leaving] = servers
    leaving?.process.kill('SIGTERM')
    await once(leaving?.process as NonNullable<typeof leaving>['process'], 'exit')
    await sleep(500)
    await stop()
    figures('SIGTERM of a model server', answers, [])
    expect(failures(answers)).toEqual([])
    expect(toldOf('replica out', 'a').length).toBeGreaterThan(0)
  }, 30_000)
})

describe('a bad replica beside a good one', () => {
  const answerHealth = (request: IncomingMessage, response: ServerResponse): boolean => {
    request.resume()
    if (request.method === 'GET') response.end('{"ready":true}')
    return request.method === 'GET'
  }

  it.each<[string, () => Promise<RoutedReplica>]>([
    ['takes requests and never answers anything', () => bareReplica('bad', (socket) => void socket.resume())],
    [
      'answers garbage',
      () =>
        bareReplica('bad', (socket) =>
          socket.on('data', (bytes) =>
            socket.write(bytes.subarray(0, 3).toString() === 'GET' ? READY : '\0\xffHTTP/9.9 ?\r\n\r\n'),
          ),
        ),
    ],
    [
      'begins answers and never ends them',
      () =>
        bareReplica('bad', (socket) =>
          socket.on('data', (bytes) =>
            socket.write(bytes.subarray(0, 3).toString() === 'GET' ? READY : 'HTTP/1.1 200 OK\r\n'),
          ),
        ),
    ],
    [
      'dies in the middle of every answer',
      () =>
        lab.replica('bad', (request, response) => {
          if (answerHealth(request, response)) return
          response.writeHead(200, { 'content-length': 1_000 })
          response.write('{"model_name"', () => response.destroy())
        }),
    ],
    [
      'closes every connection that brings a request',
      () =>
        lab.replica('bad', (request, response) => {
          if (!answerHealth(request, response)) response.destroy()
        }),
    ],
    [
      'says that it is ready, and 503 to every request',
      () =>
        lab.replica('bad', (request, response) => {
          if (!answerHealth(request, response)) response.writeHead(503).end('{"error":"loading"}')
        }),
    ],
  ])(
    'that %s fails no request',
    async (_what, bad) => {
      const good = await lab.replicaProcess('good', 2)
      await publish([good], { timeoutMs: 3_000 })
      const { answers, stop } = startLoop(200)
      await sleep(500)
      await publish([good, await bad()], { timeoutMs: 3_000 })
      await sleep(4_000)
      // One that keeps its requests is asked for little, and each of the five failures takes as long as an attempt may.
      await expect.poll(() => told.some(({ facts }) => facts['replicaId'] === 'bad'), { timeout: 20_000 }).toBe(true)
      await stop()
      figures(_what, answers, [])
      expect(failures(answers)).toEqual([])
      expect(told.filter(({ facts }) => facts['replicaId'] === 'good')).toEqual([])
      // The time it was asked in vain costs some requests a retry, not all of them their speed.
      expect(quantile(tookMs(answers), 0.9)).toBeLessThan(200)
    },
    40_000,
  )

  it('that answers errors gives five of them, and is left out', async () => {
    const good = await lab.replicaProcess('good', 2)
    await publish([good])
    const { answers, stop } = startLoop(200)
    await sleep(500)
    const bad = await lab.replica('bad', (request, response) => {
      if (!answerHealth(request, response)) response.writeHead(500).end('{"error":"broken"}')
    })
    await publish([good, bad])
    await sleep(3_000)
    await stop()
    const failed = failures(answers)
    expect(failed.length).toBeGreaterThanOrEqual(5)
    expect(failed.length).toBeLessThan(15) // those that were on their way together
    expect(failed.every(([, status]) => status === 500)).toBe(true)
    expect(toldOf('replica ejected', 'bad').map(({ facts }) => facts['why'])).toEqual([
      expect.stringMatching(/^5 failures in a row, it answers 500; for 5000 ms$/),
    ])
  }, 30_000)

  it('that flaps, killed and started again and again, fails no request', async () => {
    const good = await lab.replicaProcess('good', 2)
    let bad = await lab.replicaProcess('bad', 2)
    await publish([good, bad])
    const { answers, stop } = startLoop(200)
    for (let round = 0; round < 6; round++) {
      await sleep(250)
      bad.process.kill('SIGKILL')
      await once(bad.process, 'exit')
      bad = await lab.replicaProcess('bad', 2)
      await timeUntil(() => toldOf('replica up', 'bad').length === toldOf('replica out', 'bad').length)
    }
    await stop()
    expect(failures(answers)).toEqual([])
    expect(toldOf('replica out', 'bad').length).toBeGreaterThan(3)
  }, 30_000)
})

describe('a deployment of nothing but replicas that hang', () => {
  it('is not asked any more after ten requests: callers are told at once, and it serves once one is back', async () => {
    const replicas = [await lab.replicaProcess('a'), await lab.replicaProcess('b')]
    await publish(replicas, { timeoutMs: 1_000 })
    const ask = () => send({ port: gateway.port, path: INFER, method: 'POST' }, BODY)
    for (let i = 0; i < 10; i++) expect((await ask()).status).toBe(200)
    for (const { process } of replicas) process.kill('SIGSTOP')
    const stuck = await Promise.all(Array.from({ length: 12 }, ask))
    expect(stuck.every(({ status }) => status === 504 || status === 503)).toBe(true)
    const watch = stopwatch()
    const refused = await ask()
    expect(refused.status).toBe(503)
    expect(refused.headers['retry-after']).toBe('1')
    expect(watch.ms()).toBeLessThan(500)
    watch.stop()
    expect(told.some(({ what, facts }) => what === 'circuit open' && facts['deploymentId'] === 'deployment-1')).toBe(
      true,
    )
    for (const { process } of replicas) process.kill('SIGCONT')
    await expect.poll(async () => (await ask()).status, { timeout: 20_000, interval: 200 }).toBe(200)
    expect(told.some(({ what }) => what === 'circuit closed')).toBe(true)
  }, 60_000)
})

describe('a deployment of one replica that hangs', () => {
  it('says so to its callers, and serves soon after it has woken up, however long it hung', async () => {
    const only = await lab.replicaProcess('only')
    await publish([only], { timeoutMs: 500 })
    const ask = () => send({ port: gateway.port, path: INFER, method: 'POST' }, BODY)
    for (let i = 0; i < 10; i++) expect((await ask()).status).toBe(200)
    only.process.kill('SIGSTOP')
    const stuck = await Promise.all(Array.from({ length: 12 }, ask))
    expect(new Set(stuck.map(({ status, text }) => `${status} ${text}`))).toContain(
      `504 {"error":"Endpoint 'late-flights' did not answer within 500 ms."}`,
    )
    // Asked on, until the circuit is open for longer than the test would wait below.
    const opened = () => told.filter(({ what }) => what === 'circuit open').length
    await expect.poll(async () => (await ask(), opened()), { timeout: 15_000, interval: 100 }).toBeGreaterThanOrEqual(1)
    await expect
      .poll(async () => Number((await ask()).headers['retry-after'] ?? 0), { timeout: 40_000, interval: 100 })
      .toBeGreaterThanOrEqual(7)
    const refused = await ask()
    expect([refused.status, refused.text]).toEqual([
      503,
      `{"error":"Endpoint 'late-flights' can't answer now: its last requests got no answer, so it is given time."}`,
    ])
    only.process.kill('SIGCONT')
    await expect.poll(async () => (await ask()).status, { timeout: 5_000, interval: 50 }).toBe(200)
    expect(told.some(({ what }) => what === 'circuit closed')).toBe(true)
    expect(told.filter(({ what }) => what === 'replica ejected')).toEqual([])
  }, 90_000)
})

describe('replicas that come and go by the routes, under 500 requests a second', () => {
  it('are found and left within a second, and no request fails', async () => {
    let current = [await lab.replicaProcess('r0', 5), await lab.replicaProcess('r1', 5)]
    await publish(current)
    const { answers, stop } = startLoop(500)
    for (let n = 2; n < 8; n++) {
      const next = await lab.replicaProcess(`r${n}`, 5)
      const watch = stopwatch()
      const [leaving, ...rest] = current as [(typeof current)[number], ...typeof current]
      current = [...rest, next]
      await publish(current)
      expect(watch.ms()).toBeLessThan(1_000)
      watch.stop()
      await sleep(200) // what it has is finished by then
      leaving.process.kill('SIGKILL')
    }
    await stop()
    figures('rolling', answers, [])
    expect(failures(answers)).toEqual([])
    expect(told.filter(({ what }) => what.startsWith('replica'))).toEqual([])
  }, 60_000)
})
