import type { ControlContext } from '../control-context.ts'
import { findAlert, alertsToTell } from './alert-store.ts'
import {
  ATTEMPTS_MAX,
  backoffMs,
  isSilenced,
  messageOf,
  missingNotifications,
  targetOf,
  type AlertMessage,
  type Notification,
  type Webhook,
} from './notification.ts'
import { beginAttempt, dueNotifications, endAttempt, notificationsOf, noteNotification } from './notification-store.ts'
import type { Delivery } from './send-webhook.ts'

/** Requests under way to one receiver, and altogether. */
const AT_ONCE_PER_TARGET = 2
const AT_ONCE = 16
/** Of each receiver that one look reads: those under way are among them. */
const DUE_MAX = 50

/**
 * Tells webhooks about alerts: notes what has to be told, then sends what waits. Nothing is waited for: a receiver that
 * hangs takes one of its own places until its time-out and delays nobody else. After a crash between sending and noting
 * it is sent again, under the same id.
 */
export class NotificationController {
  readonly #context: ControlContext
  readonly #send: (url: string, message: AlertMessage, timeoutMs: number) => Promise<Delivery>
  /** Sequence numbers by target. */
  readonly #underWay = new Map<string, Set<number>>()
  readonly #sending = new Set<Promise<void>>()

  constructor(
    context: ControlContext,
    send: (url: string, message: AlertMessage, timeoutMs: number) => Promise<Delivery>,
  ) {
    this.#context = context
    this.#send = send
  }

  async look(): Promise<void> {
    const { store, clock } = this.#context
    const webhooks = this.#context.project()?.project.alerts.webhooks ?? []
    await this.#note(webhooks)
    const nowMs = clock.epochMs()
    // An epoch that was set back must not make one wait longer than the longest pause.
    const due = { nowMs, untilMs: nowMs + backoffMs(ATTEMPTS_MAX) * 2, perTarget: DUE_MAX }
    for (const notification of await dueNotifications(store.db, due))
      if (this.#hasRoom(notification)) await this.#begin(notification, webhooks, nowMs)
  }

  /** Until nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#sending)
  }

  async #note(webhooks: Webhook[]): Promise<void> {
    const { store, clock } = this.#context
    if (webhooks.length === 0) return
    const targets = webhooks.map(({ url }) => targetOf(url))
    const alerts = await alertsToTell(store.db, targets)
    const noted = await notificationsOf(
      store.db,
      alerts.map((alert) => alert.id),
    )
    const missing = missingNotifications(alerts, noted, webhooks, clock.epochMs())
    if (missing.length === 0) return
    await store.transaction(async (tx) => {
      for (const notification of missing) await noteNotification(tx, notification, clock.epochMs())
    })
  }

  #hasRoom({ seq, target }: Notification): boolean {
    const mine = this.#underWay.get(target)
    if (mine?.has(seq)) return false
    return (mine?.size ?? 0) < AT_ONCE_PER_TARGET && this.#sending.size < AT_ONCE
  }

  async #begin(notification: Notification, webhooks: Webhook[], nowMs: number): Promise<void> {
    const { store } = this.#context
    const alert = await findAlert(store.db, notification.alertId)
    if (isSilenced(alert, nowMs)) return
    const webhook = webhooks.find(({ url }) => targetOf(url) === notification.target)
    if (webhook === undefined) return this.#end(notification, { kind: 'refused', why: 'it is no longer declared' })
    const attempt = { ...notification, attempts: notification.attempts + 1 }
    const nextAtMs = nowMs + webhook.timeoutMs + backoffMs(attempt.attempts)
    if (!(await beginAttempt(store.db, notification, nextAtMs))) return
    const message = messageOf(alert, notification.about, this.#context.project()?.project.name ?? '')
    this.#track(attempt, this.#deliver(attempt, webhook, message))
  }

  async #deliver(attempt: Notification, webhook: Webhook, message: AlertMessage): Promise<void> {
    try {
      await this.#end(attempt, await this.#send(webhook.url, message, webhook.timeoutMs))
    } catch (error) {
      this.#context.log.warn({ err: error, target: attempt.target }, 'a notification could not be noted as sent')
    }
  }

  async #end(attempt: Notification, delivery: Delivery): Promise<void> {
    const { store, clock, log } = this.#context
    const { seq, target, alertId: alert, about, attempts } = attempt
    const nowMs = clock.epochMs()
    if (delivery.kind === 'sent') {
      return endAttempt(store.db, seq, { status: 'sent', why: null, nextAtMs: nowMs, sentAtMs: nowMs })
    }
    const isLast = delivery.kind === 'refused' || attempts >= ATTEMPTS_MAX
    const { why } = delivery
    const nextAtMs = nowMs + backoffMs(attempts)
    await endAttempt(store.db, seq, { status: isLast ? 'failed' : 'waiting', why, nextAtMs, sentAtMs: null })
    const facts = { target, alert, about, attempts, why }
    if (isLast) log.error(facts, 'a webhook was not told about an alert')
    else log.warn(facts, 'a webhook could not be told about an alert and is tried again')
  }

  #track({ target, seq }: Notification, work: Promise<void>): void {
    const mine = this.#underWay.get(target) ?? new Set()
    this.#underWay.set(target, mine.add(seq))
    const done = work.finally(() => {
      mine.delete(seq)
      this.#sending.delete(done)
    })
    this.#sending.add(done)
  }
}
