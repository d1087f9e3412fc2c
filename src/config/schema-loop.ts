import { z } from 'zod'
import { boolean, duration, integer, name, number, oneOf, text } from './schema-fields.ts'

/** Fields of what closes the loop: triggers, careful releases, monitors, alerts, retirement and service levels. */

// Triggers

const newDataTrigger = z.strictObject({
  newData: text('a path or glob', 'data/weeks/*.parquet'),
  name: name('fresh-weeks').optional(),
  atLeast: integer(1, 100_000, 2).prefault(1),
  settle: duration('0s', '1d', '2s').prefault('5s'),
})

const cronTrigger = z.strictObject({
  cron: text('five fields such as "0 3 * * 1": minute, hour, day of the month, month, day of the week', '0 3 * * 1'),
  name: name('monday-night').optional(),
  timeZone: text('the name of a time zone', 'Europe/Berlin').prefault('UTC'),
  catchUp: oneOf('none', 'last', 'all').prefault('last'),
  overlap: boolean().prefault(false),
})

export const monitorNames = [
  'drift',
  'predictionDrift',
  'missing',
  'unseen',
  'predictedActual',
  'quality',
  'traffic',
  'silence',
  'modelAge',
] as const

const alarmRule = `must be 'any', or a list of monitors such as ['drift', 'quality']`
const alarmTrigger = z.strictObject({
  alarm: z
    .union([z.literal('any'), z.array(oneOf(...monitorNames)).min(1, alarmRule)], { error: alarmRule })
    .meta({ examples: ['any'] }),
  name: name('on-drift').optional(),
  coolDown: duration('0s', '52w', '1d').prefault('1d'),
  perDay: integer(1, 1_000, 1).prefault(1),
})

const trigger = z.union([newDataTrigger, cronTrigger, alarmTrigger], {
  error: `must be a trigger such as { newData: "data/*.parquet" }, { cron: "0 3 * * 1" } or { alarm: ["drift"] }`,
})

export const triggers = z.union([trigger, z.array(trigger)], {
  error: 'must be a trigger such as { newData: "data/*.parquet" }, or a list of them',
})

// Release

const when = z.union(
  [oneOf('better', 'always', 'manual'), z.strictObject({ staleAfter: duration('1m', '520w', '7d') })],
  { error: `must be 'better', 'always', 'manual' or { staleAfter: "7d" }` },
)

const soak = () => duration('0s', '30d', '10m')
const weight = () => number(0.1, 99.9, 10)

const canary = z.strictObject({
  steps: z
    .array(z.strictObject({ weight: weight(), soak: soak().optional() }), {
      error: `must be a list of steps such as [{ weight: 10, soak: '10m' }]`,
    })
    .min(1, 'must have a step at least')
    .max(50, 'must have at most 50 steps')
    .optional(),
  weights: z
    .array(weight(), { error: 'must be a list of percentages such as [10, 50]' })
    .min(1, 'must have a weight at least')
    .max(50, 'must have at most 50 weights')
    .optional(),
  soak: soak().prefault('10m'),
  minRequests: integer(0, 1_000_000_000, 100).prefault(100),
  minLabels: integer(0, 1_000_000_000, 200).prefault(0),
  maxTime: duration('1s', '90d', '1d').prefault('1d'),
  alpha: number(0.000001, 0.5, 0.01).prefault(0.01),
  margins: z
    .strictObject({
      errors: number(1, 1_000, 1).prefault(1),
      latency: number(1, 1_000, 1.5).prefault(1.5),
      predictionShift: number(0.01, 100, 0.25).prefault(0.25),
      loss: number(0, Number.MAX_VALUE, 0.005).optional(),
    })
    .prefault({}),
})

const shadow = z.strictObject({
  share: number(0.1, 100, 100).prefault(100),
  soak: soak().prefault('10m'),
  minRequests: integer(0, 1_000_000_000, 100).prefault(100),
  minLabels: integer(0, 1_000_000_000, 200).prefault(0),
  maxTime: duration('1s', '90d', '1d').prefault('1d'),
})

export const release = z.strictObject({
  when: when.prefault('better'),
  strategy: oneOf('canary', 'shadow', 'immediate').prefault('canary'),
  canary: canary.prefault({}),
  shadow: shadow.prefault({}),
  preflight: z
    .strictObject({
      rows: integer(1, 10_000, 100).prefault(100),
      tolerance: number(0, 1, 0.00001).prefault(0.00001),
      timeout: duration('1s', '1h', '60s').prefault('60s'),
    })
    .prefault({}),
})

export const stability = z.strictObject({
  versions: integer(2, 100, 5).prefault(5),
  maxSpread: z
    .union([number(0, Number.MAX_VALUE, 0.02), z.literal(false)], { error: 'must be a number of at least 0, or false' })
    .meta({ examples: [0.02] })
    .optional(),
})

export const fallback = z.union(
  [
    oneOf('error'),
    z.strictObject({
      constant: z
        .record(
          z.string().min(1, 'must be the name of a model output'),
          z.union([z.number(), z.string(), z.boolean()], { error: 'must be a number, a text, true or false' }),
          { error: 'must be an object: the name of each model output and its value' },
        )
        .meta({ examples: [{ probability: 0.2 }] }),
    }),
    z.strictObject({ version: text(`a version such as 'late-flight@3'`, 'late-flight@3') }),
  ],
  { error: `must be 'error', { constant: { probability: 0.2 } } or { version: "late-flight@3" }` },
)

// Monitors

const severity = () => oneOf('info', 'warning', 'critical')

const anyMonitor = {
  then: oneOf('tell', 'retrain', 'rollBack', 'freeze').prefault('tell'),
  severity: severity().prefault('warning'),
  runbook: text('a line for whoever reads the alert', 'https://wiki.example/late-flight').optional(),
}

/** Of monitors that look at one window after the other. */
const windowed = {
  ...anyMonitor,
  raiseAfter: integer(1, 1_000, 2).prefault(2),
  clearAfter: integer(1, 1_000, 2).prefault(2),
}

const sampled = {
  ...windowed,
  minRows: integer(1, Number.MAX_SAFE_INTEGER, 200).prefault(200),
  alpha: number(0.0000001, 0.5, 0.001).prefault(0.001),
}

const ofColumns = {
  ...sampled,
  columns: z
    .array(text('the name of a column', 'distance'), { error: 'must be a list of column names' })
    .min(1, 'must name a column at least')
    .optional(),
}

/** On with its defaults (`true`), off (`false`), or on with what is said. */
function monitor<T extends z.ZodRawShape>(fields: T, example: string) {
  const form = z.strictObject(fields)
  return z.union([z.boolean(), form], { error: `must be true, false or ${example}` }).optional()
}

/** One that can't be guessed: off unless its limit is said. */
function declaredMonitor<T extends z.ZodRawShape>(fields: T, example: string) {
  return z.union([z.literal(false), z.strictObject(fields)], { error: `must be false or ${example}` }).optional()
}

export const monitors = z.strictObject({
  window: duration('1h', '90d', '1d').prefault('1d'),
  labelDelay: duration('0s', '365d', '1d').prefault('1d'),
  drift: monitor({ psi: number(0.001, 100, 0.25).prefault(0.25), ...ofColumns }, '{ psi: 0.25 }'),
  predictionDrift: monitor({ psi: number(0.001, 100, 0.25).prefault(0.25), ...sampled }, '{ psi: 0.25 }'),
  missing: monitor({ moreBy: number(0.0001, 1, 0.05).prefault(0.05), ...ofColumns }, '{ moreBy: 0.05 }'),
  unseen: monitor({ share: number(0.0001, 1, 0.05).prefault(0.05), ...ofColumns }, '{ share: 0.05 }'),
  predictedActual: monitor({ ratio: number(1.001, 1_000, 1.25).prefault(1.25), ...sampled }, '{ ratio: 1.25 }'),
  quality: monitor({ worseBy: number(0, Number.MAX_VALUE, 0.05).optional(), ...sampled }, '{ worseBy: 0.05 }'),
  traffic: declaredMonitor(
    {
      min: integer(1, Number.MAX_SAFE_INTEGER, 1_000).optional(),
      max: integer(1, Number.MAX_SAFE_INTEGER, 100_000).optional(),
      ...windowed,
    },
    '{ min: 1000, max: 100000 }',
  ),
  silence: declaredMonitor({ after: duration('1m', '365d', '6h'), ...anyMonitor }, `{ after: '6h' }`),
  modelAge: declaredMonitor({ after: duration('1h', '520w', '30d'), ...anyMonitor }, `{ after: '30d' }`),
})

// Retirement

const orNever = (field: z.ZodType<number, string>, example: string) =>
  z
    .union([field, z.literal(false)], { error: `must be a duration such as '${example}', or false` })
    .meta({ examples: [example] })

export const retirement = z.strictObject({
  keepLast: integer(0, 10_000, 5).prefault(5),
  maxAge: orNever(duration('1h', '520w', '90d'), '90d').prefault(false),
  idle: orNever(duration('1m', '520w', '7d'), '7d').prefault('7d'),
  superseded: boolean().prefault(true),
  deleteAfter: duration('0s', '520w', '90d').prefault('90d'),
  pin: duration('0s', '520w', '30d').prefault('30d'),
  outdated: z
    .union(
      [
        z.literal(false),
        z.strictObject({
          window: duration('1h', '365d', '7d').prefault('7d'),
          minRows: integer(2, Number.MAX_SAFE_INTEGER, 500).prefault(500),
          margin: number(0, Number.MAX_VALUE, 0.01).prefault(0),
        }),
      ],
      { error: `must be false or { window: '7d', minRows: 500, margin: 0 }` },
    )
    .prefault({}),
})

// Service levels

const objectiveRule = 'must be a number above 0 and below 1'
const objective = z
  .number({ error: objectiveRule })
  .gt(0, objectiveRule)
  .lt(1, objectiveRule)
  .meta({ examples: [0.99] })

const anyLevel = {
  objective: objective.optional(),
  window: duration('1h', '365d', '30d').prefault('30d'),
  then: oneOf('tell', 'freeze').optional(),
}

/** Good or bad by itself. */
const level = () =>
  z
    .union([z.literal(false), objective, z.strictObject(anyLevel)], {
      error: 'must be an objective such as 0.99, false, or { objective: 0.99 }',
    })
    .optional()

/** Good within a time. */
const timedLevel = (example: string) =>
  z
    .union(
      [
        z.literal(false),
        objective,
        z.strictObject({ ...anyLevel, within: duration('1ms', '520w', example).optional() }),
      ],
      { error: `must be an objective such as 0.99, false, or { objective: 0.99, within: '${example}' }` },
    )
    .optional()

export const serviceLevels = z.strictObject({
  triggerPunctuality: timedLevel('5m'),
  runSuccess: level(),
  evaluationValidity: level(),
  leadTime: timedLevel('1h'),
  availability: level(),
  latency: timedLevel('200ms'),
  logLag: timedLevel('30s'),
  monitorFreshness: timedLevel('6h'),
  modelAge: timedLevel('90d'),
  retirementSafety: level(),
})

// Alerts of the whole project

const addressRule = 'must be an http or https address'
const address = z
  .string({ error: addressRule })
  .refine((url) => /^https?:\/\/[^/\s]+/.test(url) && URL.canParse(url), addressRule)
  .meta({ examples: ['https://hooks.example/millrace'] })

const webhook = z.union(
  [
    address,
    z.strictObject({
      url: address,
      minSeverity: severity().prefault('warning'),
      timeout: duration('100ms', '1m', '5s').prefault('5s'),
    }),
  ],
  { error: `must be an http or https address, or { url: 'https://…' }` },
)

export const alerts = z.strictObject({
  webhook: z
    .union([webhook, z.array(webhook).max(20, 'must have at most 20 addresses')], {
      error: `must be an http or https address, { url: 'https://…' }, or a list of them`,
    })
    .optional(),
})
