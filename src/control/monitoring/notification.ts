import { createHash } from 'node:crypto'
import type { AlertsConfig } from '../../config/project.ts'
import { isAtLeast, type Alert, type AlertFigures } from './alert.ts'

export type NotificationStatus =
  | 'waiting' // to be sent, or to be tried again
  | 'sent' // the receiver answered 2xx
  | 'failed' // refused, or tried as often as is tried

/** What is told to one receiver about one alert: that it fires, or that it is resolved. Each once. */
export interface Notification {
  seq: number
  alertId: string
  about: 'firing' | 'resolved'
  /** Of a webhook: see `targetOf`. */
  target: string
  status: NotificationStatus
  attempts: number
  nextAtMs: number
  why: string | null
  createdAtMs: number
  sentAtMs: number | null
}

export type Told = Pick<Notification, 'alertId' | 'about' | 'target'>

export type Webhook = AlertsConfig['webhooks'][number]

export const ATTEMPTS_MAX = 5
const BACKOFF_MS = [1_000, 5_000, 30_000, 120_000]

/** Real time until the next attempt, after so many. */
export function backoffMs(attempts: number): number {
  return BACKOFF_MS[Math.min(attempts, BACKOFF_MS.length) - 1] ?? BACKOFF_MS[0]!
}

/**
 * How a webhook is called in rows, logs and answers: its path and query are often its password, so that only its host
 * is told, and a digest by which two of one host can be told apart.
 */
export function targetOf(url: string): string {
  const digest = createHash('sha256').update(url).digest('hex').slice(0, 8)
  return URL.canParse(url) ? `${new URL(url).origin}/… (${digest})` : `no address (${digest})`
}

/**
 * What has to be told now and is not noted yet. Firing alerts whose severity a webhook wants, unless they are silenced;
 * resolved ones to whom it was told that they fire. Pure.
 */
export function missingNotifications(
  alerts: Alert[],
  noted: Pick<Notification, 'alertId' | 'about' | 'target' | 'status'>[],
  webhooks: Webhook[],
  nowMs: number,
): Told[] {
  const known = new Map(noted.map((n) => [`${n.alertId} ${n.about} ${n.target}`, n.status]))
  return alerts.flatMap((alert) =>
    webhooks.flatMap(({ url, minSeverity }): Told[] => {
      const target = targetOf(url)
      const of = (about: 'firing' | 'resolved') => known.get(`${alert.id} ${about} ${target}`)
      if (alert.status === 'firing' && of('firing') === undefined) {
        const isWanted = isAtLeast(alert.severity, minSeverity) && !isSilenced(alert, nowMs)
        return isWanted ? [{ alertId: alert.id, about: 'firing', target }] : []
      }
      const isOver = alert.status === 'resolved' && of('firing') === 'sent' && of('resolved') === undefined
      return isOver ? [{ alertId: alert.id, about: 'resolved', target }] : []
    }),
  )
}

export function isSilenced({ silencedUntilMs }: Alert, nowMs: number): boolean {
  return silencedUntilMs !== null && nowMs < silencedUntilMs
}

/** The body of a webhook's request. `schema` changes only with what receivers must know. */
export interface AlertMessage {
  schema: 'millrace.alert/1'
  /** The same whenever it is sent again: a receiver that has seen it may leave it. */
  id: string
  about: 'firing' | 'resolved'
  project: string
  alert: {
    id: string
    status: Alert['status']
    severity: Alert['severity']
    model: string
    endpoint: string
    version: string | null
    /** The monitor, or `service-level/<name>`. */
    source: string
    /** A column; empty where the source has one value. */
    subject: string
    why: string
    figures: AlertFigures
    runbook: string | null
    response: Alert['response']
    responseTaken: string | null
    /** Calendar time, ISO 8601. */
    firedAt: string | null
    acknowledgedBy: string | null
  }
}

export function messageOf(alert: Alert, about: Notification['about'], project: string): AlertMessage {
  const { id, status, severity, model, endpoint, versionId: version, source, subject, why, figures } = alert
  const { runbook, response, responseTaken, acknowledged } = alert
  const firedAt = alert.firedCalendarMs === null ? null : new Date(alert.firedCalendarMs).toISOString()
  return {
    schema: 'millrace.alert/1',
    id: `${id}/${about}`,
    about,
    project,
    alert: {
      id,
      status,
      severity,
      model,
      endpoint,
      version,
      source,
      subject,
      why,
      figures,
      runbook,
      response,
      responseTaken,
      firedAt,
      acknowledgedBy: acknowledged?.by ?? null,
    },
  }
}
