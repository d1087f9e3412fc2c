import { z } from 'zod'
import { atMs, atMsOrNull, why } from './schema-parts.ts'
import { versionStatusSchema } from './version-schemas.ts'

/* Runs, steps, attempts, and their output. */

export const runStatusSchema = z
  .enum(['queued', 'running', 'succeeded', 'failed', 'cancelled'])
  .describe('`succeeded`: every step did; the verdict on its version is another matter')

export const stepStatusSchema = z.enum(['waiting', 'running', 'succeeded', 'failed', 'cancelled', 'skipped'])

export const attemptSchema = z.object({
  attempt: z.number().int().positive(),
  status: z
    .enum(['starting', 'running', 'succeeded', 'failed', 'timedOut', 'cancelled', 'interrupted'])
    .describe('`interrupted`: Millrace or the machine stopped under it; does not count as a retry'),
  why: why.nullable(),
  exitCode: z.number().int().nullable().describe('128 + n: killed by signal n'),
  startedAtMs: atMsOrNull('Started'),
  endedAtMs: atMsOrNull('Ended'),
})

export const progressSchema = z.object({
  fraction: z.number().min(0).max(1),
  text: z.string().describe('What the trainer said with it; may be empty'),
})

export const stepSchema = z.object({
  name: z.string(),
  status: stepStatusSchema,
  why: why.nullable(),
  needs: z.array(z.string()),
  progress: progressSchema.nullable().describe('From its `millrace:progress` lines; null: it wrote none'),
  startedAtMs: atMsOrNull('First attempt started'),
  endedAtMs: atMsOrNull('Ended'),
  retryAtMs: atMsOrNull('While it waits after a failed attempt: when it tries again'),
  attempts: z.array(attemptSchema),
})

/** What became of the model that a run made; each field is filled as soon as it is decided. */
export const outcomeSchema = z.object({
  version: z.string().nullable().describe('`model@number`; null: none was registered (yet)'),
  status: versionStatusSchema.nullable(),
  why: why.nullable().describe('The reason of the last thing that was decided'),
  release: z.string().nullable().describe('Id of the release it led to'),
  releaseStatus: z.string().nullable().describe('Status of that release'),
  settled: z.boolean().describe('True: nothing more will follow by itself'),
})

export const runSummarySchema = z.object({
  id: z.string().describe('e.g. `run-12`'),
  model: z.string(),
  status: runStatusSchema,
  why: why.nullable().describe('Why it has this status'),
  cause: z.string().describe('What started it, e.g. `newData: 2 new files match data/*.csv` or `by hand (ann)`'),
  revision: z.number().int().positive(),
  cancelWhy: why.nullable().describe('Set: it was asked to stop'),
  asOfMs: z.number().describe('Its MILLRACE_AS_OF, ms since 1970'),
  createdAtMs: atMs('Created'),
  startedAtMs: atMsOrNull('Started'),
  endedAtMs: atMsOrNull('Ended'),
  progress: z.number().min(0).max(1).describe('Over all steps'),
  outcome: outcomeSchema,
})

export const runSchema = runSummarySchema.extend({
  params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  seed: z.number(),
  codeDigest: z.string().nullable(),
  steps: z.array(stepSchema),
})

export const logChunkSchema = z.object({
  step: z.string(),
  attempt: z.number().int().positive(),
  stream: z.enum(['stdout', 'stderr']),
  offset: z.number().int().nonnegative().describe('Byte at which this piece starts in its file'),
  text: z.string().describe('A piece of the output, not cut at line ends'),
})

export type RunSummary = z.infer<typeof runSummarySchema>
export type RunView = z.infer<typeof runSchema>
export type StepView = z.infer<typeof stepSchema>
export type AttemptView = z.infer<typeof attemptSchema>
export type LogChunk = z.infer<typeof logChunkSchema>
