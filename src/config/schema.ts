import { z } from 'zod'
import {
  boolean,
  duration,
  insidePath,
  integer,
  name,
  namedBy,
  number,
  oneOf,
  size,
  text,
  variables,
} from './schema-fields.ts'
import { alerts, fallback, monitors, release, retirement, serviceLevels, stability, triggers } from './schema-loop.ts'
import {
  endpointLimits,
  enrich,
  gatewayLimits,
  gatherEndpoint,
  log,
  replicas,
  rules,
  sticky,
  tls,
} from './schema-serving.ts'

/**
 * The fields a user may write, with their defaults and the bounds of each by itself; those that close the loop are in
 * schema-loop.ts, those of endpoints and the gateway in schema-serving.ts. What concerns several fields is checked in
 * check.ts; the result becomes a `Project` in normalise.ts. Input types with comments for editors: input.ts.
 */

/** Rows in a table: its file by ending, or a query. */
const tableRule = 'must be a .parquet or .csv file such as "data/holdout.parquet", or { sql: "select …" }'

const sql = z.strictObject({ sql: text('a DuckDB query', "select * from 'data/*.parquet'") })

const table = z.union(
  [
    z
      .string()
      .regex(/\.(parquet|csv)$/i, tableRule)
      .meta({ examples: ['data/holdout.parquet'] }),
    sql,
  ],
  { error: tableRule },
)

const inputRule = 'must be a path, "steps.<name>", "steps.<name>/<file>" or { sql: "select …" }'
const input = z.union([text('a path', 'data/rows.parquet'), sql], { error: inputRule })

const version = (example: string) => {
  const rule = `must be a version in quotes, such as "${example}"`
  return z
    .string({ error: rule })
    .regex(/^\d+(\.\d+){0,2}$/, rule)
    .meta({ examples: [example] })
}

const environment = z.union(
  [
    z.literal('inherit'),
    z.strictObject({ python: version('3.11'), lock: insidePath('a lock file', 'requirements.lock') }),
    z.strictObject({ node: version('24'), lock: insidePath('a lock file', 'package-lock.json') }),
  ],
  {
    error: `must be 'inherit', { python: "3.11", lock: "requirements.lock" } or { node: "24", lock: "package-lock.json" }`,
  },
)

const scalar = z.union([z.string(), z.number(), z.boolean()], { error: 'must be a text, a number, true or false' })

const environmentVariables = z.record(
  z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable')
    .refine((key) => !key.startsWith('MILLRACE_'), 'must not start with MILLRACE_, which is set by Millrace itself'),
  scalar,
  { error: 'must be an object of environment variables' },
)

const command = text('a shell command', 'python train.py')

const step = z.strictObject({
  run: command,
  dir: insidePath('a folder', 'training').prefault('.'),
  needs: z.array(name('features'), { error: 'must be a list of step names' }).prefault([]),
  inputs: variables(input).prefault({}),
  args: boolean().prefault(true),
  environment: environment.optional(),
  env: environmentVariables.prefault({}),
  timeout: duration('1s', '7d', '1h').prefault('1h'),
  retries: integer(0, 20, 2).prefault(0),
  backoff: duration('0s', '5m', '10s').prefault('10s'),
  logLimit: size('1kB', '1GB', '10MB').prefault('10MB'),
})

/** A lone command is a step with every default. */
const stepOrCommand = z.union([command.transform((run) => step.parse({ run })), step], {
  error: 'must be a shell command such as "python train.py", or { run: "…" }',
})

const bound = (example: number) =>
  z
    .strictObject(
      {
        min: z.number({ error: 'must be a number' }).optional(),
        max: z.number({ error: 'must be a number' }).optional(),
      },
      { error: 'must be bounds such as { min: 0.7 }' },
    )
    .meta({ examples: [{ min: example }] })
    .optional()

const metrics = z.strictObject({
  auc: bound(0.7),
  logLoss: bound(0.5),
  brier: bound(0.2),
  accuracy: bound(0.8),
  precision: bound(0.6),
  recall: bound(0.6),
  f1: bound(0.6),
  ece: bound(0.05),
  calibration: bound(0.9),
  rmse: bound(10),
  mae: bound(5),
  mape: bound(0.1),
  r2: bound(0.5),
})

const gate = z.strictObject({
  metrics: metrics.prefault({}),
  loss: oneOf('logLoss', 'brier', 'squaredError', 'absoluteError').optional(),
  versusChampion: oneOf('superiority', 'nonInferiority').optional(),
  margin: number(0, Number.MAX_VALUE, 0.005).optional(),
  alpha: number(0.0001, 0.5, 0.05).prefault(0.05),
  resamples: integer(500, 100_000, 2_000).prefault(2_000),
  cluster: text('the name of a column', 'day').optional(),
  minRows: integer(2, Number.MAX_SAFE_INTEGER, 200).prefault(200),
  minClusters: integer(2, Number.MAX_SAFE_INTEGER, 10).prefault(10),
  stability: stability.prefault({}),
})

/** A command that speaks the Open Inference Protocol v2. */
const v2Command = {
  environment: environment.optional(),
  env: environmentVariables.prefault({}),
  model: text('the name that the server gives the model', 'churn').optional(),
  readyTimeout: duration('1s', '1h', '2m').prefault('2m'),
}

const server = z.strictObject({
  command: text('a shell command', 'python server.py'),
  ...v2Command,
  pure: boolean().prefault(true),
})

const prepare = z.strictObject({
  command: text('a shell command', 'python prepare.py'),
  ...v2Command,
  timeout: duration('1ms', '10m', '2s').optional(),
})

const serving = z.strictObject({
  replicas: replicas.prefault(2),
  timeout: duration('10ms', '10m', '10s').prefault('10s'),
  maxBody: size('1kB', '1GiB', '16MB').prefault('16MB'),
  drain: duration('0s', '10m', '30s').prefault('30s'),
  maxBatchRows: integer(1, 1_000_000, 1_024).prefault(1_024),
  isolate: oneOf('auto', 'always', 'never').prefault('auto'),
  fallback: fallback.prefault('error'),
  sticky: sticky.optional(),
  rules: rules.prefault([]),
  limits: endpointLimits.prefault({}),
  server: server.optional(),
  enrich: enrich.prefault([]),
  prepare: prepare.optional(),
})

const model = z.strictObject({
  train: stepOrCommand.optional(),
  steps: namedBy(stepOrCommand).optional(),
  params: variables(scalar).prefault({}),
  seed: integer(0, 2 ** 32 - 1, 7).prefault(0),
  environment: environment.prefault('inherit'),
  task: oneOf('binary', 'regression').optional(),
  label: text('the name of a column', 'late').optional(),
  positive: scalar.optional(),
  holdout: table.optional(),
  trainingRows: table.optional(),
  features: z
    .array(text('the name of a column', 'distance'), { error: 'must be a list of column names' })
    .min(1, 'must name a column at least')
    .optional(),
  scoreOutput: text('the name of a model output', 'probabilities').optional(),
  on: triggers.prefault([]),
  gate: gate.prefault({}),
  release: release.prefault({}),
  serving: serving.prefault({}),
  log: log.prefault({}),
  monitors: monitors.prefault({}),
  retirement: retirement.prefault({}),
  slos: serviceLevels.prefault({}),
  endpoint: name('late-flight').optional(),
  importance: oneOf('critical', 'normal', 'low').prefault('normal'),
})

export const projectSchema = z.strictObject({
  name: name('flights'),
  models: namedBy(model),
  endpoints: namedBy(gatherEndpoint).prefault({}),
  gateway: z
    .strictObject({
      host: text('an address to listen on', '127.0.0.1').prefault('127.0.0.1'),
      port: integer(0, 65_535, 8_700).prefault(8_700),
      anonymous: boolean().prefault(false),
      tls: tls.optional(),
      grpcPort: z
        .union([integer(0, 65_535, 8_701), z.literal(false)], {
          error: 'must be a whole number from 0 to 65535, or false',
        })
        .meta({ examples: [8_701] })
        .prefault(false),
      processes: integer(1, 64, 2).prefault(1),
      accessLog: number(0, 100, 1).prefault(0),
      limits: gatewayLimits.prefault({}),
    })
    .prefault({}),
  storage: z.strictObject({ minFree: size('0B', '1000TB', '200MB').prefault('200MB') }).prefault({}),
  alerts: alerts.prefault({}),
  snapshotIgnore: z.array(text('a glob', 'notebooks/**'), { error: 'must be a list of globs' }).prefault([]),
})

/** What the schema gives: every field there with its default, durations in ms, sizes in bytes; shape as written. */
export type WrittenProject = z.output<typeof projectSchema>
export type WrittenModel = z.output<typeof model>
export type WrittenStep = z.output<typeof step>
export type WrittenEndpoint = WrittenProject['endpoints'][string]

/** JSON Schema (draft 2020-12) of millrace.yaml, for completion and checking in editors. */
export function projectJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(projectSchema, { io: 'input' }), title: 'Millrace project' }
}
