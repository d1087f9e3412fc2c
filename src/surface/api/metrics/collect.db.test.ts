import { mkdirSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Observations } from '../../../control/release/observations.ts'
import { exposition } from '../../../kernel/metrics/exposition.ts'
import { ownIdentity } from '../../../kernel/runtime/process-identity.ts'
import { writeProcessRecord } from '../../../kernel/runtime/process-record.ts'
import type { ProcessRole } from '../../../kernel/runtime/process-record.ts'
import type { Store } from '../../../kernel/store/store.ts'
import { controlLab } from '../../../testing/control-lab.ts'
import type { ControlLab } from '../../../testing/control-lab.ts'
import { hasPromtool, promtoolFindings, readExposition, valueOf } from '../../../testing/exposition.ts'
import { fakeClock } from '../../../testing/fake-clock.ts'
import { testStore } from '../../../testing/test-store.ts'
import { controlFamilies, controlMetricsText } from './collect.ts'
import type { ControlSource } from './collect.ts'
import { controlMetrics } from './control-metrics.ts'
import { LoopTimes } from './loop-times.ts'
import { metricsOf, scrapeTargets } from './other-processes.ts'

let store: Store
let lab: ControlLab
let source: ControlSource
let loops: LoopTimes
beforeAll(async () => {
  store = await testStore()
}, 60_000)
afterAll(() => store.close())
beforeEach(async () => {
  const clock = fakeClock()
  lab = await controlLab(store, clock)
  loops = new LoopTimes()
  source = {
    context: lab.context,
    observations: new Observations(() => clock.monotonicMs()),
    reconciliation: () =>
      Promise.resolve({
        answered: 10,
        logged: 10,
        sampledOut: 0,
        dropped: 0,
        inLake: 7,
        inSpool: 3,
        labels: 0,
        labelsMatched: 0,
        labelsUnmatched: 0,
        lagMs: 1_500,
        manifest: 1,
        agrees: true,
        why: null,
      }),
    facts: { version: '1.2.3', startedAtMs: 0, apiUrl: null, freeBytes: () => 1_000, minFreeBytes: () => 10 },
  }
})
afterEach(() => lab.close())

const read = async () => readExposition(exposition(await controlFamilies(source, loops)))

function record(id: string, role: ProcessRole, overrides: object = {}): void {
  mkdirSync(lab.dataDir, { recursive: true })
  const facts = { id, role, token: 't', socketPath: null, startedAtMs: 5_000, ...ownIdentity(), ...overrides }
  writeProcessRecord(lab.dataDir, facts)
}

describe('the metrics of the control plane', () => {
  it('are all there before anything has happened', async () => {
    const metrics = readExposition(await controlMetricsText(source, loops))
    const names = Object.values(controlMetrics).map(({ name }) => name)
    expect([...metrics.keys()].slice(0, names.length)).toEqual(names)
  })

  it('count what the rows say of models that are configured, and nothing of others', async () => {
    await lab.apply({ churn: { train: 'true' }, other: { train: 'true' } })
    await lab.train('churn')
    await lab.train('other')
    const metrics = await read()
    expect(valueOf(metrics, 'millrace_runs_open', { model: 'churn', status: 'queued' })).toBe(1)
    expect(valueOf(metrics, 'millrace_runs_open', { model: 'other' })).toBe(1)
    await store.db.updateTable('run').set({ status: 'failed', ended_at_ms: 1 }).where('model', '=', 'churn').execute()
    await lab.apply({ churn: { train: 'true' } })
    const later = await read()
    expect(valueOf(later, 'millrace_runs_total', { model: 'churn', outcome: 'failed' })).toBe(1)
    expect(later.get('millrace_runs_open')!.samples).toEqual([])
  })

  it('say what waits, what the lake holds and what the disk has left', async () => {
    await lab.apply({ churn: { train: 'true' } })
    const metrics = await read()
    expect(valueOf(metrics, 'millrace_notifications_waiting')).toBe(0)
    expect(valueOf(metrics, 'millrace_lake_predictions')).toBe(7)
    expect(valueOf(metrics, 'millrace_lake_waiting_records')).toBe(3)
    expect(valueOf(metrics, 'millrace_lake_lag_seconds')).toBe(1.5)
    expect(valueOf(metrics, 'millrace_lake_agrees')).toBe(1)
    expect(valueOf(metrics, 'millrace_disk_free_bytes')).toBe(1_000)
    expect(valueOf(metrics, 'millrace_gateways_reporting')).toBe(0)
  })

  it('say what is promised of each model', async () => {
    await lab.apply({ churn: { train: 'true', slos: { availability: { objective: 0.99 } } } })
    expect(valueOf(await read(), 'millrace_slo_objective_ratio', { model: 'churn', level: 'availability' })).toBe(0.99)
    const windows = (await read())
      .get('millrace_slo_burn_rate')!
      .samples.filter(({ labels }) => labels['level'] === 'availability')
    expect(windows.map(({ labels }) => labels['window'])).toEqual(['1h', '6h', '3d'])
  })

  it('time the looks of each loop, and count those that fail', async () => {
    const look = loops.timed('run', () => Promise.resolve(3))
    expect(await look()).toBe(3)
    await expect(loops.timed('release', () => Promise.reject(new Error('no')))()).rejects.toThrow('no')
    const metrics = await read()
    expect(valueOf(metrics, 'millrace_control_loop_duration_seconds_count', { loop: 'run' })).toBe(1)
    expect(valueOf(metrics, 'millrace_control_loop_failures_total', { loop: 'run' })).toBe(0)
    expect(valueOf(metrics, 'millrace_control_loop_failures_total', { loop: 'release' })).toBe(1)
  })

  it('know each process that lasts by its record: whether it runs, and when it was started', async () => {
    record('gateway', 'gateway')
    record('replica-9', 'replica', { startTime: 'another time' })
    record('run-1.train.1', 'step')
    const metrics = await read()
    expect(valueOf(metrics, 'millrace_process_up', { process: 'gateway', role: 'gateway' })).toBe(1)
    expect(valueOf(metrics, 'millrace_process_up', { process: 'replica-9' })).toBe(0)
    expect(valueOf(metrics, 'millrace_process_start_time_seconds', { process: 'gateway' })).toBe(5)
    expect(metrics.get('millrace_process_up')!.samples).toHaveLength(2)
  })

  it.skipIf(!hasPromtool)('are nothing that promtool (where it is installed) objects to', async () => {
    await lab.apply({ churn: { train: 'true' } })
    await lab.train('churn')
    record('gateway', 'gateway')
    await loops.timed('run', () => Promise.resolve(3))()
    expect(promtoolFindings(await controlMetricsText(source, loops))).toEqual([])
  })
})

describe('other processes', () => {
  it('are targets at the control plane’s own address, where they can be asked', () => {
    record('control-plane', 'control-plane')
    record('gateway', 'gateway', { socketPath: '/dev/null' })
    record('gateway-2', 'gateway', { socketPath: '/dev/null', startTime: 'dead' })
    record('replica-1', 'replica', { socketPath: '/nowhere/replica-1.sock' }) // somebody's own command
    record('supervisor', 'supervisor')
    expect(scrapeTargets(lab.dataDir, '127.0.0.1:8702')).toEqual([
      {
        targets: ['127.0.0.1:8702'],
        labels: { __param_process: 'control-plane', instance: 'control-plane', process_role: 'control-plane' },
      },
      {
        targets: ['127.0.0.1:8702'],
        labels: { __param_process: 'gateway', instance: 'gateway', process_role: 'gateway' },
      },
    ])
  })

  it.each([
    ['that there is not', 'replica-7', 'MR_PROCESS_UNKNOWN'],
    ['of a name that is none', '../../etc/passwd', 'MR_PROCESS_UNKNOWN'],
    ['that tells nothing', 'supervisor', 'MR_PROCESS_METRICS'],
    ['that stands for a command of somebody’s own', 'replica-1', 'MR_PROCESS_METRICS'],
  ])('%s is refused in words', async (_what, id, code) => {
    record('supervisor', 'supervisor')
    record('replica-1', 'replica', { socketPath: '/nowhere/replica-1.sock' })
    await expect(metricsOf(lab.dataDir, id)).rejects.toMatchObject({ code })
  })
})
