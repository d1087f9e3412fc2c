import { z } from 'zod'
import { clockSchema } from './clock-schemas.ts'
import { endpointSchema } from './endpoint-schemas.ts'
import { alertSchema, monitoredSchema } from './monitoring-schemas.ts'
import { reconciliationSchema } from './prediction-log-schemas.ts'
import { releaseSchema } from './release-schemas.ts'
import { runSummarySchema } from './run-schemas.ts'
import { atMs, atMsOrNull, count, why } from './schema-parts.ts'
import { budgetSchema, serviceLevelSchema } from './service-level-schemas.ts'
import { triggerSchema } from './triggers-schemas.ts'

/* Everything at a glance. */

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

export type StatusView = z.infer<typeof statusSchema>
