import { z } from 'zod'
import { atMs, atMsOrNull, by, why } from './schema-parts.ts'

/* Verdicts on versions. */

export const verdictSchema = z.enum(['passed', 'failed', 'inconclusive', 'error'])

export const checkSchema = z.object({
  name: z.string().describe('Name of the check, e.g. `beats-constant`, `champion`, `threshold:auc`'),
  verdict: z.enum(['passed', 'failed', 'inconclusive', 'error', 'warning', 'skipped']),
  why,
  figures: z
    .record(z.string(), z.union([z.number(), z.string(), z.boolean(), z.null()]))
    .describe('The numbers behind the verdict, e.g. `{ difference: -0.012, low: -0.015, high: -0.009, rows: 5000 }`'),
})

export const approvalSchema = z.object({
  decision: z.enum(['approved', 'rejected']),
  by,
  why,
  atMs: atMs('When'),
})

export const gateSchema = z
  .object({
    version: z.string().describe('`model@number`'),
    verdict: verdictSchema.nullable().describe('Null: not decided yet'),
    why,
    champion: z.string().nullable().describe('What it was compared with, `model@number`; null: no champion then'),
    checks: z.array(checkSchema),
    metrics: z.record(z.string(), z.number().nullable()).describe('Measured on the holdout, e.g. `{ auc: 0.72 }`'),
    championMetrics: z.record(z.string(), z.number().nullable()).nullable().describe('The same, of the champion'),
    rows: z.number().int().nullable().describe('Rows of the holdout that were compared'),
    approval: approvalSchema.nullable().describe("A person's word; null: none was given"),
    decidedAtMs: atMsOrNull('When the verdict fell'),
  })
  .describe('The verdict on a version, with every check, its figures and its reason')

export type Approval = z.infer<typeof approvalSchema>
export type GateView = z.infer<typeof gateSchema>
