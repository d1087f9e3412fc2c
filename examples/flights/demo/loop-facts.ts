import type { EventView } from '../../../src/surface/api/event-schemas.ts'
import type { RunSummary } from '../../../src/surface/api/run-schemas.ts'

/** What Millrace recorded of the loop, in the words of its own rows; the report is made of it. */

export interface LoopFacts {
  firings: Firing[]
  trials: TrialFacts[]
  alarms: AlarmFacts[]
  retirements: RetirementFacts[]
  freezes: FreezeFacts[]
  levels: LevelFacts[]
  /** Predictions in the lake by origin. */
  origins: Record<string, number>
}

/** A run that started, or a time that was skipped. */
export interface Firing {
  trigger: string
  /** `cron`, `alarm`, `newData`, `manual`. */
  kind: string
  what: string
  why: string
  run: string | null
  calendarMs: number
}

/** A shadow, or one step of a canary. */
export interface TrialFacts {
  id: string
  release: string
  version: string
  champion: string
  kind: 'shadow' | 'canary'
  step: number
  weightPercent: number
  status: 'running' | 'ended'
  /** Why it ended, or what it waits for. */
  why: string
  startedAtMs: number
  startedCalendarMs: number
  endedAtMs: number | null
  /** Oldest first: those whose decision or reason was another than before. */
  looks: LookFacts[]
}

export interface LookFacts {
  decision: string
  why: string
  atMs: number
  calendarMs: number
  /** Requests that the new version answered, and labels that came for them. */
  requests: number
  labels: number
  tests: TestFacts[]
}

export interface TestFacts {
  test: string
  /** `harm` (proven), `fine` (proven to be no worse), `open`, `off`. */
  verdict: string
  why: string
  value: number | null
  low: number | null
  high: number | null
  eValue: number | null
  limit: number | null
}

export interface AlarmFacts {
  id: string
  version: string | null
  /** The monitor, or `service-level/…`. */
  source: string
  /** A column; empty where there is none. */
  subject: string
  severity: string
  /** When it was raised. */
  why: string
  /** As last measured. */
  figures: Record<string, unknown>
  response: string
  firedAtMs: number
  firedCalendarMs: number
  resolvedAtMs: number | null
}

export interface RetirementFacts {
  version: string
  status: string
  policy: string
  why: string
  calendarMs: number
}

export interface FreezeFacts {
  kind: string
  why: string
  calendarMs: number
  endedWhy: string | null
}

export interface LevelFacts {
  name: string
  /** Share of good events that is promised. */
  objective: number
  /** Share of good events; null: there were none. */
  attained: number | null
  events: number
  /** Share of the error budget that is left, below 0 where more than all of it is spent; null: no events. */
  budgetLeft: number | null
  why: string
}

/** What triggers did, from Millrace's events, and what people asked for, from its runs; by calendar time. */
export function firingsOf(events: EventView[], runs: RunSummary[]): Firing[] {
  const byHand = runs
    .filter(({ cause }) => cause.startsWith('manual:'))
    .map(({ id, cause, asOfMs }) => ({
      trigger: 'by hand',
      kind: 'manual',
      what: 'fired',
      why: cause,
      run: id,
      calendarMs: asOfMs,
    }))
  return [...triggered(events), ...byHand].sort((a, b) => a.calendarMs - b.calendarMs)
}

function triggered(events: EventView[]): Firing[] {
  return events
    .filter(({ entity, to }) => entity === 'trigger' && (to === 'fired' || to === 'skipped'))
    .map(({ entityId, to, cause, calendarMs, detail }) => ({
      trigger: entityId.slice(entityId.indexOf('/') + 1),
      kind: textOf(detail?.['kind']) ?? 'newData',
      what: to,
      why: cause,
      run: textOf(detail?.['run']),
      calendarMs,
    }))
}

/** How far each version has gone out of service, by its last step. */
export function retirementsOf(events: EventView[]): RetirementFacts[] {
  const last = new Map<string, RetirementFacts>()
  for (const { entity, entityId, to, cause, calendarMs, detail } of events) {
    if (entity !== 'retirement') continue
    const policy = textOf(detail?.['policy']) ?? last.get(entityId)?.policy ?? 'unknown'
    // The first reason is the one for which it goes; what follows is how.
    const before = last.get(entityId)
    const why = before === undefined || ['kept', 'proposed'].includes(to) ? withoutPrefix(cause, policy) : before.why
    last.set(entityId, { version: entityId, status: to, policy, why, calendarMs })
  }
  return [...last.values()]
}

/** An alarm that goes on says its newest figures; what counts is what it said when it was raised. */
export function withFirstWords(alarms: AlarmFacts[], events: EventView[]): AlarmFacts[] {
  const raised = events.filter(({ entity, to }) => entity === 'alert' && to === 'firing')
  const words = new Map(raised.map(({ entityId, cause }) => [entityId, cause]))
  return alarms.map((alarm) => ({ ...alarm, why: words.get(alarm.id) ?? alarm.why }))
}

const withoutPrefix = (why: string, policy: string) =>
  why.startsWith(`${policy}: `) ? why.slice(policy.length + 2) : why

const textOf = (value: unknown) => (typeof value === 'string' ? value : null)
