import { z } from 'zod'
import { atMs, atMsOrNull, why } from './schema-parts.ts'

/* Releases and rollbacks. */

export const releaseStatusSchema = z
  .enum([
    'queued',
    'preflight',
    'deploying',
    'switching',
    'shadowing',
    'canary',
    'held',
    'released',
    'failed',
    'rolled-back',
    'superseded',
    'cancelled',
  ])
  .describe(
    '`shadowing` and `canary`: it is tried under live traffic; `held`: a person is asked; `released`: it took the traffic; the last four never did, or no longer do',
  )

export const releaseSchema = z.object({
  id: z.string().describe('e.g. `release-3`'),
  kind: z.enum(['release', 'rollback']),
  version: z.string().describe('`model@number`'),
  endpoint: z.string(),
  previous: z.string().nullable().describe('What was live before, `model@number`'),
  status: releaseStatusSchema,
  routed: z
    .boolean()
    .describe('Every gateway routes by what it did: requests are answered so. False for a moment after `released`'),
  why: why.nullable().describe('Why it has this status'),
  cause: z.string().describe('Who or what wanted it, and why'),
  strategy: z.string().describe('e.g. `immediate`'),
  createdAtMs: atMs('Created'),
  endedAtMs: atMsOrNull('Ended'),
  firstAnswerAtMs: atMsOrNull('First live answer by this version'),
  leadTimeMs: z.number().nullable().describe('From the end of training to the first live answer, in ms'),
  steps: z.array(
    z.object({
      name: z.string().describe('e.g. `preflight`, `deploy`, `switch`'),
      status: z.enum(['waiting', 'running', 'done', 'failed']),
      why: why.nullable(),
      startedAtMs: atMsOrNull('Started'),
      endedAtMs: atMsOrNull('Ended'),
    }),
  ),
})

export type ReleaseView = z.infer<typeof releaseSchema>
