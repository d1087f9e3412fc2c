import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'vitest'
import type { EndpointRoute, RoutedReplica, TrafficReport } from '../kernel/contract/routing.ts'
import type { Gateway } from '../serving/gateway/gateway.ts'
import { deploymentOf, fakeLog, routeOf, snapshotOf } from './gateway-fakes.ts'
import type { FakeLog } from './gateway-fakes.ts'
import { openLab, send } from './gateway-lab.ts'
import type { FakeControlPlane, Lab, Response } from './gateway-lab.ts'
import { openLabGateway } from './lab-gateway.ts'
import { nowMs, openLoop, quantile } from './open-loop.ts'
import type { LoopAnswer } from './open-loop.ts'

/** The endpoint of these tests. */
export const INFER = '/v2/models/late-flights/infer'
export const ROW = { name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }
export const BODY = JSON.stringify({ inputs: [ROW] })

/** Of the clients together. */
const CONNECTIONS = 64

export interface Told {
  atMs: number
  what: string
  facts: Record<string, unknown>
}

/** A gateway in the test's own process, its control plane, and clients. Each test has one of its own. */
export interface GatewayScene {
  lab: Lab
  control: FakeControlPlane
  gateway: Gateway
  log: FakeLog
  /** What the gateway has said. */
  told: Told[]
  toldOf(what: string, replicaId: string): Told[]
  /** Waits until the gateway works by these routes: of the endpoint, with one deployment of those replicas, or as given. */
  publish(replicas: RoutedReplica[], overrides?: Partial<EndpointRoute>): Promise<void>
  publishRoute(route: EndpointRoute): Promise<void>
  ask(path?: string, body?: string): Promise<Response>
  /** Load from now on, until it is stopped. */
  startLoop(perSecond: number, underWayMax?: number): { answers: LoopAnswer[]; stop: () => Promise<void> }
  /** Load for so long. @returns what came of each request, in the order of its end */
  load(perSecond: number, forMs: number): Promise<LoopAnswer[]>
  /** All rows that a control plane has counted, each batch once. */
  counted(): TrafficReport[]
}

/** Vitest's `test`, with a scene of its own for who asks for one: so such tests may run at the same time. */
export const sceneTest = test.extend<{ scene: GatewayScene }>({
  // oxlint-disable-next-line no-empty-pattern -- how vitest is told that it needs no other
  scene: async ({}, use) => {
    const scene = await openScene()
    await use(scene)
    await scene.gateway.drain({ idleMs: 50, limitMs: 1_000 })
    await scene.lab.close()
  },
})

async function openScene(): Promise<GatewayScene> {
  const lab = openLab()
  const told: Told[] = []
  const log = fakeLog()
  const control = await lab.controlPlane()
  const gateway = await openLabGateway(
    lab,
    {},
    { log, tell: (_level, what, facts = {}) => void told.push({ atMs: nowMs(), what, facts }) },
  )
  let revision = 0
  const scene: GatewayScene = {
    lab,
    control,
    gateway,
    log,
    told,
    toldOf: (what, replicaId) => told.filter((line) => line.what === what && line.facts['replicaId'] === replicaId),
    publish: (replicas, overrides = {}) =>
      scene.publishRoute(
        routeOf({ deployments: [deploymentOf({ deploymentId: 'deployment-1', replicas })], ...overrides }),
      ),
    async publishRoute(route) {
      const wanted = ++revision
      control.publish(snapshotOf(wanted, [route]))
      await control.reported((report) => report.revision === wanted)
    },
    ask: (path = INFER, body = BODY) => send({ port: gateway.port, path, method: 'POST' }, body),
    startLoop(perSecond, underWayMax = CONNECTIONS) {
      const answers: LoopAnswer[] = []
      const onAnswer = (answer: LoopAnswer): void => void answers.push(answer)
      const rate = { perSecond, underWayMax, connections: CONNECTIONS }
      const loop = openLoop({ port: gateway.port, path: INFER, ...rate, body: () => BODY, onAnswer })
      return { answers, stop: () => loop.stop() }
    },
    async load(perSecond, forMs) {
      const { answers, stop } = scene.startLoop(perSecond)
      await sleep(forMs)
      await stop()
      return answers
    },
    counted() {
      const batches = new Map(control.reports.map((report) => [report.trafficSeq, report.traffic]))
      return [...batches.values()].flat()
    },
  }
  return scene
}

/** What was not answered with 200. */
export const failures = (answers: LoopAnswer[]) =>
  answers
    .filter(({ end, status }) => end !== 'answered' || status !== 200)
    .map(({ end, status, why }) => [end, status, why])

export const tookMs = (answers: LoopAnswer[]): number[] => answers.map(({ dueMs, endedMs }) => endedMs - dueMs)

/** For the test's output: what no test asserts of a machine that may be busy. */
export function figures(what: string, answers: LoopAnswer[], outMs: number[] = []): void {
  const [p50, p99] = [0.5, 0.99].map((share) => quantile(tookMs(answers), share).toFixed(1))
  const longest = Math.max(...tookMs(answers)).toFixed(0)
  const out = outMs.length === 0 ? '' : `; left out after ${outMs.map((ms) => ms.toFixed(0)).join(', ')} ms`
  console.log(`${what}: ${answers.length} requests, p50 ${p50} ms, p99 ${p99} ms, longest ${longest} ms${out}`)
}
