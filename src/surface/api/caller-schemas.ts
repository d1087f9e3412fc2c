import { z } from 'zod'
import { nameRule, namePattern } from '../../config/schema-fields.ts'
import { atMs } from './schema-parts.ts'

/* Callers, their keys, and the versions that they are kept on. */

const DAY_MS = 86_400_000

const atMsOrNull = (what: string) => z.number().nullable().describe(`${what}, ms since 1970; null: none`)

export const callerName = z.string().regex(namePattern, nameRule).describe('Name of a caller, e.g. `booking-site`')

const commonName = z.string().min(1).max(64, 'a common name has at most 64 letters')

export const pinSchema = z
  .object({
    caller: z.string(),
    endpoint: z.string(),
    version: z.string().describe('`model@number`'),
    by: z.string(),
    why: z.string().nullable(),
    pinnedAtMs: atMs('Since when, or renewed when'),
    expiresAtMs: atMs('Unless it is renewed'),
    endsSoon: z.boolean().describe('Within a week'),
  })
  .describe('Keeps a caller on a version, whatever the shares of the endpoint are')

export const callerSchema = z
  .object({
    name: z.string(),
    endpoints: z.array(z.string()).nullable().describe('That it may call; null: all'),
    commonNames: z.array(z.string()).describe('Of client certificates that are this caller'),
    concurrency: z.number().int().nullable().describe('Requests at once over all endpoints; null: no limit of its own'),
    keys: z.array(
      z.object({
        hint: z.string().describe('Its first letters'),
        createdAtMs: atMs('Made'),
        endsAtMs: atMsOrNull('From then on it is refused'),
      }),
    ),
    pins: z.array(pinSchema),
    requests: z.number().int().describe('As gateways have counted them'),
    lastUsedMs: atMsOrNull('Its last request (calendar)'),
    createdBy: z.string(),
    createdAtMs: atMs('Made known'),
    revoked: z.object({ atMs: atMs('When'), by: z.string(), why: z.string() }).nullable(),
  })
  .describe('Who may call, known by key or by client certificate')

export const callerWithKeySchema = callerSchema
  .extend({
    key: z
      .string()
      .nullable()
      .describe('Shown once: only its digest is stored. Null: it is known by certificate alone'),
    othersEndAtMs: atMsOrNull('When its earlier keys end'),
  })
  .describe('A caller with a new key')

export const callerInput = {
  add: z.object({
    name: callerName,
    endpoints: z
      .array(z.string().min(1))
      .min(1, 'name an endpoint at least; without the field it may call all')
      .max(1_000)
      .nullable()
      .default(null)
      .describe('That it may call; null: all, also those to come'),
    commonNames: z.array(commonName).max(100).default([]).describe('Of client certificates that are this caller'),
    concurrency: z.number().int().min(1).max(1_000_000).nullable().default(null),
    key: z.boolean().default(true).describe('False: it is known by its certificates alone'),
  }),
  keepMs: z
    .number()
    .int()
    .min(0)
    .max(90 * DAY_MS, 'must be 90 days at most')
    .default(7 * DAY_MS)
    .describe('So long its earlier keys still work; 0: they end at once'),
  forMs: z
    .number()
    .int()
    .min(1_000, 'must be a second at least')
    .max(365 * DAY_MS, 'must be a year at most')
    .default(30 * DAY_MS)
    .describe('Unless it is renewed before'),
}

export type PinView = z.infer<typeof pinSchema>
export type CallerView = z.infer<typeof callerSchema>
export type CallerWithKey = z.infer<typeof callerWithKeySchema>
