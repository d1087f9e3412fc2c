import { z } from 'zod'
import { TABLE_COLUMNS_MAX, TABLES_MAX } from '../kernel/features/feature-source.ts'
import { duration, integer, name, number, oneOf, size, text } from './schema-fields.ts'

/** Fields of serving beyond one model server: replicas that follow the load, routes, gathers, limits, the gateway. */

// Replicas

const replicasRule = 'must be a whole number from 1 to 64, or { min: 1, max: 8 }'

export const replicas = z
  .union(
    [
      integer(1, 64, 2),
      z.strictObject({
        min: integer(0, 64, 1).prefault(1),
        max: integer(1, 64, 8),
        targetConcurrency: number(0.1, 10_000, 8).prefault(8),
        idle: duration('1s', '7d', '10m').prefault('10m'),
        wake: duration('1s', '10m', '30s').optional(),
      }),
    ],
    { error: replicasRule },
  )
  .meta({ examples: [2] })

// Routes

const headerRule = 'must be the name of a header, such as "x-user"'
const header = z
  .string({ error: headerRule })
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, headerRule)
  .meta({ examples: ['x-user'] })
const parameter = text("the name of one of the request's parameters", 'user')

export const sticky = z.union([z.strictObject({ header }), z.strictObject({ parameter })], {
  error: `must be { header: "x-user" } or { parameter: "user" }`,
})

const versionRule = `must be 'champion', 'previous', 'challenger', or the number of a version`
const ruleVersion = z
  .union(
    [oneOf('champion', 'previous', 'challenger'), z.int().min(1), z.string().regex(/^[1-9]\d{0,8}$/, versionRule)],
    { error: versionRule },
  )
  .meta({ examples: ['previous'] })

const equals = z.string({ error: 'must be a text' }).max(1_024, 'must be a text of at most 1024 letters')
const ruleTarget = { equals: equals.meta({ examples: ['beta'] }), version: ruleVersion }
const rule = z.union([z.strictObject({ header, ...ruleTarget }), z.strictObject({ parameter, ...ruleTarget })], {
  error: `must be a rule such as { header: "x-group", equals: "beta", version: "challenger" }`,
})

export const rules = z
  .array(rule, {
    error: 'must be a list of rules such as [{ header: "x-group", equals: "beta", version: "previous" }]',
  })
  .max(100, 'must have at most 100 rules')

export const endpointLimits = z.strictObject({
  concurrency: integer(1, 1_000_000, 200).optional(),
  perCaller: integer(1, 1_000_000, 20).optional(),
})

/** Of a model, or of an endpoint that asks several. */
export const log = z.strictObject({
  mode: oneOf('relaxed', 'durable', 'off').prefault('relaxed'),
  sample: number(0, 100, 10).prefault(100),
})

// Features from tables

const tableRule = 'must be the path of a Parquet file inside of MILLRACE_MODEL_DIR'
const tablePath = z
  .string({ error: tableRule })
  .refine(
    (path) => /^[^/\\~\0][^\\\0]*$/.test(path) && path.split('/').every((part) => !['', '.', '..'].includes(part)),
    {
      error: tableRule,
    },
  )
  .meta({ examples: ['customers.parquet'] })
const columnName = text('the name of a column', 'customer')
const tableKey = z
  .union([columnName, z.strictObject({ parameter })], {
    error: `must be the name of a column, or { parameter: "customer" }`,
  })
  .meta({ examples: ['customer'] })

const missing = z.union(
  [oneOf('error', 'default'), z.record(z.string(), z.union([z.number(), z.string(), z.boolean()]))],
  { error: `must be 'error', 'default', or a value for each column, such as { visits: 0 }` },
)

export const enrich = z
  .array(
    z.strictObject({
      table: tablePath,
      key: tableKey,
      columns: z
        .array(text('the name of a column', 'visits'), { error: 'must be a list of column names' })
        .min(1, 'must name a column at least')
        .max(TABLE_COLUMNS_MAX, `must name at most ${TABLE_COLUMNS_MAX} columns`),
      staleness: duration('1s', '3650d', '2d').optional(),
      missing: missing.prefault('error'),
      stale: oneOf('error', 'use').prefault('error'),
    }),
    {
      error: 'must be a list of tables such as [{ table: "customers.parquet", key: "customer", columns: ["visits"] }]',
    },
  )
  .max(TABLES_MAX, `must have at most ${TABLES_MAX} tables`)

// Endpoints that ask several models

const member = z.strictObject({
  model: name('late-flight'),
  versions: integer(1, 16, 3).prefault(1),
  weight: number(0.000001, 1_000_000, 2).prefault(1),
})

/** A name alone is a member with every default. */
const memberOrName = z.union([name('late-flight').transform((model) => member.parse({ model })), member], {
  error: 'must be the name of a model, or { model: "late-flight", versions: 3 }',
})

const waysToCombine = ['all', 'mean', 'weighted', 'vote', 'first'] as const
const combine = z.union(
  [
    oneOf(...waysToCombine),
    z.strictObject({
      module: text("the path of a module inside the project's folder", './combine.ts'),
      timeout: duration('1ms', '1m', '100ms').prefault('100ms'),
    }),
  ],
  { error: `must be ${waysToCombine.map((way) => `'${way}'`).join(', ')} or { module: "./combine.ts" }` },
)

export const gatherEndpoint = z.strictObject({
  gather: z.strictObject({
    members: z
      .array(memberOrName, { error: 'must be a list of models' })
      .min(1, 'must name a model at least')
      .max(64, 'must name at most 64 models')
      .meta({ examples: [['late-flight', 'late-flight-trees']] }),
    combine: combine.prefault('all'),
    deadline: duration('1ms', '10m', '1s').prefault('1s'),
    quorum: integer(1, 64, 2).prefault(1),
    join: z
      .strictObject({
        requests: integer(0, 1_000_000, 100).prefault(100),
        maxErrorShare: number(0, 1, 0.01).prefault(0.01),
      })
      .prefault({}),
  }),
  timeout: duration('10ms', '10m', '10s').prefault('10s'),
  maxBody: size('1kB', '1GiB', '16MB').prefault('16MB'),
  log: log.prefault({}),
  limits: endpointLimits.prefault({}),
})

// The gateway

export const tls = z.strictObject({
  certificate: text('the path of a PEM file', 'tls/server.pem'),
  key: text('the path of a PEM file', 'tls/server.key'),
  clientAuthorities: text('the path of a PEM file', 'tls/clients.pem').optional(),
})

export const gatewayLimits = z.strictObject({
  connections: integer(1, 1_000_000, 8_192).prefault(8_192),
  requests: integer(1, 1_000_000, 4_096).prefault(4_096),
  headBytes: integer(1_024, 1_048_576, 16_384).prefault(16_384),
  pipelined: integer(1, 1_024, 16).prefault(16),
})
