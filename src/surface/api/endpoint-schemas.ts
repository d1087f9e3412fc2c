import { z } from 'zod'
import { gatherSchema } from './gather-schemas.ts'
import { count, why } from './schema-parts.ts'

/* What clients can call. */

export const endpointSchema = z.object({
  name: z.string(),
  model: z.string(),
  url: z.string().nullable().describe('Where to POST a v2 infer request; null: the gateway is not up'),
  port: z.number().int().nullable().describe("The gateway's port"),
  grpcPort: z.number().int().nullable().describe("The gateway's port for gRPC; null: it speaks none"),
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

export type EndpointView = z.infer<typeof endpointSchema>
