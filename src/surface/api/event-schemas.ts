import { z } from 'zod'
import { atMs } from './schema-parts.ts'

/* What happened. */

export const eventSchema = z.object({
  seq: z.number().int().nonnegative().describe('Grows by time; pass the last one seen as `afterSeq`'),
  entity: z.string().describe('run, step, version, gate, release, deployment, replica, trigger, revision, alias …'),
  entityId: z.string(),
  from: z.string().nullable().describe('Status before; null: it is new'),
  to: z.string().describe('Status after'),
  cause: z.string().describe('Why, for people'),
  atMs: atMs('Real time'),
  calendarMs: atMs('Calendar time'),
  detail: z.record(z.string(), z.unknown()).nullable().describe('Facts that belong to it, e.g. model, figures'),
})

export type EventView = z.infer<typeof eventSchema>
