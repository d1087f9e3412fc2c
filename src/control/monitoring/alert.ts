import type { MonitorKind, MonitorResponse, Severity } from '../../config/project.ts'
import { stateMachine } from '../../kernel/state-machine.ts'
import { RIPENESS } from './windows.ts'

export type AlertStatus =
  | 'pending' // one bad window or more, not yet as many in a row as raise the alarm: nobody is told
  | 'firing' // the alarm: it is told, and its response taken
  | 'resolved' // as many good windows in a row as clear it, or nothing left to watch; the next one is a new alert

export type AlertEvent = 'fire' | 'resolve'

/** At most one alert that is not resolved for each model, source and subject. */
export const alertMachine = stateMachine<AlertStatus, AlertEvent>('alert', {
  pending: { fire: 'firing', resolve: 'resolved' },
  firing: { resolve: 'resolved' },
  resolved: {},
})

/** A number, a text or nothing under each name: what the alert was decided by. */
export type AlertFigures = Record<string, number | string | boolean | null>

export interface Alert {
  seq: number
  id: string
  model: string
  endpoint: string
  versionId: string | null
  /** The monitor's kind, or `service-level/<name>`. */
  source: string
  /** A column, or empty where the source has one value. */
  subject: string
  severity: Severity
  status: AlertStatus
  why: string
  figures: AlertFigures
  response: MonitorResponse
  /** What was done about it besides telling; null: nothing yet. */
  responseTaken: string | null
  runbook: string | null
  openedAtMs: number
  openedCalendarMs: number
  /** Place among all alarms in the order in which they fired; null while pending, or if it never fired. */
  alarmSeq: number | null
  firedAtMs: number | null
  firedCalendarMs: number | null
  resolvedAtMs: number | null
  /** Beside the status: somebody has seen it. */
  acknowledged: { by: string; why: string } | null
  /** Beside the status: until then (epoch) nobody is sent anything. */
  silencedUntilMs: number | null
}

const severities = ['info', 'warning', 'critical'] as const satisfies Severity[]

export function isAtLeast(severity: Severity, lowest: Severity): boolean {
  return severities.indexOf(severity) >= severities.indexOf(lowest)
}

/** Service levels and monitors share names (`modelAge`), and must not share alerts. */
export function serviceLevelSource(name: string): string {
  return `service-level/${name}`
}

export function isMonitorSource(source: string): source is MonitorKind {
  return Object.hasOwn(RIPENESS, source)
}
