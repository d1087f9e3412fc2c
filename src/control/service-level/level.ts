import type { ServiceLevelConfig, ServiceLevelName } from '../../config/project.ts'
import type { Indicator, Phase } from './sli-requests.ts'

/**
 * Where a level's events come from: rows of `sli`, or what gateways counted by minute. Windows are calendar time, as runs
 * and models have ages; requests and log lag are counted in real time, which no rehearsal moves.
 */
export type EventSource =
  | { kind: 'sli'; phase: Phase; indicator: Indicator; time: 'calendar' | 'epoch' }
  | { kind: 'failures' | 'latencies' }

export interface LevelFacts {
  phase: Phase
  source: EventSource
  /**
   * `rare` events are judged by the last three while the budget allows fewer than two bad ones; of the others so many bad
   * events must have come before a budget burns or is spent, so that the first failure of a quiet day alarms nobody.
   */
  evidence: { kind: 'rare' } | { kind: 'plenty'; minBad: number }
  /** One event and several, for people: `1 of the last 3 runs`. */
  events: readonly [string, string]
}

const sli = (phase: Phase, indicator: Indicator, time: 'calendar' | 'epoch' = 'calendar'): EventSource => ({
  kind: 'sli',
  phase,
  indicator,
  time,
})

const RARE = { kind: 'rare' } as const
const REQUESTS = { kind: 'plenty', minBad: 5 } as const
const SAMPLES = { kind: 'plenty', minBad: 3 } as const

/** In the order of the loop. */
export const levelFacts: Record<ServiceLevelName, LevelFacts> = {
  triggerPunctuality: {
    phase: 'trigger',
    source: sli('trigger', 'triggerDelayMs'),
    evidence: RARE,
    events: ['firing', 'firings'],
  },
  runSuccess: { phase: 'pipeline', source: sli('pipeline', 'runSuccess'), evidence: RARE, events: ['run', 'runs'] },
  evaluationValidity: {
    phase: 'evaluation',
    source: sli('evaluation', 'evaluationValid'),
    evidence: RARE,
    events: ['evaluation', 'evaluations'],
  },
  leadTime: { phase: 'release', source: sli('release', 'leadTimeMs'), evidence: RARE, events: ['release', 'releases'] },
  availability: { phase: 'serving', source: { kind: 'failures' }, evidence: REQUESTS, events: ['request', 'requests'] },
  latency: { phase: 'serving', source: { kind: 'latencies' }, evidence: REQUESTS, events: ['request', 'requests'] },
  logLag: {
    phase: 'log',
    source: sli('log', 'logLagMs', 'epoch'),
    evidence: SAMPLES,
    events: ['quarter of an hour', 'quarters of an hour'],
  },
  monitorFreshness: {
    phase: 'monitoring',
    source: sli('monitoring', 'monitorLagMs'),
    evidence: SAMPLES,
    events: ['hourly look', 'hourly looks'],
  },
  modelAge: {
    phase: 'registry',
    source: sli('registry', 'modelAgeMs'),
    evidence: SAMPLES,
    events: ['hourly look', 'hourly looks'],
  },
  retirementSafety: {
    phase: 'retirement',
    source: sli('retirement', 'retirementSafety'),
    evidence: RARE,
    events: ['retirement', 'retirements'],
  },
}

/** What happened to one level of one model. */
export interface LevelEvents {
  /** Over the window of the objective. */
  whole: EventCount
  /** Over the pairs of `burnWindows`, in their order. */
  pairs: { long: EventCount; short: EventCount }[]
  /** Of rare events the last three, newest first: whether each was good. Empty for others. */
  last: boolean[]
}

export interface EventCount {
  good: number
  bad: number
}

export const NO_EVENTS: EventCount = { good: 0, bad: 0 }

/** A level of one model, as declared. */
export interface DeclaredLevel {
  model: string
  endpoint: string
  level: ServiceLevelConfig
}
