import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { missingForAutomation } from '../config/missing-for-automation.ts'
import type { ModelInput } from '../config/input.ts'
import { setApproval } from '../control/registry/version-requests.ts'
import { aliasTarget } from '../control/registry/version-store.ts'
import { DeploymentController } from '../control/release/deployment-controller.ts'
import { Observations } from '../control/release/observations.ts'
import { ReleaseController } from '../control/release/release-controller.ts'
import { requestRelease } from '../control/release/release-requests.ts'
import { listReleases, routeOf } from '../control/release/release-store.ts'
import { RoutePublisher } from '../control/release/route-publisher.ts'
import type { TrialFigures } from '../control/release/trial.ts'
import type { TrialJobInput, TrialJobOutput } from '../control/release/trial-job.ts'
import { trialsOf, type TrialRow } from '../control/release/trial-store.ts'
import { recordTraffic } from '../control/service-level/traffic-store.ts'
import { fineLatencyBucket, LATENCY_BOUNDS_MS, type TrafficReport } from '../kernel/contract/routing.ts'
import type { Store } from '../kernel/store/store.ts'
import { gatewayReportOf } from './control-builders.ts'
import { controlLab, type ControlLab } from './control-lab.ts'
import { fakeClock, type FakeClock } from './fake-clock.ts'
import { fakeFleet, type FakeFleet } from './fake-fleet.ts'
import { describeEachStore } from './test-store.ts'

/** What one arm does with the requests that are drawn for it. */
export interface ArmBehaviour {
  errorRate?: number
  latencyMs?: number
}

export interface LabPlane {
  observations: Observations
  publisher: RoutePublisher
  releases: ReleaseController
  deployments: DeploymentController
}

/**
 * A control plane for releases under traffic: the real controllers over a real store; replicas, gateway and lake are
 * played.
 */
export interface ReleaseLab {
  lab: ControlLab
  clock: FakeClock
  fleet: FakeFleet
  /** The lake as the job `trial` would count it; by default as many predictions as were counted, all alike. */
  lake: { read: (input: TrialJobInput) => Promise<TrialJobOutput>; figures: Map<string, Partial<TrialFigures>> }
  /** Replicas of these versions are dead. */
  down: Set<string>
  /** By version. */
  behaviour: Map<string, ArmBehaviour>
  /** Requests a second. */
  rate: { perSecond: number }
  /** Of a pass; leases hold for 2 s. */
  stepMs: number
  /** The control plane ends and another one starts; with `store`, on another view of the same database. */
  restart(store?: Store): Promise<void>
  /** The control plane that runs now. */
  plane(): LabPlane
  pass(rounds?: number): Promise<void>
  /** Passes until it holds. @throws after `limitMs` of the lab's time */
  until(what: string, holds: () => Promise<boolean>, limitMs?: number): Promise<void>
  /** A version that a person approved. */
  approved(model?: string): Promise<string>
  approve(id: string, decision: 'approved' | 'rejected'): Promise<void>
  rollBackTo(versionId: string): Promise<string>
  /** `release-2 m@2 canary`, newest first. */
  statuses(): Promise<string[]>
  status(releaseId: string): Promise<string>
  why(releaseId: string): Promise<string>
  champion(): Promise<string | null>
  /** `m@2 ready`, oldest first. */
  deployments(): Promise<string[]>
  /** The stored route: `{ 'm@1': 90, 'm@2': 10 }`, copies as `m@2 copies`. */
  shares(): Promise<Record<string, number>>
  trials(releaseId: string): Promise<TrialRow[]>
  close(): void
}

/** Released at once, with one replica. */
export const immediateModel: ModelInput = {
  train: 'true',
  release: { strategy: 'immediate', preflight: { timeout: '60s' } },
  serving: { replicas: 1 },
}

/** Tests on each database that is there, each with a lab of its own. @param stepMs - of a pass */
export function describeReleaseLab(
  title: string,
  { models, stepMs }: { models: Record<string, ModelInput>; stepMs: number },
  tests: (lab: () => ReleaseLab) => void,
): void {
  describeEachStore(title, (open: () => Promise<Store>) => {
    let store: Store
    let lab: ReleaseLab
    beforeAll(async () => {
      store = await open()
    }, 60_000)
    afterAll(() => store.close())
    beforeEach(async () => {
      lab = await releaseLab(store, models)
      lab.stepMs = stepMs
    })
    afterEach(() => lab.close())
    tests(() => lab)
  })
}

/** More time at once would not count as listened to. */
const LISTEN_MS = 250

export async function releaseLab(store: Store, models: Record<string, ModelInput>): Promise<ReleaseLab> {
  const clock = fakeClock()
  const lab = await controlLab(store, clock)
  await lab.apply(models)
  const fleet = fakeFleet(lab.dataDir)
  let current = store
  let plane: LabPlane
  /** What is left of a request, to be counted with the next. */
  const carried = new Map<string, number>()
  const whole = (account: string, requests: number): number => {
    const sum = (carried.get(account) ?? 0) + requests
    carried.set(account, sum - Math.floor(sum))
    return Math.floor(sum)
  }
  let manifests = 0

  const db = () => store.db
  async function newPlane(): Promise<LabPlane> {
    const context = { ...lab.context, store: current }
    const observations = new Observations(() => clock.monotonicMs())
    const publisher = await RoutePublisher.open(store)
    const measure = (input: TrialJobInput) => it.lake.read(input)
    return {
      observations,
      publisher,
      releases: new ReleaseController(context, observations, missingForAutomation, measure),
      deployments: new DeploymentController(context, fleet.runtime, observations, publisher),
    }
  }

  /** What a gateway would do with the requests of one pass, drawn exactly by weight. */
  async function serve(): Promise<void> {
    const requests = (it.rate.perSecond * it.stepMs) / 1_000
    const snapshot = plane.publisher.current()
    if (requests === 0 || snapshot === null) return
    const reports: TrafficReport[] = []
    for (const endpoint of snapshot.endpoints) {
      const report = (deploymentId: string, share: number, origin: 'live' | 'shadow') => {
        const version = endpoint.deployments.find((d) => d.deploymentId === deploymentId)!.version
        const n = whole(`${version} ${origin}`, requests * share)
        if (n > 0) reports.push(reportOf(endpoint.endpoint, endpoint.model, version, n, origin, endpoint.trial))
      }
      for (const member of endpoint.members) report(member.deploymentId, member.weightPercent / 100, 'live')
      for (const mirror of endpoint.mirrors) report(mirror.deploymentId, mirror.sharePercent / 100, 'shadow')
    }
    await store.transaction((tx) => recordTraffic(tx, clock, reports))
    mkdirSync(join(lab.dataDir, 'lake', 'manifests'), { recursive: true })
    writeFileSync(join(lab.dataDir, 'lake', 'manifests', `${++manifests}`), '')
  }

  function reportOf(
    endpoint: string,
    model: string,
    version: string,
    requests: number,
    origin: 'live' | 'shadow',
    trial: string | null,
  ): TrafficReport {
    const id = `${model}@${version}`
    const { errorRate = 0, latencyMs = 5 } = it.behaviour.get(id) ?? {}
    const failed = it.down.has(id) ? requests : whole(`${version} failed`, requests * errorRate)
    return {
      endpoint,
      model,
      version,
      origin,
      trial,
      pinned: [],
      requests,
      failed,
      interrupted: 0,
      latencyCounts: LATENCY_BOUNDS_MS.map(() => 0).concat(0),
      fineLatency: trial === null ? {} : { [fineLatencyBucket(latencyMs)]: requests },
      firstAnswerAtMs: null,
    }
  }

  /** Every prediction in the lake, in the middle of three bins; no labels. */
  async function readLake(input: TrialJobInput): Promise<TrialJobOutput> {
    const trials: TrialFigures[] = []
    for (const { id } of input.trials) {
      const arm = async (version: string) => {
        const row = await db()
          .selectFrom('trial_count')
          .select(['requests', 'failed'])
          .where('trial_id', '=', id)
          .where('version_id', '=', `${input.model}@${version}`)
          .executeTakeFirst()
        const requests = (row?.requests ?? 0) - (row?.failed ?? 0)
        return { requests, bins: [0, requests, 0, 0], losses: { n: 0, sum: 0, squares: 0 } }
      }
      trials.push({
        trialId: id,
        challenger: await arm(input.challenger.version),
        champion: await arm(input.champion.version),
        paired: { n: 0, sum: 0, squares: 0 },
        ...it.lake.figures.get(id),
      })
    }
    return { manifest: manifests, trials }
  }

  function listen(ms: number): void {
    clock.advance(ms)
    plane.observations.look()
    for (const lease of fleet.leases()) {
      if (!it.down.has(fleet.versionOf(lease.replicaId)!)) plane.observations.hearLease(lease)
    }
    const snapshot = plane.publisher.current()
    if (snapshot === null) return
    const { epoch, revision } = snapshot
    for (const gatewayId of fleet.gateways.filter((id) => !fleet.deaf.has(id)))
      plane.observations.hearGateway(gatewayReportOf({ gatewayId, epoch, revision, inFlight: fleet.inFlight }))
  }

  async function pass(rounds = 1): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      for (let ms = 0; ms < it.stepMs; ms += LISTEN_MS) listen(Math.min(LISTEN_MS, it.stepMs - ms))
      await serve()
      await plane.releases.look()
      await plane.deployments.look()
      // What runs in the background: preflights and jobs.
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  const it: ReleaseLab = {
    lab,
    clock,
    fleet,
    lake: { read: readLake, figures: new Map() },
    down: new Set(),
    behaviour: new Map(),
    rate: { perSecond: 0 },
    stepMs: 500,
    async restart(onto = store) {
      current = onto
      plane = await newPlane()
    },
    plane: () => plane,
    pass,
    async until(what, holds, limitMs = 120_000) {
      const endsAtMs = clock.monotonicMs() + limitMs
      while (!(await holds())) {
        if (clock.monotonicMs() > endsAtMs)
          throw new Error(`After ${limitMs} ms still not: ${what}; ${JSON.stringify(await it.statuses())}`)
        await pass()
      }
    },
    async approved(model = 'm') {
      const id = await lab.version(model)
      await it.approve(id, 'approved')
      return id
    },
    approve: (id, decision) =>
      store.transaction((tx) =>
        setApproval(tx, clock, id, { decision, by: 'ann', why: 'test', atMs: clock.epochMs() }),
      ),
    rollBackTo: (versionId) =>
      store.transaction((tx) =>
        requestRelease(tx, clock, {
          kind: 'rollback',
          endpoint: 'm',
          model: 'm',
          versionId,
          cause: 'rollback',
          by: 'ann',
        }),
      ),
    async statuses() {
      return (await listReleases(db(), { limit: 99 })).map((r) => `${r.id} ${r.versionId} ${r.status}`)
    },
    status: async (id) => (await listReleases(db(), { limit: 99 })).find((r) => r.id === id)?.status ?? 'none',
    why: async (id) => (await listReleases(db(), { limit: 99 })).find((r) => r.id === id)?.why ?? '',
    champion: () => aliasTarget(db(), 'm', 'champion'),
    async deployments() {
      const rows = await db().selectFrom('deployment').select(['version_id', 'status']).orderBy('seq').execute()
      return rows.map((row) => `${row.version_id} ${row.status}`)
    },
    async shares() {
      const route = await routeOf(db(), 'm')
      const rows = await db().selectFrom('deployment').select(['id', 'version_id']).execute()
      const versionOf = (id: string) => rows.find((row) => row.id === id)!.version_id
      return Object.fromEntries([
        ...(route?.members ?? []).map((m) => [versionOf(m.deploymentId), m.weightPercent]),
        ...(route?.mirrors ?? []).map((m) => [`${versionOf(m.deploymentId)} copies`, m.sharePercent]),
      ]) as Record<string, number>
    },
    trials: (releaseId) => trialsOf(db(), releaseId),
    close: () => lab.close(),
  }
  plane = await newPlane()
  return it
}
