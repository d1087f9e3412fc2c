import { z } from 'zod'

import type { Project } from '../../config/project.ts'
import { gatherSchema } from './gather-schemas.ts'
import { alertSchema, monitoredSchema } from './monitoring-schemas.ts'
import { budgetSchema } from './service-level-schemas.ts'

/*
 * The nouns of the control API, in the order of the loop. Units are in the names: `…Ms` is milliseconds, `…AtMs` and
 * `…SinceMs` are milliseconds since 1970, `…Bytes` bytes, `…Percent` 0–100. What is not known (yet) is null, never absent.
 */

// ── Small parts ────────────────────────────────────────────────────────────────────────────────────────────────

const atMs = (what: string) => z.number().describe(`${what}, ms since 1970`)
const atMsOrNull = (what: string) => z.number().nullable().describe(`${what}, ms since 1970; null: not yet`)
const durationMs = (what: string) => z.number().nonnegative().describe(`${what}, in ms`)
const count = (what: string) => z.number().int().nonnegative().describe(what)

export const modelName = z.string().min(1).max(100).describe('Name of a model, e.g. `late-flight`')
export const versionRef = z
  .string()
  .regex(/^[^@\s/]+@[^@\s/]+$/, 'a version is written model@number or model@alias, e.g. late-flight@7')
  .describe('A model version: `model@number` or `model@alias`, e.g. `late-flight@7`, `late-flight@champion`')
export const why = z.string().max(2_000).describe('The reason, for people; with its numbers')
const givenWhy = z.string().trim().min(1, 'a reason is needed').max(2_000).describe('The reason, kept for good')
const by = z.string().min(1).max(200).describe('Who does this')
const limit = z.number().int().min(1).max(1_000).describe('At most so many, newest first')
const sha256 = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .describe('Digest of an artifact: `sha256:` and 64 hex digits')

export const input = { atMs, by, givenWhy, limit, sha256 }

/** What a failed call answers with: a MillraceError's `toJSON`. */
export const errorSchema = z
  .object({
    code: z.string().describe('Stable code, `MR_…`, listed in docs/reference/errors.md'),
    kind: z.enum([
      'invalid',
      'unauthorized',
      'not-found',
      'conflict',
      'too-large',
      'exhausted',
      'unavailable',
      'internal',
    ]),
    message: z.string().describe('What failed, with the values'),
    fix: z.string().optional().describe('The next move'),
    retryable: z.boolean().describe('True when the same call may pass later without anybody changing anything'),
  })
  .describe('What failed and what to do next')

// ── Project ────────────────────────────────────────────────────────────────────────────────────────────────────

/** The resolved configuration. Its shape is config/project.ts; only what routing a request needs is checked here. */
export const projectSchema = z
  .looseObject({ name: z.string(), root: z.string(), models: z.array(z.looseObject({ name: z.string() })) })
  .describe('The configuration with every default filled in') as unknown as z.ZodType<Project, Project>

export const revisionSchema = z
  .object({
    revision: z.number().int().positive().describe('Counts from 1 within the installation'),
    project: z.string().describe('Name of the project'),
    digest: z.string().describe('Digest of the resolved configuration; applying the same again makes no new revision'),
    sourcePath: z.string().nullable().describe('The file it was read from'),
    by,
    appliedAtMs: atMs('When it was applied'),
    models: z.array(z.string()).describe('Names of the models it declares'),
    changes: z.array(z.string()).describe('What it changed, one line each; empty when nothing did'),
  })
  .describe('One applied configuration; immutable')

// ── Model versions ─────────────────────────────────────────────────────────────────────────────────────────────

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
  })
  .describe('What goes into the model and what comes out')

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

export const artifactSchema = z.object({
  name: z.string().describe('e.g. `model`, `losses`, `profile`, `output/metrics.json`'),
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
  signature: signatureSchema.nullable(),
  artifacts: z.array(artifactSchema),
  deployment: deploymentSchema.nullable(),
  history: z
    .array(
      z.object({ alias: z.string(), fromMs: atMs('Given'), untilMs: atMsOrNull('Taken away'), why: why.nullable() }),
    )
    .describe('Every alias it ever had'),
})

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

export const liveSpanSchema = z.object({
  version: z.string().nullable().describe('`model@number`; null: none was live then'),
  fromMs: atMsOrNull('Live from'),
  untilMs: atMsOrNull('Live until'),
  why: why.nullable().describe('Why it became the champion'),
})

// ── Runs ───────────────────────────────────────────────────────────────────────────────────────────────────────

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

// ── Releases, endpoints ────────────────────────────────────────────────────────────────────────────────────────

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

export const endpointSchema = z.object({
  name: z.string(),
  model: z.string(),
  url: z.string().nullable().describe('Where to POST a v2 infer request; null: the gateway is not up'),
  port: z.number().int().nullable().describe("The gateway's port"),
  logMode: z.enum(['relaxed', 'durable', 'off']),
  state: z
    .enum(['serving', 'asleep', 'degraded', 'down', 'empty', 'disabled'])
    .describe(
      '`asleep`: scaled to zero, the next request wakes it; `empty`: nothing was ever released; ' +
        '`disabled`: a person took it out, its fallback answers',
    ),
  why: why.nullable(),
  members: z.array(
    z.object({
      version: z.string().describe('`model@number`'),
      deployment: z.string(),
      weightPercent: z.number().describe('0: kept warm'),
      replicasReady: count('Replicas that answer'),
      replicasWanted: count('Replicas that should'),
    }),
  ),
  requests: count('Answered so far, all versions'),
  failed: count('Of them failed (5xx or no answer)'),
  gather: gatherSchema.nullable().describe('Of an endpoint that asks several versions at once'),
})

// ── Prediction log and lake ────────────────────────────────────────────────────────────────────────────────────

export const reconciliationSchema = z
  .object({
    answered: count('Predictions answered with 2xx'),
    logged: count('Written to the spool'),
    sampledOut: count('Not logged, as declared'),
    dropped: count('Not logged because the disk was full (relaxed mode)'),
    inLake: count('Rows of requests in the lake (each once)'),
    inSpool: count('On disk, not yet in the lake'),
    labels: count('Labels received'),
    labelsMatched: count('Labels whose prediction is in the lake'),
    labelsUnmatched: count('Labels without a prediction (yet)'),
    lagMs: durationMs('Age of the oldest record that is not in the lake'),
    manifest: count('Newest manifest of the lake; 0: empty'),
    agrees: z
      .boolean()
      .describe(
        'answered = logged + sampled out + dropped, and logged = in the lake + in the spool; a difference counts when it stays',
      ),
    why: why.nullable().describe('Where it disagrees'),
  })
  .describe('Served = logged = in the lake')

export const queryResultSchema = z.object({
  columns: z.array(z.object({ name: z.string(), type: z.string().describe("DuckDB's type") })),
  rows: z.array(z.array(z.unknown())).describe('Values by column; whole numbers beyond 2^53 and decimals as text'),
  truncated: z.boolean().describe('True: there were more rows than the limit'),
  manifest: count('The manifest it was read at'),
  elapsedMs: durationMs('How long it took'),
})

// ── Status, events, clock ──────────────────────────────────────────────────────────────────────────────────────

export const clockSchema = z.object({
  calendarMs: atMs('Calendar time'),
  epochMs: atMs('Real time'),
  rehearsed: z.boolean().describe('True: the calendar is not the real one'),
  holds: z
    .array(z.object({ by: z.string(), why, sinceMs: atMs('Since (real time)') }))
    .describe('While there is one, calendar time stands still'),
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

export const statusSchema = z.object({
  project: z.object({ name: z.string(), revision: z.number().int(), root: z.string() }).nullable(),
  controlPlane: z.object({
    version: z.string(),
    pid: z.number().int(),
    startedAtMs: atMs('Started'),
    dataDir: z.string(),
    store: z.enum(['pglite', 'postgres']),
    apiUrl: z.string().nullable().describe('Where the control API listens on TCP; null: unix socket only'),
  }),
  clock: clockSchema,
  processes: z.array(
    z.object({
      id: z.string(),
      kind: z.string().describe('supervisor, control-plane, gateway, replica, step, job'),
      pid: z.number().int().nullable(),
      state: z.string().describe('running, starting, restarting, stopped …'),
      startedAtMs: atMsOrNull('Started'),
      restarts: count('Times it was restarted'),
      why: why.nullable(),
    }),
  ),
  endpoints: z.array(endpointSchema),
  replicas: z.array(
    z.object({
      id: z.string(),
      deployment: z.string(),
      version: z.string(),
      state: z.enum(['starting', 'loading', 'ready', 'draining', 'failed', 'gone']),
      why: why.nullable(),
      pid: z.number().int().nullable(),
      httpPort: z.number().int().nullable(),
      inFlight: count('Requests being answered'),
    }),
  ),
  runs: z.array(runSummarySchema).describe('In progress'),
  releases: z.array(releaseSchema).describe('In progress'),
  waiting: z.array(z.object({ version: z.string(), why })).describe('Versions that wait for a person'),
  triggers: z.array(triggerSchema),
  reconciliation: reconciliationSchema,
  serviceLevels: z.array(serviceLevelSchema),
  budgets: z.array(budgetSchema),
  alerts: z.array(alertSchema).describe('That fire now, the gravest first'),
  monitoring: z.array(monitoredSchema).describe('How far the windows of each model have been judged'),
  disk: z.object({
    freeBytes: z.number(),
    minFreeBytes: z.number(),
    low: z.boolean().describe('True: nothing new is accepted that would write'),
  }),
  warnings: z.array(z.object({ text: z.string(), fix: z.string().nullable() })),
})

// ── Types ──────────────────────────────────────────────────────────────────────────────────────────────────────

export type WireError = z.infer<typeof errorSchema>
export type Revision = z.infer<typeof revisionSchema>
export type ModelSummary = z.infer<typeof modelSummarySchema>
export type ModelView = z.infer<typeof modelSchema>
export type VersionSummary = z.infer<typeof versionSummarySchema>
export type VersionView = z.infer<typeof versionSchema>
export type Approval = z.infer<typeof approvalSchema>
export type LiveSpan = z.infer<typeof liveSpanSchema>
export type GateView = z.infer<typeof gateSchema>
export type RunSummary = z.infer<typeof runSummarySchema>
export type RunView = z.infer<typeof runSchema>
export type StepView = z.infer<typeof stepSchema>
export type AttemptView = z.infer<typeof attemptSchema>
export type LogChunk = z.infer<typeof logChunkSchema>
export type ReleaseView = z.infer<typeof releaseSchema>
export type EndpointView = z.infer<typeof endpointSchema>
export type Reconciliation = z.infer<typeof reconciliationSchema>
export type QueryResult = z.infer<typeof queryResultSchema>
export type ClockView = z.infer<typeof clockSchema>
export type ServiceLevel = z.infer<typeof serviceLevelSchema>
export type EventView = z.infer<typeof eventSchema>
export type TriggerView = z.infer<typeof triggerSchema>
export type StatusView = z.infer<typeof statusSchema>
