import { z } from 'zod'
import { count, durationMs } from './schema-parts.ts'

/** Error budgets, as `millrace slo` and the dashboard show them. */

export const burnSchema = z.object({
  limit: z.number().describe('It burns when both windows do so many times as fast as the budget allows'),
  severity: z.enum(['page', 'ticket']),
  longMs: z.number().describe('The long window, in ms'),
  longRate: z.number().describe('Times the allowed rate over the long window; 0 without events'),
  shortMs: z.number(),
  shortRate: z.number(),
  burning: z.boolean(),
})

export const budgetSchema = z.object({
  model: z.string(),
  level: z.string().describe('e.g. `runSuccess`, `availability`'),
  phase: z.string().describe('trigger, pipeline, evaluation, release, serving, log, monitoring, registry, retirement'),
  events: z.string().describe('What is counted, e.g. `requests`'),
  objective: z.number().describe('Share of events to be good'),
  thresholdMs: z.number().nullable().describe('What takes longer is bad; null: an event is good or bad by itself'),
  windowMs: z.number(),
  good: count('Good events in the window'),
  bad: count('Bad events in the window'),
  left: z.number().nullable().describe('Of the budget: 1 untouched, 0 or less spent; null: nothing was measured'),
  burns: z.array(burnSchema).describe('By pair of windows, the fastest first'),
  state: z.enum(['unmeasured', 'kept', 'burning', 'spent']),
  why: z.string(),
  effect: z.enum(['tell', 'freeze']).describe('What a spent budget does'),
  freeze: z.string().nullable().describe('The freeze of automatic release that it asked for, while that is active'),
  restores: z.string().nullable().describe('What would bring a spent budget back'),
  alert: z.string().nullable().describe('The alert that is open about it'),
})

export const serviceLevelSchema = z.object({
  phase: z.string().describe('trigger, run, evaluation, release, serving, log …'),
  indicator: z.string().describe('e.g. `run success`, `lead time p95`'),
  model: z.string().nullable(),
  value: z.number().nullable().describe('Null: nothing measured in the window'),
  unit: z.enum(['ratio', 'ms', 'count', 'bytes']),
  objective: z.number().nullable().describe('The target; null: none is declared'),
  met: z.boolean().nullable().describe('Null: no objective or nothing measured'),
  count: count('Measurements behind the value'),
  windowMs: durationMs('The window it covers'),
})

export type BudgetView = z.infer<typeof budgetSchema>
export type ServiceLevel = z.infer<typeof serviceLevelSchema>
