import { eventIterator, oc } from '@orpc/contract'
import { z } from 'zod'

import type { ErrorKind } from '../../kernel/errors.ts'
import * as c from './caller-schemas.ts'
import { canarySchema } from './canary-schemas.ts'
import { clockSchema } from './clock-schemas.ts'
import { endpointSchema } from './endpoint-schemas.ts'
import { errorSchema } from './error-schemas.ts'
import { eventSchema } from './event-schemas.ts'
import { gateSchema } from './gate-schemas.ts'
import { metricsSchema } from './metrics-schemas.ts'
import { modelSchema, modelSummarySchema } from './model-schemas.ts'
import * as m from './monitoring-schemas.ts'
import { queryResultSchema, reconciliationSchema } from './prediction-log-schemas.ts'
import { projectSchema, revisionSchema } from './project-schemas.ts'
import { releaseSchema } from './release-schemas.ts'
import * as r from './retirement-schemas.ts'
import { logChunkSchema, runSchema, runSummarySchema } from './run-schemas.ts'
import { absolutePath, by, givenAtMs, givenWhy, limit, modelName, sha256, versionRef, why } from './schema-parts.ts'
import { budgetSchema, serviceLevelSchema } from './service-level-schemas.ts'
import { statusSchema } from './status-schemas.ts'
import * as t from './triggers-schemas.ts'
import { liveSpanSchema, versionSchema, versionSummarySchema } from './version-schemas.ts'

/*
 * The control API: one contract for the server, the typed client, the CLI and the OpenAPI document.
 * RPC under /rpc (what the client speaks), REST under /api/v1 (for curl and other languages), document at /openapi.json.
 *
 * Inputs are strict: a field that is not known, say a `dryRun` that an older control plane has not learnt yet, is an error and
 * nothing is done.
 */

/** Where the domain's `kind` meets HTTP. The names are oRPC's error codes. */
export const WIRE_ERRORS = {
  INVALID: { kind: 'invalid', status: 400 },
  UNAUTHORIZED: { kind: 'unauthorized', status: 401 },
  NOT_FOUND: { kind: 'not-found', status: 404 },
  CONFLICT: { kind: 'conflict', status: 409 },
  TOO_LARGE: { kind: 'too-large', status: 413 },
  EXHAUSTED: { kind: 'exhausted', status: 429 },
  UNAVAILABLE: { kind: 'unavailable', status: 503 },
  INTERNAL: { kind: 'internal', status: 500 },
} as const satisfies Record<string, { kind: ErrorKind; status: number }>

export type WireErrorCode = keyof typeof WIRE_ERRORS

const failure = (code: WireErrorCode) => ({ status: WIRE_ERRORS[code].status, data: errorSchema })

const base = oc.errors({
  INVALID: failure('INVALID'),
  UNAUTHORIZED: failure('UNAUTHORIZED'),
  NOT_FOUND: failure('NOT_FOUND'),
  CONFLICT: failure('CONFLICT'),
  TOO_LARGE: failure('TOO_LARGE'),
  EXHAUSTED: failure('EXHAUSTED'),
  UNAVAILABLE: failure('UNAVAILABLE'),
  INTERNAL: failure('INTERNAL'),
})

const get = (path: `/${string}`, tag: string, summary: string) =>
  base.route({ method: 'GET', path, tags: [tag], summary })
const post = (path: `/${string}`, tag: string, summary: string) =>
  base.route({ method: 'POST', path, tags: [tag], summary })

const runId = z
  .string()
  .regex(/^run-\d+$/, 'a run is written run-12')
  .describe('e.g. `run-12`')
const releaseId = z
  .string()
  .regex(/^release-\d+$/, 'a release is written release-3')
  .describe('e.g. `release-3`')
const scalar = z.union([z.string(), z.number(), z.boolean()])
const overrides = z
  .record(z.string(), scalar)
  .optional()
  .describe('Override declared parameters, each by a value of its kind; a model that declares none takes any')

const project = {
  get: get('/project', 'project', 'The applied configuration').output(
    z.object({
      revision: revisionSchema,
      project: projectSchema,
      source: z.string().nullable().describe('The text it was read from'),
    }),
  ),
  apply: post('/project', 'project', 'Apply a configuration as a new revision, all of it or nothing')
    .input(
      z.strictObject({
        source: z.string().max(4_000_000).nullable().describe('Text of the configuration file, kept for people'),
        sourcePath: z.string().nullable().describe('Where that file is'),
        project: projectSchema,
        by,
      }),
    )
    .output(revisionSchema),
  revisions: get('/project/revisions', 'project', 'Every applied revision, newest first')
    .input(z.strictObject({ limit: limit.default(50) }))
    .output(z.array(revisionSchema)),
}

const models = {
  list: get('/models', 'models', 'Every model, with its champion and what keeps it from releasing by itself').output(
    z.array(modelSummarySchema),
  ),
  get: get('/models/{model}', 'models', 'One model: versions, aliases, champion, health')
    .input(z.strictObject({ model: modelName }))
    .output(modelSchema),
}

const versions = {
  list: get('/models/{model}/versions', 'versions', 'Versions of a model, newest first')
    .input(z.strictObject({ model: modelName, limit: limit.default(50) }))
    .output(z.array(versionSummarySchema)),
  get: get('/versions/{ref}', 'versions', 'One version: metrics, gate, lineage, signature, artifacts, deployment')
    .input(z.strictObject({ ref: versionRef }))
    .output(versionSchema),
  liveAt: get('/models/{model}/live-at', 'versions', 'Which version was live at a time')
    .input(z.strictObject({ model: modelName, atMs: givenAtMs('The moment asked for (calendar)') }))
    .output(liveSpanSchema),
  import: post('/models/{model}/import', 'versions', 'Bring in a model file that was made elsewhere')
    .input(
      z.strictObject({
        model: modelName,
        from: z.union(
          [
            z.strictObject({ path: absolutePath.describe('Absolute path on the machine of the control plane') }),
            z.strictObject({ digest: sha256 }),
          ],
          'must be a path or a digest, and not both',
        ),
        as: z.literal('champion').nullable().describe('`champion`: the incumbent, released without a comparison'),
        why: givenWhy,
        by,
      }),
    )
    .output(versionSummarySchema),
}

const runs = {
  list: get('/runs', 'runs', 'Runs, newest first')
    .input(z.strictObject({ model: modelName.optional(), limit: limit.default(50) }))
    .output(z.array(runSummarySchema)),
  get: get('/runs/{id}', 'runs', 'One run: steps, attempts, progress, and what became of its model')
    .input(z.strictObject({ id: runId }))
    .output(runSchema),
  start: post('/runs', 'runs', 'Train a model now')
    .input(
      z.strictObject({
        model: modelName,
        params: overrides,
        seed: z.number().int().optional(),
        asOfMs: givenAtMs('MILLRACE_AS_OF; the calendar time unless given').optional(),
        why: why.optional(),
        by,
      }),
    )
    .output(runSummarySchema),
  cancel: post('/runs/{id}/cancel', 'runs', 'Stop a run with its whole process tree')
    .input(z.strictObject({ id: runId, why: why.optional(), by }))
    .output(runSummarySchema),
  logs: get('/runs/{id}/logs', 'runs', 'The output of a run, as server-sent events; with `follow` until it ends')
    .input(
      z.strictObject({
        id: runId,
        step: z.string().optional().describe('Only this step'),
        attempt: z.number().int().positive().optional().describe('Only this attempt; the last one unless given'),
        follow: z.boolean().default(false),
      }),
    )
    .output(eventIterator(logChunkSchema)),
}

const triggerName = z.string().min(1).max(100).describe('Name of a trigger or a backfill, e.g. `cron-1`')

const triggers = {
  list: get('/triggers', 'triggers', 'Every trigger: what it fires for, its state and why, when it fires next')
    .input(z.strictObject({ model: modelName.optional(), trigger: triggerName.optional() }))
    .output(z.array(t.triggerDetailSchema)),
  history: get('/triggers/history', 'triggers', 'What triggers fired and did not fire, and why, newest first')
    .input(z.strictObject({ model: modelName.optional(), trigger: triggerName.optional(), limit: limit.default(50) }))
    .output(z.array(t.triggerEventSchema)),
  pause: post('/models/{model}/triggers/pause', 'triggers', 'Let a trigger, or every one of the model, fire nothing')
    .input(z.strictObject({ model: modelName, trigger: triggerName.optional(), why: givenWhy, by }))
    .output(z.array(t.triggerDetailSchema)),
  resume: post('/models/{model}/triggers/resume', 'triggers', 'Let it fire again; what it missed only by catchUp')
    .input(
      z.strictObject({
        model: modelName,
        trigger: triggerName.optional(),
        catchUp: z.boolean().default(false).describe('Fire once for what was missed during the pause'),
        why: why.optional(),
        by,
      }),
    )
    .output(z.array(t.triggerDetailSchema)),
}

const backfills = {
  list: get('/backfills', 'triggers', 'Backfills, newest first')
    .input(z.strictObject({ model: modelName.optional() }))
    .output(z.array(t.backfillSchema)),
  start: post('/models/{model}/backfill', 'triggers', 'Train as of past dates, one after the other; releases nothing')
    .input(
      z.strictObject({
        model: modelName,
        fromMs: givenAtMs('The first as-of date'),
        untilMs: givenAtMs('No as-of date lies after it'),
        everyMs: z.number().int().min(60_000).describe('From one date to the next, in ms; at least a minute'),
        params: overrides,
        why: why.optional(),
        by,
      }),
    )
    .output(t.backfillSchema),
  cancel: post('/models/{model}/backfills/{backfill}/cancel', 'triggers', 'End a backfill with the run it has open')
    .input(z.strictObject({ model: modelName, backfill: triggerName, why: givenWhy, by }))
    .output(t.backfillSchema),
}

const gates = {
  get: get('/versions/{ref}/gate', 'gates', 'The verdict on a version: every check with its figures and its reason')
    .input(z.strictObject({ ref: versionRef }))
    .output(gateSchema),
  approve: post('/versions/{ref}/approve', 'gates', 'Let a version through, with a reason that is kept')
    .input(z.strictObject({ ref: versionRef, why: givenWhy, by }))
    .output(versionSummarySchema),
  reject: post('/versions/{ref}/reject', 'gates', 'Refuse a version, with a reason that is kept')
    .input(z.strictObject({ ref: versionRef, why: givenWhy, by }))
    .output(versionSummarySchema),
}

const releases = {
  list: get('/releases', 'releases', 'Releases, newest first')
    .input(z.strictObject({ model: modelName.optional(), limit: limit.default(50) }))
    .output(z.array(releaseSchema)),
  get: get('/releases/{id}', 'releases', 'One release: status, reason, steps with their times')
    .input(z.strictObject({ id: releaseId }))
    .output(releaseSchema),
  create: post('/releases', 'releases', 'Release a version that passed or was approved')
    .input(z.strictObject({ ref: versionRef, why: givenWhy, by }))
    .output(releaseSchema),
  rollback: post('/endpoints/{endpoint}/rollback', 'releases', 'Give the traffic back to an earlier version')
    .input(
      z.strictObject({
        endpoint: z.string().min(1),
        to: versionRef.optional().describe('The version before the live one unless given'),
        why: givenWhy,
        by,
      }),
    )
    .output(releaseSchema),
}

const freezes = {
  list: get('/freezes', 'freezes', 'What keeps models from releasing by themselves, and what did, newest first')
    .input(z.strictObject({ model: modelName.optional(), limit: limit.default(50) }))
    .output(z.array(r.freezeSchema)),
  create: post('/models/{model}/freeze', 'freezes', 'Release nothing of a model by itself until it is unfrozen')
    .input(z.strictObject({ model: modelName, why: givenWhy, by }))
    .output(r.freezeSchema),
  end: post('/models/{model}/unfreeze', 'freezes', 'End every freeze of a model; what waited is decided anew')
    .input(z.strictObject({ model: modelName, why: givenWhy, by }))
    .output(z.array(r.freezeSchema)),
}

const retirement = {
  list: get('/retirement', 'retirement', 'Every version: what becomes of it, why, and what holds it')
    .input(z.strictObject({ model: modelName.optional(), deleted: z.boolean().default(false) }))
    .output(z.array(r.retirementSchema)),
  retire: post('/versions/{ref}/retire', 'retirement', 'Take a version out of service; refused while it is in use')
    .input(
      z.strictObject({ ref: versionRef, why: givenWhy, by, dryRun: z.boolean().default(false).describe('Only say') }),
    )
    .output(r.retirementSchema),
  revive: post('/versions/{ref}/revive', 'retirement', 'Bring back a version that is out of service')
    .input(z.strictObject({ ref: versionRef, why: givenWhy, by }))
    .output(r.retirementSchema),
  keep: post('/versions/{ref}/keep', 'retirement', 'Protect a version from every policy, until a time or for good')
    .input(
      z.strictObject({
        ref: versionRef,
        untilMs: givenAtMs('Until when (calendar); null: for good').nullable(),
        why: givenWhy,
        by,
      }),
    )
    .output(r.retirementSchema),
  files: get('/retirement/files', 'retirement', 'What the kept files are for, and what nothing is made of').output(
    r.artifactsSchema,
  ),
}

const endpointName = z.string().min(1).describe('The name that clients call')

const canaries = {
  list: get('/canaries', 'releases', 'What is tried under live traffic now, with its evidence').output(
    z.array(canarySchema),
  ),
  get: get('/endpoints/{endpoint}/canary', 'releases', 'The canary or shadow of an endpoint, or the last one')
    .input(z.strictObject({ endpoint: z.string().min(1) }))
    .output(canarySchema),
  stop: post('/endpoints/{endpoint}/canary/stop', 'releases', 'End it: the champion gets all traffic back')
    .input(z.strictObject({ endpoint: z.string().min(1), why: givenWhy, by }))
    .output(releaseSchema),
  promote: post('/endpoints/{endpoint}/canary/promote', 'releases', 'End it with all traffic, whatever the evidence')
    .input(z.strictObject({ endpoint: z.string().min(1), why: givenWhy, by }))
    .output(releaseSchema),
}

const endpoints = {
  disable: post('/endpoints/{endpoint}/disable', 'endpoints', 'Answer every request by the fallback, within a second')
    .input(z.strictObject({ endpoint: endpointName, why: givenWhy, by }))
    .output(endpointSchema),
  enable: post('/endpoints/{endpoint}/enable', 'endpoints', 'Put a disabled endpoint into service again')
    .input(z.strictObject({ endpoint: endpointName, by }))
    .output(endpointSchema),
  join: post('/endpoints/{endpoint}/members/{ref}/join', 'endpoints', 'Let a version that could not join try again')
    .input(z.strictObject({ endpoint: endpointName, ref: versionRef, why: givenWhy, by }))
    .output(endpointSchema),
  list: get('/endpoints', 'endpoints', 'What clients can call: versions, weights, replicas, address').output(
    z.array(endpointSchema),
  ),
}

const predictionLog = {
  status: get('/prediction-log', 'prediction log', 'Served = logged = in the lake').output(reconciliationSchema),
  query: post('/prediction-log/query', 'prediction log', 'SQL (DuckDB) over predictions and labels; read only')
    .input(
      z.strictObject({
        sql: z.string().min(1).max(1_000_000),
        limit: z.number().int().min(1).max(100_000).default(1_000).describe('At most so many rows'),
      }),
    )
    .output(queryResultSchema),
}

const status = {
  get: get('/status', 'status', 'Everything at a glance').output(statusSchema),
}

const events = {
  list: get('/events', 'events', 'What happened, oldest first: from one sequence number on, or the newest')
    .input(
      z.strictObject({
        afterSeq: z.number().int().nonnegative().optional().describe('Unless given: the newest events'),
        entity: z.string().optional().describe('Only this kind, e.g. `run`'),
        limit: z.number().int().min(1).max(10_000).default(1_000),
      }),
    )
    .output(z.array(eventSchema)),
  watch: get('/events/watch', 'events', 'What happens, as server-sent events; does not end by itself')
    .input(
      z.strictObject({
        afterSeq: z.number().int().nonnegative().optional().describe('Unless given: only what happens from now on'),
        entity: z.string().optional(),
      }),
    )
    .output(eventIterator(eventSchema)),
}

const clock = {
  get: get('/clock', 'clock', 'Calendar time, and who holds it').output(clockSchema),
  set: post('/clock', 'clock', 'Move the rehearsal clock; never backwards')
    .input(z.strictObject({ calendarMs: givenAtMs('The new calendar time') }))
    .output(clockSchema),
  hold: post('/clock/hold', 'clock', 'Stop calendar time until the same name releases it')
    .input(z.strictObject({ by, why: givenWhy }))
    .output(clockSchema),
  release: post('/clock/release', 'clock', 'Let calendar time go on').input(z.strictObject({ by })).output(clockSchema),
}

const serviceLevels = {
  get: get('/service-levels', 'service levels', 'Indicators of each phase with their objectives').output(
    z.array(serviceLevelSchema),
  ),
  budgets: get('/service-levels/budgets', 'service levels', 'Error budgets: what is left, how fast it burns')
    .input(z.strictObject({ model: modelName.optional() }))
    .output(z.array(budgetSchema)),
}

const metrics = {
  get: get('/metrics', 'monitoring', 'The metrics of one process: the control plane, a gateway or a replica')
    .input(
      z.strictObject({
        process: z.string().optional().describe('e.g. `gateway`, `replica-9`; default: `control-plane`'),
      }),
    )
    .output(metricsSchema),
}

const monitors = {
  list: get('/monitors', 'monitoring', 'What each monitor said last: value, limit, verdict, reason')
    .input(z.strictObject({ model: modelName.optional() }))
    .output(z.array(m.monitorSchema)),
}

const alerts = {
  list: get('/alerts', 'monitoring', 'Alerts that are open, newest first; with `all` those that are resolved as well')
    .input(
      z.strictObject({
        model: modelName.optional(),
        all: z.boolean().default(false),
        limit: limit.default(100),
      }),
    )
    .output(z.array(m.alertSchema)),
  acknowledge: post('/alerts/{id}/acknowledge', 'monitoring', 'Say that somebody looks at an alert')
    .input(z.strictObject({ id: m.alertId, why: givenWhy, by }))
    .output(m.alertSchema),
  silence: post('/alerts/{id}/silence', 'monitoring', 'Send nothing about an alert for a while; it goes on')
    .input(
      z.strictObject({
        id: m.alertId,
        forMs: z
          .number()
          .int()
          .min(1_000, 'must be a second at least')
          .max(90 * 86_400_000, 'must be 90 days at most')
          .describe('Real time in ms, at most 90 days'),
        why: givenWhy,
        by,
      }),
    )
    .output(m.alertSchema),
}

const callers = {
  list: get('/callers', 'callers', 'Who may call endpoints: keys, pins, last use')
    .input(z.strictObject({ revoked: z.boolean().default(false).describe('Those that were revoked as well') }))
    .output(z.array(c.callerSchema)),
  add: post('/callers', 'callers', 'Make a caller known; its key is in the answer and nowhere else')
    .input(c.callerInput.add.extend({ by }).strict())
    .output(c.callerWithKeySchema),
  rotate: post('/callers/{name}/rotate', 'callers', 'A new key for a caller; the earlier ones end after a while')
    .input(z.strictObject({ name: c.callerName, keepMs: c.callerInput.keepMs, by }))
    .output(c.callerWithKeySchema),
  revoke: post('/callers/{name}/revoke', 'callers', 'Refuse a caller from now on, within a second')
    .input(z.strictObject({ name: c.callerName, why: givenWhy, by }))
    .output(c.callerSchema),
  pin: post('/endpoints/{endpoint}/pins/{caller}', 'callers', 'Keep a caller on a version for a while, or renew that')
    .input(
      z.strictObject({
        endpoint: endpointName,
        caller: c.callerName,
        ref: versionRef,
        forMs: c.callerInput.forMs,
        why: why.nullable().default(null),
        by,
      }),
    )
    .output(c.pinSchema),
  unpin: post('/endpoints/{endpoint}/pins/{caller}/end', 'callers', 'Let a caller be served as others are')
    .input(z.strictObject({ endpoint: endpointName, caller: c.callerName, by }))
    .output(c.callerSchema),
}

export const contract = {
  project,
  models,
  versions,
  triggers,
  backfills,
  runs,
  gates,
  releases,
  canaries,
  freezes,
  retirement,
  endpoints,
  callers,
  predictionLog,
  status,
  events,
  clock,
  serviceLevels,
  monitors,
  alerts,
  metrics,
}

export type Contract = typeof contract
