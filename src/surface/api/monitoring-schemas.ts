import { z } from 'zod'

/** Monitors and alerts, as `millrace monitors`, `millrace alerts` and the dashboard show them. */

export const alertId = z
  .string()
  .regex(/^alert-\d+$/, 'an alert is written alert-3')
  .describe('e.g. `alert-3`')

const atMsOrNull = (what: string) => z.number().nullable().describe(`${what}, ms since 1970; null: not (yet)`)

export const monitorSchema = z
  .object({
    model: z.string(),
    monitor: z.string().describe('Its kind, e.g. `drift`'),
    subject: z.string().describe('A column; empty: the monitor as a whole'),
    version: z.string().nullable().describe('The champion that was judged'),
    verdict: z
      .enum(['ok', 'bad', 'insufficient', 'waiting'])
      .describe('`insufficient`: too little to say anything; `waiting`: no window has been judged yet'),
    why: z.string(),
    value: z.number().nullable().describe('In the unit of the limit'),
    limit: z.number().nullable(),
    unit: z.enum(['psi', 'share', 'ratio', 'loss', 'requests', 'ms']),
    n: z.number().describe('Rows, labels or requests behind it'),
    windowFromMs: atMsOrNull('Begin of the window (calendar)'),
    windowToMs: atMsOrNull('Its end (calendar)'),
    sinceMs: atMsOrNull('Since when the verdict is this one (calendar)'),
    judgedUntilMs: atMsOrNull(
      'No window that ends before is judged again (calendar); null too for silence and modelAge',
    ),
    badWindows: z.number().int().describe('Bad windows in a row, up to now'),
    raiseAfter: z.number().int().describe('So many raise the alarm'),
    response: z.enum(['tell', 'retrain', 'rollBack', 'freeze']),
    alert: z.string().nullable().describe('The alert that is open about it'),
  })
  .describe('What a monitor said last')

export const notificationSchema = z.object({
  about: z.enum(['firing', 'resolved']),
  target: z.string().describe('Host of the webhook and a digest of its address, never the address itself'),
  status: z.enum(['waiting', 'sent', 'failed']),
  attempts: z.number().int(),
  why: z.string().nullable(),
  sentAtMs: atMsOrNull('When it was sent'),
})

export const alertSchema = z
  .object({
    id: alertId,
    status: z.enum(['pending', 'firing', 'resolved']),
    severity: z.enum(['info', 'warning', 'critical']),
    model: z.string(),
    endpoint: z.string(),
    version: z.string().nullable(),
    source: z.string().describe('The monitor, or `service-level/<name>`'),
    subject: z.string().describe('A column; empty where the source has one value'),
    why: z.string(),
    figures: z.record(z.string(), z.union([z.number(), z.string(), z.boolean(), z.null()])),
    runbook: z.string().nullable(),
    response: z.enum(['tell', 'retrain', 'rollBack', 'freeze']).describe('What is declared to be done about it'),
    responseTaken: z.string().nullable().describe('What was done; null: nothing (yet)'),
    openedAtMs: z.number().describe('When it was noticed, ms since 1970'),
    openedCalendarMs: z.number().describe('The same in calendar time'),
    firedAtMs: atMsOrNull('When it fired'),
    firedCalendarMs: atMsOrNull('The same in calendar time'),
    resolvedAtMs: atMsOrNull('When it was resolved'),
    acknowledgedBy: z.string().nullable(),
    acknowledgedWhy: z.string().nullable(),
    silencedUntilMs: atMsOrNull('Until then nobody is sent anything'),
    notifications: z.array(notificationSchema),
  })
  .describe('What a monitor or a service level has to say')

/** How far monitoring has come with a model. */
export const monitoredSchema = z.object({
  model: z.string(),
  monitoredUntilMs: atMsOrNull('Windows that end at this time or before have been judged (calendar)'),
  labelledUntilMs: atMsOrNull('The same for monitors that wait for labels (calendar)'),
})

export type MonitorView = z.infer<typeof monitorSchema>
export type AlertView = z.infer<typeof alertSchema>
export type MonitoredView = z.infer<typeof monitoredSchema>
