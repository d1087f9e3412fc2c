import type { Handlers } from '../handlers.ts'
import { callerHandlers } from './callers.ts'
import { canaryHandlers } from './canaries.ts'
import { eventHandlers } from './events.ts'
import { freezeHandlers } from './freezes.ts'
import { gateHandlers } from './gates.ts'
import { metricsHandlers } from './metrics.ts'
import { modelHandlers, versionHandlers } from './models.ts'
import { alertHandlers, monitorHandlers } from './monitoring.ts'
import { projectHandlers } from './project.ts'
import { endpointHandlers, releaseHandlers } from './releases.ts'
import { retirementHandlers } from './retirement.ts'
import { runHandlers } from './runs.ts'
import type { Services } from './services.ts'
import { serviceLevelHandlers, statusHandlers } from './status-view.ts'
import { backfillHandlers, triggerHandlers } from './triggers.ts'

/** The control API over the rows of the store and what the processes say. */
export function createHandlers(services: Services): Handlers {
  const { clock } = services
  return {
    project: projectHandlers(services),
    models: modelHandlers(services),
    versions: versionHandlers(services),
    triggers: triggerHandlers(services),
    backfills: backfillHandlers(services),
    runs: runHandlers(services),
    gates: gateHandlers(services),
    releases: releaseHandlers(services),
    freezes: freezeHandlers(services),
    retirement: retirementHandlers(services),
    canaries: canaryHandlers(services),
    endpoints: endpointHandlers(services),
    callers: callerHandlers(services),
    predictionLog: {
      status: () => services.reconciliation(),
      query: ({ sql, limit }) => services.queryLake(sql, limit),
    },
    status: statusHandlers(services),
    events: eventHandlers(services),
    clock: {
      get: () => clock.view(),
      async set({ calendarMs }) {
        await clock.set(calendarMs)
        return clock.view()
      },
      async hold({ by, why }) {
        await clock.hold(by, why)
        return clock.view()
      },
      async release({ by }) {
        await clock.release(by)
        return clock.view()
      },
    },
    serviceLevels: serviceLevelHandlers(services),
    monitors: monitorHandlers(services),
    alerts: alertHandlers(services),
    metrics: metricsHandlers(services),
  }
}
