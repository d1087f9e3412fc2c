import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { missingForAutomation } from '../config/missing-for-automation.ts'
import type { Store } from '../kernel/store/store.ts'
import { plainSignature } from '../testing/control-builders.ts'
import { controlLab, type ControlLab } from '../testing/control-lab.ts'
import { fakeClock } from '../testing/fake-clock.ts'
import { rowsReadBy, totalOf, type RowsRead } from '../testing/rows-read.ts'
import { testStore } from '../testing/test-store.ts'
import { EvaluationController } from './evaluation/evaluation-controller.ts'
import { StabilityController } from './evaluation/stability-controller.ts'
import { MonitoringController } from './monitoring/monitoring-controller.ts'
import { NotificationController } from './monitoring/notification-controller.ts'
import { RunController, type StepRuntime } from './pipeline/run-controller.ts'
import { DeploymentController } from './release/deployment-controller.ts'
import { GatherController } from './release/gather-controller.ts'
import { Observations } from './release/observations.ts'
import { ReleaseController } from './release/release-controller.ts'
import { ReplicasController } from './release/replicas-controller.ts'
import { RoutePublisher } from './release/route-publisher.ts'
import { RetirementController } from './retirement/retirement-controller.ts'
import { ReevaluationController } from './retirement/reevaluation-controller.ts'
import { ServiceLevelController } from './service-level/service-level-controller.ts'
import { TriggerController } from './trigger/trigger-controller.ts'

/**
 * What a look reads must not grow with what is over. Counted as the database counts it: rows that its scans touched,
 * found by an index or not. Time would say the same less surely.
 */

let store: Store
let lab: ControlLab

beforeAll(async () => {
  store = await testStore()
}, 60_000)
beforeEach(async () => {
  const clock = fakeClock()
  lab = await controlLab(store, clock)
  mkdirSync(join(lab.dataDir, 'spool'), { recursive: true })
  const gathered = { all: { gather: { members: [{ model: 'm', versions: 2 }] } } }
  const triggers = [{ newData: 'data/*.csv' }, { cron: '0 3 * * *' }, { alarm: 'any' }] as const
  await lab.apply(
    { m: { train: 'true', task: 'binary', label: 'y', holdout: 'holdout.csv', on: [...triggers] } },
    { endpoints: gathered },
  )
})
afterEach(() => lab.close())
afterAll(() => store.close())

const KEPT = 20
const FEW = 50
const MANY = 1_000

it('reads as many rows at each look after a thousand finished runs, versions and releases as after a few', async () => {
  await finish(1, FEW)
  const before = await readByLook()
  await finish(FEW + 1, MANY)
  const after = await readByLook()
  const grown = Object.keys(after).filter((look) => totalOf(after[look]!) > totalOf(before[look]!) + FEW)
  expect(grown.map((look) => ({ look, before: before[look], after: after[look] }))).toEqual([])
}, 120_000)

async function readByLook(): Promise<Record<string, RowsRead>> {
  const read: Record<string, RowsRead> = {}
  for (const [name, look] of Object.entries(await looks())) {
    // What is done once is done, what is remembered known.
    for (let i = 0; i < 3; i++) await look()
    // What other looks have measured meanwhile is kept for a while, however much is over.
    await store.db.deleteFrom('sli').execute()
    read[name] = await rowsReadBy(store, look)
  }
  return read
}

async function looks(): Promise<Record<string, () => Promise<unknown>>> {
  const { context } = lab
  const observations = new Observations(() => context.clock.monotonicMs())
  const publisher = await RoutePublisher.open(store)
  const noJob = () => Promise.reject(new Error('no job is to be run'))
  const replicas = {
    start: () => Promise.resolve({ exited: new Promise<void>(() => {}) }),
    observe: () => Promise.resolve('alive' as const),
    stop: () => Promise.resolve(),
    forget: () => Promise.resolve(),
    liveGateways: () => Promise.resolve([]),
  }
  const runs = new RunController(context, {} as StepRuntime)
  const monitoring = new MonitoringController(context, { observe: noJob, flushLake: noJob })
  const all: Record<string, { look(): Promise<unknown> }> = {
    runs,
    triggers: new TriggerController(context),
    evaluations: new EvaluationController(context, { evaluate: noJob, inspect: noJob }, missingForAutomation),
    stability: new StabilityController(context),
    releases: new ReleaseController(context, observations, missingForAutomation, noJob),
    gathers: new GatherController(context),
    deployments: new DeploymentController(context, replicas, observations, publisher),
    replicas: new ReplicasController(context, observations, publisher, 2),
    retirements: new RetirementController(context, { gateways: () => [], readers: () => new Map() }),
    reevaluations: new ReevaluationController(context, noJob),
    notifications: new NotificationController(context, noJob),
    serviceLevels: new ServiceLevelController(context, () => []),
    monitoring: { look: () => monitoring.look().then(() => monitoring.idle()) },
  }
  return Object.fromEntries(Object.entries(all).map(([name, controller]) => [name, () => controller.look()]))
}

/** Each number a run that made a version, which was evaluated, released, replaced by the next, retired and deleted. */
async function finish(from: number, to: number): Promise<void> {
  const { revisionId } = lab.context.project()!
  const signature = JSON.stringify(plainSignature)
  const numbers = sql`generate_series(${sql.lit(from)}::int, ${sql.lit(to)}::int) as n`
  const atMs = lab.context.clock.epochMs() - 86_400_000
  const at = sql`${sql.lit(atMs)}::bigint + n`
  const statements = [
    sql`insert into run (model, revision_id, status, trigger_kind, trigger_why, as_of_ms, params, seed, created_at_ms,
        started_at_ms, ended_at_ms)
      select 'm', ${sql.lit(revisionId)}, 'succeeded', 'manual', 'test', 0, '{}', 7, ${at}, ${at}, ${at} from ${numbers}`,
    sql`insert into step (run_id, name, position, status, spec, ended_at_ms)
      select 'run-' || n, 'train', 0, 'succeeded', '{}', ${at} from ${numbers}`,
    sql`insert into attempt (run_id, step, number, token, status, dir, started_at_ms, ended_at_ms)
      select 'run-' || n, 'train', 1, 'token-' || n, 'succeeded', '/nowhere', ${at}, ${at} from ${numbers}`,
    sql`insert into version (id, model, number, status, run_id, revision_id, model_digest, size_bytes, signature, lineage,
        disposition, trained_at_ms, created_at_ms, created_calendar_ms)
      select 'm@' || n, 'm', n, 'passed', 'run-' || n, ${sql.lit(revisionId)}, 'sha256:0', 1, ${sql.lit(signature)}, '{}',
        'released', ${at}, ${at}, ${at} from ${numbers}`,
    sql`insert into evaluation (version_id, status, attempts, created_at_ms, ended_at_ms)
      select 'm@' || n, 'done', 1, ${at}, ${at} from ${numbers}`,
    sql`insert into gate (version_id, evaluation_id, verdict, why, checks, proven_better, decided_at_ms)
      select 'm@' || n, 'evaluation-' || n, 'passed', 'test', '[]', true, ${at} from ${numbers}`,
    sql`insert into deployment (endpoint, model, version_id, status, replicas_wanted, discoverable, created_at_ms, ended_at_ms)
      select 'm', 'm', 'm@' || n, 'stopped', 1, true, ${at}, ${at} from ${numbers}`,
    sql`insert into replica (deployment_id, token, status, created_at_ms, ended_at_ms)
      select 'deployment-' || n, 'token-' || n, 'gone', ${at}, ${at} from ${numbers}`,
    sql`insert into release (kind, endpoint, model, version_id, deployment_id, status, cause, requested_by, created_at_ms,
        status_at_ms, switched_at_ms, ended_at_ms)
      select 'release', 'm', 'm', 'm@' || n, 'deployment-' || n, 'released', 'test', 'gate', ${at}, ${at}, ${at}, ${at}
      from ${numbers}`,
    sql`insert into alias_history (model, alias, version_id, cause, at_ms, calendar_ms)
      select 'm', 'champion', 'm@' || n, 'test', ${at}, ${at} from ${numbers}`,
    sql`insert into event (entity, entity_id, from_status, to_status, cause, at_ms, calendar_ms)
      select entity, 'm@' || n, 'a', 'b', 'test', ${at}, ${at} from ${numbers},
        unnest(array['run', 'release', 'retirement', 'alias']) as entity`,
    sql`insert into "freeze" (model, endpoint, kind, status, why, unfreezes, created_by, created_at_ms, created_calendar_ms,
        ended_at_ms)
      select 'm', 'm', 'person', 'ended', 'test', 'test', 'ann', ${at}, ${at}, ${at} from ${numbers}`,
    sql`insert into alert (model, endpoint, source, subject, severity, status, why, figures, response, opened_at_ms,
        opened_calendar_ms, resolved_at_ms)
      select 'm', 'm', 'missing', 'x', 'warning', 'resolved', 'test', '{}', 'tell', ${at}, ${at}, ${at} from ${numbers}`,
    sql`insert into alias (model, alias, version_id) values ('m', 'champion', ${`m@${to}`})
      on conflict (model, alias) do update set version_id = excluded.version_id`,
    sql`insert into retirement (version_id, model, status, policy, why, held_by, proposed_at_ms, status_at_ms,
        status_calendar_ms, by)
      select 'm@' || n, 'm', 'deleted', 'superseded', 'test', '[]', ${at}, ${at}, ${at}, 'millrace'
      from generate_series(1, ${sql.lit(to - KEPT)}::int) as n on conflict do nothing`,
    sql`update version set deleted_at_ms = 1 where number <= ${to - KEPT}`,
  ]
  for (const statement of statements) await statement.execute(store.db)
  await store.refreshStatistics()
}
