import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RoutedReplica } from '../../kernel/contract/routing.ts'
import { deploymentOf, fakeLog, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import type { FakeLog } from '../../testing/gateway-fakes.ts'
import { lostIn, openLab, send, startLoad } from '../../testing/gateway-lab.ts'
import type { Lab, Load } from '../../testing/gateway-lab.ts'
import { openLabGateway } from '../../testing/lab-gateway.ts'
import { ownMsOf } from '../../testing/stopwatch.ts'
import type { Gateway } from './gateway.ts'

const INFER = '/v2/models/late-flights/infer'
let lab: Lab
let log: FakeLog
let told: { what: string; facts?: Record<string, unknown> }[]
beforeEach(() => {
  lab = openLab()
  log = fakeLog()
  told = []
})
afterEach(() => lab.close())

async function start(port = 0): Promise<Gateway> {
  return openLabGateway(lab, { port }, { log, tell: (_level, what, facts) => void told.push({ what, facts }) })
}

const routes = (revision: number, deploymentId: string, replicas: RoutedReplica[], epoch = 1) =>
  snapshotOf(revision, [routeOf({ deployments: [deploymentOf({ deploymentId, replicas })] })], epoch)

const upAgain = (id: string) => told.some(({ what, facts }) => what === 'replica up' && facts?.['replicaId'] === id)

/** Enough to say something. */
async function answeredMoreThan(load: Load, count: number): Promise<void> {
  await expect.poll(() => load.answered, { timeout: 120_000 }).toBeGreaterThan(count)
}

/** Predictions that were acknowledged and those that were logged must be the same. */
function expectAllLogged(ids: string[]): void {
  const logged = new Set(
    log.records.flatMap(({ record }) => (record.kind === 'prediction' ? [record.predictionId] : [])),
  )
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.filter((id) => !logged.has(id))).toEqual([])
}

describe('a gateway with real replicas', () => {
  it('loses no request when replicas are killed under load and come back', async () => {
    const control = await lab.controlPlane()
    const a = await lab.replicaProcess('a', 5)
    const b = await lab.replicaProcess('b', 5)
    control.publish(routes(1, 'deployment-1', [a, b]))
    const gateway = await start()
    await control.reported((report) => report.revision === 1)
    const load = startLoad(gateway.port, INFER, 16)
    for (const victim of [a, b]) {
      await sleep(300)
      victim.process.kill('SIGKILL')
      await once(victim.process, 'exit')
      await sleep(200)
      await lab.replicaProcess(victim.replicaId, 5)
      await expect.poll(() => upAgain(victim.replicaId), { timeout: 20_000 }).toBe(true)
      await sleep(200)
    }
    await answeredMoreThan(load, 1_000)
    await load.stop()
    expect(load.failed).toEqual([])
    expectAllLogged(load.ids)
    expect(told.filter(({ what }) => what === 'replica out').map(({ facts }) => facts?.['replicaId'])).toEqual([
      'a',
      'b',
    ])
    expect(told.filter(({ what }) => what === 'replica up').map(({ facts }) => facts?.['replicaId'])).toEqual([
      'a',
      'b',
    ])
    await gateway.drain()
  })

  it('loses no request when a real model server is killed under load', async () => {
    const control = await lab.controlPlane()
    const servers = [await lab.modelServer('a'), await lab.modelServer('b')]
    control.publish(routes(1, 'deployment-1', servers))
    const gateway = await start()
    await control.reported((report) => report.revision === 1)
    const input = { name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }
    const one = await send({ port: gateway.port, path: INFER, method: 'POST' }, JSON.stringify({ inputs: [input] }))
    expect(JSON.parse(one.text)).toMatchObject({
      model_name: 'late-flight',
      model_version: '1',
      outputs: [{ name: 'y', data: [5] }],
    })
    const load = startLoad(gateway.port, INFER, 16, [input])
    await sleep(500)
    servers[0]?.process.kill('SIGKILL')
    await sleep(300)
    await lab.modelServer('a')
    await sleep(1_200)
    servers[1]?.process.kill('SIGKILL')
    await sleep(300)
    await answeredMoreThan(load, 500)
    await load.stop()
    expect(load.failed).toEqual([])
    expectAllLogged(load.ids)
    const wrong = await send({ port: gateway.port, path: INFER, method: 'POST' }, '{"inputs":[{"name":"z"}]}')
    expect(wrong.status).toBe(400)
    expect(Object.keys(JSON.parse(wrong.text) as object)).toEqual(['error'])
    await gateway.drain()
  })

  it('sends nothing to a killed replica a second later, and what was on its way is answered by another', async () => {
    const control = await lab.controlPlane()
    const a = await lab.replicaProcess('a', 300)
    const b = await lab.replicaProcess('b', 0)
    control.publish(routes(1, 'deployment-1', [a, b]))
    const gateway = await start()
    await control.reported((report) => report.revision === 1)
    const ask = (): Promise<number> =>
      send({ port: gateway.port, path: INFER, method: 'POST' }, '{"id":"x"}').then(({ status }) => status)
    const underWay = Array.from({ length: 8 }, ask)
    await sleep(100)
    a.process.kill('SIGKILL')
    expect(await Promise.all(underWay)).toEqual(Array(8).fill(200))
    const tookMs = await ownMsOf(async () => {
      expect(await Promise.all(Array.from({ length: 8 }, ask))).toEqual(Array(8).fill(200))
    })
    expect(tookMs).toBeLessThan(1_000)
    await gateway.drain()
  })

  it('switches between snapshots under load without a failed request, and reports when the old one is free', async () => {
    const control = await lab.controlPlane()
    const old = await lab.replicaProcess('old', 20)
    control.publish(routes(1, 'deployment-1', [old]))
    const gateway = await start()
    await control.reported((report) => report.revision === 1)
    const load = startLoad(gateway.port, INFER, 16)
    let last = old
    for (let revision = 2; revision <= 12; revision++) {
      const next = await lab.replicaProcess(`r${revision}`, 20)
      control.publish(routes(revision, `deployment-${revision}`, [next]))
      const left = `deployment-${revision - 1}`
      await control.reported(
        (r) => r.revision === revision && r.inFlight.every(({ deploymentId }) => deploymentId !== left),
      )
      last.process.kill('SIGKILL') // as the control plane may do now
      last = next
    }
    await answeredMoreThan(load, 500)
    await load.stop()
    expect(load.failed).toEqual([])
    expectAllLogged(load.ids)
    await control.reported(() => control.requests() === load.answered)
    await gateway.drain()
  })
})

describe('a gateway without its control plane', () => {
  it('serves on while it is away, restarts from its routes on disk, and catches up', async () => {
    const control = await lab.controlPlane()
    const a = await lab.replicaProcess('a')
    control.publish(routes(3, 'deployment-1', [a]))
    const first = await start()
    await control.reported((report) => report.revision === 3)
    await control.stop()
    const load = startLoad(first.port, INFER, 4)
    await sleep(1_500)
    await load.stop()
    expect(load.failed).toEqual([])
    await first.drain()

    const second = await start()
    expect((await send({ port: second.port, path: '/readyz' })).status).toBe(200)
    expect((await send({ port: second.port, path: INFER, method: 'POST' }, '{"id":"x"}')).status).toBe(200)
    const back = await lab.controlPlane()
    back.publish(routes(2, 'deployment-9', []))
    await expect.poll(() => told.map(({ what }) => what), { timeout: 5_000 }).toContain('older routes were refused')
    back.publish(routes(1, 'deployment-1', [a], 2))
    const caughtUp = await back.reported((report) => report.epoch === 2)
    expect(caughtUp).toMatchObject({ gatewayId: 'gateway-1', pid: process.pid, port: second.port, revision: 1 })
    await second.drain()
  })

  it('keeps what it counted until it can be reported, and counts it once', async () => {
    const control = await lab.controlPlane()
    const a = await lab.replicaProcess('a')
    control.publish(routes(1, 'deployment-1', [a]))
    const gateway = await start()
    await control.reported((report) => report.revision === 1)
    await control.stop()
    const load = startLoad(gateway.port, INFER, 4)
    await sleep(1_200)
    await load.stop()
    const back = await lab.controlPlane()
    await back.reported(() => back.requests() === load.answered)
    const [row] = back.reports.flatMap((report) => report.traffic)
    expect(row).toMatchObject({ endpoint: 'late-flights', model: 'late-flight', version: '1', failed: 0 })
    expect(row?.firstAnswerAtMs).toBeGreaterThan(Date.now() - 20_000)
    await gateway.drain()
    expect(back.requests()).toBe(load.answered)
  })

  it('is not ready before its first routes, and answers 404 meanwhile', async () => {
    const gateway = await start()
    expect((await send({ port: gateway.port, path: '/readyz' })).status).toBe(503)
    expect((await send({ port: gateway.port, path: '/livez' })).status).toBe(200)
    const response = await send({ port: gateway.port, path: INFER, method: 'POST' }, '{}')
    expect([response.status, response.text]).toEqual([
      404,
      `{"error":"Request for unknown model: 'late-flights' is not found. There is no endpoint yet."}`,
    ])
    await gateway.drain()
  })
})

describe('draining', () => {
  it('finishes everything under way, keeps no connection, and reports to the end', async () => {
    const control = await lab.controlPlane()
    const a = await lab.replicaProcess('a', 50)
    control.publish(routes(1, 'deployment-1', [a]))
    const gateway = await start()
    await control.reported((report) => report.revision === 1)
    const load = startLoad(gateway.port, INFER, 16)
    await answeredMoreThan(load, 50)
    const drained = gateway.drain()
    await drained
    await load.stop()
    // After the drain nobody listens, which the clients see as refused connections: everything before was answered.
    expect(lostIn(load)).toEqual([])
    // Who was reset finds nobody the next time.
    expect(load.failed.filter((why) => why.includes('ECONNRESET')).length).toBeLessThanOrEqual(16)
    expectAllLogged(load.ids)
    expect(control.requests()).toBe(load.answered)
    expect(control.reports.at(-1)).toMatchObject({ inFlight: [], log: { logged: load.answered } })
  })

  it('gives up what takes longer than its limit', async () => {
    const control = await lab.controlPlane()
    const a = await lab.replicaProcess('a', 60_000)
    control.publish(routes(1, 'deployment-1', [a]))
    const gateway = await start()
    await control.reported((report) => report.revision === 1)
    const stuck = send({ port: gateway.port, path: INFER, method: 'POST' }, '{"id":"x"}')
    await sleep(200)
    expect(await ownMsOf(() => gateway.drain({ idleMs: 100, limitMs: 500 }))).toBeLessThan(1_000)
    const response = await stuck
    expect([response.status, response.text]).toEqual([503, '{"error":"The gateway is shutting down."}'])
  })
})

describe('opening a gateway', () => {
  it('on a taken port fails with the port and the fix', async () => {
    const first = await start()
    await expect(start(first.port)).rejects.toMatchObject({
      code: 'MR_GATEWAY_PORT_TAKEN',
      message: `The gateway can't listen on 127.0.0.1:${first.port}: another program holds that port.`,
    })
    await first.drain()
  })

  it('tells who it is on its own socket, also where a killed one left its socket file', async () => {
    const stale = await lab.replicaProcess('gateway')
    stale.process.kill('SIGKILL')
    await once(stale.process, 'exit')
    const gateway = await start()
    const response = await send({ socketPath: lab.socket('gateway'), path: '/identity' })
    expect(JSON.parse(response.text)).toMatchObject({ id: 'gateway-1', pid: process.pid })
    expect((await send({ socketPath: lab.socket('gateway'), path: '/other' })).status).toBe(404)
    await gateway.drain()
  })
})
