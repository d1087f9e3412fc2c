import { z } from 'zod'
import { atMsOrNull, why } from './schema-parts.ts'

/* Triggers and backfills. */

const calendarMs = (what: string) => z.number().nullable().describe(`${what}, calendar time in ms since 1970`)
const times = {
  atMs: z.number().describe('Real time, ms since 1970'),
  calendarMs: z.number().describe('Calendar time, ms since 1970'),
}

export const triggerDetailSchema = z
  .object({
    model: z.string(),
    trigger: z.string().describe('Its name, unique within the model'),
    kind: z.enum(['newData', 'cron', 'alarm', 'backfill']),
    declared: z.string().describe('What it fires for, e.g. `0 3 * * MON (Europe/Berlin)`'),
    state: z
      .enum(['watching', 'settling', 'waiting', 'paused', 'blocked'])
      .describe('`waiting`: it has something to fire for and holds back; `blocked`: it can not fire'),
    why,
    nextAtMs: calendarMs('When it fires next, as far as known'),
    lastFiredAtMs: calendarMs('When it last fired'),
    lastRun: z.string().nullable(),
  })
  .describe('One trigger of a model; a backfill that is open is listed as one')

export const triggerEventSchema = z.object({
  model: z.string(),
  trigger: z.string(),
  what: z.enum(['fired', 'skipped', 'paused', 'resumed', 'asked', 'cancelled']),
  why,
  run: z.string().nullable().describe('The run it asked for'),
  ...times,
})

export const backfillSchema = z
  .object({
    model: z.string(),
    backfill: z.string().describe('e.g. `backfill-2`, unique within the model'),
    status: z.enum(['running', 'paused', 'done', 'cancelled']),
    why: why.describe('What it waits for, or how it ended'),
    fromMs: z.number().describe('The first as-of date, ms since 1970'),
    everyMs: z.number(),
    runs: z.number().int().describe('Dates in all'),
    queued: z.number().int().describe('Dates whose run was queued'),
    succeeded: z.number().int(),
    failed: z.number().int().describe('Runs that failed or were cancelled'),
    cause: z.string(),
    by: z.string(),
    createdAtMs: z.number(),
  })
  .describe('Runs of past dates; what they make is evaluated and never released by itself')

export const triggerSchema = z.object({
  id: z.string(),
  model: z.string(),
  kind: z.string().describe('e.g. `newData`'),
  state: z.enum(['watching', 'settling', 'waiting', 'paused', 'blocked']),
  why: why.nullable().describe('Why it does not fire now'),
  lastFiredAtMs: atMsOrNull('Last fired (calendar)'),
  lastRun: z.string().nullable(),
  nextAtMs: z.number().nullable().describe('When it fires next (calendar); null: not known'),
})

export type TriggerDetail = z.infer<typeof triggerDetailSchema>
export type TriggerEventView = z.infer<typeof triggerEventSchema>
export type BackfillView = z.infer<typeof backfillSchema>
export type TriggerView = z.infer<typeof triggerSchema>
