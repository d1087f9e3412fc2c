import { z } from 'zod'
import { atMs, count, why } from './schema-parts.ts'
import { versionSummarySchema } from './version-schemas.ts'

export const blockerSchema = z.object({
  what: z.string().describe('e.g. `holdout`, `frozen`, `disk`'),
  why,
  fix: z.string().nullable().describe('What would lift it'),
})

export const modelSummarySchema = z.object({
  name: z.string(),
  endpoint: z.string(),
  importance: z.enum(['critical', 'normal', 'low']),
  task: z.enum(['binary', 'regression']).nullable(),
  paused: z.boolean().describe('True: it was removed from the configuration; nothing starts by itself'),
  champion: z.string().nullable().describe('`model@number`'),
  versions: count('Number of versions'),
  newest: versionSummarySchema.nullable(),
  blockers: z.array(blockerSchema).describe('What keeps it from releasing by itself; empty: nothing does'),
})

export const modelSchema = modelSummarySchema.extend({
  aliases: z.array(z.object({ alias: z.string(), version: z.string(), sinceMs: atMs('Since when') })),
  recent: z.array(versionSummarySchema).describe('The newest versions, at most 20'),
})

export type ModelSummary = z.infer<typeof modelSummarySchema>
export type ModelView = z.infer<typeof modelSchema>
