import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { ClockView } from '../../surface/api/clock-schemas.ts'
import type { StatusView } from '../../surface/api/status-schemas.ts'
import { clockView } from './clock.ts'
import { fakeEndpoint } from './endpoints.ts'
import { fakeAlert } from './monitoring.ts'
import { fakeReconciliation } from './prediction-log.ts'
import { fakeBudgets, fakeServiceLevels } from './service-levels.ts'
import { T0, type FakeWorld } from './world.ts'

export const fakeStatusHandlers = (world: FakeWorld): HandlerGroup<'status'> => ({
  get: () => fakeStatus(clockView(world)),
})

function fakeStatus(clock: ClockView): StatusView {
  return {
    project: { name: 'flights', revision: 1, root: '/p' },
    controlPlane: { version: '0.1.0', pid: 7, startedAtMs: T0, dataDir: '/p/.millrace', store: 'pglite', apiUrl: null },
    clock,
    processes: [
      { id: 'gateway', kind: 'gateway', pid: 8, state: 'running', startedAtMs: T0, restarts: 1, why: 'SIGKILL' },
    ],
    endpoints: [fakeEndpoint],
    replicas: [
      {
        id: 'replica-1',
        deployment: 'deployment-2',
        version: 'late-flight@2',
        state: 'ready',
        why: null,
        pid: 9,
        httpPort: null,
        inFlight: 0,
      },
    ],
    runs: [],
    releases: [],
    waiting: [{ version: 'late-flight@3', why: 'inconclusive: 40 rows' }],
    triggers: [
      {
        id: 'newData:data/*.csv',
        model: 'late-flight',
        kind: 'newData',
        state: 'watching',
        why: 'no new files',
        lastFiredAtMs: T0,
        lastRun: 'run-2',
        nextAtMs: null,
      },
    ],
    reconciliation: fakeReconciliation,
    serviceLevels: fakeServiceLevels,
    budgets: fakeBudgets,
    alerts: [fakeAlert],
    monitoring: [{ model: 'late-flight', monitoredUntilMs: T0, labelledUntilMs: null }],
    disk: { freeBytes: 5e9, minFreeBytes: 1e9, low: false },
    warnings: [{ text: 'late-flight has no label', fix: 'Declare it.' }],
  }
}
