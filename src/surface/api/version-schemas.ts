import { z } from 'zod'
import { approvalSchema, gateSchema } from './gate-schemas.ts'
import { atMs, atMsOrNull, count, why } from './schema-parts.ts'

/* Model versions: what they are made from, where they stand. */

const datatype = z.enum([
  'BOOL',
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'FP16',
  'FP32',
  'FP64',
  'BYTES',
])

const tensorSpec = z.object({
  name: z.string(),
  datatype,
  shape: z.array(z.number()).describe('Axis sizes, batch first; −1 = dynamic'),
  columns: z.array(z.string()).nullable().describe('Names of the columns along the last axis; null: not a table'),
})

export const signatureSchema = z
  .object({
    inputs: z.array(tensorSpec),
    outputs: z.array(tensorSpec),
    enriched: z
      .object({ asked: z.array(tensorSpec), keys: z.array(tensorSpec) })
      .optional()
      .describe('Where tables give some of the inputs: what callers send instead'),
    prepared: z
      .object({ fed: z.array(tensorSpec) })
      .optional()
      .describe('Where a step prepares the inputs: what it makes of them, which the model is fed'),
  })
  .describe('What goes into the model and what comes out')

export const artifactSchema = z.object({
  name: z.string().describe('e.g. `model`, `losses`, `profile`, or what a step left: `train/metrics.json`'),
  digest: z.string(),
  sizeBytes: z.number().nullable(),
})

export const lineageSchema = z
  .object({
    run: z.string().nullable().describe('Null: imported'),
    importedFrom: z.string().nullable(),
    revision: z.number().int().nullable().describe('The configuration it was made under'),
    codeDigest: z.string().nullable(),
    params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    seed: z.number().nullable(),
    asOfMs: z.number().nullable(),
    inputs: z.array(z.object({ step: z.string(), name: z.string(), digest: z.string() })),
    environments: z.array(z.object({ step: z.string(), environment: z.string(), reproducible: z.boolean() })),
    holdoutDigest: z.string().nullable(),
    registration: z
      .object({ original: z.string().nullable(), notes: z.array(z.string()) })
      .optional()
      .describe('Where the ONNX file was changed to be servable: the digest of the file as written, and what changed'),
    server: z.object({ command: z.string() }).optional().describe("What serves it instead of Millrace's own server"),
    prepare: z
      .object({ command: z.string() })
      .optional()
      .describe('What makes that which it is fed of what callers send'),
    tables: z
      .array(
        z.object({
          table: z.string(),
          key: z.union([z.object({ column: z.string() }), z.object({ parameter: z.string() })]),
          columns: z.array(z.string()),
          stalenessMs: z.number().nullable(),
          missing: z.union([z.string(), z.record(z.string(), z.union([z.number(), z.string(), z.boolean()]))]),
          stale: z.string(),
        }),
      )
      .optional()
      .describe('Tables that came with it and give some of its inputs to requests'),
  })
  .describe('Everything that the version was made from')

export const versionStatusSchema = z
  .enum(['candidate', 'evaluating', 'passed', 'failed', 'inconclusive', 'error'])
  .describe('Where the proof stands: `candidate` waits for evaluation, the last four are the verdict of the gate')

export const deploymentSchema = z.object({
  id: z.string(),
  status: z.enum(['starting', 'ready', 'draining', 'stopped', 'failed']),
  why: why.nullable(),
  replicasReady: count('Replicas that answer'),
  replicasWanted: count('Replicas that should'),
  weightPercent: z.number().describe('Share of the live traffic, 0–100; 0: kept warm'),
})

export const versionSummarySchema = z.object({
  ref: z.string().describe('`model@number`'),
  model: z.string(),
  number: z.number().int().positive(),
  status: versionStatusSchema,
  why: why.nullable().describe('Why it has this status'),
  standing: versionStatusSchema
    .or(z.enum(['approved', 'rejected']))
    .describe("Where it stands: a person's word, where there is one, over where the proof stands"),
  aliases: z.array(z.string()).describe('e.g. `["champion"]`'),
  approval: approvalSchema.nullable(),
  release: z
    .enum(['none', 'awaiting-approval', 'spare', 'releasing', 'live', 'warm', 'retired'])
    .describe(
      '`none`: not decided or not let through; `spare`: passed, not released; `warm`: replicas up without live traffic; `retired`: was live before',
    ),
  releaseWhy: why.nullable().describe('Why it is or is not released'),
  metrics: z.record(z.string(), z.number().nullable()).nullable().describe('Null: not evaluated'),
  createdAtMs: atMs('When training ended'),
  liveSinceMs: atMsOrNull('Since when it answers live traffic'),
  retirement: z
    .object({ status: z.enum(['kept', 'proposed', 'draining', 'stopped', 'cold', 'deleting', 'deleted']), why })
    .nullable()
    .describe('On its way out of service, or protected by a person; null: kept like any other'),
})

export const versionSchema = versionSummarySchema.extend({
  gate: gateSchema.nullable(),
  lineage: lineageSchema,
  reportedMetrics: z
    .record(z.string(), z.number())
    .nullable()
    .describe('What its trainer wrote into metrics.json, e.g. `train.logLoss`; nothing is decided by it'),
  signature: signatureSchema.nullable(),
  artifacts: z.array(artifactSchema),
  deployment: deploymentSchema.nullable(),
  history: z
    .array(
      z.object({ alias: z.string(), fromMs: atMs('Given'), untilMs: atMsOrNull('Taken away'), why: why.nullable() }),
    )
    .describe('Every alias it ever had'),
})

export const liveSpanSchema = z.object({
  version: z.string().nullable().describe('`model@number`; null: none was live then'),
  fromMs: atMsOrNull('Live from'),
  untilMs: atMsOrNull('Live until'),
  why: why.nullable().describe('Why it became the champion'),
})

export type VersionSummary = z.infer<typeof versionSummarySchema>
export type VersionView = z.infer<typeof versionSchema>
export type LiveSpan = z.infer<typeof liveSpanSchema>
