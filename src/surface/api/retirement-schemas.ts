import { z } from 'zod'
import { atMs, why } from './schema-parts.ts'

/* Freezes, disabled endpoints and the retirement of versions. */

export const freezeSchema = z
  .object({
    id: z.string().describe('e.g. `freeze-2`'),
    model: z.string(),
    endpoint: z.string(),
    kind: z.enum(['rollback', 'stability', 'alert', 'budget', 'person']).describe('Who or what asked for it'),
    status: z.enum(['active', 'ended']),
    why,
    unfreezes: z.string().describe('What ends it'),
    by: z.string(),
    createdAtMs: atMs('Since when'),
    endedAtMs: z.number().nullable().describe('Until when, ms since 1970; null: it is active'),
    endedWhy: why.nullable(),
  })
  .describe('While it is active nothing is released on the model by itself; what a person approves is')

export const retirementStatusSchema = z
  .enum(['kept', 'proposed', 'draining', 'stopped', 'cold', 'deleting', 'deleted'])
  .describe(
    '`cold`: nothing runs, files are kept and it can be revived; `deleted`: only its lineage and figures are left',
  )

export const retirementSchema = z
  .object({
    version: z.string().describe('`model@number`'),
    model: z.string(),
    status: retirementStatusSchema,
    policy: z
      .string()
      .nullable()
      .describe('`age`, `superseded`, `idle`, `outdated`, `person` or `use`; null: none yet'),
    why: why.nullable().describe('Why it has this status'),
    heldBy: z.array(z.string()).describe('What holds it now, one line each; empty: nothing does'),
    next: z.enum(['propose', 'keep', 'note', 'drain', 'stop', 'cool', 'revive', 'delete']).nullable(),
    outlook: z.string().describe('What comes next and why, or what it waits for'),
    by: z.string().nullable(),
    statusAtMs: z.number().nullable().describe('Since when it has this status (calendar), ms since 1970'),
    keptUntilMs: z.number().nullable().describe('Protected by a person until then (calendar), ms since 1970'),
  })
  .describe('Where a version stands on its way out of service')

const amount = {
  files: z.number().int(),
  sizeBytes: z.number(),
}

export const artifactsSchema = z
  .object({
    kept: z
      .array(z.object({ use: z.enum(['model', 'evaluation', 'code', 'output', 'input']), ...amount }))
      .describe('What something is made of, the largest share first'),
    unused: z.object(amount).describe('What nothing is made of'),
    largest: z
      .array(
        z.object({
          digest: z.string(),
          sizeBytes: z.number(),
          removableInMs: z.number().describe('Real time; and not before two passes have found it unused'),
        }),
      )
      .describe('Of what is unused, 100 at most'),
    removed: z.object(amount).describe('Since the control plane was started'),
    lastPassAgoMs: z.number().nullable().describe('Null: none since the control plane was started'),
    refused: z.string().nullable().describe('Why nothing is removed; null: nothing is in the way'),
  })
  .describe('What the kept files are for')

export type ArtifactsView = z.infer<typeof artifactsSchema>
export type FreezeView = z.infer<typeof freezeSchema>
export type RetirementRow = z.infer<typeof retirementSchema>
