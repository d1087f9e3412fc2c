import type { Handlers } from '../../surface/api/handlers.ts'
import { fakeCallerHandlers } from './callers.ts'
import { fakeCanaryHandlers } from './canaries.ts'
import { fakeClockHandlers } from './clock.ts'
import { fakeEndpointHandlers } from './endpoints.ts'
import { fakeEventHandlers } from './events.ts'
import { fakeFreezeHandlers } from './freezes.ts'
import { fakeGateHandlers } from './gates.ts'
import { fakeModelHandlers } from './models.ts'
import { fakeAlertHandlers, fakeMonitorHandlers } from './monitoring.ts'
import { fakePredictionLogHandlers } from './prediction-log.ts'
import { fakeProjectHandlers } from './project.ts'
import { fakeReleaseHandlers } from './releases.ts'
import { fakeRetirementHandlers } from './retirement.ts'
import { fakeRunHandlers } from './runs.ts'
import { fakeServiceLevelHandlers } from './service-levels.ts'
import { fakeStatusHandlers } from './status.ts'
import { fakeBackfillHandlers, fakeTriggerHandlers } from './triggers.ts'
import { fakeVersionHandlers } from './versions.ts'
import { FakeWorld } from './world.ts'

/**
 * A control plane in memory for tests of the surface: one model that has been trained twice. Starting a run makes it
 * succeed step by step, each time it is looked at. Nothing here decides anything: what Millrace decides is tested
 * elsewhere.
 */
export interface FakeControlPlane extends FakeWorld {
  readonly handlers: Handlers
}

export function fakeControlPlane(): FakeControlPlane {
  const world = new FakeWorld()
  const handlers: Handlers = {
    project: fakeProjectHandlers(world),
    models: fakeModelHandlers(),
    versions: fakeVersionHandlers(world),
    runs: fakeRunHandlers(world),
    gates: fakeGateHandlers(world),
    releases: fakeReleaseHandlers(world),
    canaries: fakeCanaryHandlers(world),
    triggers: fakeTriggerHandlers(world),
    backfills: fakeBackfillHandlers(world),
    freezes: fakeFreezeHandlers(world),
    retirement: fakeRetirementHandlers(world),
    endpoints: fakeEndpointHandlers(world),
    callers: fakeCallerHandlers(world),
    predictionLog: fakePredictionLogHandlers(),
    status: fakeStatusHandlers(world),
    events: fakeEventHandlers(),
    clock: fakeClockHandlers(world),
    serviceLevels: fakeServiceLevelHandlers(),
    monitors: fakeMonitorHandlers(),
    alerts: fakeAlertHandlers(),
    metrics: {
      get: ({ process = 'control-plane' }) => ({ process, text: '# TYPE millrace_runs_open gauge\n' }),
    },
  }
  return Object.assign(world, { handlers })
}
